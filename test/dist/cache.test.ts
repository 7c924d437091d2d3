import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { TenantId } from '../../src/base/ids.ts'
import { topicMatches } from '../../src/base/topic.ts'
import { MatchCache } from '../../src/dist/match/cache.ts'
import { CachedTopic } from '../../src/dist/match/entry.ts'
import { Interner, LevelBuffer } from '../../src/dist/match/interner.ts'
import { TopicTrie } from '../../src/dist/match/topic-trie.ts'
import { filters, TENANTS, topics } from './model.ts'

const TENANT = 't1' as TenantId
const MIB = 1024 * 1024

class Cached {
  readonly levels = new Interner(7)
  readonly cache: MatchCache
  readonly #buffer = new LevelBuffer()

  constructor(bytesMax = MIB) {
    this.cache = new MatchCache(this.levels, bytesMax)
  }

  add(topic: string, tenant: TenantId = TENANT): CachedTopic {
    const known = this.cache.find(tenant, topic)
    if (known !== undefined) return known
    const entry = new CachedTopic(tenant, topic)
    this.levels.levelsOf(topic, this.#buffer)
    this.cache.add(entry, this.#buffer)
    return entry
  }
}

describe('invalidation', () => {
  test('ends exactly the topics that a filter matches', () => {
    const steps = fc.array(fc.tuple(fc.constantFrom(...TENANTS), fc.array(topics, { maxLength: 12 }), filters), {
      maxLength: 12,
    })
    fc.assert(
      fc.property(steps, (all) => {
        const cached = new Cached()
        const model = new Map<string, CachedTopic>()
        for (const [tenant, added, filter] of all) {
          for (const topic of added) model.set(`${tenant} ${topic}`, cached.add(topic, tenant))
          const hit = [...model].filter(([, e]) => e.tenant === tenant && topicMatches(filter, e.topic))
          expect(cached.cache.invalidate(tenant, filter)).toBe(hit.length)
          for (const [key, entry] of hit) {
            expect(entry.alive).toBe(false)
            model.delete(key)
          }
          for (const entry of model.values()) {
            expect(entry.alive).toBe(true)
            expect(cached.cache.find(entry.tenant, entry.topic)).toBe(entry)
          }
          expect(cached.cache.count).toBe(model.size)
        }
        cached.cache.clear()
        expect([cached.cache.count, cached.cache.bytes, cached.levels.count]).toEqual([0, 0, 0])
      }),
      { numRuns: 400 },
    )
  })

  test('finds topics by the rarest text of the filter, with literals and wildcards on both sides', () => {
    const cached = new Cached()
    for (let i = 0; i < 300; i++) {
      for (const leaf of ['state', 'a/b/temp', 'c/b/temp']) cached.add(`site/d${i}/${leaf}`)
      cached.add(`$sys/d${i}/a/b/rare`)
    }
    const rare = cached.add('site/d7/a/b/rare')
    const others = [cached.add('other/d7/a/b/rare'), cached.add('site/d7/a/x/rare'), cached.add('site/d7/a/b/rare/x')]
    expect(cached.cache.invalidate(TENANT, 'site/+/+/b/nowhere')).toBe(0)
    expect(cached.cache.invalidate(TENANT, 'site/+/+/b/rare')).toBe(1)
    expect(rare.alive).toBe(false)
    expect(others.map((entry) => entry.alive)).toEqual([true, true, true])
    expect(cached.cache.invalidate(TENANT, '+/+/+/b/rare')).toBe(1)
    expect(cached.cache.invalidate(TENANT, '+/+/+/b/rare/#')).toBe(1)
    expect(cached.cache.invalidate(TENANT, '+/+')).toBe(0)
    expect(cached.cache.invalidate(TENANT, '+/+/state')).toBe(300)
    expect(cached.cache.invalidate(TENANT, 'site/+/+/b/temp')).toBe(600)
    expect(cached.cache.invalidate(TENANT, '$sys/#')).toBe(300)
  })

  test('a topic may be cached again', () => {
    const cached = new Cached()
    const first = cached.add('a/b')
    expect(cached.cache.invalidate(TENANT, 'a/b')).toBe(1)
    const second = cached.add('a/b')
    expect([first.alive, second.alive]).toEqual([false, true])
    expect(cached.cache.invalidate(TENANT, 'a/+')).toBe(1)
    expect(cached.cache.invalidate(TENANT, 'a/+')).toBe(0)
  })
})

test('an ended entry holds nothing of whoever derived from it', () => {
  const cached = new Cached()
  const entry = cached.add('a/b')
  entry.derived = { connections: [] }
  cached.cache.invalidate(TENANT, 'a/b')
  expect(entry.derived).toBeNull()
})

describe('the bound', () => {
  test('topics that come and go leave nothing behind', () => {
    const levels = new Interner(1)
    const trie = new TopicTrie(levels)
    const buffer = new LevelBuffer()
    const root = trie.addRoot()
    const add = (topic: string) => {
      levels.levelsOf(topic, buffer)
      return trie.add(root, topic, buffer, 1)
    }
    const kept = add('keep/x')
    const { bytes } = trie
    for (let depth = 1; depth < 8; depth++) {
      const ends = Array.from({ length: 6_000 }, (_, i) => add(`${'x/'.repeat(depth)}${i}`))
      for (const end of ends) trie.remove(end)
    }
    expect([trie.bytes, levels.count]).toEqual([bytes, 2])
    trie.remove(kept)
    expect(levels.count).toBe(0)
  })

  test('holds in bytes; what is asked for stays, what makes room is no longer alive', () => {
    const cached = new Cached(100_000)
    const busy = cached.add('busy')
    const entries: CachedTopic[] = []
    for (let i = 0; i < 5_000; i++) {
      entries.push(cached.add(`topic/${i}`))
      expect(cached.cache.find(TENANT, 'busy')).toBe(busy)
      expect(cached.cache.bytes).toBeLessThanOrEqual(100_000)
    }
    expect(entries.filter((entry) => entry.alive).length + 1).toBe(cached.cache.count)
    expect(cached.cache.count).toBeGreaterThan(100)
    expect(entries.at(-1)!.alive).toBe(true)
    for (const entry of entries) {
      expect(cached.cache.find(TENANT, entry.topic)).toBe(entry.alive ? entry : undefined)
    }
    expect(cached.levels.count).toBe(cached.cache.count + 1)
  })

  test('an entry that is larger than the cache is not kept, and says so', () => {
    const cached = new Cached(1_000)
    const small = cached.add('small')
    const large = cached.add(`large/${'x'.repeat(2_000)}`)
    expect([small.alive, large.alive, cached.cache.count]).toEqual([true, false, 1])
  })
})
