import type { Random } from '../../../src/base/clock.ts'
import type { RangeDescriptor } from '../../../src/kv/range/coprocessor.ts'
import { shapeOf } from './descriptors.ts'
import { bytes, text } from './logic.ts'
import { anyChange, repair } from './members.ts'
import { type Fault, LETTERS, MOVING, oneOf, type Plan } from './plan.ts'
import type { StoreWorld } from './store-world.ts'

const REPAIR_MS = 400
/** How long gossip takes to tell that a store may be dead. */
const SUSPECT_MS = 2_000
const ignore = (): void => {}

/** Does to the stores what the plan says, until it is told to stop; then undoes what can be undone. */
export class Faults {
  readonly counts: Partial<Record<Fault, number>> = {}
  readonly #plan: Plan
  readonly #it: StoreWorld
  readonly #random: Random
  #calm = false
  #dead: readonly string[] = []
  /** Groups have lost voters that may come back. */
  #thinned = false

  constructor(plan: Plan, it: StoreWorld) {
    this.#plan = plan
    this.#it = it
    this.#random = it.world.random
    for (const [fault, meanMs] of Object.entries(plan.meanMs)) this.#every(fault as Fault, meanMs)
    it.diskFailed = (store) => this.#dies(store, 1_000)
    this.#repairAll()
    this.#suspectDead()
  }

  /** Nothing bad from now on; what is broken is mended, but for stores that `stayDead`. */
  calm(stayDead: readonly string[]): void {
    this.#calm = true
    this.#dead = stayDead
    const { cluster, world, stores } = this.#it
    world.network.heal()
    this.#it.full.clear()
    this.#it.damagesNext = false
    Object.assign(world.network.options, { lossPercent: 0, duplicatePercent: 0, delayMsMax: 5 })
    for (const store of stores) {
      const machine = cluster.machine(store)
      machine.resume()
      machine.skewMs = 0
      machine.writeMsMax = 5
      if (stayDead.includes(store)) cluster.crash(store)
      else this.#start(store)
      if (cluster.up.includes(store)) cluster.engine(store).resume()
    }
  }

