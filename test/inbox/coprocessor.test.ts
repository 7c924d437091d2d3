import { describe, expect, test } from 'vitest'
import type { InboxId } from '../../src/base/ids.ts'
import type { Command, Effect, Response } from '../../src/inbox/store/command.ts'
import { commandBytesOf } from '../../src/inbox/store/command-bytes.ts'
import { inboxCoprocessor } from '../../src/inbox/store/coprocessor.ts'
import { rendezvous } from '../../src/inbox/store/rendezvous.ts'
import { groupInbox, inboxStart } from '../../src/inbox/store/schema.ts'
import { MemoryEngine } from '../../src/kv/engine/memory/engine.ts'
import { engineReader } from '../../src/kv/range/boundary.ts'
import { LIMITS, message, START_MS, TENANT, will } from './harness.ts'

/** The coprocessor alone on one range: each batch is applied as it is given. */
class Lone {
  readonly engine = new MemoryEngine()
  readonly reader = engineReader(this.engine, 'inbox')
  nowMs = START_MS
  index = 0
  effects: Effect[] = []

  apply(...commands: Command[]): Response[] {
    const context = { nowMs: this.nowMs, index: ++this.index, boundary: {} }
    const { writes, responses, effects } = inboxCoprocessor.mutate(commands, this.reader, context)
    this.engine.land({ writes: writes.map((write) => ({ family: 'inbox', write })), sync: false })
    this.effects = effects
    return responses
  }

  query(query: Parameters<typeof inboxCoprocessor.query>[0]) {
    return inboxCoprocessor.query(query, this.reader, { nowMs: this.nowMs, boundary: {} })
  }

  /** Everything that is stored. */
  get state(): string[] {
    const cursor = this.engine.cursor('inbox', {})
    const lines: string[] = []
    while (cursor.next()) {
      lines.push(`${Buffer.from(cursor.key).toString('latin1')} = ${Buffer.from(cursor.value).toString('latin1')}`)
    }
    return lines
  }
}

const key = inboxStart(TENANT, 'c' as InboxId)
const group = inboxStart(TENANT, groupInbox({ tenant: TENANT, group: 'g', filter: 'f', ordered: false }))
const options = { qos: 1, noLocal: false, retainAsPublished: false, subscriptionId: 0 } as const

function attach(connection: string, fields: Partial<Extract<Command, { type: 'attach' }>> = {}): Command {
  return {
    ...{
      type: 'attach',
      key,
      connection,
      node: 'n1',
      nodeIncarnation: 1,
      cleanStart: false,
      expirySeconds: 60,
      will: null,
    },
    ...{ user: 'u', address: '', protocol: 5, limits: LIMITS },
    ...fields,
  }
}

function insert(to: Uint8Array, incarnation: number, payload: string): Command {
  return {
    ...{ type: 'insert', key: to, incarnation, qos: 1, retain: false, subscriptionIds: [], dedup: null },
    message: message(payload),
  }
}

function incarnationOf(response: Response | undefined): number {
  return (response as { incarnation: number }).incarnation
}

