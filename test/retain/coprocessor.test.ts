import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { BrokerError } from '../../src/base/errors.ts'
import { engineReader } from '../../src/kv/range/boundary.ts'
import { Range } from '../../src/kv/range/range.ts'
import { readHead } from '../../src/retain/store/books.ts'
import { commandBytes, decodeCommands, encodeCommands, type RetainCommand } from '../../src/retain/store/codec.ts'
import { type RetainAnswer, retainCoprocessor } from '../../src/retain/store/coprocessor.ts'
import { behindBooks, messageSlot, topicKey } from '../../src/retain/store/schema.ts'
import { CountingReader, LocalRanges, matchAll, message, NO_LIMITS, START_MS, TENANT } from './harness.ts'

const key = (topic: string) => topicKey(TENANT, topic)

function set(topic: string, payload: string, expirySeconds = -1): RetainCommand {
  return { type: 'set', key: key(topic), slot: messageSlot(message(topic, payload, { expirySeconds })), ...NO_LIMITS }
}

describe('a batch', () => {
  const bytes = fc.uint8Array({ minLength: 1, maxLength: 40 })
  const limit = fc.oneof(fc.constant(Infinity), fc.nat(), fc.constant(2 ** 50))
  const command: fc.Arbitrary<RetainCommand> = fc.oneof(
    fc.record({
      type: fc.constant('set' as const),
      key: bytes,
      slot: fc.string().map((payload) => new Uint8Array(messageSlot(message('a', payload)))),
      topicsMax: limit,
      bytesMax: limit,
    }),
    fc.record({
      type: fc.constant('clear' as const),
      key: bytes,
      timestamp: fc.double({ min: 0, max: 2 ** 52, noNaN: true }),
    }),
    fc.record({ type: fc.constant('purge' as const), from: bytes, olderThanSeconds: fc.nat() }),
    fc.record({ type: fc.constant('expire' as const), deadlineMs: fc.nat(), key: bytes }),
    fc.constant({ type: 'rebuild' as const }),
  )

  test('is read as it was written', () => {
    fc.assert(
      fc.property(fc.array(command), (commands) => {
        expect(decodeCommands(encodeCommands(commands).slice())).toEqual(commands)
      }),
    )
  })

  test('that is damaged gives an error, never a wrong number of commands', () => {
    fc.assert(
      fc.property(fc.array(command, { minLength: 1 }), fc.nat(), (commands, cut) => {
        const entry = encodeCommands(commands).slice()
        try {
          decodeCommands(entry.subarray(0, cut % entry.length))
          throw new Error('was read')
        } catch (error) {
          expect(error).toMatchObject({ code: 'STORAGE_FAILED' })
        }
      }),
    )
    for (const entry of [[2, 0], [1, 1, 9], [1, 0, 0], []]) {
      expect(() => decodeCommands(Uint8Array.from(entry))).toThrow(BrokerError)
    }
  })

  test('is as large as it says, nearly', () => {
    const commands = [set('a/b', 'x'.repeat(10_000)), set('c', 'y')]
    const said = commands.reduce((sum, each) => sum + commandBytes(each), 0)
    expect(said).toBeGreaterThan(encodeCommands(commands).length)
    expect(said).toBeLessThan(encodeCommands(commands).length + 200)
  })
})

describe('one query', () => {
  const TOPICS = Array.from({ length: 6_000 }, (_, i) => `site${i % 2_000}/dev${i % 3}`)

  function slices(filter: string, expirySeconds = -1): { cost: number; messages: number; slices: number } {
    const ranges = new LocalRanges()
    const [range] = ranges.ranges
    ranges.run(
      range!,
      TOPICS.map((topic) => set(topic, 'x', expirySeconds)),
    )
    const context = { nowMs: START_MS + 10_000, boundary: {} }
    let cost = 0
    let messages = 0
    let from: Uint8Array | null = key('')
    let count = 0
    for (; from !== null; count++) {
      const reader = new CountingReader(range!.reader)
      const query = { type: 'match' as const, tenant: TENANT, filter, from, messagesMax: 1e9, bytesMax: 1e9 }
      const answer = retainCoprocessor.query(query, reader, context) as Extract<RetainAnswer, { type: 'page' }>
      cost = Math.max(cost, reader.nexts + answer.messages.length + 12 * reader.seeks)
      messages += answer.messages.length
      from = answer.next
    }
    return { cost, messages, slices: count }
  }

  test.each([
    ['#', 6_000],
    ['+/nowhere', 0],
    ['+/dev1', 2_000],
    ['+/+/+', 0],
  ])('%s is answered in slices of bounded cost', (filter, count) => {
    const { cost, messages, slices: calls } = slices(filter)
    expect(messages).toBe(count)
    expect(cost).toBeLessThanOrEqual(1_024)
    expect(calls).toBeGreaterThan(5)
  })

  test('expired messages cost as others do, and are not in the answer', () => {
    const { cost, messages, slices: calls } = slices('#', 5)
    expect(messages).toBe(0)
    expect(cost).toBeLessThanOrEqual(1_024)
    expect(calls).toBeGreaterThan(5)
  })
})