  /** As many as may be dead without a range being without its majority. */
  minority(): string[] {
    const { minorityStaysDead, meanMs } = this.#plan
    if (!minorityStaysDead || MOVING.some((fault) => meanMs[fault] !== undefined)) return []
    const dead: string[] = []
    for (const store of [...this.#it.stores].sort(() => this.#random.float() - 0.5)) {
      const without = [...dead, store]
      const enough = this.#it.descriptors.latest.every(({ replicas }) => {
        const voters = replicas.filter(({ role }) => role === 'voter')
        return voters.filter((each) => !without.includes(each.store)).length * 2 > voters.length
      })
      if (enough) dead.push(store)
    }
    return dead
  }

  #every(fault: Fault, meanMs: number): void {
    this.#it.world.clock.after(this.#random.float() * meanMs * 2, () => {
      if (this.#calm) return
      if (this.#strike(fault)) this.counts[fault] = (this.counts[fault] ?? 0) + 1
      this.#every(fault, meanMs)
    })
  }

  #for(meanMs: number, undo: () => void): void {
    this.#it.world.clock.after(50 + this.#random.float() * meanMs * 2, () => {
      if (!this.#calm) undo()
    })
  }

  /** False where it could not be done now. */
  #strike(fault: Fault): boolean {
    switch (fault) {
      case 'crash':
        return this.#dies(this.#any(), 2_000)
      case 'power loss':
        for (const store of this.#it.stores) this.#dies(store, 700)
        return true
      case 'symmetric partition':
        return this.#cut(this.#halves())
      case 'asymmetric partition':
        return this.#cut(this.#halves().filter((_, i) => i % 2 === 0))
      case 'partial partition':
        return this.#cut(this.#halves().filter(([a, b]) => a < b === this.#random.below(3) > 0))
      case 'flapping partition':
        return this.#flap(this.#halves(), 3 + this.#random.below(6))
      case 'bridge partition':
        return this.#bridge()
      case 'deserted leader':
        return this.#desert()
      case 'bad network':
        return this.#badNetwork()
      case 'slow disk':
        return this.#slowDisk()
      case 'hung disk':
        return this.#hang()
      case 'failed disk':
        return this.#failDisk()
      case 'wiped disk':
        return this.#wipe()
      case 'damaged log':
        return this.#damageLog()
      case 'damaged state':
        this.#it.damagesNext = true
        return true
      case 'full disk':
        return this.#fill()
      case 'pause':
        return this.#pause()
      case 'clock jump':
        return this.#jump()
      case 'membership':
        return this.#change()
      case 'false suspicion': {
        const { cluster } = this.#it
        if (cluster.up.length === 0) return false
        cluster.store(oneOf(this.#random, cluster.up)).suspect(this.#any())
        return true
      }
      case 'split':
        return this.#split()
      case 'merge':
        return this.#merge()
      case 'transfer':
        return this.#transfer()
      default:
        this.#it.clients.restart()
        return true
    }
  }

  #any(): string {
    return oneOf(this.#random, this.#it.stores)
  }

  #start(store: string): void {
    const { cluster, retired } = this.#it
    if (!retired.has(store) && !this.#dead.includes(store)) cluster.start(store)
  }

  #dies(store: string, awayMs: number): boolean {
    const { cluster, world } = this.#it
    if (!cluster.up.includes(store)) return false
    cluster.crash(store)
    world.clock.after(this.#random.float() * awayMs * 2, () => this.#start(store))
    return true
  }

  /** All ways between two parts of the world, in both directions, clients too. */
  #halves(): [string, string][] {
    const { stores, clientNames } = this.#it
    const everybody = [...stores, ...clientNames.slice(-this.#plan.clients)]
    const left = everybody.filter(() => this.#random.below(2) === 0)
    const right = everybody.filter((each) => !left.includes(each))
    return bothWays(left, right)
  }

  /** Two parts of the stores that only one of them hears both of. */
  #bridge(): boolean {
    const bridge = this.#any()
    return this.#cut(this.#halves().filter((way) => !way.includes(bridge)))
  }

  /** The others hear a leader no more and look for another one; some of the clients reach it still, and it alone. */
  #desert(): boolean {
    const led = this.#led()
    if (led === null) return false
    const { stores, clientNames, cluster } = this.#it
    const left = [led.store, ...clientNames.slice(-this.#plan.clients).filter(() => this.#random.below(2) === 0)]
    const others = stores.filter((store) => store !== led.store)
    for (const store of others) if (cluster.up.includes(store)) cluster.store(store).suspect(led.store)
    return this.#cut(bothWays(left, others))
  }

  #cut(ways: readonly [string, string][]): boolean {
    const { network } = this.#it.world
    for (const [a, b] of ways) network.cut(a, b)
    this.#for(2_500, () => {
      for (const [a, b] of ways) network.join(a, b)
    })
    return ways.length > 0
  }

  #flap(ways: readonly [string, string][], times: number): boolean {
    const { network } = this.#it.world
    for (const [a, b] of ways) {
      if (times % 2 === 0) network.join(a, b)
      else network.cut(a, b)
    }
    if (times > 0) this.#for(400, () => void this.#flap(ways, times - 1))
    else for (const [a, b] of ways) network.join(a, b)
    return ways.length > 0
  }

  #badNetwork(): boolean {
    const { options } = this.#it.world.network
    const { lossPercent, duplicatePercent, delayMsMax } = this.#plan
    Object.assign(options, {
      lossPercent: this.#random.below(30),
      duplicatePercent: this.#random.below(30),
      delayMsMax: 20 + this.#random.below(600),
    })
    this.#for(1_500, () => Object.assign(options, { lossPercent, duplicatePercent, delayMsMax }))
    return true
  }

  #slowDisk(): boolean {
    const machine = this.#it.cluster.machine(this.#any())
    machine.writeMsMax = 30 + this.#random.below(600)
    this.#for(2_000, () => {
      machine.writeMsMax = 5
    })
    return true
  }

  #hang(): boolean {
    const store = this.#any()
    const { cluster } = this.#it
    if (!cluster.up.includes(store)) return false
    const engine = cluster.engine(store)
    engine.hang()
    this.#it.world.clock.after(this.#random.float() * 5_000, () => engine.resume())
    return true
  }

  /** The next write fails: the store ends, as a process that cannot know what its disk holds. */
  #failDisk(): boolean {
    const store = this.#any()
    const { cluster } = this.#it
    if (!cluster.up.includes(store) || cluster.machine(store).paused) return false
    cluster.engine(store).failNext()
    return true
  }

  /** Only where all disks lost before are replaced, and every range can go on: else nothing could mend it. */
  #wipe(): boolean {
    const { descriptors, retired, stores } = this.#it
    const victim = this.#any()
    if (stores.length < 3 || this.#it.mourns) return false
    if (!descriptors.latest.every((range) => this.#goesOnWithout(victim, range, retired))) return false
    this.#it.loseDisk(victim)
    this.#it.addStore()
    return true
  }

  /** A log loses its end, where others go on, as in {@link #wipe}. */
  #damageLog(): boolean {
    const { cluster, descriptors, retired } = this.#it
    const victim = this.#any()
    if (!cluster.up.includes(victim) || cluster.store(victim).ranges().length === 0) return false
    if (this.#it.mourns) return false
    if (!descriptors.latest.every((range) => this.#goesOnWithout(victim, range, retired))) return false
    this.#it.damageLog(victim)
    this.#thinned = true
    this.#it.world.clock.after(this.#random.float() * 2_000, () => this.#start(victim))
    return true
  }

  #fill(): boolean {
    const store = this.#any()
    this.#it.full.add(store)
    this.#for(1_200, () => this.#it.full.delete(store))
    return true
  }

  /** Whether a majority without `victim` serves the range, and knows that it is one: no change is under way. */
  #goesOnWithout(victim: string, latest: RangeDescriptor, lost: ReadonlySet<string>): boolean {
    const { cluster } = this.#it
    const voters = latest.replicas.filter(({ role }) => role === 'voter')
    if (voters.length < 3 || latest.replicas.some(({ store }) => lost.has(store))) return false
    const others = voters.filter(({ store }) => {
      if (store === victim || !cluster.up.includes(store)) return false
      const ranges = cluster.store(store).ranges()
      return ranges.some(({ descriptor, joint }) => !joint && shapeOf(descriptor) === shapeOf(latest))
    })
    return others.length * 2 > voters.length
  }

  #pause(): boolean {
    const machine = this.#it.cluster.machine(this.#any())
    machine.pause()
    this.#for(2_000, () => machine.resume())
    return true
  }

  #jump(): boolean {
    const span = oneOf(this.#random, [1_000, 60_000, 7_200_000])
    this.#it.cluster.machine(this.#any()).skewMs = Math.floor((this.#random.float() - 0.5) * span)
    return true
  }

  #change(): boolean {
    const led = this.#led()
    if (led === null) return false
    const changes = anyChange(led.descriptor, this.#it.stores, this.#random)
    if (changes === null) return false
    this.#it.cluster.store(led.store).change(led.descriptor.id, changes).catch(ignore)
    return true
  }

  #transfer(): boolean {
    const led = this.#led()
    if (led === null) return false
    const others = led.descriptor.replicas.filter(({ store, role }) => store !== led.store && role === 'voter')
    if (others.length === 0) return false
    this.#it.cluster.store(led.store).transfer(led.descriptor.id, oneOf(this.#random, others).store).catch(ignore)
    return true
  }

  /** Before a letter's keys, or between them. */
  #split(): boolean {
    const key = bytes(`${oneOf(this.#random, [...LETTERS])}${oneOf(this.#random, ['', '', 'm'])}`)
    const range = this.#it.descriptors.latest.find(
      ({ start, end }) =>
        (start === undefined || text(start) < text(key)) && (end === undefined || text(key) < text(end)),
    )
    const leader = range === undefined ? null : this.#it.cluster.leader(range.id)
    if (leader === null) return false
    this.#it.cluster.store(leader).split('inbox', key).catch(ignore)
    return true
  }

  /** A range takes over its right neighbour. */
  #merge(): boolean {
    const led = this.#led()
    if (led === null) return false
    const { end } = led.descriptor
    const right = this.#it.descriptors.latest.find(
      ({ start }) => start !== undefined && end !== undefined && text(start) === text(end),
    )
    if (right === undefined) return false
    this.#it.cluster.store(led.store).merge(led.descriptor.id, right.id).catch(ignore)
    return true
  }

  /** A range, and who believes to lead it. */
  #led() {
    const { descriptors } = this.#it
    return descriptors.latest.length === 0 ? null : this.#ledAs(oneOf(this.#random, descriptors.latest).id)
  }

  #ledAs(id: string) {
    const { cluster } = this.#it
    const store = cluster.leader(id)
    if (store === null) return null
    const found = cluster
      .store(store)
      .ranges()
      .find((each) => each.descriptor.id === id)
    return found === undefined ? null : { store, descriptor: found.descriptor }
  }

  /** What gossip says; in calm too. */
  #suspectDead(): void {
    const { world, cluster, stores, retired } = this.#it
    world.clock.after(SUSPECT_MS, () => {
      const dead = [...stores, ...retired].filter((store) => !cluster.up.includes(store))
      for (const store of cluster.up) for (const each of dead) cluster.store(store).suspect(each)
      this.#suspectDead()
    })
  }

  /** What a balancer does about disks that are lost, in calm too; and about groups of two. */
  #repairAll(): void {
    const { world, cluster, retired, descriptors, stores } = this.#it
    world.clock.after(REPAIR_MS, () => {
      const grows = this.#thinned && !this.#calm
      for (const { id } of retired.size > 0 || grows ? descriptors.latest : []) {
        const led = this.#ledAs(id)
        if (led === null) continue
        const { store, descriptor } = led
        const isThin = grows && descriptor.replicas.filter(({ role }) => role === 'voter').length === 2
        const changes =
          repair(descriptor, retired, stores) ?? (isThin ? anyChange(descriptor, stores, this.#random) : null)
        if (changes !== null) cluster.store(store).change(id, changes).catch(ignore)
      }
      this.#repairAll()
    })
  }
}

function bothWays(left: readonly string[], right: readonly string[]): [string, string][] {
  return left.flatMap((a) =>
    right.flatMap((b): [string, string][] => [
      [a, b],
      [b, a],
    ]),
  )
}