describe('a command that is applied again changes nothing', () => {
  function script(): { lone: Lone; commands: Command[] } {
    const lone = new Lone()
    const incarnation = incarnationOf(lone.apply(attach('1', { will: will('w', 5) }))[0])
    const members = incarnationOf(
      lone.apply({ type: 'join', key: group, member: 'c', incarnation, options, limits: LIMITS })[0],
    )
    for (const payload of ['1', '2', '3', '4'])
      lone.apply(insert(key, incarnation, payload), insert(group, members, payload))
    const fence = { key, incarnation, connection: '1' }
    const member = { key: group, member: 'c', connection: '1' }
    return {
      lone,
      commands: [
        attach('1', { cleanStart: true }),
        { type: 'subscribe', ...fence, subscriptions: [{ filter: 'a', options, pending: true }] },
        { type: 'confirm', ...fence, filters: ['a'] },
        { type: 'receive', ...fence, packetId: 7 },
        { type: 'received', ...fence, sequence: 2 },
        { type: 'trim', ...fence, number: 1, ranges: [1, 1], messages: 1, bytes: 28, floor: 2, window: 90 },
        { type: 'member-open', ...member, incarnation, attachment: 1, node: 'n1', nodeIncarnation: 1, credit: 3 },
        { type: 'member-bind', ...member, sequence: 1, packetId: 9, released: false },
        { type: 'member-trim', ...member, sequences: [1, 2] },
        { type: 'member-close', ...member },
        { type: 'release', ...fence, packetId: 7 },
        { type: 'unsubscribe', ...fence, filters: ['a'] },
        { type: 'detach', ...fence, expirySeconds: null, discardWill: false, sentUpTo: 3 },
        { type: 'due', key, kind: 'will', dueMs: START_MS + 5_000, number: 0 },
        { type: 'fired', key, number: incarnation + 1 },
        { type: 'leave', key: group, member: 'c', incarnation: null },
        { type: 'due', key, kind: 'expiry', dueMs: START_MS + 60_000, number: 0 },
        { type: 'index', key: Buffer.alloc(0) },
      ],
    }
  }

  test.each(script().commands.map(({ type }, i) => [i, type] as const))('%i: %s', (at) => {
    const { lone, commands } = script()
    for (const command of commands.slice(0, at)) lone.apply(command)
    lone.apply(commands[at]!)
    const once = lone.state
    lone.apply(commands[at]!)
    expect(lone.state).toEqual(once)
  })

  test('nor in the same batch', () => {
    const { lone, commands } = script()
    const twice = script().lone
    for (const command of commands) {
      lone.apply(command)
      twice.apply(command, command)
    }
    expect(twice.state).toEqual(lone.state)
  })

  test('and one batch of all comes out as one by one', () => {
    const { lone, commands } = script()
    const whole = script().lone
    const responses = commands.flatMap((command) => lone.apply(command))
    expect(whole.apply(...commands)).toEqual(responses)
    expect(whole.state).toEqual(lone.state)
  })
})

test('a feed begins at the first entry that is not trimmed', () => {
  const lone = new Lone()
  const incarnation = incarnationOf(lone.apply(attach('1'))[0])
  for (const payload of ['1', '2', '3', '4', '5']) lone.apply(insert(key, incarnation, payload))
  const fence = { key, incarnation, connection: '1' }
  lone.apply({ type: 'trim', ...fence, number: 1, ranges: [2, 3], messages: 2, bytes: 56, floor: 1, window: 70 })
  expect(lone.query({ type: 'open', ...fence })).toMatchObject({ head: 1, tail: 5, window: 70 })
  lone.apply({ type: 'trim', ...fence, number: 2, ranges: [1, 1], messages: 1, bytes: 28, floor: 4, window: 60 })
  expect(lone.query({ type: 'open', ...fence })).toMatchObject({ head: 4, tail: 5, window: 70 })
  const all = { type: 'entries', key, incarnation, from: 1, to: 9, limit: 10, bytesMax: 1_000 } as const
  expect(lone.query(all)).toMatchObject({ sequences: [4, 5], examined: 9 })
  expect(lone.query({ ...all, limit: 1 })).toMatchObject({ sequences: [4], examined: 4 })
  expect(lone.query({ ...all, bytesMax: 1 })).toMatchObject({ sequences: [4], examined: 4 })
})

test('an older owner of a session does not take its place in a group', () => {
  const lone = new Lone()
  const open = (connection: string, incarnation: number, attachment: number): Command => ({
    ...{
      type: 'member-open',
      key: group,
      member: 'c',
      connection,
      incarnation,
      attachment,
      node: 'n1',
      nodeIncarnation: 1,
      credit: 1,
    },
  })
  lone.apply({ type: 'join', key: group, member: 'c', incarnation: 5, options, limits: LIMITS })
  expect(lone.apply(open('2', 5, 2), open('1', 5, 1), open('1', 4, 3), open('3', 6, 1))).toEqual([
    { type: 'opened', owed: [] },
    'conflict',
    'conflict',
    'none',
  ])
  lone.apply({ type: 'join', key: group, member: 'c', incarnation: 6, options, limits: LIMITS })
  expect(lone.apply(open('3', 6, 1), open('2', 5, 2))).toEqual([{ type: 'opened', owed: [] }, 'conflict'])
})

