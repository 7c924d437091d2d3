import { expect, test } from 'vitest'
import type { HostId } from '../../../src/base/ids.ts'
import { LOOK_MS, type NodeLoad, nextLookMs, planMoves } from '../../../src/node/rebalance/plan.ts'

const load = (id: string, connections: number, reference: string | null = null): NodeLoad => {
  return { id: id as HostId, name: id, connections, reference }
}

const cases: [string, number[], number, (number | null)[]][] = [
  ['nobody is there', [0, 0, 0], 20, [null, null, null]],
  ['a node alone', [100], 0, [null]],
  ['a newcomer gets its share', [300, 300, 0], 20, [100, 100, null]],
  ['within the spread nothing moves', [119, 81], 20, [null, null]],
  ['beyond it all that is above the mean', [121, 79], 20, [21, null]],
  ['without a spread too', [101, 99], 0, [1, null]],
  ['what cannot be even stays', [4, 3, 3], 0, [null, null, null]],
  ['only those above give', [90, 60, 0], 20, [40, null, null]],
]
test.each(cases)('%s: %j within %i %% gives %j', (_what, counts, spread, expected) => {
  const moves = planMoves(
    counts.map((connections, i) => load(`n${i}`, connections)),
    spread,
  )
  const given = counts.map((_, i) => moves.find(({ from }) => from === `n${i}`)?.count ?? null)
  expect(given).toEqual(expected)
  const mean = Math.ceil(counts.reduce((a, b) => a + b) / counts.length)
  for (const { keep } of moves) expect(keep).toBe(mean)
})

test('clients are sent to those that lack, by what they lack', () => {
  const nodes = [load('a', 120, 'a:1'), load('b', 0, 'b:1'), load('c', 30, 'c:1'), load('d', 50, 'd:1')]
  expect(planMoves(nodes, 20)).toEqual([
    {
      ...{ from: 'a', count: 70, keep: 50 },
      to: [
        { reference: 'b:1', count: 50 },
        { reference: 'c:1', count: 20 },
      ],
    },
  ])
  const silent = nodes.map((node) => (node.name === 'b' ? { ...node, reference: null } : node))
  expect(planMoves(silent, 20)[0]!.to).toEqual([{ reference: 'c:1', count: 20 }])
})

test('as the figures are, so is the plan: even afterwards, never more than there are', () => {
  for (let seed = 1; seed <= 200; seed++) {
    const counts = Array.from({ length: 1 + (seed % 7) }, (_, i) => (seed * 7_919 * (i + 3)) % 1_000)
    const moves = planMoves(
      counts.map((connections, i) => load(`n${i}`, connections)),
      seed % 50,
    )
    for (const { from, count } of moves) counts[Number(from.slice(1))]! -= count
    const mean = (counts.reduce((a, b) => a + b) + moves.reduce((sum, { count }) => sum + count, 0)) / counts.length
    for (const { from, count } of moves) {
      expect(count).toBeGreaterThan(0)
      expect(counts[Number(from.slice(1))]).toBe(Math.ceil(mean))
    }
  }
})

test('a look that did not help is followed by a later one, an hour at last; one that did by a soon one', () => {
  let waited = LOOK_MS
  for (let i = 0; i < 20; i++) waited = nextLookMs(100, 100, waited)
  expect(waited).toBe(3_600_000)
  expect(nextLookMs(100, 51, LOOK_MS)).toBe(2 * LOOK_MS)
  expect(nextLookMs(100, 50, waited)).toBe(LOOK_MS)
  expect(nextLookMs(0, 100, waited)).toBe(LOOK_MS)
  expect(nextLookMs(100, 0, waited)).toBe(LOOK_MS)
})
