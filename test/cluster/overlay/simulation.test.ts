import { describe, expect, test } from 'vitest'
import { seeds } from '../../sim/seeds.ts'
import { runOverlayChaos } from './chaos.ts'

/** SEEDS=500 for the full set, with up to 32 hosts; SEED=42 replays one of it. */
const FULL = process.env.SEEDS !== undefined || process.env.SEED !== undefined
const count = Number(process.env.SEEDS ?? 30)
const report = (text: string) => process.stdout.write(`${text}\n`)

describe('chaos', () => {
  test.each(seeds(count))('when it is over, all see what the owners wrote, seed %i', { timeout: 120_000 }, (seed) => {
    const result = runOverlayChaos(seed, FULL ? 32 : 7, FULL ? 60_000 : 25_000)
    if (FULL) report(`seed ${seed} ${JSON.stringify({ ...result, problems: result.problems.length })}`)
    expect(result.problems).toEqual([])
  })
})
