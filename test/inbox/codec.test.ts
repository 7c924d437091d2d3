import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Message } from '../../src/base/message.ts'
import { toRanges } from '../../src/inbox/feed.ts'
import { decodeCommands, encodeCommands } from '../../src/inbox/store/codec.ts'
import type { Command } from '../../src/inbox/store/command.ts'
import { decodeEntry, EntryCache, encodeEntry } from '../../src/inbox/store/entry.ts'
import {
  groupInbox,
  inboxStart,
  parseGroupInbox,
  parseStart,
  startOf,
  TIMERS,
  timerHeadKey,
} from '../../src/inbox/store/schema.ts'
import { compareBytes } from '../../src/kv/engine/bytes.ts'
import { LIMITS, message } from './harness.ts'

const text = fc.string({ unit: 'grapheme', maxLength: 20 })
const name = text.map((each) => each.replaceAll('\0', '')).filter((each) => each !== '')
const count = fc.maxSafeNat()
const bytes = fc.uint8Array({ maxLength: 40 }).map((each) => Buffer.from(each))
const bool = fc.boolean()
const qos = fc.constantFrom(0, 1, 2)
const options = fc.record({ qos, noLocal: bool, retainAsPublished: bool, subscriptionId: fc.nat(268_435_455) })
const limits = fc.record({
  ...{ messagesMax: count, bytesMax: count, dropPolicy: fc.constantFrom('oldest', 'newest'), queueQos0: bool },
  filtersMax: fc.nat(),
})
const messages = fc.record({
  ...{ topic: text, payload: bytes, qos, retain: bool, properties: bytes, publisher: text },
  ...{ expirySeconds: fc.constantFrom(-1, 0, 5, 0xfffffffe), timestamp: count },
})
const fence = { key: bytes, incarnation: count, connection: text }
const member = { key: bytes, member: text, connection: text }
const optionalCount = fc.option(fc.nat())
const of = <Type extends string>(type: Type) => ({ type: fc.constant(type) })
const dedup = fc.option(
  fc.oneof(fc.record({ publisher: name, number: count }), fc.record({ publisher: name, number: count, floor: count })),
)
const command = fc.oneof(
  fc.record({
    ...of('insert'),
    key: bytes,
    incarnation: count,
    qos,
    retain: bool,
    message: messages,
    dedup,
    subscriptionIds: fc.array(fc.nat()),
  }),
  fc.record({
    ...of('trim'),
    ...fence,
    number: count,
    ranges: fc.array(count),
    messages: count,
    bytes: count,
    floor: count,
    window: count,
  }),
  fc.record({ ...of('received'), ...fence, sequence: count }),
  fc.record({ type: fc.constantFrom('receive', 'release'), ...fence, packetId: fc.nat(65_535) }),
  fc.record({
    ...{
      ...of('attach'),
      key: bytes,
      connection: text,
      node: text,
      nodeIncarnation: count,
      cleanStart: bool,
      expirySeconds: fc.nat(0xffffffff),
    },
    ...{ user: text, address: text, protocol: fc.constantFrom(3, 4, 5), limits },
    will: fc.option(fc.record({ message: messages, delaySeconds: fc.nat(0xffffffff) })),
  }),
  fc.record({ ...of('detach'), ...fence, expirySeconds: optionalCount, discardWill: bool, sentUpTo: count }),
  fc.record({ ...of('remove'), key: bytes, incarnation: optionalCount }),
  fc.record({
    ...of('subscribe'),
    ...fence,
    subscriptions: fc.array(fc.record({ filter: text, options, pending: bool })),
  }),
  fc.record({ type: fc.constantFrom('confirm', 'unsubscribe'), ...fence, filters: fc.array(text) }),
  fc.record({ ...of('fired'), key: bytes, number: count }),
  fc.record({ ...of('join'), key: bytes, member: text, incarnation: count, options, limits }),
  fc.record({ ...of('leave'), key: bytes, member: text, incarnation: optionalCount }),
  fc.record({
    ...of('member-open'),
    ...member,
    incarnation: count,
    attachment: fc.nat(),
    node: text,
    nodeIncarnation: count,
    credit: fc.nat(),
  }),
  fc.record({ ...of('member-close'), ...member }),
  fc.record({ ...of('member-trim'), ...member, sequences: fc.array(count) }),
  fc.record({ ...of('member-bind'), ...member, sequence: count, packetId: fc.nat(65_535), released: bool }),
  fc.record({ ...of('due'), key: bytes, kind: fc.constantFrom(...TIMERS), dueMs: count, number: count }),
  fc.record({ type: fc.constantFrom('index', 'sweep'), key: bytes }),
  fc.record({
    type: fc.constantFrom('enter', 'fence', 'exit', 'routed'),
    ...{ key: bytes, node: text, incarnation: count },
  }),
)

