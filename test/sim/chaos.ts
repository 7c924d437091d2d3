import { silentLogger } from '../../src/base/logging.ts'
import type { RangeClient } from '../../src/kv/client/client.ts'
import { RoutedClient } from '../../src/kv/client/routed-client.ts'
import type { RangeTransport } from '../../src/kv/client/transport.ts'
import type { SimulatedEngine } from '../../src/kv/engine/memory/simulated.ts'
import type { Coprocessor, RangeDescriptor, RangeObserver } from '../../src/kv/range/coprocessor.ts'
import { Store } from '../../src/kv/store/store.ts'
import { CHAOS_RATES, type ChaosRates, ChaosTransport } from './chaos-transport.ts'
import { Witnessed } from './witness.ts'
import { World } from './world.ts'

export interface ChaosOptions<Command, Response, Query, Answer, Effect> {
  seed: number
  /**
   * The service's logic, or how to make it: then a new one is made after each crash, as a new process would, and a
   * second one beside it witnesses that entry and reader alone decide the outcome.
   */
  coprocessor:
    | Coprocessor<Command, Response, Query, Answer, Effect>
    | (() => Coprocessor<Command, Response, Query, Answer, Effect>)
  /** Called at the start and after each crash. It may give the same one again: `closed` was called for every range. */
  makeObserver: () => RangeObserver<Effect>
  /** Where the key space is cut at the start: two or more, so that there are three ranges at least. */
  splits: readonly Uint8Array[]
  commandBytes?: (command: Command) => number
  rates?: Partial<ChaosRates>
  /** Mean simulated time between crashes, between splits and between hangs of the disk, in ms; 0 = none. */
  crashMs?: number
  splitMs?: number
  hangMs?: number
  /** No more splits than this. Default 5. */
  splitsMax?: number
  /** A key to split at; null = not now. Default: one that a command was routed by. */
  splitKey?: (world: World) => Uint8Array | null
  /** Deadline of calls, in ms. Default 60,000: the chaos is to delay, not to fail them. */
  deadlineMs?: number
  /** How far apart batches begin at least; default as the store does. */
  gatherMs?: number
  /** A world to live in, with others; default a new one. */
  world?: World
}

/**
 * One service on one store, behind a client that lives through everything: delays, refusals, losses, repetitions,
 * crashes of the store's process with loss of what was not synced, splits. The real client, store, range and engine.
 */
