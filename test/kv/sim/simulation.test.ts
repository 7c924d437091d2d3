import { expect, test } from 'vitest'
import { seeds } from '../../sim/seeds.ts'
import { run } from './run.ts'

test.each(seeds(3))('seed %i', async (seed) => {
  expect((await run(seed)).answered).toBeGreaterThan(100)
})
