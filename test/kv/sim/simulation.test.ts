import { expect, test } from 'vitest'
import { seeds } from '../../sim/seeds.ts'
import { run } from './run.ts'

test.each(seeds(5))('seed %i', async (seed) => {
  const began = process.cpuUsage()
  const counts = await run(seed)
  const { user, system } = process.cpuUsage(began)
  process.stderr.write(`${seed} ${Math.round((user + system) / 1000)} ${JSON.stringify(counts)}
`)
  expect(counts.answered).toBeGreaterThan(100)
})
