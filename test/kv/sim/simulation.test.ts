import { execFileSync } from 'node:child_process'
import { afterAll, expect, test } from 'vitest'
import { type Counts, run } from './run.ts'

const SEEDS = 100
/** Base of the seeds that depend on the commit, above those that people use by hand. */
const FROM = 100_000

/** Another hundred for each commit; SEEDS says how many, SEED which one alone. */
function seeds(): number[] {
  const { SEED, SEEDS: count } = process.env
  if (SEED !== undefined) return [Number(SEED)]
  const first = FROM + (Number.parseInt(commit().slice(0, 6), 16) % 900_000)
  return Array.from({ length: Number(count ?? SEEDS) }, (_, i) => first + i)
}

function commit(): string {
  try {
    return execFileSync('git', ['rev-parse', 'HEAD'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })
  } catch {
    return '0'
  }
}

const sums: Counts = {}
let runs = 0

test.each(seeds())('nothing that a store promises is broken, and a healed majority goes on, seed %i', async (seed) => {
  const counts = await run(seed)
  runs++
  for (const [name, count] of Object.entries(counts)) sums[name] = (sums[name] ?? 0) + count
})

/** A world in which nothing happens proves nothing: how often each must have been, in 100 runs. */
const LEAST: Counts = {
  answered: 25_000,
  reads: 4_000,
  commits: 15_000,
  elections: 300,
  splits: 30,
  changes: 150,
  snapshots: 100,
  states: 500,
  crash: 40,
  'power loss': 5,
  'symmetric partition': 20,
  'asymmetric partition': 20,
  'partial partition': 20,
  'flapping partition': 15,
  'bridge partition': 15,
  'deserted leader': 20,
  'bad network': 20,
  'slow disk': 20,
  'hung disk': 20,
  'failed disk': 10,
  'wiped disk': 7,
  'damaged log': 4,
  'damaged chunks': 4,
  'full disk': 15,
  pause: 20,
  'clock jump': 25,
  'false suspicion': 40,
  membership: 75,
  split: 40,
  transfer: 50,
  'client restart': 15,
}

afterAll(() => {
  if (runs < 100) return
  for (const [name, least] of Object.entries(LEAST)) {
    expect((sums[name] ?? 0) / (runs / 100), name).toBeGreaterThanOrEqual(least)
  }
})
