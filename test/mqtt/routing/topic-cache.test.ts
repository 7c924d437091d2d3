import { ok } from 'node:assert/strict'
import { expect, test } from 'vitest'
import { seededRandom } from '../../../src/base/clock.ts'
import type { TenantId } from '../../../src/base/ids.ts'
import type { TopicEntry } from '../../../src/dist/index.ts'
import { equalBytes, TopicCache } from '../../../src/mqtt/routing/topic-cache.ts'
import { seeds } from '../../sim/seeds.ts'

const entryOf = (tenant: TenantId, topic: string) => ({ tenant, topic, alive: true }) as TopicEntry
const [A, B] = ['a', 'b'] as TenantId[]

function keep(cache: TopicCache, tenant: TenantId, topic: string): TopicEntry {
  const entry = entryOf(tenant, topic)
  const buffer = Buffer.from(`--${topic}--`)
  cache.keep(tenant, buffer, 2, buffer.length - 2, entry)
  buffer.fill(0) // the cache has a copy
  return entry
}

function find(cache: TopicCache, tenant: TenantId, topic: string): TopicEntry | null {
  const buffer = Buffer.from(`++++${topic}+`)
  return cache.find(tenant, buffer, 4, buffer.length - 1)?.entry ?? null
}

test('finds what was kept, by tenant and bytes', () => {
  const cache = new TopicCache()
  const entry = keep(cache, A!, 'some/topic')
  expect(find(cache, A!, 'some/topic')).toBe(entry)
  expect(find(cache, B!, 'some/topic')).toBeNull()
  expect(find(cache, A!, 'some/topi')).toBeNull()
  expect(find(cache, A!, 'some/topics')).toBeNull()
  expect([cache.hits, cache.misses]).toEqual([1, 3])
})

test('topics of one hash are two', () => {
  const cache = new TopicCache()
  const [one, other] = [keep(cache, A!, 'costarring'), keep(cache, A!, 'liquid')] // one FNV-1a hash of 32 bits
  expect([find(cache, A!, 'costarring'), find(cache, A!, 'liquid')]).toEqual([one, other])
  expect(find(cache, A!, 'liquid')).toBe(other)
})

test('an entry that died is not found', () => {
  const cache = new TopicCache()
  const entry = keep(cache, A!, 't')
  entry.alive = false
  expect(find(cache, A!, 't')).toBeNull()
  const next = keep(cache, A!, 't')
  expect(find(cache, A!, 't')).toBe(next)
})

test('topics of more than 256 bytes pass by', () => {
  const cache = new TopicCache()
  keep(cache, A!, 'x'.repeat(257))
  expect(find(cache, A!, 'x'.repeat(257))).toBeNull()
  const entry = keep(cache, A!, 'x'.repeat(256))
  expect(find(cache, A!, 'x'.repeat(256))).toBe(entry)
})

test('a working set far below its size is kept', () => {
  const cache = new TopicCache()
  for (let i = 0; i < 5_000; i++) keep(cache, A!, `topic/${i}`)
  let found = 0
  for (let i = 0; i < 5_000; i++) if (find(cache, A!, `topic/${i}`) !== null) found++
  expect(found).toBeGreaterThan(4_900)
})

for (const seed of seeds(5)) {
  test(`never gives another topic's entry, whatever collides, seed=${seed}`, () => {
    const random = seededRandom(seed)
    const cache = new TopicCache()
    const latest = new Map<string, TopicEntry>()
    for (let i = 0; i < 60_000; i++) {
      const tenant = random.below(2) === 0 ? A! : B!
      const topic = `${random.below(40_000)}`
      const found = find(cache, tenant, topic)
      const known = latest.get(`${tenant}/${topic}`)
      ok(found === null || (found === known && found.alive))
      if (found === null) latest.set(`${tenant}/${topic}`, keep(cache, tenant, topic))
      else if (random.below(10) === 0) found.alive = false
    }
    ok(cache.hits > 1000)
  })
}

test('bytes are compared over their whole length', () => {
  const buffer = Buffer.from('xabcx')
  expect(equalBytes(Buffer.from('abc'), buffer, 1, 4)).toBe(true)
  expect(equalBytes(Buffer.from('abd'), buffer, 1, 4)).toBe(false)
  expect(equalBytes(Buffer.from('bbc'), buffer, 1, 4)).toBe(false)
  expect(equalBytes(Buffer.from('ab'), buffer, 1, 4)).toBe(false)
  expect(equalBytes(Buffer.from('abcx'), buffer, 1, 4)).toBe(false)
})
