import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { TenantId } from '../../src/base/ids.ts'
import { type Message, NO_EXPIRY } from '../../src/base/message.ts'
import { topicMatches } from '../../src/base/topic.ts'
import { compareBytes } from '../../src/kv/engine/bytes.ts'
import { RetainClient } from '../../src/retain/client.ts'
import { readUsage } from '../../src/retain/store/books.ts'
import {
  behindBooks,
  booksStart,
  slotBytes,
  TOMBSTONE_MS,
  tenantStart,
  topicKey,
} from '../../src/retain/store/schema.ts'
import { filterArbitrary, topicArbitrary } from './arbitraries.ts'
import { LocalRanges, matchAll, message, NO_LIMITS, START_MS, TENANT } from './harness.ts'

const key = (topic: string) => topicKey(TENANT, topic)
const stamp = (ms: number) => (START_MS + ms) * 1024

/** What the ranges count, and what there is to count; returns how many topics are in ranges without room for books. */
function expectExactBooks(ranges: LocalRanges): number {
  let uncounted = 0
  const counted = { topics: 0, bytes: 0 }
  const actual = { topics: 0, bytes: 0 }
  for (const { reader, descriptor } of ranges.ranges) {
    const usage = readUsage(reader, descriptor, tenantStart(TENANT))
    counted.topics += usage.topics
    counted.bytes += usage.bytes
  }
  for (const each of ranges.keys()) {
    if (behindBooks(each) !== null) continue
    const value = ranges.engine.get('retain', each)!
    if (value[0] !== 1) continue
    if (booksStart(ranges.locate(each)) === null) {
      uncounted++
      continue
    }
    actual.topics++
    actual.bytes += slotBytes(each, value)
  }
  expect(counted).toEqual(actual)
  expect(ranges.observer.stats()).toEqual(actual)
  return uncounted
}

describe('one topic', () => {
  test('a message comes back as it was, with all that belongs to it', async () => {
    const { client } = new LocalRanges()
    const full = message('a/ü/\x01', Buffer.from([0, 1, 255]), {
      qos: 2,
      properties: Buffer.from('0801', 'hex'),
      expirySeconds: 60,
      publisher: 'me',
    })
    expect(await client.set(TENANT, full, NO_LIMITS)).toBe('stored')
    expect(await client.get(TENANT, 'a/ü/\x01')).toEqual(full)
    expect(await client.get(TENANT, 'a/ü')).toBe(null)
    expect(await client.get('other' as TenantId, 'a/ü/\x01')).toBe(null)
    expect((await matchAll(client, 'a/+/#')).messages).toEqual([full])
  })

  test('the payload may change after the call', async () => {
    const { client } = new LocalRanges()
    const payload = Buffer.from('hello')
    const done = client.set(TENANT, message('a', payload), NO_LIMITS)
    payload.fill(0)
    await done
    expect((await client.get(TENANT, 'a'))?.payload).toEqual(Buffer.from('hello'))
  })

  test('an older one changes nothing; of equal ones the later call wins', async () => {
    const { client } = new LocalRanges()
    const set = (payload: string, ms: number) =>
      client.set(TENANT, message('a', payload, { timestamp: stamp(ms) }), NO_LIMITS)
    expect(await set('new', 5)).toBe('stored')
    expect(await set('old', 4)).toBe('unchanged')
    expect(await set('', 4)).toBe('unchanged')
    expect((await client.get(TENANT, 'a'))?.payload.toString()).toBe('new')
    expect(await set('tie', 5)).toBe('stored')
    expect((await client.get(TENANT, 'a'))?.payload.toString()).toBe('tie')
  })

  test('a cleared one stays cleared for what was on its way, then nothing is left of it', async () => {
    const ranges = new LocalRanges()
    const { client } = ranges
    const set = (payload: string, ms: number) =>
      client.set(TENANT, message('a', payload, { timestamp: stamp(ms) }), NO_LIMITS)
    expect(await set('', 1)).toBe('unchanged')
    await set('x', 2)
    expect(await set('', 5)).toBe('cleared')
    expect(await client.get(TENANT, 'a')).toBe(null)
    expect(await set('late', 4)).toBe('unchanged')
    expect(await set('', 7)).toBe('unchanged')
    expect(await set('late', 6)).toBe('unchanged')
    expectExactBooks(ranges)
    ranges.nowMs += TOMBSTONE_MS
    ranges.settle()
    expect(ranges.keys().filter((each) => behindBooks(each) === null)).toEqual([])
    expect(ranges.keys().length).toBe(1)
    expect(await set('again', 6)).toBe('stored')
  })

  test('wrong arguments are refused', async () => {
    const { client } = new LocalRanges()
    const page = { after: null, messagesMax: 10, bytesMax: 10 }
    const invalid = { code: 'INVALID_ARGUMENT' }
    await expect(client.set(TENANT, message('a\0b', 'x'), NO_LIMITS)).rejects.toMatchObject(invalid)
    await expect(client.set('' as TenantId, message('a', 'x'), NO_LIMITS)).rejects.toMatchObject(invalid)
    await expect(client.set(TENANT, message('a', 'x'), { topicsMax: -1, bytesMax: 1 })).rejects.toMatchObject(invalid)
    await expect(client.get(TENANT, '')).rejects.toMatchObject(invalid)
    await expect(client.match(TENANT, 'a/#/b', page)).rejects.toMatchObject(invalid)
    await expect(client.match(TENANT, '$share/g/a', page)).rejects.toMatchObject(invalid)
    const after = topicKey('other' as TenantId, 'a')
    await expect(client.match(TENANT, '#', { ...page, after })).rejects.toMatchObject(invalid)
    await expect(client.expire(TENANT, -1)).rejects.toMatchObject(invalid)
  })
})

