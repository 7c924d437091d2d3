import { Checks } from './checks.ts'
import { Device } from './device.ts'
import { Faults } from './faults.ts'
import { Ledger, type Publish, Violation } from './ledger.ts'
import { people } from './people.ts'
import { type Plan, planOf } from './plan.ts'
import { BrokerWorld } from './world.ts'

/** After everything is mended all clients have what they were promised within this, in ms of simulated time. */
const SETTLE_MS_MAX = 120_000
const LOOK_MS = 250
/** What is retained comes within this. */
const RETAINED_MS = 500

export interface RunOptions extends Partial<Plan> {
  /** See {@link SETTLE_MS_MAX}. */
  settleMsMax?: number
  /** What nodes and clients say, line by line. */
  tell?: (line: string) => void
}

/** What happened in a run, by name; and its trace. */
export type Counts = Record<string, number>

export interface Outcome {
  counts: Counts
  trace: string
}

/** One run from its seed: faults and clients, then calm. Throws at the first broken promise. */
export async function run(seed: number, options: RunOptions = {}): Promise<Outcome> {
  const { tell, settleMsMax = SETTLE_MS_MAX, ...given } = options
  const plan = planOf(seed, given)
  const it = new BrokerWorld({ seed, nodes: plan.nodes })
  if (tell !== undefined) it.onWord = tell
  const others = process.listeners('unhandledRejection')
  process.removeAllListeners('unhandledRejection')
  process.on('unhandledRejection', (error) => it.world.fail(error))
  try {
    return await live(it, plan, settleMsMax)
  } finally {
    process.removeAllListeners('unhandledRejection')
    for (const each of others) process.on('unhandledRejection', each)
  }
}

async function live(it: BrokerWorld, plan: Plan, settleMsMax: number): Promise<Outcome> {
  const { world } = it
  await found(it)
  for (const key of plan.splits) await split(it, key)
  const ledger = new Ledger(it)
  const all = people(it, ledger, plan)
  const faults = new Faults(plan, it)
  const devices = all.map(({ device }) => device)
  const checks = new Checks(it, ledger, faults, devices)
  it.hasUserData = true
  ledger.skewed = plan.meanMs['clock jump'] !== undefined
  await world.run(plan.durationMs)
  faults.calm()
  for (const person of all) person.settle()
  await within(it, settleMsMax, () => {
    const restless = all.find(({ settled }) => !settled)
    if (restless !== undefined) return `${restless.device.name} is not settled`
    return checks.missing()
  })
  checks.tooMuch()
  await lookAtRetained(it, ledger, checks)
  for (const { outcome, qos } of ledger.publishes) it.count(`published ${qos} ${outcome}`)
  const received = devices.flatMap(({ sessions }) => sessions.map(({ seen }) => seen.size))
  const counts = {
    ...it.counts,
    received: received.reduce((a, b) => a + b, 0),
    simulatedMs: Math.round(world.elapsedMs),
  }
  return { counts, trace: it.trace }
}

/** At two nodes, as clients that were never there before. */
async function lookAtRetained(it: BrokerWorld, ledger: Ledger, checks: Checks): Promise<void> {
  for (const tenant of ['a', 'b']) {
    for (const machine of [it.machines[0]!, it.machines.at(-1)!]) {
      const id = `late-${machine.name}`
      const how = { version: 5, persistent: false, receiveMaximum: 20, keepAliveSeconds: 0 } as const
      const device = new Device(it, ledger, { tenant, id, ...how })
      const found = new Map<string, Publish>()
      device.onMessage = (publish) => void found.set(publish.topic, publish)
      device.onConnected = () => device.subscribe('r/#', 1)
      device.connect(machine)
      await within(it, SETTLE_MS_MAX, () => (device.filters.length > 0 ? null : `${device.name} has no SUBACK`))
      // Its range may be without a leader for a while yet.
      await within(it, SETTLE_MS_MAX, () => checks.missingRetained(tenant, found))
      await it.world.run(RETAINED_MS)
      checks.retained(tenant, found)
      device.current?.end('disconnect')
    }
  }
}

/** The first node alone, then the others, until every range has its replicas. */
async function found(it: BrokerWorld): Promise<void> {
  const [first, ...others] = it.machines
  it.start(first!)
  await it.untilReady()
  for (const machine of others) it.start(machine)
  await within(it, 60_000, () => {
    const ranges = it.up.flatMap(({ node }) => node!.ranges.store.ranges().filter(({ leads }) => leads))
    const full = ranges.every(({ descriptor, joint }) => {
      return !joint && descriptor.replicas.filter(({ role }) => role === 'voter').length >= 3
    })
    return full && it.up.every(({ node }) => node!.ready) ? null : 'the cluster is not whole'
  })
}

async function split(it: BrokerWorld, key: string): Promise<void> {
  for (const { node } of it.up) {
    const cut = node!.ranges.cutNear('inbox', Buffer.from(key))
    if (cut !== null) await it.world.resolve(node!.ranges.store.split('inbox', cut).catch(() => {}))
  }
}

/** Waits until nothing is missing; looks now and then. */
async function within(it: BrokerWorld, ms: number, missing: () => string | null): Promise<void> {
  const { world } = it
  const endMs = world.elapsedMs + ms
  for (;;) {
    await world.run(LOOK_MS)
    const what = missing()
    if (what === null) return
    if (world.elapsedMs > endMs) throw new Violation(`After ${ms} ms of calm: ${what}`)
  }
}
