import { beforeAll, expect, test } from 'vitest'
import { builtMain } from '../build.ts'
import type { Round } from './plan.ts'
import { type ChaosReport, chaos } from './run.ts'

const SEED = Number(process.env.SEED ?? 1)
const RUN_MS_MAX = 240_000

/**
 * Each node is left alone by two that stand still, and killed when they go on: what it answered meanwhile, they never get.
 */
const ALONE: Round = [0, 1, 2].flatMap((node): Round => {
  const atMs = 1_000 + node * 5_500
  const others = [0, 1, 2].filter((other) => other !== node)
  return [
    { atMs, forMs: 1_500, deed: { kind: 'stop', nodes: others } },
    { atMs: atMs + 1_400, forMs: 3_000, deed: { kind: 'kill', nodes: [node] } },
  ]
})

beforeAll(async () => {
  await builtMain()
}, 60_000)

function run(set: readonly string[]): Promise<ChaosReport> {
  const options = { seed: SEED, ms: 1, roundMs: 5_000, rate: 100, nodes: 3, network: false, set, silenceMs: 12_000 }
  // A route may come to other nodes after its SUBACK: a message may miss the subscriber, and come when it is sent again.
  return chaos({ ...options, without: ['suback', 'order'], plan: [ALONE] }, () => {})
}

test(`nodes that are alone, and then die, lose nothing that was acknowledged, seed ${SEED}`, {
  timeout: RUN_MS_MAX,
}, async () => {
  const { findings, counts, rounds } = await run([])
  expect(findings).toEqual([])
  expect(rounds).toHaveLength(1)
  expect(counts.acknowledged).toBeGreaterThan(20)
})

test('a broker that acknowledges before a majority has it is caught', { timeout: RUN_MS_MAX }, async () => {
  const { findings } = await run(['tenants.default.durability=none'])
  expect(findings.map(({ kind }) => kind)).toContain('lost')
})
