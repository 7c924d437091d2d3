import { assert } from '../../base/assert.ts'
import { type Clock, randomName } from '../../base/clock.ts'
import { BrokerError } from '../../base/errors.ts'
import type { HealthReason } from '../../base/health.ts'
import type { MetricSink, MetricSource } from '../../base/metrics.ts'
import type { RangeClient } from '../client/client.ts'
import type { RangeTransport } from '../client/transport.ts'
import type { Engine } from '../engine/engine.ts'
import type { Coprocessor, RangeObserver, ServiceName } from '../range/coprocessor.ts'
import type { FamilyWrite } from '../snapshot/index.ts'
import { ANSWERS } from './answers.ts'
import { Batches } from './batches.ts'
import { makeClient } from './client.ts'
import { Correspondence } from './correspondence.ts'
import { DueTimer } from './due-timer.ts'
import { collectStore, healthOf, type RangeStats, statsOf } from './figures.ts'
import { GroupTime } from './group-time.ts'
import type { Hosted } from './hosted.ts'
import { STORE_LIMITS, type StoreLimits } from './limits.ts'
import { MergeLoop } from './merge-loop.ts'
import type { OpenOptions, ServeOptions, StoreOptions } from './options.ts'
import { bringsEntries, type Packet } from './packet.ts'
import type { Gone } from './raft-schema.ts'
import { memberChanges, type ReplicaChange } from './replica-change.ts'
import { Service } from './service.ts'
import { Snapshots } from './snapshots.ts'
import { SpaceWatch } from './space-watch.ts'
import type { Beginning } from './stored.ts'

export type { ServeOptions, StoreOptions } from './options.ts'

type AnyService = Service<never, unknown, never, unknown, unknown>