describe('expiry', () => {
  test('an expired message is not seen, is removed when due, and gives its place back', async () => {
    const ranges = new LocalRanges([key('b')])
    const { client } = ranges
    await client.set(TENANT, message('a', 'x', { expirySeconds: 10 }), NO_LIMITS)
    await client.set(TENANT, message('c', 'x', { expirySeconds: 20 }), NO_LIMITS)
    await client.set(TENANT, message('d', 'x'), NO_LIMITS)
    expect(ranges.ranges.map((range) => range.nextDueMs())).toEqual([START_MS + 10_000, START_MS + 20_000])
    ranges.nowMs += 9_999
    expect((await matchAll(client, '#')).messages.map(({ topic }) => topic)).toEqual(['a', 'c', 'd'])
    ranges.nowMs += 1
    expect(await client.get(TENANT, 'a')).toBe(null)
    expect((await matchAll(client, '#')).messages.map(({ topic }) => topic)).toEqual(['c', 'd'])
    ranges.settle()
    expect(client.stats().topics).toBe(2)
    ranges.nowMs += 10_000
    ranges.settle()
    expect(client.stats().topics).toBe(1)
    expect(ranges.ranges.map((range) => range.nextDueMs())).toEqual([null, null])
    expectExactBooks(ranges)
  })

  test('a replaced message does not expire with the one before', async () => {
    const ranges = new LocalRanges()
    const { client } = ranges
    await client.set(TENANT, message('a', 'x', { expirySeconds: 10 }), NO_LIMITS)
    await client.set(TENANT, message('a', 'y', { expirySeconds: 100 }), NO_LIMITS)
    await client.set(TENANT, message('b', 'x', { expirySeconds: 10 }), NO_LIMITS)
    await client.set(TENANT, message('b', 'y'), NO_LIMITS)
    ranges.nowMs += 10_000
    ranges.settle()
    expect((await matchAll(client, '#')).messages.map(({ payload }) => payload.toString())).toEqual(['y', 'y'])
    expect(ranges.ranges[0]!.nextDueMs()).toBe(START_MS + 100_000)
  })

  test('one that expired on its way clears what it would have replaced', async () => {
    const ranges = new LocalRanges()
    await ranges.client.set(TENANT, message('a', 'x'), NO_LIMITS)
    ranges.nowMs += 5_000
    expect(await ranges.client.set(TENANT, message('a', 'y', { expirySeconds: 5 }), NO_LIMITS)).toBe('cleared')
    expect(await ranges.client.get(TENANT, 'a')).toBe(null)
    expectExactBooks(ranges)
  })

  test('expire clears what is old enough, in every range, in slices', async () => {
    const ranges = new LocalRanges([key('b'), key('c')])
    const { client } = ranges
    for (let i = 0; i < 2_500; i++) {
      const topic = `${'abc'[i % 3]}/${i}`
      await client.set(TENANT, message(topic, 'x', { timestamp: stamp(i < 2_400 ? 0 : 60_000) }), NO_LIMITS)
    }
    await client.set('other' as TenantId, message('a', 'x'), NO_LIMITS)
    ranges.nowMs += 60_000
    expect(await client.expire(TENANT, 61)).toBe(0)
    expect(await client.expire(TENANT, 60)).toBe(2_400)
    expect(client.stats().topics).toBe(101)
    expect(await client.expire(TENANT, 0)).toBe(100)
    expect((await matchAll(client, '#')).messages).toEqual([])
    expect(await client.get('other' as TenantId, 'a')).not.toBe(null)
  })

  test('expire and what was set in the same entry', () => {
    const ranges = new LocalRanges()
    const [range] = ranges.ranges
    const slot = (payload: string) => {
      const other = new LocalRanges()
      void other.client.set(TENANT, message('a', payload), NO_LIMITS)
      return other.engine.get('retain', key('a'))!
    }
    const set = { type: 'set' as const, key: key('a'), slot: slot('x'), ...NO_LIMITS }
    const purge = { type: 'purge' as const, from: tenantStart(TENANT), olderThanSeconds: 0 }
    const responses = ranges.run(range!, [set, purge, set, purge, purge])
    expect(responses.map((each) => (each.type === 'purge' ? each.cleared : each.type))).toEqual(['set', 1, 'set', 1, 0])
    expectExactBooks(ranges)
    expect(ranges.observer.stats()).toEqual({ topics: 0, bytes: 0 })
  })
})

