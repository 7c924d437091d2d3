import type { Clock, Random } from '../../base/clock.ts'
import type { HostId, TenantId } from '../../base/ids.ts'
import type { QoS } from '../../base/message.ts'
import type { MetricSink, MetricSource } from '../../base/metrics.ts'
import type { MatchedGroup } from '../../dist/index.ts'
import type { DropReason, EventBus } from '../../plugin/index.ts'
import { bytesCodec, CHANNEL, type MessageChannel, type Peers, type RequestChannel } from '../../rpc/index.ts'
import type { LocalTable } from '../routing/local-table.ts'
import type { GroupMessage, NodeRoute, OtherNodes } from '../routing/other-nodes.ts'
import { GROUP_ASKS_LIMITS, GroupAsks, type GroupAsksLimits } from './group-asks.ts'
import { countLost, NODE_LIMITS, NodeBroker, type NodeLimits } from './node-broker.ts'
import { Receiver } from './receiver.ts'

const DELIVER: MessageChannel<Uint8Array> = {
  type: 'message',
  number: CHANNEL.deliver,
  name: 'deliver',
  kind: 'deliveries',
  message: bytesCodec,
}

const GROUP: RequestChannel<Uint8Array, Uint8Array> = {
  type: 'request',
  number: CHANNEL.group,
  name: 'group',
  kind: 'deliveries',
  request: bytesCodec,
  answer: bytesCodec,
}

/** How often what waits behind a full link is tried again. */
const RETRY_MS = 10
/** How long a node may take to say whether a member of a group has a message. */
const ANSWER_MS = 5_000

export interface DeliveriesOptions {
  peers: Peers
  /** Of this process: each start of the node has a higher one. */
  run: number
  table: LocalTable
  /** A cached match, which ends when a subscription here changes that concerns the topic: `dist.match`. */
  lifeOf: (tenant: TenantId, topic: string) => { readonly alive: boolean }
  events: Pick<EventBus, 'drop'>
  clock: Clock
  random: Random
  limits?: Partial<NodeLimits>
  groupLimits?: Partial<GroupAsksLimits>
}

/**
 * Messages between this node and the others: the host of {@link NodeBroker}, {@link GroupAsks} and {@link Receiver}.
 *
 * It must be told who is there: {@link joined} when the rpc knows the node's address, {@link left} when it is held for
 * dead or has left.
 */
export class Deliveries implements OtherNodes, MetricSource {
  readonly #options: DeliveriesOptions
  readonly #limits: NodeLimits
  readonly #brokers = new Map<string, NodeBroker>()
  readonly #asks: GroupAsks
  readonly #receiver: Receiver
  #pending: NodeBroker[] = []
  #asksPending = false
  #planned = false
  #retrying = false
  #stopped = false

