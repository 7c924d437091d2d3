import { expect, test } from 'vitest'
import { seeds } from '../../sim/seeds.ts'
import { optionsOf, RaftWorld } from './simulation.ts'

test.each(seeds(200))('nothing that Raft promises is broken, and a healed group goes on, seed %i', (seed) => {
  const group = new RaftWorld(optionsOf(seed))
  group.run(15_000)
  group.calm()
  group.converge(30_000)
  expect(group.invariants.committedIndex).toBeGreaterThan(10)
})