describe('quotas', () => {
  const refused = { code: 'QUOTA_EXCEEDED' }

  test('topics: a new one beyond is refused, a replacement is not, room comes back', async () => {
    const ranges = new LocalRanges()
    const { client } = ranges
    const limits = { topicsMax: 2, bytesMax: Infinity }
    const set = (topic: string, payload = 'x', changes: Partial<Message> = {}) =>
      client.set(TENANT, message(topic, payload, changes), limits)
    await set('a')
    await set('b', 'x', { expirySeconds: 1 })
    await expect(set('c')).rejects.toMatchObject(refused)
    await expect(set('c')).rejects.toThrow('tenant "acme" may retain 2 topics')
    expect(await set('a', 'other')).toBe('stored')
    expect(await client.set('other' as TenantId, message('c', 'x'), limits)).toBe('stored')
    expect(await set('a', '')).toBe('cleared')
    expect(await set('c')).toBe('stored')
    await expect(set('a')).rejects.toMatchObject(refused)
    ranges.nowMs += 1_000
    ranges.settle()
    expect(await set('a')).toBe('stored')
    await expect(set('b')).rejects.toMatchObject(refused)
    expect(await client.expire(TENANT, 0)).toBe(2)
    expect(await set('b')).toBe('stored')
  })

  test('bytes: of what is stored, exact under replacement', async () => {
    const ranges = new LocalRanges()
    const { client } = ranges
    await client.set(TENANT, message('a', 'x'.repeat(100)), NO_LIMITS)
    const { bytes } = client.stats()
    const limits = { topicsMax: Infinity, bytesMax: bytes }
    await expect(client.set(TENANT, message('a', 'x'.repeat(101)), limits)).rejects.toMatchObject(refused)
    await expect(client.set(TENANT, message('b', 'x'), limits)).rejects.toThrow(`may retain ${bytes} bytes`)
    expect(await client.set(TENANT, message('a', 'y'.repeat(100)), limits)).toBe('stored')
    expect(client.stats()).toEqual({ topics: 1, bytes })
    // Beyond a limit that was lowered, less is still taken.
    expect(await client.set(TENANT, message('a', 'y'), { topicsMax: 0, bytesMax: 0 })).toBe('stored')
    expect(client.stats().bytes).toBe(bytes - 99)
    expectExactBooks(ranges)
  })

  test('hold for a tenant that is spread over several ranges', async () => {
    const ranges = new LocalRanges([key('b'), key('c'), topicKey('other' as TenantId, 'x')])
    const { client } = ranges
    const limits = { topicsMax: 3, bytesMax: Infinity }
    for (const topic of ['a', 'b', 'c']) await client.set(TENANT, message(topic, 'x'), limits)
    for (const topic of ['a/2', 'b/2', 'c/2']) {
      await expect(client.set(TENANT, message(topic, 'x'), limits)).rejects.toMatchObject(refused)
    }
    await client.set(TENANT, message('b', ''), limits)
    expect(await client.set(TENANT, message('a/2', 'x'), limits)).toBe('stored')
    await expect(client.set(TENANT, message('b/2', 'x'), limits)).rejects.toMatchObject(refused)
    // Another node's client has its own picture, and asks.
    const other = new RetainClient(ranges, ranges.observer)
    await expect(other.set(TENANT, message('c/2', 'x'), limits)).rejects.toMatchObject(refused)
    expect(client.stats().topics).toBe(3)
  })
})