  constructor(options: DeliveriesOptions) {
    this.#options = options
    this.#limits = { ...NODE_LIMITS, ...options.limits }
    const { peers, table, lifeOf, clock } = options
    const dropped = (reason: DropReason, tenant: TenantId, topic: string, qos: QoS, count: number) =>
      this.#drop(reason, tenant, topic, qos, count)
    this.#receiver = new Receiver({ node: peers.node, table, lifeOf, nowMs: () => clock.now(), dropped })
    this.#asks = this.#createAsks()
    peers.handleMessages(DELIVER, { received: (from, batch) => this.#receiver.received(from, asBuffer(batch)) })
    peers.observeDiscards(DELIVER, {
      discarded: (_to, batch) =>
        countLost(asBuffer(batch), (tenant, topic, qos, count) => this.#drop('link-lost', tenant, topic, qos, count)),
    })
    peers.handleRequests(GROUP, (batch, call) =>
      call.answer(Uint8Array.from(this.#receiver.asked(call.from, asBuffer(batch)) ?? [])),
    )
  }

  joined(node: string): void {
    this.#broker(node).joined()
  }

  left(node: string): void {
    this.#broker(node).gone()
    this.#receiver.forget(node)
  }

  route(node: string, tenant: TenantId, topic: string, filters: readonly string[]): NodeRoute {
    return this.#broker(node).topic({ tenant, topic, filters, group: null })
  }

  groupRoute(node: string, tenant: TenantId, topic: string, { group, filter, ordered }: MatchedGroup): NodeRoute {
    return this.#broker(node).topic({ tenant, topic, filters: [filter], group: { name: group, ordered } })
  }

  groupCredit(node: string, group: MatchedGroup): number {
    return this.#asks.credit(node, group)
  }

  ask(message: GroupMessage): boolean {
    return this.#asks.ask(message)
  }

  /** What was accepted is handed to the links; nothing is tried again. */
  stop(): void {
    this.#flush()
    this.#stopped = true
  }

  collect(sink: MetricSink): void {
    let held = 0
    let waiting = 0
    let sent = 0
    for (const broker of this.#brokers.values()) {
      held += broker.heldBytes
      waiting += broker.waitingMessages
      sent += broker.sent
    }
    const { messages, delivered, stale, malformed } = this.#receiver
    sink.counter('flockmq_deliver_sent_total', 'Messages for subscribers of other nodes, once a node', sent)
    sink.counter('flockmq_deliver_received_total', 'Messages of other nodes for subscribers here', messages)
    sink.counter('flockmq_deliver_deliveries_total', 'Their deliveries to subscribers here', delivered)
    sink.counter('flockmq_deliver_stale_total', 'Batches of earlier runs of other nodes', stale)
    sink.counter('flockmq_deliver_malformed_total', 'Batches of other nodes that could not be read', malformed)
    sink.gauge('flockmq_deliver_held_bytes', 'Accepted for other nodes, and not in the buffer of a link', held)
    sink.gauge('flockmq_deliver_waiting', 'Messages that wait for room towards another node', waiting)
    sink.counter(
      'flockmq_deliver_asked_total',
      "Messages that a node was asked to give to a group's member",
      this.#asks.asked,
    )
    sink.counter(
      'flockmq_deliver_asked_again_total',
      'Of them, those that went on to another node',
      this.#asks.askedAgain,
    )
    sink.gauge('flockmq_deliver_asks', 'Messages for groups whose member is not known yet', this.#asks.underWay)
  }

  #createAsks(): GroupAsks {
    const { peers, clock, random, run, groupLimits } = this.#options
    return new GroupAsks(
      run,
      random,
      {
        nowMs: () => clock.monotonic(),
        reaches: (node) => this.#brokers.get(node)?.state === 'joined',
        request: (node, batch, answered) =>
          void peers.request(node as HostId, GROUP, batch, { deadlineMs: ANSWER_MS }, answered),
        pending: () => {
          this.#asksPending = true
          this.#plan()
        },
        lost: (reason, { tenant, message }) => this.#drop(reason, tenant, message.topic, message.qos, 1),
      },
      { ...GROUP_ASKS_LIMITS, ...groupLimits },
    )
  }

  #broker(node: string): NodeBroker {
    let broker = this.#brokers.get(node)
    if (broker === undefined) {
      broker = this.#createBroker(node)
      this.#brokers.set(node, broker)
    }
    return broker
  }

  #createBroker(node: string): NodeBroker {
    const { peers, clock, run } = this.#options
    const link = {
      send: (batch: Buffer) => peers.send(node as HostId, DELIVER, batch),
      bufferedBytes: () => peers.bufferedBytes(node as HostId, 'deliveries'),
      nowMs: () => clock.monotonic(),
      pending: (broker: NodeBroker) => {
        this.#pending.push(broker)
        this.#plan()
      },
      waiting: () => this.#retryLater(),
      dropped: (reason: DropReason, tenant: TenantId, topic: string, qos: QoS, count: number) =>
        this.#drop(reason, tenant, topic, qos, count),
    }
    return new NodeBroker(node, run, link, this.#limits)
  }

  /** Nobody in particular gets it: the event names no client. */
  #drop(reason: DropReason, tenant: TenantId, topic: string, qos: QoS, count: number): void {
    this.#options.events.drop(reason, tenant, '', topic, qos, count)
  }

  #plan(): void {
    if (this.#planned) return
    this.#planned = true
    this.#options.peers.beforeFrames(() => this.#flush())
  }

  #flush(): void {
    this.#planned = false
    const pending = this.#pending
    this.#pending = []
    for (const broker of pending) broker.flush()
    if (!this.#asksPending) return
    this.#asksPending = false
    this.#asks.flush()
  }

  #retryLater(): void {
    if (this.#retrying || this.#stopped) return
    this.#retrying = true
    const { clock } = this.#options
    clock.after(RETRY_MS, () => {
      this.#retrying = false
      let busy = false
      for (const broker of this.#brokers.values()) {
        if (broker.busy) broker.tick(clock.monotonic())
        if (broker.busy) busy = true
      }
      if (busy) this.#retryLater()
    })
  }
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
