import type { Clock, Random } from '../../base/clock.ts'
import type { HealthReason } from '../../base/health.ts'
import type { HostId } from '../../base/ids.ts'
import type { Logger } from '../../base/logging.ts'
import type { MetricSink, MetricSource } from '../../base/metrics.ts'
import type { Overlay } from '../../cluster/overlay/index.ts'
import type { HostRecord, UnderlayHost, UnderlayPort } from '../../cluster/underlay/index.ts'
import type { LeasePorts } from '../../inbox/index.ts'
import type { Rules } from '../../kv/balance/index.ts'
import type { RangeClient } from '../../kv/client/client.ts'
import type { Engine } from '../../kv/engine/engine.ts'
import { META_RANGE_BYTES, type MetaChange, MetaObserver, metaCoprocessor } from '../../kv/meta/index.ts'
import type { Coprocessor, RangeDescriptor, RangeObserver, ServiceName } from '../../kv/range/coprocessor.ts'
import { LeaseLinks } from '../../kv/remote/lease-links.ts'
import { RangeCalls } from '../../kv/remote/range-calls.ts'
import { StoreLinks } from '../../kv/remote/store-links.ts'
import { ANSWERS } from '../../kv/store/answers.ts'
import { MatchLeases } from '../../kv/store/match-leases.ts'
import { type ServeOptions, Store } from '../../kv/store/store.ts'
import type { Peers } from '../../rpc/index.ts'
import { identityOf, livingHosts } from '../cluster/identity.ts'
import { isStateful, STATEFUL_ROLES } from '../roles.ts'
import { Founding, type MetaRanges } from './founding.ts'
import { Keeper } from './keeper.ts'
import { type Replication, rulesOf } from './rules.ts'
import { Sizes } from './sizes.ts'
import { Tidings } from './tidings.ts'

/** What ranges need of this node's place among the others: a `ClusterNode` has it. */
export interface RangeCluster {
  readonly underlay: Pick<UnderlayHost, keyof UnderlayPort | 'stateAgeMs' | 'founded'>
  readonly overlay: Pick<Overlay, 'keys'>
  readonly peers: Peers
  /** Of this process: higher than those of its host before it. */
  readonly incarnation: number
}

export interface RangeNodeOptions {
  cluster: RangeCluster
  clusterName: string
  replication: Replication
  engine: Engine
  /** Its disk lost writes that were acknowledged. */
  lossy: boolean
  /** A write that waits longer for the disk holds back what needs space. */
  hangMs: number
  clock: Clock
  random: Random
  log: Logger
  /** The disk failed: the process must end. */
  fatal: (error: Error) => void
  /** The cluster does not take this node: the process must end. */
  banned: (error: Error) => void
  /** Runs a callback after what runs now: a turn of the loop. Default setImmediate. */
  defer?: (callback: () => void) => void
}

/** What this program can do that older ones could not: gates open by it. */
const FEATURES: readonly string[] = []
/** Services of users, whose first ranges the founder creates. */
const SERVICES = STATEFUL_ROLES

/** The store of this node among those of the others. */
export class RangeNode implements MetricSource {
  readonly store: Store
  readonly tidings: Tidings
  readonly meta = new MetaObserver()
  readonly metaRanges: MetaRanges
  readonly keeper: Keeper
  /** One for both kinds of leases. */
  readonly leaseLinks: LeaseLinks
  readonly matchLeases: MatchLeases
  readonly #options: RangeNodeOptions
  readonly #links: StoreLinks
  readonly #calls: RangeCalls
  readonly #sizes: Sizes
  readonly #founding: Founding
  readonly #opened = new Map<ServiceName, (key: Uint8Array) => Uint8Array | null>()
  readonly #unwatch: (() => void)[] = []
  #founds: boolean
  /** As of the last rules that made sense. */
  #rules: { revision: number; rules: Rules } | null = null