describe('a batch in the log', () => {
  test('comes back as it was', () => {
    fc.assert(
      fc.property(fc.array(command), (commands) => {
        const batch = commands as unknown as Command[]
        const decoded = decodeCommands(encodeCommands(batch))
        // Views of the entry's bytes against the buffers that were given.
        expect(plain(decoded)).toEqual(plain(batch))
      }),
    )
  })

  test('holds a message once, however many inboxes it is for', () => {
    const shared = message('x'.repeat(10_000))
    const insert = (inbox: number, what: Message): Command => ({
      ...{ type: 'insert', key: inboxStart('t' as never, `c${inbox}` as never), incarnation: 1, qos: 1, retain: false },
      ...{ subscriptionIds: [], message: what, dedup: null },
    })
    const many = Array.from({ length: 1_000 }, (_, i) => insert(i, shared))
    expect(encodeCommands(many).length).toBeLessThan(10_000 + 1_000 * 20)
    const decoded = decodeCommands(encodeCommands([...many, insert(0, { ...shared })]))
    const distinct = new Set(decoded.map((each) => (each as { message?: Message }).message))
    expect(distinct.size).toBe(2)
  })

  test('that is damaged is refused with a coded error', () => {
    const whole = encodeCommands([
      {
        type: 'insert',
        key: Buffer.from('k'),
        incarnation: 1,
        qos: 1,
        retain: false,
        subscriptionIds: [1],
        message: message('m'),
        dedup: null,
      },
      {
        type: 'join',
        key: Buffer.from('k'),
        member: 'c',
        incarnation: 1,
        options: { qos: 1, noLocal: false, retainAsPublished: false, subscriptionId: 0 },
        limits: LIMITS,
      },
    ])
    for (let length = 0; length < whole.length; length++) {
      expect(() => decodeCommands(whole.subarray(0, length))).toThrowError(/Cannot read/)
    }
    expect(() => decodeCommands(Buffer.concat([whole, Buffer.of(0)]))).toThrowError(/follow its end/)
    for (let at = 0; at < whole.length; at++) {
      const changed = Buffer.from(whole)
      changed[at]! ^= 0xff
      try {
        decodeCommands(changed)
      } catch (error) {
        expect((error as { code?: string }).code, `byte ${at}: ${String(error)}`).toBe('STORAGE_FAILED')
      }
    }
  })
})

test('an entry comes back as it was; targets that are alike share its bytes', () => {
  fc.assert(
    fc.property(messages, qos, bool, fc.array(fc.nat(268_435_455)), (what, level, retain, ids) => {
      const value = encodeEntry(what as Message, level as 1, retain, ids)
      const entry = decodeEntry(9, 7, true, value)
      expect(plain(entry)).toEqual(
        plain({
          sequence: 9,
          packetId: 7,
          dup: true,
          released: false,
          qos: level,
          retain,
          subscriptionIds: ids,
          message: what,
        }),
      )
    }),
  )
  const cache = new EntryCache()
  const shared = message('m')
  const first = cache.encode(shared, 1, false, [])
  expect(cache.encode(shared, 1, false, [])).toBe(first)
  expect(cache.encode(shared, 2, false, [])).not.toBe(first)
  expect(cache.encode(shared, 1, false, [1])).not.toBe(first)
  expect(cache.encode(message('m'), 1, false, [])).toEqual(first)
})

describe('keys', () => {
  test('name their inbox, also those of groups', () => {
    const key = { tenant: 'té' as never, inbox: 'a/b#+ü' as never }
    expect(parseStart(inboxStart(key.tenant, key.inbox))).toEqual(key)
    for (const ordered of [true, false]) {
      const group = { tenant: 't' as never, group: 'g', filter: 'a/+/b/#', ordered }
      expect(parseGroupInbox({ tenant: group.tenant, inbox: groupInbox(group) })).toEqual(group)
    }
    expect(parseGroupInbox(key)).toBeNull()
  })

  test('the head of a time index is the first key of its range', () => {
    fc.assert(
      fc.property(name, name, fc.uint8Array({ minLength: 1, maxLength: 12 }), (tenant, inbox, rest) => {
        const start = inboxStart(tenant as never, inbox as never)
        for (const rangeStart of [undefined, start]) {
          const head = timerHeadKey(rangeStart)
          if (rest[0] !== 0) expect(compareBytes(head, Buffer.concat([start, rest]))).toBeLessThan(0)
        }
        expect(startOf(Buffer.concat([start, rest]))).toEqual(start)
      }),
    )
  })
})

test('acknowledged sequences as ranges', () => {
  expect(toRanges([])).toEqual([])
  expect(toRanges([1, 2, 3, 7, 9, 10])).toEqual([1, 3, 7, 7, 9, 10])
  expect(toRanges([3, 1, 2])).toEqual([1, 3])
})

/** Byte strings of whatever class as arrays. */
function plain(value: unknown): unknown {
  return JSON.parse(
    JSON.stringify(value, (_, each) =>
      each?.type === 'Buffer' ? each.data : each instanceof Uint8Array ? [...each] : each,
    ),
  )
}