/**
 * The ranges of one node, all services: one loop.
 *
 * A turn takes what is queued for every range, and what consensus brings, and gathers everything that is to be written in
 * ONE batch with ONE sync. When that is durable and readable, what waits for it goes on: answers to other stores, entries
 * that are committed by it, then observers, then those who asked. While a batch is under way the next one gathers, so that
 * a slow disk makes larger batches.
 *
 * A sole voter's entry and its effects are in the same batch. In a group an entry is written first; its effects, once it
 * is committed, are seen at once and go with a later batch, and after a crash are found again from the log.
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
  readonly #batches: Batches
  readonly #others: Correspondence
  readonly #snapshots: Snapshots
  readonly #merges: MergeLoop
  #stopPump: (() => void) | null = null
  readonly #time: GroupTime
  #scheduled = false
  #state: 'open' | 'closing' | 'closed' | 'failed' = 'open'
  #failure: BrokerError | null = null
  readonly #space: SpaceWatch
  #idle: (() => void)[] = []
  readonly #due: DueTimer
  #dueFired = false

  constructor(options: StoreOptions) {
    this.#options = options
    this.#engine = options.engine
    this.#clock = options.clock
    this.#limits = { ...STORE_LIMITS, ...options.limits }
    this.#batches = new Batches({
      ...{ engine: options.engine, clock: options.clock, gatherMs: this.#limits.gatherMs },
      wake: () => this.#schedule(),
      landed: (landings) => this.#landed(landings),
      failed: (error) => this.#fail(error),
    })
    this.#due = new DueTimer(options.clock, () => {
      this.#dueFired = true
      this.#schedule()
    })
    this.#defer = options.defer ?? ((callback) => void setImmediate(callback))
    this.#snapshots = new Snapshots({
      engine: options.engine,
      log: options.log,
      now: () => options.clock.monotonic(),
      send: (store, service, toSender, message) =>
        this.#others.send(store, { type: 'snapshot', service, toSender, message }),
      admit: (offer) => this.#services.get(offer.descriptor.service)?.admit(offer) ?? { refused: 'no such service' },
      wake: (host) => (host === null ? this.#schedule() : this.#wake(host)),
      bytesPerSecond: options.snapshotBytesPerSecond,
    })
    const replace = (range: string, store: string) => void this.change(range, [{ store, role: 'none' }]).catch(() => {})
    this.#others = new Correspondence({
      snapshots: this.#snapshots,
      send: options.send ?? (() => {}),
      replica: (range) => this.#serviceOf(range)?.replica(range),
      informed: (range) => this.#hostOf(range),
      wake: (host) => this.#wake(host),
      meet: (descriptor) => this.#services.get(descriptor.service)?.meet(descriptor) ?? 0,
      remove: (host) => this.#services.get(host.service)?.remove(host),
      absorption: (range) => this.#goneOf(range)?.absorption ?? null,
      absorbed: (range, proof) => this.#serviceOf(range)?.wasAbsorbed(range, proof),
      merge: (from, packet) => this.#merges.take(from, packet),
      erased: (range) => this.#goneOf(range)?.replica ?? 0,
      replace,
    })
    this.#merges = new MergeLoop({
      ...{ storeId: options.storeId, clock: options.clock, host: (range) => this.#hostOf(range) },
      send: (store, packet) => this.#others.send(store, packet),
      isAbsorbed: (range) => (this.#goneOf(range)?.absorption ?? null) !== null,
      schedule: () => this.#schedule(),
    })
    this.#time = new GroupTime({
      ...{ clock: options.clock, storeId: options.storeId, wake: (host) => this.#wake(host) },
      replicas: () => this.#each((service) => service.replicas()),
      hosts: () => this.#each((service) => service.hosts),
      send: (store, packet) => this.#others.send(store, packet),
      transfer: (range, store) => void this.transfer(range, store).catch(() => {}),
      replace,
      flush: () => this.#others.flush(),
    })
    this.#space = new SpaceWatch(options)
  }

  /** Opens the ranges of a service, or creates them, and gives a client for this process. */
  serve<Command, Response, Query, Answer, Effect>(
    coprocessor: Coprocessor<Command, Response, Query, Answer, Effect>,
    observer: RangeObserver<Effect>,
    options: ServeOptions<Command> = {},
  ): RangeClient<Command, Response, Query, Answer> {
    const { initialSplits: splits = [], watch } = options
    return this.client(coprocessor, this.open(coprocessor, observer, { splits, watch }), options)
  }

  /** A client of a service whose ranges are reached by `transport`, wherever they are. */
  client<Command, Response, Query, Answer, Effect>(
    coprocessor: Coprocessor<Command, Response, Query, Answer, Effect>,
    transport: RangeTransport<Command, Response, Query, Answer>,
    options: ServeOptions<Command> = {},
  ): RangeClient<Command, Response, Query, Answer> {
    const client = makeClient(this.#options, coprocessor, transport, options, () => this.#space.refusal)
    this.#clients.push(client as unknown as RangeClient<never, unknown, never, unknown>)
    return client
  }

  /** As {@link serve}, for clients that bring their own way here. */
  open<Command, Response, Query, Answer, Effect>(
    coprocessor: Coprocessor<Command, Response, Query, Answer, Effect>,
    observer: RangeObserver<Effect>,
    { watch, ...beginning }: OpenOptions = {},
  ): RangeTransport<Command, Response, Query, Answer> {
    assert(!this.#services.has(coprocessor.service), `Service "${coprocessor.service}" is opened twice`)
    const service = new Service(coprocessor, observer, {
      engine: this.#engine,
      storeId: this.#options.storeId,
      limits: this.#limits,
      streamLimits: this.#options.streamLimits ?? {},
      raftLimits: this.#options.raftLimits ?? {},
      random: this.#options.random,
      monotonic: () => this.#clock.monotonic(),
      send: (store, packet) => this.#others.send(store, packet),
      requestSnapshot: (host, to, store) => this.#snapshots.request(host, to, store),
      cancelSnapshots: (host, reason) => this.#snapshots.cancel(host, reason),
      arriving: () => this.#snapshots.arriving(),
      writeLast: (writes) => this.#writeLast(writes),
      codec: this.#engine.persistent ? ANSWERS : null,
      log: this.#options.log,
      lossy: this.#options.lossy ?? false,
      decodeAlways: this.#options.decodeAlways ?? false,
      now: () => this.#clock.now(),
      ...{ watch, merging: (host) => this.#merges.watch(host), wake: (host) => this.#wake(host) },
      arrived: (host) => this.#arrived(host),
      schedule: (callback) => this.#call(callback),
      refusal: () => this.#refusal(),
      pressure: () => this.#space.refusal,
    })
    this.#services.set(coprocessor.service, service as unknown as AnyService)
    const { meta, raft } = this.#batches.gathered
    service.open({ splits: [], stores: [this.#options.storeId], ...beginning }, meta, raft)
    this.#schedule()
    return service
  }

  /** Creates the first ranges of an opened service that has none here. Nobody else may ever do that. */
  begin(service: ServiceName, beginning: Partial<Beginning> = {}): void {
    const found = this.#services.get(service)
    assert(found !== undefined, `Service "${service}" is open`)
    const { meta, raft } = this.#batches.gathered
    found.begin({ splits: [], stores: [this.#options.storeId], ...beginning }, meta, raft)
    this.#schedule()
  }

  /** Forgets all ranges, of all services. Resolves when nothing of them is left on disk. */
  reset(): Promise<void> {
    for (const service of this.#services.values()) service.reset()
    return this.flushed()
  }

  /** Resolves when all that was begun until now is on disk. */
  flushed(): Promise<void> {
    return new Promise((resolve) => {
      this.#batches.gathered.landings.push(resolve)
      this.#batches.gathered.sync = true
      this.#schedule()
    })
  }

  /** Cuts the range that holds `key`: the part from `key` on becomes a range of its own, without moving data. */
  split(service: ServiceName, key: Uint8Array): Promise<void> {
    return new Promise((resolve, reject) => {
      const child = `${service}-${randomName(this.#options.random, 8)}`
      const found = this.#services.get(service)
      const error = this.#refusal() ?? (found === undefined ? this.#unknown(service) : null)
      if (error !== null) reject(error)
      else found!.split(key, child, (failure) => (failure === null ? resolve() : reject(failure)))
    })
  }

  /**
   * Makes the right neighbour a part of the range `left`, which this store must lead; the same stores must hold both. No
   * data moves. Settled when that is applied, or given up: CONFLICT says why. The next leader brings it to its end.
   */
  merge(left: string, right: string): Promise<void> {
    return new Promise((resolve, reject) => {
      const error = this.#refusal()
      const host = this.#hostOf(left)
      const neighbour = this.#hostOf(right)
      if (error !== null) reject(error)
      else if (host === undefined || neighbour === undefined) reject(this.#unknown(host === undefined ? left : right))
      else host.merger.begin(neighbour.range.latest, (failure) => (failure === null ? resolve() : reject(failure)))
    })
  }

  ranges(): RangeStats[] {
    return Array.from(
      this.#each((service) => service.hosts),
      (host) => statsOf(host),
    )
  }

  /** What keeps ranges from serving. */
  health(): HealthReason[] {
    return healthOf(this.#space.refusal ?? null, this.#failure, this.ranges())
  }

  collect(sink: MetricSink): void {
    collectStore(sink, this.#engine.stats(), this.ranges(), this.#snapshots.counts, this.#batches)
  }

  /** Takes nothing more, ends what is queued, then closes clients and observers. The engine stays open. */
  async close(): Promise<void> {
    if (this.#state === 'closed') return
    if (this.#state === 'open') this.#state = 'closing'
    if (this.#busy()) await new Promise<void>((resolve) => this.#idle.push(resolve))
    this.#state = 'closed'
    this.#stopTimers()
    for (const client of this.#clients) await client.close()
    for (const service of this.#services.values()) service.close()
    this.#services.clear()
  }

  /** Ends this store as a crash would: nobody hears of it again. For simulations. */
  abandon(): void {
    this.#state = 'closed'
    this.#stopTimers()
    this.#calls = []
    this.#ready.clear()
  }

  /** Takes packets of another store. What concerns no range here is lost. */
  receive(from: string, packets: readonly Packet[]): void {
    if (this.#state === 'closed' || this.#state === 'failed') return
    this.#batches.note(packets.reduce((sum, packet) => sum + (bringsEntries(packet) ? 1 : 0), 0))
    for (const packet of packets) this.#others.take(from, packet)
    this.#schedule()
  }

  /**
   * A hint: another store may be dead, as its connection broke or gossip suspects it. Ranges that it leads look for
   * another leader soon, unless it is heard again.
   */
  suspect(store: string): void {
    if (this.#state !== 'open') return
    for (const service of this.#services.values()) {
      for (const host of service.replicas()) if (host.group.suspect(store)) this.#wake(host)
    }
  }

  /**
   * Changes who the replicas of a range are, which this store must lead. New voters must be learners that have caught
   * up: else CONFLICT. Settled when the change is committed; where it took more than one voter, the group leaves the
   * configuration between by itself.
   */
  change(range: string, changes: readonly ReplicaChange[]): Promise<void> {
    return new Promise((resolve, reject) => {
      const host = this.#hostOf(range)
      if (host === undefined) return reject(this.#unknown(range))
      const { members, places } = memberChanges(host.range.latest, host.group, changes)
      host.change({ members, leave: 'auto' }, places, (error) => (error === null ? resolve() : reject(error)))
      this.#wake(host)
    })
  }

  /** Hands the leadership of a range to its voter on another store; settled when this one leads no more. */
  transfer(range: string, store: string): Promise<void> {
    return new Promise((resolve, reject) => {
      const host = this.#hostOf(range)
      const to = host?.descriptor.replicas.find((replica) => replica.store === store)
      if (host === undefined || to === undefined) return reject(this.#unknown(range))
      host.transfer(to.replica, (error) => (error === null ? resolve() : reject(error)))
      this.#wake(host)
    })
  }

  #writeLast(writes: readonly FamilyWrite[]): void {
    for (const write of writes) this.#batches.gathered.last.push(write)
    this.#batches.gathered.sync = true
    this.#schedule()
  }

  #call(callback: () => void): void {
    this.#calls.push(callback)
    this.#schedule()
  }

  #arrived(host: Hosted): void {
    // Who is alone waits for the disk only: a batch costs it neither frames nor other stores.
    if (!host.group.alone) this.#batches.note(1)
    this.#wake(host)
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
    if (this.#state === 'closed' || this.#state === 'failed') return
    const nowMs = this.#clock.now()
    const ends = this.#state !== 'open'
    const open = ends || this.#batches.open
    if (this.#dueFired && open && !this.#batches.writing) this.#wakeDue(nowMs)
    this.#advance(nowMs, open)
    if (this.#snapshots.busy) this.#pump()
    this.#batches.turned(open, ends)
    this.#afterTurn()
  }

  /** Lets every range go on that has something to do; `proposes`: what was asked for begins too. */
  #advance(nowMs: number, proposes: boolean): void {
    const ready = this.#ready
    this.#ready = new Set()
    for (const host of ready) {
      // What waits for the disk alone gathers until the disk is free.
      if (proposes && this.#batches.writing && host.group.alone && !host.ample) this.#ready.add(host)
      else this.#advanceRange(host, nowMs, proposes)
    }
    const { gathered } = this.#batches
    const { shows } = gathered
    if (shows.length > 0) {
      gathered.shows = []
      for (const show of shows) show.observe()
      for (const show of shows) show.answer()
    }
    this.#others.flush()
  }

  #advanceRange(host: Hosted, nowMs: number, proposes: boolean): void {
    const wasHalted = host.halted !== null
    const { gathered, writing } = this.#batches
    const { data } = gathered
    const from = data.length
    if (writing && host.ample) gathered.ample = true
    host.advance(nowMs, gathered, proposes)
    if (data.length > from) gathered.families.push({ family: host.service, until: data.length, from })
    if (host.waits) this.#ready.add(host)
    if (host.halted !== null && !wasHalted) {
      this.#options.log.error({ range: host.id, reason: host.halted }, 'A range is halted')
    }
    if (this.#state !== 'closed') this.#time.start(host)
  }

  #pump(): void {
    if (!this.#batches.writing) this.#snapshots.begin()
    this.#snapshots.pump(this.#batches.gathered)
    this.#others.flush()
    this.#stopPump?.()
    const waitMs = this.#snapshots.waitMs()
    this.#stopPump = waitMs === null ? null : this.#clock.after(waitMs, () => this.#schedule())
  }

  #landed(landings: readonly (() => void)[]): void {
    if (this.#state === 'closed') return
    for (const landing of landings) landing()
    this.#batches.follow()
    // At once: who waits for this batch shall not wait for the next turn too. What is new may gather until then.
    this.#advance(this.#clock.now(), false)
    this.#afterTurn()
  }

  #afterTurn(): void {
    if (!this.#batches.writing && !this.#dueFired) this.#setDueTimer()
    if (this.#calls.length > 0 || this.#isAmple()) this.#schedule()
    else this.#batches.plan(this.#ready.size > 0 || this.#dueFired)
    if (!this.#busy()) for (const resolve of this.#idle.splice(0)) resolve()
  }

  #isAmple(): boolean {
    for (const host of this.#ready) if (host.ample && host.group.alone) return true
    return false
  }

  #fail(error: Error): void {
    if (this.#state === 'closed') return
    this.#state = 'failed'
    const message = `Store "${this.#options.storeId}" stopped: a write failed (${error.message}); restart it with a working disk`
    this.#failure = new BrokerError('STORAGE_FAILED', message, { cause: error })
    this.#options.log.error({ err: error }, 'A write failed: the store stops')
    this.#stopTimers()
    for (const service of this.#services.values()) for (const host of service.replicas()) host.abort(this.#failure)
    for (const resolve of this.#idle.splice(0)) resolve()
    this.#options.fatal?.(error)
  }

  #busy(): boolean {
    if (this.#state === 'failed' || this.#state === 'closed') return false
    if (this.#batches.pending) return true
    return this.#batches.writing || this.#scheduled || this.#ready.size > 0 || this.#calls.length > 0
  }

  #refusal(): BrokerError | null {
    if (this.#failure !== null) return this.#failure
    return this.#state === 'open' ? null : new BrokerError('UNAVAILABLE', `Store "${this.#options.storeId}" is closing`)
  }

  #unknown = (service: string) =>
    new BrokerError('RANGE_NOT_FOUND', `Store "${this.#options.storeId}" does not serve "${service}"`)

  #wakeDue(nowMs: number): void {
    this.#dueFired = false
    if (this.#state !== 'open') return
    for (const service of this.#services.values()) {
      for (const host of service.hosts) if (host.isDue(nowMs)) this.#ready.add(host)
    }
  }

  #setDueTimer(): void {
    let next = Number.POSITIVE_INFINITY
    for (const { dueMs } of this.#each((service) => service.hosts)) next = Math.min(next, dueMs)
    if (this.#state === 'open') this.#due.set(next)
  }

  *#each<Item>(of: (service: AnyService) => Iterable<Item>): Iterable<Item> {
    for (const service of this.#services.values()) yield* of(service)
  }

  #serviceOf(range: string): AnyService | undefined {
    return this.#first((service) => (service.replica(range) === undefined ? undefined : service))
  }

  #hostOf(range: string) {
    return this.#first((service) => service.host(range))
  }

  #goneOf(range: string): Gone | undefined {
    return this.#first((service) => service.gone(range) ?? undefined)
  }

  #first<Item>(of: (service: AnyService) => Item | undefined): Item | undefined {
    for (const service of this.#services.values()) {
      const found = of(service)
      if (found !== undefined) return found
    }
    return undefined
  }

  #stopTimers(): void {
    this.#time.stop()
    this.#due.stop()
    this.#batches.stop()
    this.#space.stop()
    this.#stopPump?.()
    this.#merges.stop()
  }
}
