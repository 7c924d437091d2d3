import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { TenantId } from '../../src/base/ids.ts'
import { topicMatches } from '../../src/base/topic.ts'
import { compareBytes } from '../../src/kv/engine/bytes.ts'
import { TopicMatcher } from '../../src/retain/store/matcher.ts'
import { afterSubtree, tenantLength, tenantStart, topicKey, topicOf } from '../../src/retain/store/schema.ts'
import { filterArbitrary, topicArbitrary } from './arbitraries.ts'
import { TENANT } from './harness.ts'

/** Walks sorted keys as a cursor would; returns the topics and the number of moves. */
function walk(topics: readonly string[], filter: string): { found: string[]; moves: number } {
  const keys = topics.map((topic) => topicKey(TENANT, topic)).sort(compareBytes)
  const matcher = new TopicMatcher(TENANT, filter)
  const found: string[] = []
  let moves = 0
  let at = keys.findIndex((key) => compareBytes(key, matcher.start) >= 0)
  if (at < 0) return { found, moves }
  while (at < keys.length && compareBytes(keys[at]!, matcher.end) < 0) {
    const key = keys[at]!
    moves++
    const verdict = matcher.visit(key)
    if (verdict === 'done') break
    if (verdict === 'match') found.push(topicOf(key))
    if (verdict !== 'seek') {
      at++
      continue
    }
    expect(compareBytes(matcher.target, key), 'a seek goes forward').toBeGreaterThan(0)
    while (at < keys.length && compareBytes(keys[at]!, matcher.target) < 0) at++
  }
  return { found, moves }
}

describe('keys', () => {
  test('give their topic back, and stand in the order of levels', () => {
    fc.assert(
      fc.property(fc.uniqueArray(topicArbitrary, { maxLength: 20 }), (topics) => {
        const keys = topics.map((topic) => topicKey(TENANT, topic))
        expect(keys.map(topicOf)).toEqual(topics)
        expect(keys.every((key) => !key.includes(0))).toBe(true)
        // A topic stands before all below it, and no other topic stands between.
        const sorted = keys.toSorted(compareBytes)
        sorted.forEach((key, i) => {
          const below = sorted.filter((other) => topicOf(other).startsWith(`${topicOf(key)}/`))
          expect(sorted.slice(i + 1, i + 1 + below.length)).toEqual(below)
          for (const other of below) expect(compareBytes(other, afterSubtree(key))).toBeLessThan(0)
        })
      }),
    )
  })

  test('of one tenant lie together, whatever the names', () => {
    const tenants = ['a', 'a\x01', 'a\x01b', 'a\x02', 'ab', 'b'] as TenantId[]
    const starts = tenants.map((tenant) => tenantStart(tenant))
    expect(new Set(starts.map(String)).size).toBe(tenants.length)
    for (const tenant of tenants) {
      const key = topicKey(tenant, 'x/y')
      expect(key.subarray(0, tenantLength(key))).toEqual(tenantStart(tenant))
      for (const start of starts) {
        const inside = compareBytes(key, start) >= 0 && compareBytes(key, afterSubtree(start)) < 0
        expect(inside).toBe(start.equals(tenantStart(tenant)))
      }
    }
  })
})

describe('matcher', () => {
  test('finds what topicMatches says, in order, without looking twice', () => {
    fc.assert(
      fc.property(fc.uniqueArray(topicArbitrary, { maxLength: 60 }), filterArbitrary, (topics, filter) => {
        const { found, moves } = walk(topics, filter)
        const expected = topics.filter((topic) => topicMatches(filter, topic))
        const inOrder = expected.toSorted((a, b) => compareBytes(topicKey(TENANT, a), topicKey(TENANT, b)))
        expect(found).toEqual(inOrder)
        expect(moves).toBeLessThanOrEqual(topics.length)
      }),
      { numRuns: 5_000 },
    )
  })

  const TOPICS = Array.from(
    { length: 10_000 },
    (_, i) => `site${i % 10}/dev${Math.floor(i / 10) % 100}/v${Math.floor(i / 1_000)}`,
  )

  test.each([
    // 10 sites with 100 devices each, with 10 values each.
    ['site7/dev3/v1', 1, 1],
    ['site7/+/v1', 100, 300],
    ['+/dev3/v1', 10, 40],
    ['+/+/v1', 1_000, 3_000],
    ['site7/#', 1_000, 1_000],
    ['+', 0, 10],
    ['nowhere/#', 0, 0],
    ['+/nowhere/#', 0, 20],
  ])('%s finds %i topics in at most %i moves', (filter, count, movesMax) => {
    const { found, moves } = walk(TOPICS, filter)
    expect(found.length).toBe(count)
    expect(moves).toBeLessThanOrEqual(movesMax)
  })
})
