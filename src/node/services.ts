import type { Clock, Random } from '../base/clock.ts'
import type { Health, HealthReason } from '../base/health.ts'
import { HybridClock } from '../base/hlc.ts'
import type { InboxId, TenantId } from '../base/ids.ts'
import type { Logger } from '../base/logging.ts'
import type { Message, QoS } from '../base/message.ts'
import type { MetricSink, MetricSource } from '../base/metrics.ts'
import { createDist, type DistService } from '../dist/index.ts'
import {
  createInbox,
  type Dedup,
  type Inbox,
  type Incarnations,
  type LeasePorts,
  type WillPublisher,
} from '../inbox/index.ts'
import type { RangeClient } from '../kv/client/client.ts'
import type { Coprocessor, RangeDescriptor, RangeObserver } from '../kv/range/coprocessor.ts'
import type { MatchLeases } from '../kv/store/match-leases.ts'
import type { ServeOptions } from '../kv/store/store.ts'
import {
  Clients,
  Deliveries,
  firstRouteOf,
  LocalTable,
  type MqttParts,
  Router,
  type RouterParts,
  SessionRoutes,
} from '../mqtt/index.ts'
import type { EventBus, SettingsSource } from '../plugin/index.ts'
import { createRetain, type Retain } from '../retain/index.ts'
import type { Peers } from '../rpc/index.ts'
import { NodeRoutes } from './node-routes.ts'

/** Approximate bytes of the cache from topics to routes. */
const MATCH_CACHE_BYTES_MAX = 128 * 1024 * 1024

export interface ServiceOptions {
  clock: Clock
  random: Random
  log: Logger
  node: string
  plugins: { settings: SettingsSource; events: EventBus }
  ranges: RangeHome
  /** This node is to have all routes: until it has them it is not ready. Default true. */
  matches?: boolean
  /** The other nodes. Absent: there are none, and never will be. */
  others?: OtherFrontEnds
  /** Numbers the lives of this node: see `StoredIncarnations`. */
  incarnations: Incarnations
  /** Of the ranges of `inbox`; absent: see {@link others}. */
  leases?: LeasePorts
  /** Runs a callback after what runs now: a turn of the loop. Default setImmediate. */
  defer?: (callback: () => void) => void
}

/** The stateful services of a node on their ranges, and what the front end needs of them. */
export interface Services extends MetricSource {
  parts: Pick<MqttParts, 'router' | 'table' | 'dist' | 'inbox' | 'retain' | 'routes' | 'hlc' | 'clients'>
  health(): Health
  stop(): Promise<void>
}

/** The nodes whose clients are one with those of this node. */
export interface OtherFrontEnds {
  peers: Peers
  /** Of this process: higher than those of its host before it. */
  incarnation: number
  /** Clients connect to this node too. */
  hasClients: boolean
  /** Ranges of `inbox` that this node's store leads. */
  led: () => readonly RangeDescriptor[]
  /** Tells the nodes with clients that live, this one too where it is one, now and at each change. The returned function ends it. */
  watchAlive(listener: (nodes: readonly string[]) => void): () => void
}

/** Where the services' ranges are. */
export interface RangeHome extends MetricSource {
  serve<Command, Response, Query, Answer, Effect>(
    coprocessor: Coprocessor<Command, Response, Query, Answer, Effect>,
    observer: RangeObserver<Effect>,
    options?: ServeOptions<Command>,
  ): RangeClient<Command, Response, Query, Answer>
  /** Of the replicas of `dist` here. Absent: no other node can have any. */
  matchLeases?: MatchLeases
  health(): HealthReason[]
  close(): Promise<void>
  /** Nothing that was opened is served, and nothing is written again. */
  abandon(): void
}

export function startServices(options: ServiceOptions): Services {
  const defer = options.defer ?? ((callback) => void setImmediate(callback))
  try {
    return serveOn(options.ranges, { ...options, defer })
  } catch (error) {
    // What could be read is nobody's to serve.
    options.ranges.abandon()
    throw error
  }
}

