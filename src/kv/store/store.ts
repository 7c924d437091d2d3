import { deserialize, serialize } from 'node:v8'
import { assert } from '../../base/assert.ts'
import type { Clock, Random } from '../../base/clock.ts'
import { BrokerError } from '../../base/errors.ts'
import type { HealthReason } from '../../base/health.ts'
import type { Logger } from '../../base/logging.ts'
import type { MetricSink, MetricSource } from '../../base/metrics.ts'
import type { RangeClient } from '../client/client.ts'
import { type ClientLimits, RoutedClient } from '../client/routed-client.ts'
import type { RangeTransport } from '../client/transport.ts'
import { type Batch, type Engine, FAMILIES, type Family, type Write } from '../engine/engine.ts'
import type { Coprocessor, RangeDescriptor, RangeObserver } from '../range/coprocessor.ts'
import type { AnswerCodec, StreamLimits } from '../range/streams.ts'
import type { Hosted, Landing } from './host.ts'
import { STORE_LIMITS, type StoreLimits } from './limits.ts'
import { judgePressure, PRESSURE_LIMITS, type PressureLimits } from './pressure.ts'
import { Service } from './service.ts'

export interface StoreOptions {
  engine: Engine
  clock: Clock
  random: Random
  storeId: string
  log: Logger
  /** Runs a callback after what runs now: a turn of the loop. Default setImmediate. */
  defer?: (callback: () => void) => void
  /** The disk failed: what is on it is unknown, so the process must end. Default: the store refuses everything. */
  fatal?: (error: Error) => void
  /** Applies each entry as read back from its bytes: tests prove so that encode and decode are faithful. */
  decodeAlways?: boolean
  limits?: Partial<StoreLimits>
  streamLimits?: Partial<StreamLimits>
  pressureLimits?: Partial<PressureLimits>
}

export interface ServeOptions<Command> {
  /** Where a new service's key space is cut at once: n keys give n + 1 ranges. */
  initialSplits?: readonly Uint8Array[]
  /** Approximate size of a command, for limits. Default 64 bytes for each. */
  commandBytes?: (command: Command) => number
  clientLimits?: Partial<ClientLimits>
}

export interface RangeStats {
  descriptor: RangeDescriptor
  /** Index of the last entry applied. */
  index: number
  hash: number
  /** Commands and bytes under way. */
  commands: number
  bytes: number
  streams: number
  halted: string | null
}

type AnyService = Service<never, unknown, never, unknown, unknown>

/** Longest sleep until timed work: a wall clock that jumps is noticed then. */
const DUE_WAIT_MS_MAX = 60_000
const WATCH_MS = 1_000

/**
 * The ranges of one node, all services: one loop.
 *
 * A turn takes what is queued for every range, applies one entry for each, and writes everything in ONE batch with ONE
 * sync; when it is durable and readable, observers are told, then commands are answered. While a batch is under way the
 * next one gathers, so that a slow disk makes larger batches.
 *
 * Each range has a single replica, whose log is the batch itself: an entry is committed by the write that holds its
 * outcome, and no entry is kept.
 */
export class Store implements MetricSource {
  readonly #options: StoreOptions
  readonly #engine: Engine
  readonly #clock: Clock
  readonly #limits: StoreLimits
  readonly #defer: (callback: () => void) => void
  readonly #services = new Map<string, AnyService>()
  readonly #clients: RangeClient<never, unknown, never, unknown>[] = []
  #calls: (() => void)[] = []
  #ready = new Set<Hosted>()
  /** Records of new ranges, for the next batch. */
  #records: Write[] = []
  #scheduled = false
  #writing = false
  #state: 'open' | 'closing' | 'closed' | 'failed' = 'open'
  #failure: BrokerError | null = null
  /** Why nothing that takes space is accepted; null while it is. */
  #pressure: BrokerError | null = null
  #stopWatch: (() => void) | null = null
  #idle: (() => void)[] = []
  #stopDue: (() => void) | null = null
  /** When the timer rings; it may ring too early, never too late. */
  #dueMs = Number.POSITIVE_INFINITY
  #dueFired = false

