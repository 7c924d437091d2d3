import { afterEach, expect, test, vi } from 'vitest'
import { NodeHolder, NodeLeader } from '../../src/kv/lease/index.ts'
import { seeds } from '../sim/seeds.ts'
import type { Plan } from './plan.ts'
import { type Counts, run } from './run.ts'

/** Nodes are away for longer than a node lease runs, more often than not. */
const LONG: Partial<Plan> = {
  durationMs: 45_000,
  patience: 5,
  meanMs: {
    crash: 30_000,
    pause: 25_000,
    'symmetric partition': 25_000,
    'asymmetric partition': 40_000,
    transfer: 9_000,
  },
}
const TEST_MS_MAX = 400_000

afterEach(() => vi.restoreAllMocks())

test.each(seeds(1))(
  'sessions have one owner and wills fire once where nodes are away for long, seed %i',
  async (seed) => {
    const fences = vi.spyOn(NodeLeader.prototype, 'fenced')
    await run(seed, LONG)
    expect(fences).toHaveBeenCalled()
  },
  TEST_MS_MAX,
)

/** The first seed that finds it, and what it says. */
async function found(plan: Partial<Plan>): Promise<string | null> {
  for (const seed of seeds(6)) {
    const outcome: Counts | Error = await run(seed, plan).then(
      ({ counts }) => counts,
      (error: Error) => error,
    )
    if (outcome instanceof Error) return outcome.message
  }
  return null
}

test(
  'a node that acts after its lease is caught',
  async () => {
    vi.spyOn(NodeHolder.prototype, 'holds').mockReturnValue(true)
    vi.spyOn(NodeHolder.prototype, 'endsMs').mockReturnValue(Number.POSITIVE_INFINITY)
    const { tick } = NodeHolder.prototype
    vi.spyOn(NodeHolder.prototype, 'tick').mockImplementation(function (this: NodeHolder, nowMs) {
      return { ...tick.call(this, nowMs), close: [] }
    })
    expect(await found(LONG)).toMatch(/^M[46]: .* though /)
  },
  TEST_MS_MAX,
)

test(
  'a leader that fences nodes whose leases run is caught: wills fire while their connections act',
  async () => {
    const { toFence } = NodeLeader.prototype
    vi.spyOn(NodeLeader.prototype, 'toFence').mockImplementation(function (this: NodeLeader, nowMs) {
      return toFence.call(this, nowMs + 8_500)
    })
    expect(await found(LONG)).toMatch(/^M[46]: .* though /)
  },
  TEST_MS_MAX,
)
