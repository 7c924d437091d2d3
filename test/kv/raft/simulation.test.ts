import { afterAll, expect, test } from 'vitest'
import { seeds } from '../../sim/seeds.ts'
import { optionsOf, RaftWorld } from './simulation.ts'

const SEEDS = seeds(200)
const counts: Record<string, number> = {}

test.each(SEEDS)('nothing that Raft promises is broken, and a healed group goes on, seed %i', (seed) => {
  const group = new RaftWorld(optionsOf(seed))
  group.run(15_000)
  group.calm(group.minority())
  group.converge(30_000)
  expect(group.invariants.committedIndex).toBeGreaterThan(10)
  for (const [name, count] of Object.entries(group.counts)) counts[name] = (counts[name] ?? 0) + count
})

/** A world in which nothing happens proves nothing: how often each must have been, in 100 seeds. */
const LEAST = {
  acknowledged: 5_000,
  reads: 1_000,
  elections: 300,
  crashes: 500,
  pauses: 100,
  snapshots: 50,
  pieces: 50,
  emptied: 20,
  changes: 500,
  joint: 300,
  'timeout-now': 100,
  sleep: 100,
  wake: 100,
  OVERLOADED: 30,
  CONFLICT: 100,
}

afterAll(() => {
  if (SEEDS.length < 100) return
  for (const [name, least] of Object.entries(LEAST)) {
    expect((counts[name] ?? 0) / (SEEDS.length / 100), name).toBeGreaterThanOrEqual(least)
  }
})
