import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { seededRandom } from '../../src/base/clock.ts'
import type { TenantId } from '../../src/base/ids.ts'
import { topicMatches } from '../../src/base/topic.ts'
import type { Receiver } from '../../src/dist/index.ts'
import { Interner, LevelBuffer } from '../../src/dist/match/interner.ts'
import { RouteTrie } from '../../src/dist/match/trie.ts'
import { filters, topics } from './model.ts'

const TENANT = 't' as TenantId
const NODE: Receiver = { kind: 'node', node: 'n1' }

class Matcher {
  readonly levels = new Interner(1)
  readonly trie = new RouteTrie(this.levels, 1)
  readonly #buffer = new LevelBuffer()

  add(filter: string, tenant = TENANT): boolean {
    return this.trie.add(tenant, filter, NODE, 1, 1)
  }

  remove(filter: string, tenant = TENANT): boolean {
    return this.trie.remove(tenant, filter, NODE)
  }

  match(topic: string, tenant = TENANT): string[] {
    this.levels.levelsOf(topic, this.#buffer)
    const count = this.trie.match(tenant, topic, this.#buffer)
    return [...this.trie.matched.subarray(0, count)].map((list) => this.trie.filterOf(list)).sort()
  }
}

describe('what a topic matches', () => {
  const all = [
    ...['#', '+', '+/+', '+/#', '/#', '/+', '/', '//', '+/', 'a', 'a/', 'a/#', 'a/+', 'a/+/#', 'a/b', 'a/b/#', 'a/+/c'],
    ...['+/b', '+/b/#', 'a/+/+', '$SYS/#', '$SYS/+', '$SYS', '+/x', '$SYS/x', '$SYS/+/#', 'a/$SYS', 'a/$x/+'],
  ]
  test.each([
    ['a', ['#', '+', '+/#', 'a', 'a/#']],
    ['b', ['#', '+', '+/#']],
    ['/', ['#', '+/', '+/#', '+/+', '/', '/#', '/+']],
    ['//', ['#', '+/#', '/#', '//']],
    ['a/', ['#', '+/', '+/#', '+/+', 'a/', 'a/#', 'a/+', 'a/+/#']],
    ['a/b', ['#', '+/#', '+/+', '+/b', '+/b/#', 'a/#', 'a/+', 'a/+/#', 'a/b', 'a/b/#']],
    ['a/b/c', ['#', '+/#', '+/b/#', 'a/#', 'a/+/#', 'a/+/+', 'a/+/c', 'a/b/#']],
    ['$SYS', ['$SYS', '$SYS/#']],
    ['$SYS/x', ['$SYS/#', '$SYS/+', '$SYS/+/#', '$SYS/x']],
    ['$SYS/x/y', ['$SYS/#', '$SYS/+/#']],
    ['a/$SYS', ['#', '+/#', '+/+', 'a/#', 'a/$SYS', 'a/+', 'a/+/#']],
    ['$', []],
  ])('%j', (topic, expected) => {
    const matcher = new Matcher()
    for (const filter of all) matcher.add(filter)
    expect(matcher.match(topic)).toEqual(expected.sort())
  })

  test('agrees with the rule, whatever is added and removed', () => {
    const steps = fc.array(fc.tuple(fc.integer({ min: 0, max: 2 }), filters, topics), { maxLength: 60 })
    fc.assert(
      fc.property(steps, (all) => {
        const matcher = new Matcher()
        const model = new Set<string>()
        for (const [kind, filter, topic] of all) {
          if (kind === 0) expect(matcher.remove(filter)).toBe(model.delete(filter))
          else {
            expect(matcher.add(filter)).toBe(!model.has(filter))
            model.add(filter)
          }
          expect(matcher.trie.filters).toBe(model.size)
          expect(matcher.match(topic)).toEqual([...model].filter((f) => topicMatches(f, topic)).sort())
        }
        for (const filter of model) expect(matcher.remove(filter)).toBe(true)
        expect([matcher.levels.count, matcher.trie.routes.count, matcher.trie.filters]).toEqual([0, 0, 0])
      }),
      { numRuns: 500 },
    )
  })

  test('keeps tenants apart', () => {
    const matcher = new Matcher()
    matcher.add('a/#')
    matcher.add('a/b', 'u' as TenantId)
    expect(matcher.match('a/b')).toEqual(['a/#'])
    expect(matcher.match('a/b', 'u' as TenantId)).toEqual(['a/b'])
    expect(matcher.match('a/b', 'v' as TenantId)).toEqual([])
    expect(matcher.remove('a/#', 'u' as TenantId)).toBe(false)
  })

  test('takes filters of tens of thousands of levels', () => {
    const matcher = new Matcher()
    const deep = `${'/'.repeat(60_000)}`
    const wild = `${'+/'.repeat(30_000)}+`
    const any = `${'+/'.repeat(20_000)}#`
    for (const filter of [deep, wild, any]) matcher.add(filter)
    expect(matcher.match('/'.repeat(30_000))).toEqual([any, wild].sort())
    expect(matcher.match(deep)).toEqual([any, deep].sort())
    for (const filter of [deep, wild, any]) expect(matcher.remove(filter)).toBe(true)
    expect(matcher.levels.count).toBe(0)
  })
})

describe('what a trie holds', () => {
  test('texts with the same hash are told apart', () => {
    const texts = new Interner(1)
    // Of 400,000 texts, some twenty pairs share their 32 bits.
    const random = seededRandom(3)
    const all = Array.from({ length: 400_000 }, () => String(random.float()))
    const ids = all.map((text) => texts.acquire(text))
    expect(texts.count).toBe(new Set(all).size)
    for (let i = 0; i < all.length; i++) if (texts.text(ids[i]!) !== all[i]) expect.fail(`text ${all[i]}`)
  })

  test('removed filters give everything back, however often they come and go', () => {
    const matcher = new Matcher()
    matcher.add('keep/+/x/#')
    const [bytes, levels] = [matcher.trie.bytes, matcher.levels.count]
    for (let round = 0; round < 20; round++) {
      const names = Array.from({ length: 2_000 }, (_, i) => `devices/${round}-${i}/+/state/#`)
      for (const name of names) matcher.add(name)
      for (const name of names) expect(matcher.remove(name)).toBe(true)
    }
    expect(matcher.levels.count).toBe(levels)
    expect(matcher.trie.filters).toBe(1)
    expect(matcher.match('keep/1/x/y')).toEqual(['keep/+/x/#'])
    // One chunk more at most: what was given back was used again.
    expect(matcher.trie.bytes - bytes).toBeLessThan(64 * 1024)
  })

  test('a million routes on one filter come and go one by one', () => {
    const matcher = new Matcher()
    const count = 100_000
    for (let i = 0; i < count; i++) matcher.trie.add(TENANT, 'a/+', { kind: 'node', node: `n${i}` }, 1, 1)
    expect([matcher.trie.filters, matcher.trie.routes.count]).toEqual([1, count])
    for (let i = 0; i < count; i++) matcher.trie.remove(TENANT, 'a/+', { kind: 'node', node: `n${(i * 7) % count}` })
    expect([matcher.trie.filters, matcher.trie.routes.count, matcher.levels.count]).toEqual([0, 0, 0])
  })
})
