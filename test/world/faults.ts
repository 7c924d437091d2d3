import type { Random } from '../../src/base/clock.ts'
import type { Machine } from './node.ts'
import { type Fault, oneOf, type Plan } from './plan.ts'
import type { BrokerWorld } from './world.ts'

const ignore = (): void => {}

/** A time in which something was wrong. */
interface Trouble {
  fault: Fault
  fromMs: number
  untilMs: number
}

/** Does to the nodes what the plan says, until it is told to stop; then undoes what can be undone. */
export class Faults {
  readonly troubles: Trouble[] = []
  readonly #plan: Plan
  readonly #it: BrokerWorld
  readonly #random: Random
  #calm = false

  constructor(plan: Plan, it: BrokerWorld) {
    this.#plan = plan
    this.#it = it
    this.#random = it.world.random
    it.world.network.options.delayMsMax = plan.delayMsMax
    for (const [fault, meanMs] of Object.entries(plan.meanMs)) this.#every(fault as Fault, meanMs)
  }

  /** Nothing bad from now on; what is broken is mended. */
  calm(): void {
    const { world, machines } = this.#it
    this.#calm = true
    this.#it.heal()
    world.network.options.delayMsMax = 5
    for (const machine of machines) {
      machine.process.resume()
      machine.process.skewMs = 0
      machine.process.writeMsMax = 5
      machine.process.disk(machine.disk).resume()
      this.#it.start(machine)
    }
    for (const trouble of this.troubles) trouble.untilMs = Math.min(trouble.untilMs, world.elapsedMs)
  }

  /** Whether anything that touches more than time was wrong between the two, or shortly before. */
  troubled(fromMs: number, untilMs: number): boolean {
    return this.troubles.some((trouble) => trouble.fromMs <= untilMs && trouble.untilMs + AFTER_MS >= fromMs)
  }

  #every(fault: Fault, meanMs: number): void {
    this.#it.world.clock.after(this.#random.float() * meanMs * 2, () => {
      if (this.#calm) return
      const forMs = this.#strike(fault)
      if (forMs !== null) {
        const fromMs = this.#it.world.elapsedMs
        this.#it.count(fault)
        this.troubles.push({ fault, fromMs, untilMs: fromMs + forMs })
        this.#it.note(fault)
      }
      this.#every(fault, meanMs)
    })
  }

  /** For how long; null where it could not be done now. */
  #strike(fault: Fault): number | null {
    const machine = oneOf(this.#random, this.#it.machines)
    switch (fault) {
      case 'crash':
        return this.#dies(machine, false)
      case 'power loss':
        return this.#dies(machine, true)
      case 'all power lost':
        return Math.max(0, ...this.#it.machines.map((each) => this.#dies(each, true) ?? 0))
      case 'symmetric partition':
        return this.#cut(this.#halves())
      case 'asymmetric partition':
        return this.#cut(this.#halves().filter((_, i) => i % 2 === 0))
      case 'partial partition':
        return this.#cut(this.#halves().filter(([a, b]) => a.index < b.index === this.#random.below(3) > 0))
      case 'pause':
        machine.process.pause()
        return this.#for(2_500, () => machine.process.resume())
      case 'slow disk':
        machine.process.writeMsMax = 30 + this.#random.below(500)
        return this.#for(2_000, () => {
          machine.process.writeMsMax = 5
        })
      case 'hung disk':
        return this.#hang(machine)
      case 'wiped disk':
        return this.#wipe(machine)
      case 'clock jump':
        machine.process.skewMs = Math.floor((this.#random.float() - 0.5) * oneOf(this.#random, [1_000, 20_000]))
        return 0
      case 'slow network':
        this.#it.world.network.options.delayMsMax = 50 + this.#random.below(400)
        return this.#for(1_500, () => {
          this.#it.world.network.options.delayMsMax = this.#plan.delayMsMax
        })
      case 'transfer':
        return this.#transfer(machine)
      case 'split':
        return this.#split(machine)
    }
  }

  #for(meanMs: number, undo: () => void): number {
    const forMs = 50 + this.#random.float() * meanMs * 2 * this.#plan.patience
    this.#it.world.clock.after(forMs, () => {
      if (!this.#calm) undo()
    })
    return forMs
  }

  #dies(machine: Machine, powerLoss: boolean): number | null {
    if (machine.node === null) return null
    this.#it.crash(machine, { powerLoss })
    return this.#for(1_500, () => this.#it.start(machine))
  }

  /** All ways between two parts of the nodes, in both directions. */
  #halves(): [Machine, Machine][] {
    const { machines } = this.#it
    const left = machines.filter(() => this.#random.below(2) === 0)
    const right = machines.filter((each) => !left.includes(each))
    return left.flatMap((a) =>
      right.flatMap((b): [Machine, Machine][] => [
        [a, b],
        [b, a],
      ]),
    )
  }

  #cut(ways: readonly [Machine, Machine][]): number | null {
    if (ways.length === 0) return null
    for (const [a, b] of ways) this.#it.cut(a, b)
    // Some are so long that the others are given up for dead.
    const meanMs = this.#random.below(4) === 0 ? 8_000 : 2_000
    return this.#for(meanMs, () => {
      for (const [a, b] of ways) this.#it.join(a, b)
    })
  }

  #hang(machine: Machine): number | null {
    if (machine.node === null || machine.process.paused) return null
    const disk = machine.process.disk(machine.disk)
    disk.hang()
    return this.#for(1_500, () => disk.resume())
  }

  /** Only where every range goes on with a majority of what it has, and has all that it should. */
  #wipe(victim: Machine): number | null {
    if (victim.node === null || this.#it.counts['wiped disk'] !== undefined) return null
    const { up, machines } = this.#it
    if (up.length < machines.length || this.troubled(this.#it.world.elapsedMs, this.#it.world.elapsedMs)) return null
    for (const { node } of up) {
      for (const { descriptor, leads, joint } of node!.ranges.store.ranges()) {
        const voters = descriptor.replicas.filter(({ role }) => role === 'voter')
        if (leads && (joint || voters.length < 3)) return null
      }
    }
    this.#it.crash(victim)
    victim.wipe()
    return this.#for(2_000, () => this.#it.start(victim))
  }

  #transfer({ node }: Machine): number | null {
    const led = node?.ranges.store.ranges().filter(({ leads }) => leads) ?? []
    if (led.length === 0) return null
    const { id, replicas } = oneOf(this.#random, led).descriptor
    const others = replicas.filter(({ store, role }) => role === 'voter' && store !== node!.machine.hostId)
    if (others.length === 0) return null
    node!.ranges.store.transfer(id, oneOf(this.#random, others).store).catch(ignore)
    return 0
  }

  #split({ node }: Machine): number | null {
    if (node === null) return null
    const service = oneOf(this.#random, ['inbox', 'dist', 'retain'] as const)
    const key = Buffer.from(
      `${oneOf(this.#random, ['a', 'b'])}\0${oneOf(this.#random, ['d', 'g', 'k2', 'p', 's', 't'])}`,
    )
    const cut = node.ranges.cutNear(service, key)
    if (cut === null) return null
    node.ranges.store.split(service, cut).catch(ignore)
    return 0
  }
}

/** After a fault its traces are to be seen for a while: links that open again, elections. */
const AFTER_MS = 6_000
