import { beforeAll, expect, test } from 'vitest'
import { builtMain } from '../build.ts'
import { Network } from '../cluster/node/network.ts'
import type { Round, Way } from './plan.ts'
import { chaos } from './run.ts'

const RUN_MS_MAX = 400_000
const reason = Network.whyNot()

const both = (a: number, b: number): Way[] => [
  { from: a, to: b },
  { from: b, to: a },
]
const cut = (ways: Way[]): Round => [{ atMs: 1_500, forMs: 7_000, deed: { kind: 'cut', ways } }]

const PARTITIONS: Record<string, Round> = {
  'one node from the others': cut([...both(2, 0), ...both(2, 1)]),
  'one link of three': cut(both(1, 2)),
  'a node that is heard and hears nobody': cut([
    { from: 1, to: 0 },
    { from: 2, to: 0 },
  ]),
}

beforeAll(async () => {
  if (reason === null) await builtMain()
}, 60_000)

test.skipIf(reason !== null)(
  `partitions under load, and all is well again: ${Object.keys(PARTITIONS).join('; ')}${reason === null ? '' : ` (skipped: ${reason})`}`,
  { timeout: RUN_MS_MAX },
  async () => {
    const plan = Object.values(PARTITIONS)
    const options = { seed: 1, ms: RUN_MS_MAX, roundMs: 2_000, rate: 60, nodes: 3, network: true, set: [], plan }
    const { findings, rounds, counts } = await chaos(
      { ...options, without: ['suback', 'order'], silenceMs: 15_000 },
      () => {},
    )
    expect(findings).toEqual([])
    expect(rounds).toHaveLength(plan.length)
    expect(counts.acknowledged).toBeGreaterThan(50)
  },
)
