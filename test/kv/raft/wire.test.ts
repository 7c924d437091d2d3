import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { BrokerError } from '../../../src/base/errors.ts'
import { type Entry, FrameWriter, type GroupMessage, type Message, readFrame } from '../../../src/kv/raft/index.ts'

const ends = { from: 1, to: 2, term: 3 }
const commit = { commit: 7, commitTerm: 2 }
const bytes = (text: string) => new Uint8Array(Buffer.from(text))

function frameOf(...messages: GroupMessage[]): Uint8Array {
  const writer = new FrameWriter(1 << 20)
  for (const { group, message } of messages) writer.add(group, message)
  return new Uint8Array(writer.take())
}

function inGroup(...messages: Message[]): GroupMessage[] {
  return messages.map((message) => ({ group: 'r1', message }))
}

/** Head: version 1, kind, "r1", from 1, to 2, term 3. */
describe('bytes of', () => {
  const table: [string, Message, string][] = [
    [
      'an append of two entries',
      {
        ...ends,
        type: 'append',
        previousIndex: 300,
        previousTerm: 1,
        commit: 5,
        entries: [
          { index: 301, term: 1, type: 'command', data: bytes('ab'), change: null },
          { index: 302, term: 3, type: 'empty', data: bytes(''), change: null },
        ],
      },
      '01 01 027231 010203 ac02 01 05 02 00 026162 0a 00',
    ],
    [
      'an append with a change',
      {
        ...ends,
        type: 'append',
        previousIndex: 1,
        previousTerm: 3,
        commit: 1,
        entries: [
          {
            index: 2,
            term: 3,
            type: 'config',
            data: bytes('x'),
            change: {
              members: [
                { type: 'add-voter', id: 4 },
                { type: 'add-learner', id: 5 },
                { type: 'remove', id: 6 },
              ],
              leave: 'explicit',
            },
          },
        ],
      },
      '01 01 027231 010203 01 03 01 01 01 01 03 0004 0105 0206 0178',
    ],
    [
      'an answer that accepts',
      { ...ends, type: 'append-answer', accepted: true, index: 9, hintIndex: 0, hintTerm: 0 },
      '01 02 027231 010203 01 09',
    ],
    [
      'an answer that refuses',
      { ...ends, type: 'append-answer', accepted: false, index: 9, hintIndex: 4, hintTerm: 2 },
      '01 02 027231 010203 00 09 04 02',
    ],
    ['a heartbeat', { ...ends, type: 'heartbeat', commit: 7, round: 8, quiesce: true }, '01 03 027231 010203 07 08 01'],
    ['its answer', { ...ends, type: 'heartbeat-answer', round: 8 }, '01 04 027231 010203 08'],
    [
      'a wish for votes',
      { ...ends, ...commit, type: 'vote-request', pre: true, transfer: false, lastIndex: 9, lastTerm: 2 },
      '01 05 027231 010203 01 09 02 07 02',
    ],
    ['a vote', { ...ends, ...commit, type: 'vote-answer', pre: false, granted: true }, '01 06 027231 010203 02 07 02'],
    [
      'a snapshot',
      {
        ...ends,
        type: 'snapshot',
        snapshot: {
          index: 20,
          term: 2,
          config: { voters: [1, 2], outgoing: [1, 3], learners: [4], learnersNext: [3], autoLeave: true },
        },
      },
      '01 07 027231 010203 14 02 020102 020103 0104 0103 01',
    ],
    ['a word to campaign', { ...ends, type: 'timeout-now' }, '01 08 027231 010203'],
    ['a wish to hear', { ...ends, type: 'wake' }, '01 09 027231 010203'],
  ]
  test.each(table)('%s', (_, message, hex) => {
    const frame = frameOf({ group: 'r1', message })
    expect(Buffer.from(frame).toString('hex')).toBe(hex.replaceAll(' ', ''))
    expect(readFrame(frame)).toEqual([{ group: 'r1', message }])
  })

  test('the same group is named once', () => {
    const wake: Message = { ...ends, type: 'wake' }
    const messages = [...inGroup(wake, wake), { group: 'ü2', message: wake }, ...inGroup(wake)]
    const frame = frameOf(...messages)
    expect(Buffer.from(frame).toString('hex')).toBe('0109027231010203890102030903c3bc3201020309027231010203')
    expect(readFrame(frame)).toEqual(messages)
  })
})