describe('books', () => {
  test('are made anew after a split in steps, while the range serves', async () => {
    const ranges = new LocalRanges()
    const topics = Array.from({ length: 5_000 }, (_, i) => `t${String(i).padStart(4, '0')}`)
    ranges.run(
      ranges.ranges[0]!,
      topics.map((topic) => set(topic, 'x', 100)),
    )
    const { bytes } = ranges.client.stats()
    ranges.split(key('t2000'))
    const [left, right] = ranges.ranges
    const entries = ranges.entries
    let steps = 0
    for (const range of [left!, right!]) {
      while (range.nextDueMs() === 0) {
        const commands = range.due(ranges.nowMs, 100)
        expect(commands).toEqual([{ type: 'rebuild' }])
        // Both sides of the step's position.
        const replace = steps % 2 === 0 ? 't0000' : 't1999'
        const own = range === left ? replace : replace.replace(/^t./, 't4')
        ranges.run(range, [set(own, 'longer'), ...commands, set(own, 'x', 100), set(`${own}/new${steps}`, 'x')])
        steps++
      }
    }
    expect(ranges.entries - entries).toBe(steps)
    expect(steps).toBeGreaterThan(5)
    expect(steps).toBeLessThan(12)
    ranges.settle()
    expect(ranges.client.stats().topics).toBe(5_000 + steps)
    expect(ranges.client.stats().bytes).toBeGreaterThan(bytes)
    ranges.nowMs += 100_000
    ranges.settle()
    expect(ranges.client.stats().topics).toBe(steps)
    await ranges.client.expire(TENANT, 0)
    expect(ranges.client.stats()).toEqual({ topics: 0, bytes: 0 })
  })

  test('of a range that was merged away are removed, and are never taken for topics', async () => {
    const ranges = new LocalRanges([key('c'), key('e')])
    for (const topic of ['a', 'c', 'c/1', 'd', 'e', 'f']) {
      await ranges.client.set(TENANT, message(topic, topic, { expirySeconds: 10 }), NO_LIMITS)
    }
    const merged = new Range({
      coprocessor: retainCoprocessor,
      descriptor: { ...ranges.ranges[0]!.descriptor, end: undefined },
      applied: { index: 0, nowMs: ranges.nowMs, hash: 0 },
      landed: engineReader(ranges.engine, 'retain'),
      codec: null,
    })
    const page = () =>
      merged.query(
        { type: 'match', tenant: TENANT, filter: '#', from: key(''), messagesMax: 100, bytesMax: 1e6 },
        ranges.nowMs,
      )
    expect(page()).toMatchObject({ messages: [...'a,c,c/1,d,e,f'.split(',')].map((topic) => ({ topic })) })
    while (merged.nextDueMs() === 0) ranges.run(merged, merged.due(ranges.nowMs, 100))
    expect(page()).toMatchObject({ messages: { length: 6 } })
    const books = ranges.keys().filter((each) => behindBooks(each) !== null)
    expect(books.every((each) => each[0] === 0)).toBe(true)
    // Head, usage, and six entries of the time index.
    expect(books.length).toBe(8)
    expect(readHead(merged.reader, merged.descriptor)?.total.topics).toBe(6)
    expect(merged.nextDueMs()).toBe(START_MS + 10_000)
  })

  test('a fresh range makes its books with the first message, without timed work', async () => {
    const ranges = new LocalRanges([key('c')])
    expect(ranges.ranges.map((range) => range.nextDueMs())).toEqual([null, null])
    await ranges.client.set(TENANT, message('a', 'x'), NO_LIMITS)
    expect(ranges.ranges.map((range) => range.nextDueMs())).toEqual([null, null])
    expect((await matchAll(ranges.client, '#')).messages.length).toBe(1)
  })

  test('hold no entry of the time index for a message that was replaced', () => {
    const ranges = new LocalRanges()
    ranges.run(ranges.ranges[0]!, [set('a', 'x', 10), set('b', 'x', 20)])
    ranges.run(ranges.ranges[0]!, [set('a', 'y'), set('b', 'y', 30)])
    expect(ranges.ranges[0]!.due(START_MS + 60_000, 10)).toMatchObject([{ deadlineMs: START_MS + 30_000 }])
  })

  test('an entry of the time index whose message was replaced is dropped alone', () => {
    const ranges = new LocalRanges()
    const [range] = ranges.ranges
    ranges.run(range!, [set('a', 'x', 10)])
    ranges.nowMs += 10_000
    const due = range!.due(ranges.nowMs, 10)
    expect(due).toEqual([{ type: 'expire', deadlineMs: START_MS + 10_000, key: key('a') }])
    // Committed before the timed work is.
    ranges.run(range!, [set('a', 'y')])
    ranges.run(range!, due)
    expect(ranges.client.stats().topics).toBe(1)
    expect(range!.nextDueMs()).toBe(null)
  })
})
