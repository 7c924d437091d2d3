import assert from 'node:assert/strict'
import { within } from '../../../src/kv/engine/bytes.ts'
import { tiles } from '../../../src/kv/lease/index.ts'
import type { Store } from '../../../src/kv/store/store.ts'
import { SimulatedCluster } from '../../sim/cluster.ts'
import { World } from '../../sim/world.ts'
import { bytes, Toy, type ToyCommand, ToyObserver } from '../toy.ts'

export const KEYS = ['a', 'b', 'd', 'e', 'g', 'h', 'k', 'm', 'p', 's', 'v', 'y']
const ALL = ['s1', 's2', 's3', 's4']
const ignore = (): void => {}

/** As a service that keeps what it knows across a merge. */
class KeepingObserver extends ToyObserver {
  merged(left: { id: string }, right: { id: string }): void {
    this.log.push(`merged ${right.id} into ${left.id}`)
  }
}

export interface MatchSetup {
  seed?: number
  stores?: readonly string[]
  voters?: number
  splits?: readonly string[]
  keeps?: boolean
  delayMsMax?: number
}

/** Words stand for routes: a match is right if it finds every word whose answer was out. */
export class MatchRig {
  readonly world: World
  readonly cluster: SimulatedCluster<ToyCommand, never, never, never, never>
  readonly stores: readonly string[]
  /** By key: words whose answer has left the leader. */
  readonly answered = new Map<string, Set<string>>(KEYS.map((key) => [key, new Set()]))
  /** What is said of leases of this range does not come to that store, and not from it. */
  loses: { range: string; store: string } | null = null
  /** From asking to the answer at the client, ms. */
  readonly waits: number[] = []
  matched = 0
  refused = 0
  /** By store: for how long its monotonic clock stood still, ms. */
  readonly #slept = new Map<string, number>()
  readonly #clients
  #words = 0