test('in an ordered group nothing overtakes, however much waits for one member', () => {
  const lone = new Lone()
  const ordered = inboxStart(TENANT, groupInbox({ tenant: TENANT, group: 'g', filter: 'f', ordered: true }))
  const limits = { ...LIMITS, messagesMax: 10_000 }
  let incarnation = 0
  for (const member of ['x', 'y']) {
    incarnation = incarnationOf(lone.apply({ type: 'join', key: ordered, member, incarnation: 1, options, limits })[0])
    const open = { incarnation: 1, attachment: 1, node: 'n1', nodeIncarnation: 1, credit: 1 }
    lone.apply({ type: 'member-open', key: ordered, member, connection: member, ...open })
  }
  const given: string[] = []
  const put = (publisher: string) => {
    const command = insert(ordered, incarnation, publisher) as Extract<Command, { type: 'insert' }>
    lone.apply({ ...command, message: { ...command.message, publisher } })
    for (const effect of lone.effects)
      if (effect.type === 'assigned') given.push(`${effect.member} ${effect.entry.sequence}`)
  }
  const members = [{ inbox: 'x' }, { inbox: 'y' }]
  const ofX = ['p1', 'p2', 'p3', 'p4', 'p5'].find((publisher) => rendezvous(publisher, members).inbox === 'x')!
  const ofY = ['p1', 'p2', 'p3', 'p4', 'p5'].find((publisher) => rendezvous(publisher, members).inbox === 'y')!
  put(ofX)
  put(ofY)
  expect(given).toEqual(['x 1', 'y 2'])
  // More waits for x than one command looks at; behind it one entry for y, which has no credit either.
  for (let i = 0; i < 1_100; i++) put(ofX)
  put(ofY)
  lone.apply({ type: 'member-trim', key: ordered, member: 'y', connection: 'y', sequences: [2] })
  put(ofY)
  expect(given).toEqual(['x 1', 'y 2'])
  for (let sequence = 1; sequence <= 200; sequence++) {
    const at = sequence === 1 ? 1 : sequence + 1
    lone.apply({ type: 'member-trim', key: ordered, member: 'x', connection: 'x', sequences: [at] })
    for (const effect of lone.effects) {
      if (effect.type === 'assigned') given.push(`${effect.member} ${effect.entry.sequence}`)
    }
  }
  expect(given.filter((each) => each.startsWith('y'))).toEqual(['y 2', 'y 1103'])
})

test('entries of inboxes that nobody watches have no effects', () => {
  const lone = new Lone()
  const incarnation = incarnationOf(lone.apply(attach('1'))[0])
  lone.apply(insert(key, incarnation, '1'))
  expect(lone.effects.map(({ type }) => type)).toEqual(['grown', 'count'])
  lone.apply({ type: 'detach', key, incarnation, connection: '1', expirySeconds: null, discardWill: true, sentUpTo: 0 })
  lone.apply(insert(key, incarnation, '2'))
  expect(lone.effects.map(({ type }) => type)).toEqual(['count'])
})

test('a message that many commands share counts once for the limits', () => {
  const size = commandBytesOf()
  const big = insert(key, 1, 'x'.repeat(10_000))
  expect(size(big)).toBeGreaterThan(10_000)
  expect(size({ ...big, key: group } as Command)).toBeLessThan(200)
  expect(size(insert(key, 1, 'y'.repeat(10_000)))).toBeGreaterThan(10_000)
  expect(size(attach('1', { will: will('z'.repeat(1_000)) }))).toBeGreaterThan(1_000)
  expect(size({ type: 'index', key })).toBeLessThan(200)
})
