import { expect, test } from 'vitest'
import { seeds } from '../../sim/seeds.ts'
import { mergeChaos } from './merge-chaos.ts'

test.each(seeds(4))('merges, splits and everything bad, seed %i', async (seed) => {
  const counts = await mergeChaos(seed)
  expect(counts.splits).toBeGreaterThan(0)
})