describe('a frame', () => {
  test('begins anew after it was taken', () => {
    const writer = new FrameWriter(1)
    expect(writer.empty).toBe(true)
    expect(writer.full).toBe(false)
    writer.add('r1', { ...ends, type: 'wake' })
    expect(writer.full).toBe(true)
    const first = writer.take()
    expect(writer.empty).toBe(true)
    writer.add('r1', { ...ends, type: 'timeout-now' })
    expect(readFrame(writer.take())[0]!.message.type).toBe('timeout-now')
    expect(readFrame(first)[0]!.message.type).toBe('wake')
  })

  test('gives data as views', () => {
    const data = new Uint8Array(5_000).fill(7)
    const entries: Entry[] = [{ index: 2, term: 3, type: 'command', data, change: null }]
    const frame = frameOf(
      ...inGroup({ ...ends, type: 'append', previousIndex: 1, previousTerm: 1, commit: 1, entries }),
    )
    const { message } = readFrame(frame)[0]!
    const read = (message as Extract<Message, { type: 'append' }>).entries[0]!.data
    expect(read).toEqual(data)
    expect(read.buffer).toBe(frame.buffer)
  })

  test('of heartbeats costs few bytes a group', () => {
    const heartbeat: Message = { from: 3, to: 1, term: 9, type: 'heartbeat', commit: 100_000, round: 5, quiesce: false }
    const groups = Array.from({ length: 1_000 }, (_, at) => ({ group: `inbox-${1000 + at}`, message: heartbeat }))
    const frame = frameOf(...groups)
    expect(frame.length).toBeLessThanOrEqual(21 * 1_000)
    expect(readFrame(frame)).toEqual(groups)
  })

  test('does not take entries out of their order', () => {
    const entries: Entry[] = [{ index: 5, term: 3, type: 'command', data: bytes(''), change: null }]
    const message: Message = { ...ends, type: 'append', previousIndex: 1, previousTerm: 1, commit: 1, entries }
    expect(() => frameOf(...inGroup(message))).toThrow('does not follow')
  })
})

describe('refused is', () => {
  const cases: [string, string, string][] = [
    ['nothing', '', 'too early'],
    ['another version', '02', 'version 2'],
    ['a message without a group', '0189010203', 'names no group'],
    ['a group without a name', '010900010203', 'a name'],
    ['a group that is no text', '010901ff010203', 'not UTF-8'],
    ['an unknown kind', '010a027231010203', 'not a kind'],
    ['replica 0', '0109027231000203', 'is 0'],
    ['a half message', '01030272310102', 'too early'],
    ['a number above 2^53', '010902723101ffffffffffffff7f03', 'too large'],
    ['a number without end', '0109027231ffffffffffffffffffffff', 'too large'],
    ['data beyond the end', '010102723101020301010101007f61', 'too early'],
    ['an entry of an unknown type', '0101027231010203010101010300', 'type'],
    ['a change of an unknown kind', '0101027231010203010101010100010904', 'kind'],
    ['a change with too many members', '01010272310102030101010101008104', '513 members'],
    ['an unlikely yes', '0103027231010203010105', 'neither'],
    ['unknown bits', '010602723101020304', 'bits'],
    ['a snapshot of nothing', '01070272310102030002', 'is 0'],
    ['a configuration without end', '010702723101020301028104', 'too many'],
  ]
  test.each(cases)('%s', (_, hex, why) => {
    const read = () => readFrame(new Uint8Array(Buffer.from(hex, 'hex')))
    expect(read).toThrow(BrokerError)
    expect(read).toThrow(why)
  })
})