describe('pages', () => {
  const TOPICS = Array.from({ length: 300 }, (_, i) => `${'abcdef'[i % 6]}/${i}`)

  async function filled(splits = ['b', 'c/150', 'e']): Promise<LocalRanges> {
    const ranges = new LocalRanges(splits.map(key))
    for (const topic of TOPICS) await ranges.client.set(TENANT, message(topic, topic.repeat(5)), NO_LIMITS)
    return ranges
  }
  const sorted = TOPICS.toSorted((a, b) => compareBytes(key(a), key(b)))

  test.each([1, 7, 100, 1_000])('of %i go through all ranges in order', async (messagesMax) => {
    const { client } = await filled()
    const { messages } = await matchAll(client, '#', { messagesMax })
    expect(messages.map(({ topic }) => topic)).toEqual(sorted)
  })

  test('are bounded in bytes, but have one message at least', async () => {
    const { client } = await filled()
    const { messages, pages } = await matchAll(client, '+/+', { bytesMax: 1 })
    expect(messages.map(({ topic }) => topic)).toEqual(sorted)
    expect(pages).toBeGreaterThanOrEqual(300)
    const three = await client.match(TENANT, '#', { after: null, messagesMax: 100, bytesMax: 300 })
    expect(three.messages.length).toBeGreaterThan(1)
    expect(three.messages.length).toBeLessThan(10)
  })

  test('go on after splits and changes in between', async () => {
    const ranges = await filled()
    const topics: string[] = []
    let after: Uint8Array | null = null
    for (let page = 0; ; page++) {
      const answer = await ranges.client.match(TENANT, '#', { after, messagesMax: 10, bytesMax: 1e6 })
      topics.push(...answer.messages.map(({ topic }) => topic))
      if (answer.next === null) break
      after = answer.next
      ranges.split(key(sorted[(page * 37) % 300]!))
      if (page % 3 === 0) ranges.settle()
      await ranges.client.set(TENANT, message('a', 'behind'), NO_LIMITS)
    }
    expect(topics).toEqual(sorted)
    expect(ranges.ranges.length).toBeGreaterThan(20)
  })

  test('only the ranges that can match are asked', async () => {
    const ranges = await filled()
    ranges.queries = 0
    expect((await matchAll(ranges.client, 'f/#')).messages.length).toBe(50)
    expect((await matchAll(ranges.client, 'a/6')).messages.length).toBe(1)
    expect(ranges.queries).toBe(2)
  })

  test('$ topics come for their own filters only', async () => {
    const { client } = new LocalRanges([key('$SYS/b'), key('a')])
    for (const topic of ['$SYS/a', '$SYS/b', '$', 'a', '/', '%']) {
      await client.set(TENANT, message(topic, 'x'), NO_LIMITS)
    }
    const topics = async (filter: string) => (await matchAll(client, filter)).messages.map(({ topic }) => topic)
    expect(await topics('#')).toEqual(['/', '%', 'a'])
    expect(await topics('+')).toEqual(['%', 'a'])
    expect(await topics('$SYS/#')).toEqual(['$SYS/a', '$SYS/b'])
    expect(await topics('+/a')).toEqual([])
    expect(await topics('$/#')).toEqual(['$'])
  })
})