export class ChaosWorld<Command, Response, Query, Answer, Effect> {
  readonly world: World
  readonly client: RangeClient<Command, Response, Query, Answer>
  readonly transport: ChaosTransport<Command, Response, Query, Answer>
  /** Crashes and splits so far. */
  crashes = 0
  splits = 0
  readonly #options: ChaosOptions<Command, Response, Query, Answer, Effect>
  readonly #process: ReturnType<World['process']>
  #running: {
    store: Store
    engine: SimulatedEngine
    observer: RangeObserver<Effect>
    transport: RangeTransport<Command, Response, Query, Answer>
  } | null = null
  #landscape: readonly RangeDescriptor[] = []
  #keys: Uint8Array[] = []
  #calm = false

  constructor(options: ChaosOptions<Command, Response, Query, Answer, Effect>) {
    if (options.splits.length < 2) throw new Error('Chaos needs three ranges at least: give two keys to split at')
    this.#options = options
    this.world = options.world ?? new World({ seed: options.seed })
    this.#process = this.world.process('store')
    this.transport = new ChaosTransport(
      this.world,
      {
        transport: () => this.#running?.transport ?? null,
        landscape: () => this.#running?.transport.landscape() ?? this.#landscape,
        sawKey: (key) => this.#sawKey(key),
      },
      { ...CHAOS_RATES, ...options.rates },
    )
    this.start()
    this.client = new RoutedClient({
      service: this.#landscape[0]!.service,
      transport: this.transport,
      incarnation: `client-${options.seed}`,
      clock: this.world.clock,
      random: this.world.random,
      log: { ...silentLogger, error: (fields, message) => this.world.fail(Object.assign(new Error(message), fields)) },
      commandBytes: options.commandBytes,
      limits: { deadlineMs: options.deadlineMs ?? 60_000 },
    })
    this.#every(options.crashMs ?? 2_000, () => this.#crashAndRestart())
    this.#every(options.splitMs ?? 1_500, () => this.#splitSomewhere())
    this.#every(options.hangMs ?? 3_000, () => this.#hang())
  }

  /** The store of now; null while it is down. */
  get store(): Store | null {
    return this.#running?.store ?? null
  }

  get engine(): SimulatedEngine | null {
    return this.#running?.engine ?? null
  }

  /** Nothing bad happens from now on; a store that is down comes back. */
  calm(): void {
    this.#calm = true
    this.transport.rates = {
      ...this.transport.rates,
      ...{ delay: 0, refuse: 0, loseRequest: 0, loseAnswer: 0, doubt: 0, repeat: 0 },
    }
    if (this.#running === null) this.start()
    this.#running!.engine.resume()
  }

  /** Ends the process; batches under way may or may not have reached the disk. */
  crash(): void {
    if (this.#running === null) return
    this.crashes++
    const { store, observer } = this.#running
    this.#landscape = this.#running.transport.landscape()
    this.#running = null
    store.abandon()
    this.#process.crash()
    for (const range of this.#landscape) observer.closed(range)
  }

  /** Starts the process on what its disk holds. */
  start(): void {
    if (this.#running !== null) return
    const { coprocessor, makeObserver, splits } = this.#options
    this.#process.restart()
    const engine = this.#process.disk('db')
    const store = new Store({
      engine,
      clock: this.#process.clock(),
      random: this.world.random,
      storeId: 'store',
      log: silentLogger,
      defer: this.#process.defer(),
      decodeAlways: true,
      limits: this.#options.gatherMs === undefined ? {} : { gatherMs: this.#options.gatherMs },
      fatal: (error) => this.world.fail(error),
    })
    const observer = makeObserver()
    const logic = typeof coprocessor === 'function' ? new Witnessed(coprocessor(), coprocessor()) : coprocessor
    const transport = store.open(logic, observer, { splits })
    this.#running = { store, engine, observer, transport }
    this.#landscape = transport.landscape()
  }

  /** Splits at `key` where a range allows it. */
  split(key: Uint8Array): void {
    const service = this.#landscape[0]!.service
    this.#running?.store.split(service, key).then(
      () => {
        this.splits++
      },
      // At the very start of a range, or in the middle of a crash.
      () => {},
    )
  }

  /** Halted ranges and failures, as an operator would see them: empty, unless something is wrong. */
  health(): string[] {
    return (this.#running?.store.health() ?? []).map(({ part, message }) => `${part}: ${message}`)
  }

  #sawKey(key: Uint8Array): void {
    if (this.#keys.length < 64) this.#keys.push(key)
    else this.#keys[this.world.random.below(64)] = key
  }

  #every(meanMs: number, work: () => void): void {
    if (meanMs === 0) return
    this.world.clock.after(this.world.random.float() * meanMs * 2, () => {
      if (this.#calm) return
      work()
      this.#every(meanMs, work)
    })
  }

  #crashAndRestart(): void {
    this.crash()
    this.world.clock.after(this.world.random.float() * 300, () => this.start())
  }

  #splitSomewhere(): void {
    const { splitKey, splitsMax = 5 } = this.#options
    if (this.splits >= splitsMax) return
    const key = splitKey === undefined ? this.#keys[this.world.random.below(this.#keys.length)] : splitKey(this.world)
    if (key !== undefined && key !== null) this.split(key)
  }

  #hang(): void {
    const engine = this.#running?.engine
    if (engine === undefined) return
    engine.hang()
    this.world.clock.after(this.world.random.float() * 1_500, () => engine.resume())
  }
}

/** See {@link ChaosWorld}. */
export function chaosWorld<Command, Response, Query, Answer, Effect>(
  options: ChaosOptions<Command, Response, Query, Answer, Effect>,
): ChaosWorld<Command, Response, Query, Answer, Effect> {
  return new ChaosWorld(options)
}
