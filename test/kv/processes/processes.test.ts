import { beforeAll, describe, expect, test } from 'vitest'
import { type FailureOptions, failures, idle, move } from '../../../bench/kv/workloads.ts'
import { builtFleet } from '../../build.ts'

/** Failures of each kind, the goal is 50; where nothing is said, one of one kind. */
const ROUNDS = Number(process.env.ROUNDS ?? 1)
const ALL = process.env.ROUNDS !== undefined
/** Mebibytes of the range that moves; the goal is 1,024. */
const MOVE_MIB = Number(process.env.MOVE_MIB ?? 2)
/** On a busy machine a process may not get a core for seconds: the goals hold where `MEASURE=1` says that it is quiet. */
const MEASURE = process.env.MEASURE === '1'
const TEST_MS = 60_000 + 30_000 * ROUNDS + 1_000 * MOVE_MIB

const silent = () => {}
const quickly = (goal: number) => (MEASURE ? goal : 60_000)
let program = ''

beforeAll(async () => {
  program = await builtFleet()
}, 120_000)

describe('three stores in processes of their own', () => {
  const run = (failure: FailureOptions['failure']) =>
    failures({ program, stores: 3, ranges: 4, rounds: ROUNDS, rate: 500, failure }, silent)

  const goals = [
    ['kill', 1_500],
    ['stop', 5_000],
    ['cut', 5_000],
  ] as const
  test.each(goals.slice(0, ALL ? goals.length : 1))(
    'go on after a "%s" of who leads: nothing is lost, nothing is doubled',
    async (failure, goalMs) => {
      const { recoveriesMs, acknowledged, lost, doubled, unknown } = await run(failure)
      expect({ lost, doubled, unknown }).toEqual({ lost: 0, doubled: 0, unknown: 0 })
      expect(acknowledged).toBeGreaterThan(100)
      expect(recoveriesMs.length).toBe(ROUNDS)
      expect(Math.max(...recoveriesMs)).toBeLessThan(quickly(goalMs))
    },
    TEST_MS,
  )

  test(
    'a range moves to a new store while it is written, and nothing is lost',
    async () => {
      const options = { program, stores: 3, ranges: 1, bytes: MOVE_MIB * 1_048_576, rate: 500, beforeMs: 200 }
      const { figures } = await move({ ...options, nodeOptions: ['--max-old-space-size=256'] }, silent)
      expect(figures).toMatchObject({ lost: 0, doubled: 0, unknown: 0, failed: 0 })
      expect(figures.acknowledged).toBeGreaterThan(100)
      if (MEASURE) expect(figures.p99Ms).toBeLessThan(100)
    },
    TEST_MS,
  )

  test.runIf(MEASURE)(
    'a thousand ranges that nobody uses cost less than a twentieth of a core',
    async () => {
      const { percentOfACore } = await idle({ program, stores: 3, ranges: 1_000, settleMs: 30_000, ms: 20_000 }, silent)
      expect(Number(percentOfACore)).toBeLessThan(5)
    },
    300_000,
  )
})