function serveOn(ranges: RangeHome, options: ServiceOptions & { defer: (callback: () => void) => void }): Services {
  const { clock, random, log, node, plugins, defer } = options
  const hlc = new HybridClock()
  const { matchLeases: leases } = ranges
  const dist = createDist({
    serve: (coprocessor, observer, serving) => ranges.serve(coprocessor, observer, serving),
    defer,
    now: () => clock.monotonic(),
    cacheBytesMax: MATCH_CACHE_BYTES_MAX,
    seed: random.below(2 ** 31),
    ...(leases === undefined ? {} : { leased: { leases, clock } }),
  })
  // The leases take the first number; the routes are numbered by it.
  let nodeIncarnation = 0
  const incarnations: Incarnations = { next: () => (nodeIncarnation = options.incarnations.next()) }
  const inbox = createInbox({
    serve: (coprocessor, observer, serving) => ranges.serve(coprocessor, observer, serving),
    ...{ clock, defer, random, log, node, incarnations, leases: options.leases },
    others: options.others && { peers: options.others.peers, led: options.others.led },
  })
  const retain = createRetain({
    serve: (coprocessor, observer, serving) => ranges.serve(coprocessor, observer, serving),
  })
  const table = new LocalTable(dist, node, firstRouteOf(nodeIncarnation))
  const routes = new SessionRoutes(dist, inbox, log)
  const queueDropped = (tenant: TenantId, client: InboxId, topic: string, qos: QoS) =>
    plugins.events.drop(qos === 0 ? 'offline' : 'queue-full', tenant, client, topic, qos)
  const joined = options.others === undefined ? null : joinFrontEnds(options.others, { ...options, dist, table })
  const router = new Router({
    ...{ dist, inbox, retain, table, node, log, queueDropped, random, ...joined?.routing },
    settings: plugins.settings,
    brokers: new Map(),
  })
  const needsRoutes = options.matches ?? true
  const nodes = new NodeRoutes({ dist, table, clock, log })
  inbox.start(new Wills(router, routes, plugins.events, hlc, clock, nodes))
  return {
    parts: { router, table, dist, inbox, retain, routes, hlc, ...joined?.parts },
    health: () => healthOf(ranges, needsRoutes ? dist : null),
    collect: (sink) => {
      collect(sink, dist, inbox, retain)
      ranges.collect(sink)
      joined?.collect(sink)
    },
    stop: async () => {
      await inbox.leave()
      joined?.stop()
      await inbox.close()
      await ranges.close()
    },
  }
}

interface JoinedFrontEnds extends MetricSource {
  routing: Pick<RouterParts, 'others'>
  parts: Partial<Pick<MqttParts, 'clients'>>
  stop(): void
}

/** Messages to and from the clients of other nodes, and one connection a client id among them all. */
function joinFrontEnds(
  { peers, incarnation: run, watchAlive, hasClients }: OtherFrontEnds,
  {
    dist,
    table,
    clock,
    random,
    plugins,
    node,
  }: Pick<ServiceOptions, 'clock' | 'random' | 'plugins' | 'node'> & {
    dist: DistService
    table: LocalTable
  },
): JoinedFrontEnds {
  const lifeOf = (tenant: TenantId, topic: string) => dist.match(tenant, topic)
  const deliveries = new Deliveries({ peers, run, table, lifeOf, events: plugins.events, clock, random })
  const clients = hasClients ? new Clients({ peers, run, clock }) : null
  let known = new Set<string>()
  const unwatch = watchAlive((nodes) => {
    const alive = new Set(nodes.filter((other) => other !== node))
    clients?.setMembers(nodes)
    for (const other of alive) if (!known.has(other)) deliveries.joined(other)
    for (const other of known) if (!alive.has(other)) deliveries.left(other)
    known = alive
  })
  return {
    routing: { others: deliveries },
    parts: clients === null ? {} : { clients },
    collect: (sink) => {
      deliveries.collect(sink)
      clients?.collect(sink)
    },
    stop: () => {
      unwatch()
      deliveries.stop()
      clients?.stop()
    },
  }
}

/** What the inbox service asks of the node: wills to publish, routes of ended sessions to take back. */
class Wills implements WillPublisher {
  readonly #router: Router
  readonly #routes: SessionRoutes
  readonly #events: EventBus
  readonly #hlc: HybridClock
  readonly #clock: Clock
  readonly nodeGone: WillPublisher['nodeGone']
  readonly renewed: WillPublisher['renewed']

  constructor(
    ...[router, routes, events, hlc, clock, nodes]: [Router, SessionRoutes, EventBus, HybridClock, Clock, NodeRoutes]
  ) {
    this.nodeGone = (node, incarnation) => nodes.takeBack(node, incarnation)
    this.renewed = (incarnation) => nodes.renew(incarnation)

    this.#router = router
    this.#routes = routes
    this.#events = events
    this.#hlc = hlc
    this.#clock = clock
  }

