import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect, test } from 'vitest'
import { Fuzz } from './fuzz.ts'

/** `FUZZ_RUNS=1000000 FUZZ_SEED=7 npx vitest run test/mqtt/codec/fuzz.test.ts` for more than the default. */
const RUNS = Number(process.env.FUZZ_RUNS ?? 50_000)
const SEED = Number(process.env.FUZZ_SEED ?? 1)
/** Far above what the streams take. */
const TIMEOUT_MS = 20_000 + RUNS
const HEAP_GROWTH_BYTES_MAX = 8 * 1024 * 1024

test(`${RUNS} mutated streams: no throw, no hang, no growth; seed ${SEED}`, { timeout: TIMEOUT_MS }, () => {
  const fuzz = new Fuzz(SEED)
  const step = (runs: number) => {
    for (let i = 0; i < runs; i++) fuzz.step()
  }
  step(RUNS / 10)
  const before = liveBytes()
  step(RUNS - RUNS / 10)
  const growth = liveBytes() - before
  expect(growth).toBeLessThan(HEAP_GROWTH_BYTES_MAX)
  // A run that is refused at once, or never, looks at nothing.
  const { streams, frames, decoded, refused } = fuzz.counts
  expect(streams).toBe(RUNS)
  expect(frames).toBeGreaterThan(RUNS)
  expect(decoded / frames).toBeGreaterThan(0.1)
  expect(refused / frames).toBeGreaterThan(0.3)
  if (process.env.FUZZ_RUNS !== undefined) console.log({ ...fuzz.counts, growthBytes: growth })
})

/** What is in use after a collection, buffers included. */
function liveBytes(): number {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  collect()
  const { heapUsed, external, arrayBuffers } = process.memoryUsage()
  return heapUsed + external + arrayBuffers
}
