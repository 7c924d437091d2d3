import { setTimeout as delay } from 'node:timers/promises'
import type { ReplicaChange } from '../../src/kv/store/replica-change.ts'
import { cpuMicros } from '../proc.ts'
import { Fleet, type FleetOptions, type Member } from './fleet.ts'
import type { Audit, LoadOptions } from './load.ts'

/** Says how far it is. */
export type Say = (line: string) => void

const VALUE_BYTES = 200
const KEYS = 1_000_000
const NOTHING = undefined as never

const LOAD: Omit<LoadOptions, 'parts'> = {
  ...{ rate: 0, inFlight: 512, valueBytes: VALUE_BYTES, once: false, keys: KEYS, fill: false },
}

export interface ThroughputOptions extends FleetOptions {
  rate: number
  inFlight: number
  warmupMs: number
  ms: number
}

export type Figures = Record<string, number | string>

/** Mutations of a client beside the first store. */
export async function throughput(options: ThroughputOptions, say: Say): Promise<Figures> {
  const { rate, inFlight, warmupMs, ms, ranges } = options
  const fleet = await Fleet.start(options)
  try {
    const { calls } = fleet.stores[0]!
    await calls.call('begin', { ...LOAD, rate, inFlight, parts: ranges })
    say(`warms up for ${warmupMs / 1_000} s`)
    await delay(warmupMs)
    const before = await figures(fleet)
    const measured = await calls.call('measure', { ms })
    const after = await figures(fleet)
    const leaders = [...(await fleet.ranges()).values()].map((all) => all.filter(({ leads }) => leads).length)
    await calls.call('end', NOTHING)
    const each = (of: keyof typeof before) => (after[of] - before[of]) / measured.count
    return {
      ...measured,
      perSecond: Math.round(measured.perSecond),
      cpuMicrosEach: round(each('cpuMicros')),
      syncsEach: round(each('syncs'), 4),
      batchesEach: round(each('batches'), 4),
      entriesEach: round(each('entries'), 4),
      leaders: leaders.join('/'),
    }
  } finally {
    await fleet.end('stop')
  }
}

/** What all stores have done; log entries once, not on each replica. */
async function figures(fleet: Fleet) {
  const ranges = (await fleet.ranges()).get(fleet.stores[0]!)!
  const entries = ranges.reduce((sum, { index }) => sum + index, 0)
  return { ...(await fleet.figures()), entries }
}

export interface FailureOptions extends FleetOptions {
  rounds: number
  /** What happens to the store that leads most. */
  failure: 'kill' | 'stop' | 'cut'
  rate: number
}

export interface Failures extends Audit {
  /** From the failure until every range has answered a mutation that was asked after it: each round, in milliseconds. */
  recoveriesMs: number[]
}

/** How long a silent store stays so, beyond what the others need. */
const SILENT_MS = 2_000

/** The store that leads most fails again and again, under load; then everything acknowledged must be there, once. */
export async function failures(options: FailureOptions, say: Say): Promise<Failures> {
  const { rounds, failure, rate, ranges } = options
  const fleet = await Fleet.start({ ...options, forwarded: failure === 'cut' })
  try {
    const { calls } = fleet.client
    const recoveriesMs: number[] = []
    await calls.call('begin', { ...LOAD, rate, once: true, parts: ranges })
    for (let round = 1; round <= rounds; round++) {
      const victim = await fleet.busiest()
      // Under load, and not at the same moment each time.
      await delay(200 + Math.random() * 300)
      await calls.call('mark', NOTHING)
      await fail(fleet, victim, failure)
      const ms = Math.round(await calls.call('recovered', NOTHING))
      recoveriesMs.push(ms)
      say(`round ${round}: ${failure} of ${victim.name}, ${ms} ms`)
      await heal(fleet, victim, failure)
      await fleet.led()
    }
    await calls.call('end', NOTHING)
    await fleet.agree()
    return { ...(await calls.call('audit', NOTHING)), recoveriesMs }
  } finally {
    await fleet.end()
  }
}

async function fail(fleet: Fleet, victim: Member, failure: FailureOptions['failure']): Promise<void> {
  if (failure === 'kill') await victim.kill()
  else if (failure === 'stop') victim.signal('SIGSTOP')
  else fleet.cut(victim)
}

async function heal(fleet: Fleet, victim: Member, failure: FailureOptions['failure']): Promise<void> {
  if (failure === 'kill') return fleet.restart(victim)
  await delay(SILENT_MS)
  if (failure === 'stop') victim.signal('SIGCONT')
  else fleet.heal()
}

export interface MoveOptions extends FleetOptions {
  /** Of the range that moves. */
  bytes: number
  rate: number
  /** How long the load is measured before the move. */
  beforeMs: number
}

/** Of what is put in first: larger than what is written during the move, so that filling takes no longer than needed. */
const FILL_VALUE_BYTES = 1_024
const SAMPLE_MS = 1_000
const CHANGES_MAX = 100