describe('against a model', () => {
  type Step =
    | { type: 'set'; topic: string; payload: string; expirySeconds: number; late: number }
    | { type: 'match'; filter: string; messagesMax: number }
    | { type: 'split'; topic: string; cut: number }
    | { type: 'time'; ms: number }
    | { type: 'expire'; seconds: number }
    | { type: 'settle' }

  const step: fc.Arbitrary<Step> = fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({
        type: fc.constant('set' as const),
        topic: topicArbitrary,
        payload: fc.constantFrom('', 'x', 'yy'),
        expirySeconds: fc.constantFrom(NO_EXPIRY, NO_EXPIRY, 1, 5),
        late: fc.constantFrom(0, 0, 0, 1_500),
      }),
    },
    {
      weight: 3,
      arbitrary: fc.record({
        type: fc.constant('match' as const),
        filter: filterArbitrary,
        messagesMax: fc.constantFrom(1, 3, 100),
      }),
    },
    {
      weight: 1,
      arbitrary: fc.record({ type: fc.constant('split' as const), topic: topicArbitrary, cut: fc.nat(8) }),
    },
    {
      weight: 1,
      arbitrary: fc.record({ type: fc.constant('time' as const), ms: fc.constantFrom(1, 999, 1_000, 6_000) }),
    },
    { weight: 1, arbitrary: fc.record({ type: fc.constant('expire' as const), seconds: fc.constantFrom(0, 2) }) },
    { weight: 1, arbitrary: fc.record({ type: fc.constant('settle' as const) }) },
  )

  test('sets, clears, expiry, splits anywhere, pages: the same as a plain map', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 10, maxLength: 60 }), async (steps) => {
        const ranges = new LocalRanges([key('a'), key('b'), key('b/a')])
        const { client } = ranges
        const model = new Map<string, Message>()
        const cleared = new Map<string, number>()
        for (const each of steps) {
          if (each.type === 'set') {
            const { topic, payload, expirySeconds, late } = each
            const timestamp = (ranges.nowMs - late) * 1024
            const next = message(topic, payload, { expirySeconds, timestamp })
            await client.set(TENANT, next, NO_LIMITS)
            const known = model.get(topic)?.timestamp ?? cleared.get(topic) ?? 0
            if (known <= timestamp) {
              // A clear is remembered where it cleared something: see TOMBSTONE_MS.
              const gone = payload === '' || deadline(next) <= ranges.nowMs
              if (!gone) {
                model.set(topic, next)
                cleared.delete(topic)
              } else if (model.delete(topic) || cleared.has(topic)) cleared.set(topic, timestamp)
            }
          } else if (each.type === 'match') {
            const { messages } = await matchAll(client, each.filter, { messagesMax: each.messagesMax })
            const expected = [...model.values()]
              .filter((known) => topicMatches(each.filter, known.topic) && deadline(known) > ranges.nowMs)
              .sort((a, b) => compareBytes(key(a.topic), key(b.topic)))
            expect(messages).toEqual(expected)
          } else if (each.type === 'split') {
            const whole = key(each.topic)
            ranges.split(
              each.cut > 5 ? Buffer.concat([whole, Buffer.of(0, 2)]) : whole.subarray(0, whole.length - (each.cut % 3)),
            )
          } else if (each.type === 'time') {
            // What the harness removes on time, the model forgets on time.
            ranges.nowMs += each.ms
            ranges.settle()
            for (const [topic, known] of model) if (deadline(known) <= ranges.nowMs) model.delete(topic)
          } else if (each.type === 'expire') {
            const old = [...model.values()].filter(
              ({ timestamp }) => each.seconds === 0 || timestamp / 1024 <= ranges.nowMs - each.seconds * 1000,
            )
            expect(await client.expire(TENANT, each.seconds)).toBe(old.length)
            for (const { topic } of old) model.delete(topic)
          } else {
            ranges.settle()
            expectExactBooks(ranges)
          }
        }
        ranges.settle()
        expect((await matchAll(client, '#')).messages.length).toBe(
          [...model.keys()].filter((topic) => !topic.startsWith('$')).length,
        )
        expectExactBooks(ranges)
        ranges.nowMs += 100_000
        ranges.settle()
        const lasting = [...model.values()].filter(({ expirySeconds }) => expirySeconds === NO_EXPIRY)
        const uncounted = expectExactBooks(ranges)
        expect(client.stats().topics).toBeLessThanOrEqual(lasting.length)
        expect(client.stats().topics).toBeGreaterThanOrEqual(lasting.length - uncounted)
      }),
      { numRuns: 300 },
    )
  })

  function deadline({ timestamp, expirySeconds }: Message): number {
    return expirySeconds === NO_EXPIRY ? Infinity : Math.floor(timestamp / 1024) + expirySeconds * 1000
  }
})
