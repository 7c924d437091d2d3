import { Faults } from './faults.ts'
import { type Plan, planOf } from './plan.ts'
import { StoreWorld } from './store-world.ts'
import { Violation } from './violation.ts'

/**
 * A healed majority answers a write to every range within this, in ms of simulated time: 30 s until a replica gives up a
 * state whose sender is dead, and takes part in votes again, and some rounds of elections.
 */
const PROGRESS_MS_MAX = 50_000
/** After that, all replicas are the same within this: timed work alone may be late by 60 s after a clock has jumped. */
const CONVERGE_MS_MAX = 120_000

export interface RunOptions extends Partial<Plan> {
  staleReads?: boolean
}

/** What happened in a run, by name. */
export type Counts = Record<string, number>

/** One run from its seed: faults and clients, then calm. Throws at the first broken promise. */
export function run(seed: number, options: RunOptions = {}): Promise<Counts> {
  const { staleReads = false, ...given } = options
  const plan = planOf(seed, given)
  const it = new StoreWorld(plan, staleReads)
  return watched(it, () => live(it, plan))
}

/** What a store throws when a batch has landed is thrown inside of a promise. */
export async function watched<Result>(it: StoreWorld, live: () => Promise<Result>): Promise<Result> {
  const others = process.listeners('unhandledRejection')
  process.removeAllListeners('unhandledRejection')
  process.on('unhandledRejection', (error) => it.world.fail(error))
  try {
    return await live()
  } finally {
    process.removeAllListeners('unhandledRejection')
    for (const each of others) process.on('unhandledRejection', each)
  }
}

async function live(it: StoreWorld, plan: Plan): Promise<Counts> {
  const faults = new Faults(plan, it)
  await it.world.run(plan.durationMs)
  const dead = faults.minority()
  faults.calm(dead)
  await progress(it)
  it.clients.stop()
  faults.calm([])
  await converge(it)
  return { ...it.counts, ...faults.counts, simulatedMs: Math.round(it.world.elapsedMs) }
}

/** Every list takes a word again, and soon. */
export async function progress(it: StoreWorld): Promise<void> {
  let answered = false
  it.clients.probe(() => {
    answered = true
  })
  await within(it, PROGRESS_MS_MAX, 'A healed majority makes progress', () =>
    answered ? null : ['not every list answers', ...it.cluster.health()].join('; '),
  )
}

/** All come to the same, which is what clients were told. */
export async function converge(it: StoreWorld): Promise<void> {
  await within(it, CONVERGE_MS_MAX, 'All replicas become the same', () =>
    it.clients.underWay > 0 ? `${it.clients.underWay} calls are under way` : it.difference(),
  )
  await it.world.run(LAND_MS)
  const keys = it.checkEnd()
  it.clients.check((key) => keys.get(key) ?? '')
}

const LOOK_MS = 100
/** What is applied has landed by then, where nothing is slow. */
const LAND_MS = 200

/** Waits until nothing is missing; looks now and then. */
async function within(it: StoreWorld, ms: number, promise: string, missing: () => string | null): Promise<void> {
  const { world } = it
  const endMs = world.elapsedMs + ms
  for (;;) {
    await world.run(LOOK_MS)
    const what = missing()
    if (what === null) return
    if (world.elapsedMs > endMs) throw new Violation(`${promise} within ${ms} ms: ${what}`)
  }
}