/** One large range gets a replica on a new store, and loses its first one, while mutations come in. */
export async function move(options: MoveOptions, say: Say): Promise<{ figures: Figures; rssMib: number[][] }> {
  const { bytes, rate, beforeMs } = options
  const fleet = await Fleet.start({ ...options, ranges: 1 })
  const rssMib: number[][] = []
  const sampler = setInterval(() => rssMib.push(fleet.rssMib().map(Math.round)), SAMPLE_MS)
  try {
    const { calls } = fleet.client
    const keys = Math.ceil(bytes / FILL_VALUE_BYTES)
    const fill = { ...LOAD, inFlight: 1_024, valueBytes: FILL_VALUE_BYTES, keys, fill: true, parts: 1 }
    await calls.call('begin', fill)
    await calls.call('filled', NOTHING)
    await calls.call('end', NOTHING)
    say(`${keys} keys of ${FILL_VALUE_BYTES} bytes are in`)
    await calls.call('begin', { ...LOAD, rate, once: true, parts: 1 })
    const before = await calls.call('measure', { ms: beforeMs })
    say(`before: p99 ${before.p99} ms`)
    const newcomer = await fleet.grow('s4')
    const [from, leader] = await places(fleet)
    const range = 'inbox-1'
    const beganMs = performance.now()
    await calls.call('measuring', NOTHING)
    await leader.calls.call('change', { range, changes: [{ store: newcomer.name, role: 'learner' }] })
    await caughtUp(fleet, newcomer)
    const copiedMs = performance.now() - beganMs
    const during = await calls.call('measured', NOTHING)
    say(`copied in ${Math.round(copiedMs)} ms, p99 ${during.p99} ms`)
    await calls.call('measuring', NOTHING)
    const changes: ReplicaChange[] = [
      { store: newcomer.name, role: 'voter' },
      { store: from.name, role: 'none' },
    ]
    await admitted(() => leader.calls.call('change', { range, changes }))
    const after = await calls.call('measured', NOTHING)
    say(`it votes, the old replica is gone: p99 ${after.p99} ms`)
    await calls.call('end', NOTHING)
    await fleet.agree()
    const audit = await calls.call('audit', NOTHING)
    const peaks = fleet.stores.map((_, i) => Math.max(...rssMib.map((row) => row[i] ?? 0)))
    const figures = {
      ...{ copiedMs: Math.round(copiedMs), mibPerSecond: round(bytes / 1_048_576 / (copiedMs / 1_000)) },
      ...{ p99BeforeMs: before.p99, p99Ms: during.p99, maxMs: during.max },
      ...{ p99VotesMs: after.p99, failed: during.failed + after.failed },
      ...audit,
      rssPeakMib: peaks.join('/'),
    }
    return { figures, rssMib }
  } finally {
    clearInterval(sampler)
    await fleet.end('stop')
  }
}

/** A follower, and the leader, of the only range. */
async function places(fleet: Fleet): Promise<[Member, Member]> {
  const all = [...(await fleet.ranges())]
  const leader = all.find(([, ranges]) => ranges[0]?.leads)!
  const follower = all.find(([, ranges]) => ranges[0]?.leads === false)!
  return [follower[0], leader[0]]
}

async function caughtUp(fleet: Fleet, newcomer: Member): Promise<void> {
  for (;;) {
    const all = await fleet.ranges()
    const most = Math.max(...[...all.values()].flat().map(({ index }) => index))
    const own = all.get(newcomer)?.[0]?.index ?? 0
    // It follows, as near as who has voted all the time.
    if (own > 0 && most - own < 1_000) return
    await delay(100)
  }
}

/** A leader may not have heard yet how far the newcomer is: it is asked again, as balancers do. */
async function admitted(change: () => Promise<void>): Promise<void> {
  for (let tries = 1; ; tries++) {
    try {
      return await change()
    } catch (error) {
      if (tries === CHANGES_MAX) throw error
      await delay(100)
    }
  }
}

export interface IdleOptions extends FleetOptions {
  settleMs: number
  ms: number
}

/** What ranges cost that nobody uses: percent of a core, of all stores together and of each. */
export async function idle(options: IdleOptions, say: Say): Promise<Figures> {
  const fleet = await Fleet.start(options)
  try {
    say(`${options.ranges} ranges are led; settles for ${options.settleMs / 1_000} s`)
    await delay(options.settleMs)
    const cpu = () => fleet.stores.map(({ pid }) => cpuMicros(pid) ?? 0)
    const before = cpu()
    await delay(options.ms)
    const percent = cpu().map((micros, i) => (micros - before[i]!) / options.ms / 10)
    return {
      ranges: options.ranges,
      percentOfACore: round(percent.reduce((sum, each) => sum + each, 0)),
      each: percent.map((share) => round(share)).join('/'),
      rssMib: fleet.rssMib().map(Math.round).join('/'),
    }
  } finally {
    await fleet.end('stop')
  }
}

function round(value: number, digits = 2): number {
  return Number(value.toFixed(digits))
}
