import type { History } from '../durability/checker.ts'
import { Cluster, type ClusterOptions } from './cluster.ts'
import { Crowd } from './crowd.ts'
import { type CheckName, type Finding, Judge } from './judge.ts'
import { describeFault, planRound, type Round } from './plan.ts'
import { Probes } from './probes.ts'

export interface ChaosOptions extends ClusterOptions {
  seed: number
  /** No round begins later, ms. */
  ms: number
  /** Faults begin in so much of each round, ms. */
  roundMs: number
  rate: number
  without: readonly CheckName[]
  /** Of clients in the end of a round, until what is missing counts as lost, ms: a node lease, an election and more. */
  silenceMs?: number
  /** The faults of each round, and no more rounds than these; without it the seed decides. */
  plan?: readonly Round[]
}

export interface RoundReport {
  round: number
  /** Since the run began, ms. */
  atMs: number
  faults: string[]
  acknowledged: number
  /** From the end of the last fault until all nodes are ready, ms; null: never. */
  healMs: number | null
  /** Until everybody has all that is due, ms. */
  drainMs: number
  /** By node, in the end of the round; null: not up. */
  rssMib: (number | null)[]
  findings: Finding[]
}

export interface ChaosReport {
  options: ChaosOptions
  rounds: RoundReport[]
  /** Faults by kind. */
  faults: Record<string, number>
  counts: Record<string, number>
  findings: Finding[]
  /** Lines of a level above a warning. */
  errors: string[]
  rssMibMax: number[]
  /** Why the network was left alone; null: it was not. */
  noNetwork: string | null
}

const SILENCE_MS = 30_000
const SAMPLE_MS = 2_000
/** More than that of one kind say nothing new: the run ends. */
const FINDINGS_MAX = 500

/** Rounds of faults under load; after each one all must be well, and everything that was promised be there. */
export async function chaos(options: ChaosOptions, say: (line: string) => void): Promise<ChaosReport> {
  const { seed, without, rate, silenceMs = SILENCE_MS } = options
  const cluster = await Cluster.start(options)
  const judge = (history: History) => new Judge(history, without)
  const crowd = new Crowd({ cluster, seed, rate, silenceMs, judge, say })
  const probes = new Probes(cluster, crowd.judge, seed)
  const rssMibMax = cluster.nodes.map(() => 0)
  const sampler = setInterval(() => {
    cluster.rssMib().forEach((mib, i) => {
      rssMibMax[i] = Math.max(rssMibMax[i]!, mib ?? 0)
    })
  }, SAMPLE_MS)
  const rounds: RoundReport[] = []
  try {
    if (cluster.noNetwork !== null) say(`the network is left alone: ${cluster.noNetwork}`)
    await crowd.start()
    const beganMs = performance.now()
    const roundsMax = options.plan?.length ?? Number.POSITIVE_INFINITY
    for (let round = 1; round <= roundsMax && performance.now() - beganMs < options.ms; round++) {
      const at = { round, atMs: performance.now() - beganMs }
      rounds.push({ ...at, ...(await playRound(round, { options, cluster, crowd, probes }, say)) })
      if (crowd.judge.findings.length > FINDINGS_MAX) break
    }
    crowd.end()
    for (const line of await cluster.check()) crowd.judge.tell('damage', '-', line)
    return {
      ...{ options, rounds, rssMibMax, noNetwork: cluster.noNetwork },
      faults: Object.fromEntries(cluster.counts),
      counts: { ...crowd.judge.counts, subacksProbed: probes.passed },
      findings: crowd.judge.findings,
      errors: cluster.errors,
    }
  } finally {
    clearInterval(sampler)
    crowd.end()
    await cluster.end()
  }
}

interface Stage {
  options: ChaosOptions
  cluster: Cluster
  crowd: Crowd
  probes: Probes
}

async function playRound(
  round: number,
  { options, cluster, crowd, probes }: Stage,
  say: (line: string) => void,
): Promise<Omit<RoundReport, 'round' | 'atMs'>> {
  const { judge } = crowd
  const { seed, roundMs: ms } = options
  const plan = options.plan?.[round - 1] ?? planRound(seed, round, { nodes: cluster.size, ms, powers: cluster.powers })
  say(`round ${round}: ${plan.length} faults`)
  const before = crowd.acknowledged
  crowd.begin()
  probes.begin()
  await cluster.perform(plan, say)
  crowd.calm()
  const endedMs = performance.now()
  const healMs = await cluster.whole().catch((error: unknown) => {
    judge.tell('unhealed', '-', `round ${round}: ${(error as Error).message}`)
    return null
  })
  await probes.end()
  await crowd.drain()
  const drainMs = performance.now() - endedMs
  await probes.ghosts()
  for (const crash of cluster.crashes.splice(0)) judge.tell('crash', '-', crash)
  const findings = crowd.verdict()
  const acknowledged = crowd.acknowledged - before
  const healed = healMs === null ? 'never whole again' : `whole after ${Math.round(healMs)} ms`
  say(
    `round ${round}: ${acknowledged} acknowledged, ${healed}, drained after ${Math.round(drainMs)} ms, ${findings.length} findings`,
  )
  for (const { kind, session, detail } of findings.slice(0, 20)) say(`  ${kind} ${session}: ${detail}`)
  return { faults: plan.map(describeFault), acknowledged, healMs, drainMs, rssMib: cluster.rssMib(), findings }
}
