import { expect, test } from 'vitest'
import { seededRandom } from '../../../src/base/clock.ts'
import type { HostId } from '../../../src/base/ids.ts'
import { bucketOf, type Hint, HintMap, isNewer, TOMBSTONE_TTL_MS } from '../../../src/cluster/overlay/core/hint-map.ts'
import { HINT_TTL_MS_MAX, HINTS_MAX } from '../../../src/cluster/overlay/core/options.ts'
import { seeds } from '../../sim/seeds.ts'
import { bytes } from './sim-overlay.ts'

const NOW = 1_000_000_000_000
const DRIFT_MS = 1_000
const h1 = 'h1' as HostId
const h2 = 'h2' as HostId

function hint(fields: Partial<Hint>): Hint {
  return { key: 'x', value: bytes('v'), timestamp: NOW * 1024, by: h1, ttlMs: 10_000, ...fields }
}

function map(): HintMap {
  return new HintMap(DRIFT_MS)
}

test('a later time wins, then the greater host, then a deletion, then the greater value, then the longer life', () => {
  const rising = [
    hint({}),
    hint({ ttlMs: 10_001 }),
    hint({ value: bytes('w') }),
    hint({ value: null }),
    hint({ by: h2 }),
    hint({ timestamp: NOW * 1024 + 1 }),
  ]
  rising.forEach((a, i) => {
    for (const [j, b] of rising.entries()) expect(isNewer(a, b)).toBe(i > j)
  })
})

test('what is known stays, what is newer replaces it, and is later than all that was heard', () => {
  const hints = map()
  expect(hints.merge(hint({ timestamp: (NOW + 500) * 1024 }), NOW)).toEqual({ previous: undefined, evicted: null })
  expect(hints.merge(hint({}), NOW)).toBe('older')
  const own = hints.write('x', bytes('w'), 1_000, h2, NOW)
  expect(own.timestamp).toBe((NOW + 500) * 1024 + 1)
  expect(hints.merge(own, NOW)).toMatchObject({ previous: { by: h1 } })
  expect(hints.get('x')).toMatchObject({ by: h2 })
})

test('hints from the future are refused, and do not move our clock; those that are over as well', () => {
  const hints = map()
  expect(hints.merge(hint({ timestamp: (NOW + DRIFT_MS + 1) * 1024 }), NOW)).toBe('ahead')
  expect(hints.merge(hint({ timestamp: (NOW - 10_000) * 1024 }), NOW)).toBe('late')
  expect(hints.write('x', null, 1, h1, NOW).timestamp).toBe(NOW * 1024)
  expect([hints.size, hints.sum]).toEqual([0, [0, 0]])
})

test('hints expire, and sums with them', () => {
  const hints = map()
  hints.merge(hint({ ttlMs: 100 }), NOW)
  hints.merge(hint({ key: 'y', ttlMs: 200 }), NOW)
  expect(hints.expire(NOW + 99)).toEqual([])
  expect(hints.expire(NOW + 100).map(({ key }) => key)).toEqual(['x'])
  const alone = map()
  alone.merge(hint({ key: 'y', ttlMs: 200 }), NOW)
  expect(hints.sum).toEqual(alone.sum)
  expect(hints.sums).toEqual(alone.sums)
  hints.expire(NOW + 200)
  expect([hints.size, hints.sum]).toEqual([0, [0, 0]])
})

test('a deletion outlives whatever it deleted', () => {
  const hints = map()
  const old = hint({ ttlMs: HINT_TTL_MS_MAX })
  hints.merge(old, NOW)
  hints.merge(hints.write('x', null, TOMBSTONE_TTL_MS, h2, NOW), NOW)
  for (let ms = 0; ms <= HINT_TTL_MS_MAX + 1_000; ms += 500) {
    hints.expire(NOW + ms)
    expect(typeof hints.merge(old, NOW + ms)).toBe('string')
  }
  expect(hints.size).toBe(0)
})

test('at the limit the oldest makes room, and what is older still is not taken', () => {
  const hints = map()
  for (let i = 1; i <= HINTS_MAX; i++) hints.merge(hint({ key: `k${i}`, timestamp: NOW * 1024 + i }), NOW)
  expect(hints.merge(hint({ key: 'older' }), NOW)).toBe('older')
  expect(hints.merge(hint({ key: 'newer', timestamp: NOW * 1024 + 10_000 }), NOW)).toMatchObject({
    evicted: { key: 'k1' },
  })
  expect([hints.size, hints.get('k1'), hints.get('k2')?.key]).toEqual([HINTS_MAX, undefined, 'k2'])
})

test('who comes between the oldest goes in its turn', () => {
  const hints = map()
  const evicted = (timestamp: number) => {
    const merged = hints.merge(hint({ key: `k${timestamp}`, timestamp: NOW * 1024 + timestamp }), NOW)
    return typeof merged === 'string' ? merged : merged.evicted?.key
  }
  for (let i = 1; i <= HINTS_MAX; i++) evicted(i * 10)
  expect([100_000, 35, 100_001, 100_002, 100_003].map(evicted)).toEqual(['k10', 'k20', 'k30', 'k35', 'k40'])
})

test('a full map keeps the newest, in whatever order they come', () => {
  const random = seededRandom(3)
  const all = Array.from({ length: HINTS_MAX + 1_000 }, (_, i) => hint({ key: `k${i}`, timestamp: NOW * 1024 + i }))
  const show = (hints: HintMap) => [...hints.values()].map(({ key }) => key).sort()
  const newest = all
    .slice(1_000)
    .map(({ key }) => key)
    .sort()
  const [rising, shuffled] = [map(), map()]
  for (const each of all) rising.merge(each, NOW)
  while (all.length > 0) shuffled.merge(all.splice(random.below(all.length), 1)[0]!, NOW)
  expect(show(rising)).toEqual(newest)
  expect(show(shuffled)).toEqual(newest)
})

test.each(seeds(50))('the same hints in any order make the same map, and the same sums, seed %i', (seed) => {
  const random = seededRandom(seed)
  const all = Array.from({ length: 300 }, () =>
    hint({
      key: `k${random.below(20)}`,
      value: random.below(4) === 0 ? null : bytes(`${random.below(3)}`),
      timestamp: NOW * 1024 + random.below(40),
      by: [h1, h2][random.below(2)]!,
    }),
  )
  const maps = Array.from({ length: 3 }, () => {
    const hints = map()
    const rest = [...all]
    while (rest.length > 0) hints.merge(rest.splice(random.below(rest.length), 1)[0]!, NOW)
    return hints
  })
  const show = (hints: HintMap) => [...hints.values()].sort((a, b) => (a.key < b.key ? -1 : 1))
  for (const other of maps.slice(1)) {
    expect(show(other)).toEqual(show(maps[0]!))
    expect([other.sum, other.sums]).toEqual([maps[0]!.sum, maps[0]!.sums])
  }
})

test('sums differ where a hint does, in its bucket only', () => {
  const changes: Partial<Hint>[] = [{ value: bytes('w') }, { value: null }, { by: h2 }, { timestamp: NOW * 1024 + 1 }]
  for (const change of [...changes, { ttlMs: 10_001 }]) {
    const [a, b] = [map(), map()]
    a.merge(hint({}), NOW)
    b.merge(hint(change), NOW)
    const different = [...a.sums.keys()].filter((bucket) => a.sums[bucket] !== b.sums[bucket])
    expect(different).toEqual([bucketOf('x')])
    expect(a.sum).not.toEqual(b.sum)
  }
})
