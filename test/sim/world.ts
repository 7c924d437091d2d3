import { type Clock, type Random, seededRandom } from '../../src/base/clock.ts'
import { type CrashOptions, SimulatedEngine } from '../../src/kv/engine/memory/simulated.ts'
import { Network, type NetworkOptions, type Receive } from './network.ts'
import { TimerHeap } from './timer-heap.ts'

export interface WorldOptions {
  seed: number
  /** Wall clock at the start, ms since 1970. Default 1,000,000,000,000. */
  startMs?: number
  network?: Partial<NetworkOptions>
}

/**
 * The one simulated world: time, randomness, the network, disks and processes that crash. The same seed and the same
 * calls give the same run.
 *
 * One event at a time: what was deferred first, then the next timer, to which time jumps. Code that waits for promises
 * runs between events, with `runUntil`, `run` and `resolve`; pure machines may be driven with `step` alone.
 */
export class World {
  readonly random: Random
  readonly network: Network
  /** A clock and a turn that no crash ends: for the test itself. */
  readonly clock: Clock
  readonly #timers = new TimerHeap()
  readonly #startMs: number
  #wallOffsetMs = 0
  #elapsedMs = 0
  #deferred: (() => void)[] = []
  #deferredAt = 0
  #error: { cause: unknown } | null = null

  constructor(options: WorldOptions) {
    this.#startMs = options.startMs ?? 1_000_000_000_000
    this.random = seededRandom(options.seed)
    this.clock = {
      now: () => Math.floor(this.#startMs + this.#wallOffsetMs + this.#elapsedMs),
      monotonic: () => this.#elapsedMs,
      after: (delayMs, callback) => this.#timers.add(this.#elapsedMs + Math.max(0, delayMs), callback),
    }
    this.network = new Network(this.clock, this.random, options.network)
  }

  /** Milliseconds since the start. */
  get elapsedMs(): number {
    return this.#elapsedMs
  }

  /** Runs `callback` after what runs now, without time passing: the production's setImmediate. */
  readonly defer = (callback: () => void): void => {
    this.#deferred.push(callback)
  }

  /** Lets the wall clock jump; the monotonic clock goes on as if nothing had been. */
  jumpWallClock(byMs: number): void {
    this.#wallOffsetMs += byMs
  }

  /** A process: its clock, its turns, its disks. */
  process(name: string): SimulatedProcess {
    return new SimulatedProcess(this, name)
  }

  /** One event; false where there is none. */
  step(): boolean {
    const callback = this.#deferred[this.#deferredAt]
    if (callback !== undefined) {
      this.#deferredAt++
      if (this.#deferredAt === this.#deferred.length) {
        this.#deferred = []
        this.#deferredAt = 0
      }
      callback()
      return true
    }
    const timer = this.#timers.shift()
    if (timer === null) return false
    this.#elapsedMs = Math.max(this.#elapsedMs, timer.atMs)
    timer.callback()
    return true
  }

  /** Runs until `condition` holds; throws where it does not within `maxMs` of simulated time. */
  async runUntil(condition: () => boolean, maxMs = 60_000): Promise<void> {
    const endMs = this.#elapsedMs + maxMs
    for (;;) {
      await settle()
      if (this.#error !== null) throw this.#error.cause
      if (condition()) return
      if (this.#elapsedMs > endMs) throw new Error(`The condition does not hold after ${maxMs} simulated ms`)
      if (!this.step()) throw new Error('The condition does not hold, and nothing is left to happen')
    }
  }

  /** Runs for `ms` of simulated time. */
  async run(ms: number): Promise<void> {
    let over = false
    this.clock.after(ms, () => {
      over = true
    })
    await this.runUntil(() => over, ms + 1)
  }

  /** Runs until the promise is settled, and gives its value. */
  async resolve<T>(promise: Promise<T>, maxMs = 60_000): Promise<T> {
    let settled = false
    const mark = () => {
      settled = true
    }
    promise.then(mark, mark)
    await this.runUntil(() => settled, maxMs)
    return promise
  }

  /** Lets the run fail at its next event: for checks made in callbacks that swallow what is thrown. */
  fail(cause: unknown): void {
    this.#error ??= { cause }
  }
}

/** Lets every promise callback run that can. */
export function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

/** One process on one machine. A crash drops what it had planned; its disks keep what was synced. */
export class SimulatedProcess {
  readonly name: string
  /** Longest time that a batch takes on its disks, in ms. */
  writeMsMax = 5
  /** How far its wall clock is off, in ms. */
  skewMs = 0
  readonly #world: World
  readonly #disks = new Map<string, SimulatedEngine>()
  #life = 0
  #alive = true
  /** What has come to it while it stands still; null while it runs. */
  #held: (() => void)[] | null = null

  constructor(world: World, name: string) {
    this.#world = world
    this.name = name
  }

  get alive(): boolean {
    return this.#alive
  }

  get paused(): boolean {
    return this.#held !== null
  }

  /** Of this life: after a crash its timers are silent, and a new one must be taken. */
  clock(): Clock {
    const world = this.#world.clock
    return {
      now: () => world.now() + this.skewMs,
      monotonic: world.monotonic,
      after: (ms, callback) => world.after(ms, this.guard(callback)),
    }
  }

  /** Of this life, as {@link clock}. */
  defer(): (callback: () => void) => void {
    return (callback) => this.#world.defer(this.guard(callback))
  }

  /** Takes what the network brings, of this life, as {@link clock}. */
  attach(receive: Receive): void {
    this.#world.network.attach(this.name, this.guard(receive))
  }

  /** The disk of that name, with what the lives before left on it. */
  disk(name: string): SimulatedEngine {
    let disk = this.#disks.get(name)
    if (disk === undefined) {
      disk = this.#newDisk()
      this.#disks.set(name, disk)
    }
    return disk
  }

  /** Stands still, as by SIGSTOP: nothing is lost, everything is late. */
  pause(): void {
    if (!this.#alive || this.#held !== null) return
    this.#held = []
    for (const disk of this.#disks.values()) disk.hang()
  }

  resume(): void {
    const held = this.#held
    this.#held = null
    if (held === null) return
    for (const disk of this.#disks.values()) disk.resume()
    for (const callback of held) this.#world.defer(callback)
  }

  /** Ends this life. Without options, any number of the batches under way reached the disk. */
  crash(options?: CrashOptions): void {
    this.#alive = false
    this.#held = null
    this.#life++
    this.#world.network.detach(this.name)
    for (const [name, disk] of this.#disks) {
      const survivors = this.#world.random.below(disk.undurable + 1)
      this.#disks.set(name, disk.crash(options ?? { survivors }))
    }
  }

  restart(): void {
    this.#alive = true
  }

  #newDisk(): SimulatedEngine {
    const writeMsMax = () => this.writeMsMax
    return new SimulatedEngine({
      clock: this.#world.clock,
      random: this.#world.random,
      get writeMsMax() {
        return writeMsMax()
      },
    })
  }

  /** What comes to this life from outside: late while it stands still, never after its end. */
  guard<Args extends unknown[]>(callback: (...args: Args) => void): (...args: Args) => void {
    const life = this.#life
    const guarded = (...args: Args): void => {
      if (life !== this.#life) return
      if (this.#held === null) callback(...args)
      else this.#held.push(() => guarded(...args))
    }
    return guarded
  }
}
