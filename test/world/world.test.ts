import { expect, test } from 'vitest'
import { seeds } from '../sim/seeds.ts'
import { run } from './run.ts'

/** A run takes some seconds where others take the processor. */
const TEST_MS_MAX = 180_000

test.each(seeds(6))(
  'brokers keep their promises, and all is well once nothing is broken, seed %i',
  async (seed) => {
    const { counts } = await run(seed)
    // A world in which nothing happens proves nothing.
    expect(counts['published 1 accepted'], 'QoS 1').toBeGreaterThan(10)
    expect(counts['published 2 accepted'], 'QoS 2').toBeGreaterThan(10)
    expect(counts.received).toBeGreaterThan(100)
  },
  TEST_MS_MAX,
)

test(
  'the same seed gives the same run',
  async () => {
    const traces = [await run(3), await run(3), await run(5)].map(({ trace }) => trace)
    expect(traces[1]).toBe(traces[0])
    expect(traces[2]).not.toBe(traces[0])
  },
  TEST_MS_MAX,
)