  async publishWill(tenant: TenantId, client: InboxId, will: Message, dedup: Dedup): Promise<void> {
    // Its expiry runs from now on, not from the CONNECT that brought it [MQTT 5.0 3.1.3.2.4].
    const message = { ...will, timestamp: this.#hlc.next(this.#clock.now()) }
    await this.#router.publishMessage(tenant, message, { ...dedup, repeated: false })
    this.#events.report('will.published', tenant, client, 0, { topic: will.topic, qos: will.qos })
  }

  sessionEnded(...[key, incarnation, subscriptions]: Parameters<WillPublisher['sessionEnded']>): void {
    this.#events.report('session.stopped', key.tenant, key.inbox, 0, { reason: 'expired' })
    void this.#routes.remove(key, incarnation, subscriptions)
  }

  dropped(...[key, reason, count]: Parameters<WillPublisher['dropped']>): void {
    this.#events.drop(reason === 'expired' ? 'expired' : 'queue-full', key.tenant, key.inbox, '', 1, count)
  }
}

/** @param dist null: its routes are not needed here */
function healthOf(ranges: RangeHome, dist: DistService | null): Health {
  const reasons = ranges.health()
  const ready = dist?.ready() ?? true
  if (!ready) reasons.push({ part: 'dist', message: 'Routes are being loaded' })
  return { ready: ready && reasons.length === 0, reasons }
}

function collect(sink: MetricSink, dist: DistService, inbox: Inbox, retain: Retain): void {
  const routes = dist.stats()
  sink.gauge('flockmq_dist_routes', 'Routes in the match table', routes.routes)
  sink.gauge('flockmq_dist_filters', 'Distinct filters in the match table', routes.filters)
  sink.gauge('flockmq_dist_trie_bytes', 'Approximate memory of the match table', routes.trieBytes)
  sink.gauge('flockmq_dist_cache_topics', 'Topics whose matches are cached', routes.cacheEntries)
  sink.counter('flockmq_dist_cache_hits_total', 'Matches answered from the cache', routes.cacheHits)
  sink.counter('flockmq_dist_cache_misses_total', 'Matches computed', routes.cacheMisses)
  sink.counter('flockmq_dist_cache_invalidations_total', 'Cached matches ended by a route change', routes.invalidations)
  const { publishesWaiting, publishesWaited, publishesRefused } = routes
  const waiting = 'Publishes of QoS 1 and 2 that wait until this node may match them'
  sink.gauge('flockmq_dist_publishes_waiting', waiting, publishesWaiting)
  sink.counter('flockmq_dist_publishes_waited_total', 'Publishes that waited so', publishesWaited)
  sink.counter('flockmq_dist_publishes_refused_total', 'Publishes that this node could not match', publishesRefused)
  const sessions = inbox.stats()
  sink.gauge('flockmq_inbox_sessions', 'Persistent sessions', sessions.sessions)
  sink.gauge('flockmq_inbox_attached', 'Persistent sessions with a connection', sessions.attached)
  sink.gauge('flockmq_inbox_queued_messages', 'Messages in the queues of sessions', sessions.queuedMessages)
  sink.gauge('flockmq_inbox_queued_bytes', 'Bytes in the queues of sessions', sessions.queuedBytes)
  sink.counter('flockmq_inbox_inserts_total', 'Messages put into queues', sessions.inserts)
  sink.counter('flockmq_inbox_drops_total', 'Queued messages given up', sessions.drops)
  sink.counter('flockmq_inbox_wills_total', 'Wills published', sessions.willsFired)
  sink.gauge('flockmq_inbox_feeds_watching', 'Sessions here whose queues another node pushes', sessions.watching)
  sink.gauge('flockmq_inbox_feeds_watched', 'Sessions of other nodes whose queues this node pushes', sessions.watched)
  sink.counter('flockmq_inbox_pushed_total', 'Entries of queues pushed to other nodes', sessions.pushed)
  sink.counter('flockmq_inbox_malformed_total', 'Messages about feeds that could not be read', sessions.malformed)
  sink.gauge('flockmq_node_leases', 'Leases that let this node act on sessions, one a range', sessions.leasesHeld)
  const closedHelp = 'Connections closed because this node had no lease of their session'
  sink.counter('flockmq_node_lease_closed_total', closedHelp, sessions.leaseClosed)
  sink.counter('flockmq_node_held_for_gone_total', 'Times that others held this node for gone', sessions.selfFenced)
  sink.counter('flockmq_inbox_fences_total', 'Nodes held for gone, by ranges that this node led', sessions.fences)
  const fencedHelp = 'Sessions detached because their node was held for gone'
  sink.counter('flockmq_inbox_fenced_sessions_total', fencedHelp, sessions.fencedSessions)
  const retained = retain.stats()
  sink.gauge('flockmq_retain_topics', 'Retained messages', retained.topics)
  sink.gauge('flockmq_retain_bytes', 'Bytes of retained messages', retained.bytes)
}