  constructor(options: RangeNodeOptions) {
    const { cluster, engine, lossy, clock, random, log, fatal, banned, hangMs, clusterName } = options
    const { underlay, peers, incarnation } = cluster
    const { id } = underlay.self
    const { defer = (callback) => void setImmediate(callback) } = options
    this.#options = options
    this.#links = new StoreLinks(peers)
    this.#calls = new RangeCalls(peers, defer)
    this.leaseLinks = new LeaseLinks(peers)
    this.matchLeases = new MatchLeases({
      ...{ name: id, clock, random, log },
      send: (to, range, message) => this.leaseLinks.send(to as HostId, 'match', range, message),
    })
    this.leaseLinks.attach('match', (from, range, message) => this.matchLeases.received(from, range, message))
    const pressureLimits = { writeMsMax: hangMs }
    this.store = new Store({
      ...{ engine, clock, random, storeId: id, log, defer, fatal, pressureLimits, lossy },
      send: this.#links.send,
    })
    this.#links.attach(this.store)
    this.tidings = new Tidings(cluster.overlay.keys, clock)
    this.#sizes = new Sizes(engine, clock, (service, key) => this.cutNear(service, key))
    this.#founds = mayFound(cluster)
    this.metaRanges = this.serve(metaCoprocessor, this.meta as RangeObserver<MetaChange>, {
      commandBytes: () => META_RANGE_BYTES,
    })
    this.keeper = new Keeper({
      ...{ store: this.store, underlay, tidings: this.tidings, clock, log },
      rules: () => this.rules(),
      meta: () => this.meta.state,
      zoneOf: (host) => identityOf(host).zone ?? '',
      rolesOf,
      sizeOf: ({ descriptor }) => this.#sizes.of(descriptor),
      storeTiding: () => ({
        freeBytes: engine.stats().freeBytes,
        full: this.store.health().some(({ part }) => part === 'disk'),
        draining: false,
      }),
    })
    this.#founding = new Founding(
      {
        ...{ underlay, meta: this.metaRanges, clusterName, incarnation, clock, log },
        ...{ services: SERVICES, features: FEATURES, state: () => this.meta.state, banned },
        founded: () => underlay.founded(),
      },
      () => this.#founds,
    )
    this.#unwatch.push(
      underlay.on((notice) => {
        if (notice.type === 'formed') this.#found()
        else if (notice.type === 'adopted') this.#founding.start()
        // Its ranges need not wait for a whole timeout.
        else if (notice.type === 'suspect' || notice.type === 'dead') this.store.suspect(notice.host.id)
      }),
    )
  }

  /** After all services are open. */
  start(): void {
    this.keeper.start()
    this.#founding.start()
  }

  /** Opens the ranges of a service that are on this node, and gives a client for all of them. */
  serve<Command, Response, Query, Answer, Effect>(
    coprocessor: Coprocessor<Command, Response, Query, Answer, Effect>,
    observer: RangeObserver<Effect>,
    options: ServeOptions<Command> = {},
  ): RangeClient<Command, Response, Query, Answer> {
    const { service } = coprocessor
    this.#opened.set(service, (key) => (coprocessor.cutNear === undefined ? key : coprocessor.cutNear(key)))
    const stores = this.#founds ? [this.#options.cluster.underlay.self.id] : []
    const { initialSplits: splits = [], watch } = options
    const local = this.store.open(coprocessor, observer, { splits, stores, watch })
    const codec = {
      encode: (commands: readonly Command[]) => coprocessor.encode(commands),
      decode: (bytes: Uint8Array) => coprocessor.decode(bytes),
      values: ANSWERS,
    }
    const transport = this.#calls.join(service, local, codec, () => this.tidings.landscape(service))
    transport.reachesMajority = (range) => this.#reachesMajority(range)
    return this.store.client(coprocessor, transport, options)
  }

  #reachesMajority({ replicas }: RangeDescriptor): boolean {
    const { underlay } = this.#options.cluster
    const near = new Set<string>([underlay.self.id])
    for (const { id, state } of underlay.members()) if (state === 'alive') near.add(id)
    const voters = replicas.filter(({ role }) => role === 'voter')
    return voters.length === 0 || voters.filter(({ store }) => near.has(store)).length > voters.length / 2
  }

  led(service: ServiceName): RangeDescriptor[] {
    const led = this.store.ranges().filter(({ leads, descriptor }) => leads && descriptor.service === service)
    return led.map(({ descriptor }) => descriptor)
  }

  /** Of node leases, for a service. */
  leasePorts(service: ServiceName): LeasePorts {
    const { underlay } = this.#options.cluster
    return {
      landscape: () => this.tidings.landscape(service),
      send: (store, range, message) => this.leaseLinks.send(store as HostId, 'node', range, message),
      attach: (receiver) => this.leaseLinks.attach('node', receiver),
      lonely: () => underlay.cluster?.lonely === true,
    }
  }

  get replication(): Replication {
    return this.#options.replication
  }

  /** Where a cut near a key may lie; null: nowhere near. */
  cutNear(service: ServiceName, key: Uint8Array): Uint8Array | null {
    return this.#opened.get(service)?.(key) ?? null
  }

  /** Reads the range through. */
  async middleOf(range: RangeDescriptor): Promise<Uint8Array | null> {
    return (await this.#sizes.measure(range)).middle
  }

  /** What balancers strive for now. */
  rules(): Rules {
    const { revision } = this.meta.state
    if (this.#rules?.revision === revision) return this.#rules.rules
    const before = this.#rules?.rules
    let rules: Rules
    try {
      rules = rulesOf(this.#options.replication, this.meta.state)
    } catch (error) {
      this.#options.log.error({ err: error }, 'The rules of the balancers make no sense: those before them stay')
      rules = before ?? rulesOf(this.#options.replication, new MetaObserver().state)
    }
    this.#rules = { revision, rules }
    return rules
  }

  health(): HealthReason[] {
    const reasons = this.store.health()
    for (const service of this.#opened.keys()) {
      if (this.tidings.landscape(service).length > 0 || this.#hasOwn(service)) continue
      reasons.push({ part: service, message: `No range of "${service}" is known here yet` })
    }
    const living = livingHosts(this.#options.cluster.underlay)
    for (const service of SERVICES) {
      if (living.some((host) => rolesOf(host).includes(service))) continue
      reasons.push({ part: service, message: `No node that lives has "${service}" among its node.roles: start one` })
    }
    return reasons
  }

  collect(sink: MetricSink): void {
    this.store.collect(sink)
    const { refused, malformed } = this.#links
    sink.counter('flockmq_store_packets_refused_total', 'Packets of stores that a link did not take', refused)
    sink.counter('flockmq_store_packets_malformed_total', 'Packets of stores that could not be read', malformed)
    this.matchLeases.collect(sink)
    const leases = this.leaseLinks
    sink.counter('flockmq_lease_messages_refused_total', 'Messages of leases that a link did not take', leases.refused)
    sink.counter('flockmq_lease_frames_malformed_total', 'Frames of leases that could not be read', leases.malformed)
  }

  /** Gives the leaders of this store away, as far as others can take them. */
  async drain(msMax: number): Promise<void> {
    await this.keeper.drain(msMax)
  }

  /** What was founded here is given up, for an older cluster. */
  async dissolve(): Promise<void> {
    this.#founds = false
    await this.store.reset()
  }

  async close(): Promise<void> {
    for (const end of this.#unwatch) end()
    this.#founding.stop()
    this.keeper.stop()
    this.#sizes.stop()
    this.tidings.stop()
    await this.store.close()
    this.matchLeases.stop()
  }

  abandon(): void {
    this.keeper.stop()
    this.matchLeases.stop()
    this.store.abandon()
  }

  #found(): void {
    const known = this.store.ranges()
    this.#founds = true
    for (const service of this.#opened.keys()) {
      if (!known.some(({ descriptor }) => descriptor.service === service)) this.store.begin(service)
    }
    this.#founding.start()
  }

  #hasOwn(service: ServiceName): boolean {
    return this.store.ranges().some(({ descriptor }) => descriptor.service === service)
  }
}

/** Of its store: the cluster's own records are wherever others are. */
function rolesOf(host: HostRecord): readonly string[] {
  const { roles } = identityOf(host)
  return isStateful(roles) ? [...roles, 'cluster'] : roles
}

/**
 * This host founds and has not ended that; or nobody else has ever been in its cluster. In both cases nobody else can have
 * created what it creates.
 */
function mayFound({ underlay }: RangeCluster): boolean {
  return underlay.cluster?.founding === true || underlay.cluster?.lonely === true
}