  constructor({ seed = 1, stores = ALL.slice(0, 3), voters, splits = [], keeps = true, delayMsMax = 2 }: MatchSetup) {
    this.stores = stores
    this.world = new World({ seed, network: { lossPercent: 0, delayMsMin: 0.2, delayMsMax } })
    this.cluster = new SimulatedCluster({
      ...{ world: this.world, stores, voters: voters ?? stores.length, splits: splits.map((each) => bytes(each)) },
      coprocessor: () => new Toy() as never,
      makeObserver: () => (keeps ? new KeepingObserver() : new ToyObserver()) as never,
      leases: {
        clock: (clock, store) => ({
          ...clock,
          monotonic: () => clock.monotonic() - (this.#slept.get(store) ?? 0),
        }),
        loses: (from, to, range) => this.loses?.range === range && [from, to].includes(this.loses.store),
      },
      answers: (_store, batch, error) => {
        if (error !== null) return
        for (const command of batch.commands)
          if (command.type === 'append') this.answered.get(command.key)!.add(command.word)
      },
    })
    this.#clients = [this.cluster.client(20_000), this.cluster.client(20_000)]
  }

  /** A route is added; resolves with its answer. */
  add(key: string): Promise<unknown> {
    const { elapsedMs } = this.world
    const command: ToyCommand = { type: 'append', key, word: `w${++this.#words}` }
    const done = this.#clients[this.#words % 2]!.mutate(bytes(`k${key}`), command)
    done.then(() => this.waits.push(this.world.elapsedMs - elapsedMs), ignore)
    return done
  }

  /** Whether the store may match the key's routes now. */
  isSure(store: string, key: string): boolean {
    const leases = this.cluster.leases(store)
    const nowMs = leases.now()
    const spans = leases.spans().map(({ start, end, untilMs }) => ({ start, end, held: untilMs > nowMs }))
    return tiles(spans, bytes(`k${key}`), bytes(`k${key}\0`))
  }

  /** A publish reaches the store: in its turn, after whatever came before. */
  publish(store: string, key: string): void {
    if (!this.cluster.up.includes(store)) return
    this.cluster.machine(store).defer()(() => this.match(store, key))
  }

  match(store: string, key: string): void {
    if (!this.isSure(store, key)) {
      this.refused++
      this.cluster.leases(store).want()
      return
    }
    this.matched++
    const { state } = this.cluster.observer(store) as unknown as ToyObserver
    const found = new Set((state.get(`k${key}`) ?? '').split(' '))
    const missing = [...this.answered.get(key)!].filter((word) => !found.has(word))
    if (missing.length === 0) return
    const at = this.world.elapsedMs
    this.world.fail(new Error(`At ${at} ms ${store} matches "${key}" without ${missing}, which are answered`))
  }

  /** Stands still; `asleep`: its monotonic clock too. */
  pause(store: string, forMs: number, asleep: boolean): void {
    const machine = this.cluster.machine(store)
    if (!this.cluster.up.includes(store) || machine.paused) return
    const life = this.cluster.store(store)
    machine.pause()
    // What it finds first when it goes on.
    for (const key of KEYS) this.publish(store, key)
    this.world.clock.after(forMs, () => {
      if (!this.#isSame(store, life) || !machine.paused) return
      if (asleep) this.#slept.set(store, (this.#slept.get(store) ?? 0) + forMs)
      machine.resume()
    })
  }

  #isSame(store: string, life: Store): boolean {
    return this.cluster.up.includes(store) && this.cluster.store(store) === life
  }

  /** Whether each store may match the keys that it has a replica of, as their leader says. */
  able(): boolean {
    return KEYS.every((key) => {
      const led = this.cluster.up.flatMap((store) => this.cluster.store(store).ranges()).filter(({ leads }) => leads)
      const range = led.find(({ descriptor }) => within(bytes(`k${key}`), descriptor))
      return range?.descriptor.replicas.every(({ store }) => this.isSure(store, key)) ?? false
    })
  }
}

/** Everything bad at random, with splits, merges and moves at any moment; then calm. */
export async function matchChaos(seed: number, forMs = 20_000): Promise<MatchRig> {
  const moves = seed % 3 === 0
  const stores = moves ? ALL : ALL.slice(0, 3)
  const rig = new MatchRig({
    ...{ seed, stores, voters: 3, keeps: seed % 5 !== 0, delayMsMax: seed % 2 === 0 ? 2 : 40 },
    splits: ['kd', 'kh', 'kp'],
  })
  const { world, cluster } = rig
  world.network.options.lossPercent = 2
  world.network.options.duplicatePercent = 3
  let calm = false
  const every = (meanMs: number, work: () => void) => {
    world.clock.after(world.random.float() * meanMs * 2, () => {
      if (calm) return
      work()
      every(meanMs, work)
    })
  }
  const pick = <T>(from: readonly T[]): T | undefined => from[world.random.below(Math.max(1, from.length))]
  const led = (store: string | undefined) =>
    store === undefined
      ? []
      : cluster
          .store(store)
          .ranges()
          .filter(({ leads }) => leads)
  every(20, () => void rig.add(pick(KEYS)!).catch(ignore))
  every(5, () => rig.publish(pick(stores)!, pick(KEYS)!))
  every(6_000, () => {
    const store = pick(stores)!
    cluster.crash(store)
    world.clock.after(world.random.float() * 4_000, () => cluster.start(store))
  })
  every(5_000, () => {
    const store = pick(stores)!
    const others = stores.filter((each) => each !== store)
    if (world.random.below(3) === 0) for (const other of others) world.network.cut(store, other)
    else world.network.partition([store], others)
    world.clock.after(world.random.float() * 5_000, () => world.network.heal())
  })
  every(3_000, () => {
    const leaders = cluster.up.filter((store) => led(store).length > 0)
    const store = world.random.below(2) === 0 ? pick(leaders) : pick(cluster.up)
    if (store !== undefined) rig.pause(store, world.random.float() * 5_000, world.random.below(3) === 0)
  })
  every(7_000, () => {
    const store = pick(cluster.up)
    if (store === undefined || cluster.machine(store).paused) return
    const engine = cluster.engine(store)
    engine.hang()
    world.clock.after(world.random.float() * 3_000, () => {
      if (!cluster.machine(store).paused) engine.resume()
    })
  })
  every(3_000, () => {
    const key = bytes(`k${pick(KEYS)}`)
    for (const store of cluster.up) cluster.store(store).split('inbox', key).catch(ignore)
  })
  every(600, () => {
    const store = pick(cluster.up)
    const left = pick(led(store))
    const end = left?.descriptor.end
    const right = (store === undefined ? [] : cluster.store(store).ranges()).find(
      ({ descriptor: { start } }) => start !== undefined && end !== undefined && Buffer.compare(start, end) === 0,
    )
    if (left === undefined || right === undefined) return
    cluster.store(store!).merge(left.descriptor.id, right.descriptor.id).catch(ignore)
  })
  every(2_000, () => {
    const store = pick(cluster.up)
    const range = pick(led(store))
    const to = pick(range?.descriptor.replicas ?? [])
    if (range !== undefined && to !== undefined)
      cluster.store(store!).transfer(range.descriptor.id, to.store).catch(ignore)
  })
  if (moves) every(1_500, () => move(rig))
  await world.run(forMs)
  calm = true
  world.network.heal()
  Object.assign(world.network.options, { lossPercent: 0, duplicatePercent: 0, delayMsMax: 2 })
  for (const store of stores) {
    cluster.start(store)
    cluster.machine(store).resume()
    cluster.engine(store).resume()
  }
  await world.runUntil(() => rig.able(), 120_000)
  await world.resolve(Promise.all(KEYS.map((key) => rig.add(key))))
  for (const store of stores) for (const key of KEYS) rig.match(store, key)
  await world.run(1)
  assert(rig.matched > 200, `only ${rig.matched} matches`)
  return rig
}

/** A learner comes, becomes a voter in another one's place, and goes. */
function move({ world, cluster }: MatchRig): void {
  const store = cluster.up[world.random.below(Math.max(1, cluster.up.length))]
  if (store === undefined) return
  const led = cluster
    .store(store)
    .ranges()
    .filter(({ leads }) => leads)
  const range = led[world.random.below(Math.max(1, led.length))]
  if (range === undefined) return
  const { id, replicas } = range.descriptor
  const missing = ALL.find((each) => !replicas.some((replica) => replica.store === each))
  const learner = replicas.find(({ role }) => role === 'learner')
  const voters = replicas.filter(({ role }) => role === 'voter')
  const out = voters[world.random.below(voters.length)]!
  if (learner !== undefined) {
    const changes = [
      { store: learner.store, role: 'voter' as const },
      ...(voters.length >= 3 ? [{ store: out.store, role: 'none' as const }] : []),
    ]
    cluster.store(store).change(id, changes).catch(ignore)
  } else if (missing !== undefined) {
    cluster
      .store(store)
      .change(id, [{ store: missing, role: 'learner' }])
      .catch(ignore)
  }
}