const index = fc.integer({ min: 0, max: 2 ** 52 })
const id = fc.integer({ min: 1, max: 2 ** 40 })
const ids = fc.array(id, { maxLength: 5 })
const change = fc.record({
  members: fc.array(fc.record({ type: fc.constantFrom('add-voter', 'add-learner', 'remove' as const), id }), {
    maxLength: 5,
  }),
  leave: fc.constantFrom('auto', 'explicit' as const),
})
const parts = fc.array(
  fc.record({ up: fc.nat(5), change: fc.option(change), empty: fc.boolean(), data: fc.uint8Array({ maxLength: 300 }) }),
  { maxLength: 4 },
)
const envelope = fc.record({ from: id, to: id, term: index })
const append = fc.record({ previousIndex: index, previousTerm: index, commit: index, parts }).map((made) => {
  const { previousIndex, previousTerm, commit: upTo } = made
  let term = previousTerm
  const entries = made.parts.map((part, at): Entry => {
    term += part.up
    const type = part.change !== null ? 'config' : part.empty ? 'empty' : 'command'
    return { index: previousIndex + 1 + at, term, type, data: part.data, change: part.change as Entry['change'] }
  })
  return { type: 'append' as const, previousIndex, previousTerm, commit: upTo, entries }
})
const config = fc.record({ voters: ids, outgoing: ids, learners: ids, learnersNext: ids, autoLeave: fc.boolean() })
const bodies = fc.oneof(
  append,
  fc.record({ type: fc.constant('heartbeat'), commit: index, round: index, quiesce: fc.boolean() }),
  fc.record({
    type: fc.constant('append-answer'),
    accepted: fc.constant(false),
    index,
    hintIndex: index,
    hintTerm: index,
  }),
  fc.record({
    type: fc.constant('vote-request'),
    pre: fc.boolean(),
    transfer: fc.boolean(),
    lastIndex: index,
    lastTerm: index,
    commit: index,
    commitTerm: index,
  }),
  fc.record({ type: fc.constant('snapshot'), snapshot: fc.record({ index: id, term: index, config }) }),
)
const messages = fc.array(
  fc.record({ group: fc.constantFrom('r1', 'inbox-2', 'größe'), ends: envelope, body: bodies }).map((made) => ({
    group: made.group,
    message: { ...made.ends, ...made.body } as Message,
  })),
  { minLength: 1, maxLength: 6 },
)

describe('fuzz', () => {
  const comparable = (list: GroupMessage[]) =>
    JSON.stringify(list, (_, value) =>
      value instanceof Uint8Array ? Buffer.from(value).toString('hex') : sorted(value),
    )

  test('what was written is read', () => {
    fc.assert(
      fc.property(messages, (list) => {
        expect(comparable(readFrame(frameOf(...list)))).toBe(comparable(list))
      }),
    )
  })

  test('a damaged frame is read or refused, and nothing else', () => {
    const damage = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 4 })
    fc.assert(
      fc.property(messages, damage, fc.nat(), (list, changes, cut) => {
        const frame = new Uint8Array(frameOf(...list))
        for (const [at, value] of changes) frame[at % frame.length] = value
        expectHarmless(frame.subarray(0, frame.length - (cut % 3 === 0 ? cut % frame.length : 0)))
      }),
      { numRuns: 2_000 },
    )
  })

  test('noise is read or refused', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (noise) => expectHarmless(new Uint8Array([1, ...noise]))),
      { numRuns: 2_000 },
    )
  })
})

function expectHarmless(frame: Uint8Array): void {
  try {
    readFrame(frame)
  } catch (error) {
    expect(error).toBeInstanceOf(BrokerError)
  }
}

function sorted(value: unknown): unknown {
  if (value === null || typeof value !== 'object' || Array.isArray(value)) return value
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
}