  constructor(options: StoreOptions) {
    this.#options = options
    this.#engine = options.engine
    this.#clock = options.clock
    this.#limits = { ...STORE_LIMITS, ...options.limits }
    this.#defer = options.defer ?? ((callback) => void setImmediate(callback))
    if (options.engine.stats().pressure !== undefined) this.#watch()
  }

  /** Opens the ranges of a service, or creates them, and gives a client for this process. */
  serve<Command, Response, Query, Answer, Effect>(
    coprocessor: Coprocessor<Command, Response, Query, Answer, Effect>,
    observer: RangeObserver<Effect>,
    options: ServeOptions<Command> = {},
  ): RangeClient<Command, Response, Query, Answer> {
    const transport = this.open(coprocessor, observer, options.initialSplits)
    const { clock, random, log, storeId } = this.#options
    const client = new RoutedClient<Command, Response, Query, Answer>({
      ...{ service: coprocessor.service, transport, clock, random, log },
      // Neither a clock that was set back nor a generator that begins again may name two clients alike.
      incarnation: `${storeId}/${this.#engine.durable()}-${clock.now()}-${this.#randomName(10)}`,
      commandBytes: options.commandBytes,
      refuses: (command) => (this.#pressure !== null && (coprocessor.grows?.(command) ?? true) ? this.#pressure : null),
      limits: options.clientLimits ?? {},
    })
    this.#clients.push(client as unknown as RangeClient<never, unknown, never, unknown>)
    return client
  }

  /** As {@link serve}, for clients that bring their own way here. */
  open<Command, Response, Query, Answer, Effect>(
    coprocessor: Coprocessor<Command, Response, Query, Answer, Effect>,
    observer: RangeObserver<Effect>,
    initialSplits: readonly Uint8Array[] = [],
  ): RangeTransport<Command, Response, Query, Answer> {
    assert(!this.#services.has(coprocessor.service), `Service "${coprocessor.service}" is opened twice`)
    const service = new Service(coprocessor, observer, {
      engine: this.#engine,
      storeId: this.#options.storeId,
      limits: this.#limits,
      streamLimits: this.#options.streamLimits ?? {},
      codec: this.#engine.persistent ? ANSWERS : null,
      decodeAlways: this.#options.decodeAlways ?? false,
      now: () => this.#clock.now(),
      wake: (host) => this.#wake(host),
      schedule: (callback) => this.#call(callback),
      refusal: () => this.#refusal(),
    })
    this.#services.set(coprocessor.service, service as unknown as AnyService)
    this.#records.push(...service.open(initialSplits))
    if (this.#records.length > 0) this.#schedule()
    this.#setDueTimer()
    return service
  }

  /** Cuts the range that holds `key`: the part from `key` on becomes a range of its own, without moving data. */
  split(service: RangeDescriptor['service'], key: Uint8Array): Promise<void> {
    return new Promise((resolve, reject) => {
      const child = `${service}-${this.#randomName(8)}`
      const found = this.#services.get(service)
      const error = this.#refusal() ?? (found === undefined ? this.#unknown(service) : null)
      if (error !== null) reject(error)
      else found!.split(key, child, (failure) => (failure === null ? resolve() : reject(failure)))
    })
  }

  ranges(): RangeStats[] {
    const stats: RangeStats[] = []
    for (const service of this.#services.values()) {
      for (const { range, descriptor, halted, load } of service.hosts) {
        const { index, hash } = range.applied
        stats.push({ descriptor, index, hash, ...load, streams: range.streams.size, halted })
      }
    }
    return stats
  }

  /** What keeps ranges from serving. */
  health(): HealthReason[] {
    const reasons: HealthReason[] = []
    if (this.#pressure !== null) reasons.push({ part: 'disk', message: this.#pressure.message })
    if (this.#failure !== null) reasons.push({ part: 'store', message: this.#failure.message })
    for (const { descriptor, halted } of this.ranges()) {
      if (halted !== null) reasons.push({ part: `range ${descriptor.id}`, message: halted })
    }
    return reasons
  }

  collect(sink: MetricSink): void {
    const { batches, syncs, bytes } = this.#engine.stats()
    sink.counter('flockmq_store_batches_total', 'Batches written to the storage engine', batches)
    sink.counter('flockmq_store_syncs_total', 'Batches that waited for the disk', syncs)
    for (const family of FAMILIES) {
      sink.gauge('flockmq_store_bytes', 'Bytes of keys and values', bytes[family], { family })
    }
    for (const { descriptor, index, commands, bytes: queued, halted } of this.ranges()) {
      const labels = { range: descriptor.id }
      sink.counter('flockmq_range_entries_total', 'Entries applied', index, labels)
      sink.gauge('flockmq_range_queued_commands', 'Commands under way', commands, labels)
      sink.gauge('flockmq_range_queued_bytes', 'Bytes of commands under way', queued, labels)
      sink.gauge('flockmq_range_halted', '1 where the range is halted', halted === null ? 0 : 1, labels)
    }
  }

  /** Takes nothing more, ends what is queued, then closes clients and observers. The engine stays open. */
  async close(): Promise<void> {
    if (this.#state === 'closed') return
    if (this.#state === 'open') this.#state = 'closing'
    if (this.#busy()) await new Promise<void>((resolve) => this.#idle.push(resolve))
    this.#state = 'closed'
    this.#stopDue?.()
    this.#stopWatch?.()
    for (const client of this.#clients) await client.close()
    for (const service of this.#services.values()) service.close()
    this.#services.clear()
  }

  /** Ends this store as a crash would: nobody hears of it again. For simulations. */
  abandon(): void {
    this.#state = 'closed'
    this.#stopDue?.()
    this.#stopWatch?.()
    this.#calls = []
    this.#ready.clear()
  }

  /** Looks at the disk once a second. */
  #watch(): void {
    const before = this.#pressure
    this.#pressure = judgePressure(this.#engine.stats(), before, {
      ...PRESSURE_LIMITS,
      ...this.#options.pressureLimits,
    })
    if (this.#pressure !== null && before === null) this.#options.log.warn({ err: this.#pressure }, 'Little space')
    if (this.#pressure === null && before !== null) this.#options.log.info({}, 'The disk has room again')
    this.#stopWatch = this.#clock.after(WATCH_MS, () => this.#watch())
  }

  #call(callback: () => void): void {
    this.#calls.push(callback)
    this.#schedule()
  }

  #wake(host: Hosted): void {
    this.#ready.add(host)
    this.#schedule()
  }

  #schedule(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    this.#defer(this.#turn)
  }

  readonly #turn = (): void => {
    this.#scheduled = false
    // Calls may wait for a batch under way no longer than for the turn: reads and flushes need no disk.
    const calls = this.#calls
    this.#calls = []
    for (const callback of calls) callback()
    if (this.#writing || this.#state === 'closed' || this.#state === 'failed') return
    const nowMs = this.#clock.now()
    if (this.#dueFired) this.#wakeDue(nowMs)
    const ready = this.#ready
    this.#ready = new Set()
    const landings: Landing[] = []
    const batch: Batch = { writes: [], sync: true }
    this.#addWrites(batch, 'meta', this.#records)
    this.#records = []
    for (const host of ready) {
      const landing = this.#turnRange(host, nowMs, batch)
      if (landing !== null) landings.push(landing)
      if (host.queued > 0) this.#wake(host)
    }
    if (batch.writes.length > 0 || landings.length > 0) this.#write(batch, landings)
    else this.#afterTurn()
  }

  #turnRange(host: Hosted, nowMs: number, batch: Batch): Landing | null {
    const wasHalted = host.halted !== null
    const writes = { data: [] as Write[], meta: [] as Write[] }
    const landing = host.turn(nowMs, writes)
    this.#addWrites(batch, host.descriptor.service, writes.data)
    this.#addWrites(batch, 'meta', writes.meta)
    if (host.halted !== null && !wasHalted) {
      this.#options.log.error({ range: host.descriptor.id, reason: host.halted }, 'A range is halted')
    }
    return landing
  }

  #addWrites(batch: Batch, family: Family, writes: readonly Write[]): void {
    for (const write of writes) batch.writes.push({ family, write })
  }

  #write(batch: Batch, landings: readonly Landing[]): void {
    this.#writing = true
    this.#engine.write(batch).then(
      () => this.#landed(landings),
      (error: Error) => this.#fail(error, landings),
    )
  }

  #landed(landings: readonly Landing[]): void {
    this.#writing = false
    if (this.#state === 'closed') return
    for (const landing of landings) landing.observe()
    for (const landing of landings) landing.answer()
    this.#afterTurn()
  }

  #afterTurn(): void {
    this.#setDueTimer()
    if (this.#ready.size > 0 || this.#calls.length > 0) this.#schedule()
    if (!this.#busy()) for (const resolve of this.#idle.splice(0)) resolve()
  }

  #fail(error: Error, landings: readonly Landing[]): void {
    this.#writing = false
    if (this.#state === 'closed') return
    this.#state = 'failed'
    const message = `Store "${this.#options.storeId}" stopped: a write failed (${error.message}); restart it with a working disk`
    this.#failure = new BrokerError('STORAGE_FAILED', message, { cause: error })
    this.#options.log.error({ err: error }, 'A write failed: the store stops')
    for (const landing of landings) landing.abort(this.#failure)
    for (const service of this.#services.values()) for (const host of service.hosts) host.abort(this.#failure)
    for (const resolve of this.#idle.splice(0)) resolve()
    this.#options.fatal?.(error)
  }

  #busy(): boolean {
    if (this.#state === 'failed' || this.#state === 'closed') return false
    return this.#writing || this.#ready.size > 0 || this.#calls.length > 0
  }

  #refusal(): BrokerError | null {
    if (this.#failure !== null) return this.#failure
    return this.#state === 'open' ? null : new BrokerError('UNAVAILABLE', `Store "${this.#options.storeId}" is closing`)
  }

  #unknown(service: string): BrokerError {
    return new BrokerError('RANGE_NOT_FOUND', `Store "${this.#options.storeId}" does not serve "${service}"`)
  }

  #wakeDue(nowMs: number): void {
    this.#dueFired = false
    if (this.#state !== 'open') return
    for (const service of this.#services.values()) {
      for (const host of service.hosts) if (host.dueMs <= nowMs) this.#ready.add(host)
    }
  }

  /** One timer for the timed work of all ranges. */
  #setDueTimer(): void {
    let next = Number.POSITIVE_INFINITY
    for (const service of this.#services.values()) for (const host of service.hosts) next = Math.min(next, host.dueMs)
    if (next >= this.#dueMs || this.#state !== 'open') return
    this.#dueMs = next
    this.#stopDue?.()
    const delayMs = Math.min(DUE_WAIT_MS_MAX, Math.max(0, next - this.#clock.now()))
    this.#stopDue = this.#clock.after(delayMs, () => {
      this.#stopDue = null
      this.#dueMs = Number.POSITIVE_INFINITY
      this.#dueFired = true
      this.#schedule()
    })
  }

  #randomName(length: number): string {
    let name = ''
    for (let i = 0; i < length; i++) name += this.#options.random.below(36).toString(36)
    return name
  }
}

/** Answers on disk: any structured value. */
export const ANSWERS: AnswerCodec = {
  encode: (responses) => serialize(responses),
  decode: (bytes) => deserialize(bytes) as unknown[],
}
