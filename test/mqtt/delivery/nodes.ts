import type { HostId, TenantId } from '../../../src/base/ids.ts'
import { silentLogger } from '../../../src/base/logging.ts'
import type { Message, QoS } from '../../../src/base/message.ts'
import { topicMatches } from '../../../src/base/topic.ts'
import type { Dist, GroupMember, MatchedGroup, RouteChange, TopicEntry } from '../../../src/dist/index.ts'
import type { ProtocolVersion } from '../../../src/mqtt/codec/index.ts'
import { Deliveries, type DeliveriesOptions } from '../../../src/mqtt/delivery/index.ts'
import { LocalTable, Router } from '../../../src/mqtt/index.ts'
import { Publication } from '../../../src/mqtt/routing/publication.ts'
import { SettingsSource } from '../../../src/plugin/index.ts'
import { LINK_OPTIONS } from '../../../src/rpc/link/core/index.ts'
import { LinkedPeers } from '../../../src/rpc/peers/peers.ts'
import { secretOf } from '../../rpc/link/sim-links.ts'
import { Wires } from '../../sim/wires.ts'
import { type SimulatedProcess, World } from '../../sim/world.ts'
import { FakeInbox, FakeRetain } from '../connection/fake-services.ts'
import { FakeSubscriber } from '../routing/fake-subscriber.ts'
import { messageOf } from '../session/values.ts'

export const TENANT = 't' as TenantId

const LINK = {
  ...LINK_OPTIONS.deliveries,
  keepaliveMs: 500,
  silenceMsMax: 1_500,
  handshakeMsMax: 1_000,
  backoffMsMin: 10,
  backoffMsMax: 200,
}

/** Routes that all nodes know at once. */
class SharedRoutes {
  readonly routes = new Map<string, RouteChange>()
  readonly dists: FakeDist[] = []

  change(change: RouteChange): void {
    const { receiver, filter, tenant } = change
    const member = receiver.kind === 'group' && receiver.member.kind === 'node' ? receiver.member.node : ''
    const node = receiver.kind === 'node' ? receiver.node : member
    const group = receiver.kind === 'group' ? `${receiver.group} ${receiver.ordered}` : ''
    const key = `${tenant} ${filter} ${receiver.kind} ${group} ${node}`
    if (change.op === 'add') this.routes.set(key, change)
    else this.routes.delete(key)
    for (const dist of this.dists) dist.end()
  }
}

/** `dist` of one node, over shared routes. */
class FakeDist implements Pick<Dist, 'touch' | 'match' | 'changeWith'> {
  /** It knows no routes: as a replica that is behind. */
  blind = false
  readonly #shared: SharedRoutes
  #cached = new Map<string, TopicEntry>()

  constructor(shared: SharedRoutes) {
    this.#shared = shared
    shared.dists.push(this)
  }

  end(): void {
    for (const entry of this.#cached.values()) entry.alive = false
    this.#cached.clear()
  }

  touch(_tenant: TenantId, filter: string): void {
    for (const [topic, entry] of this.#cached) {
      if (!topicMatches(filter, topic)) continue
      entry.alive = false
      this.#cached.delete(topic)
    }
  }

  changeWith(change: RouteChange, done: (error: Error | null) => void): void {
    this.#shared.change(change)
    done(null)
  }

  match(tenant: TenantId, topic: string): TopicEntry {
    const known = this.#cached.get(topic)
    if (known !== undefined) return known
    const nodes = new Map<string, string[]>()
    const groups = new Map<string, MatchedGroup & { members: GroupMember[] }>()
    for (const { filter, receiver, tenant: owner } of this.blind ? [] : this.#shared.routes.values()) {
      if (owner !== tenant || !topicMatches(filter, topic)) continue
      if (receiver.kind === 'node') nodes.set(receiver.node, [...(nodes.get(receiver.node) ?? []), filter])
      if (receiver.kind !== 'group') continue
      const { group, ordered, member } = receiver
      const key = `${group} ${filter}`
      const matched = groups.get(key) ?? { group, filter, ordered, members: [] }
      matched.members.push(member)
      groups.set(key, matched)
    }
    const entry: TopicEntry = {
      ...{ tenant, topic, alive: true, derived: null, inboxes: [], plugins: [] },
      nodes: [...nodes].map(([node, filters]) => ({ node, filters })),
      groups: [...groups.values()],
    }
    this.#cached.set(topic, entry)
    return entry
  }
}

export class DeliveryNode {
  readonly name: HostId
  readonly peers: LinkedPeers
  readonly dist: FakeDist
  readonly table: LocalTable
  readonly deliveries: Deliveries
  readonly router: Router
  readonly inbox = new FakeInbox()
  readonly drops: string[] = []
  readonly #end: () => void
  readonly #publication = new Publication()

  constructor(nodes: Nodes, process: SimulatedProcess, run: number, limits: Partial<DeliveriesOptions>) {
    const { world, wires, shared } = nodes
    const clock = process.clock()
    this.name = process.name as HostId
    const node = this.name
    this.peers = new LinkedPeers({
      ...{ cluster: 'sim', node, incarnation: run, authenticator: secretOf(world, 'secret'), clock },
      transport: wires.transport(node),
      random: world.random,
      log: silentLogger,
      defer: process.defer(),
      links: { raft: LINK, deliveries: { ...LINK, ...nodes.link }, bulk: LINK },
      ...{ pendingMax: 10_000, streamsMax: 16, strangersMax: 64, sessionsMax: 64 },
    })
    this.#end = wires.listen(node, (wire) => this.peers.accept(wire))
    this.dist = new FakeDist(shared)
    const dist = this.dist as unknown as Dist
    this.table = new LocalTable(dist, node, run * 1_000_000)
    this.deliveries = new Deliveries({
      ...{ peers: this.peers, run, table: this.table, clock, random: world.random },
      lifeOf: (tenant, topic) => this.dist.match(tenant, topic),
      events: {
        drop: (reason, tenant, _client, topic, qos, count = 1) =>
          void this.drops.push(`${reason} ${tenant} ${topic} q${qos} x${count}`),
      },
      ...limits,
    })
    this.router = new Router({
      ...{ dist, inbox: this.inbox, retain: new FakeRetain(), table: this.table, node, log: silentLogger },
      ...{ others: this.deliveries, random: world.random, brokers: new Map(), queueDropped: () => {} },
      settings: new SettingsSource({ configured: {}, plugin: null, logger: silentLogger }),
    })
  }

  subscribe(
    filter: string,
    client: string,
    options: { qos?: QoS; version?: ProtocolVersion; noLocal?: boolean; id?: number } = {},
  ) {
    const subscriber = new FakeSubscriber(client, options.version)
    const { qos = 2, noLocal = false, id = 0 } = options
    const what = { qos, noLocal, retainAsPublished: true, subscriptionId: id }
    this.table.subscribe(TENANT, filter, subscriber, what, () => {})
    return subscriber
  }

  join(group: string, filter: string, client: string, ordered = false): FakeSubscriber {
    const subscriber = new FakeSubscriber(client)
    const options = { qos: 2, noLocal: false, retainAsPublished: true, subscriptionId: 0 } as const
    this.table.join({ tenant: TENANT, group, filter, ordered }, subscriber, options, () => {})
    return subscriber
  }

  /** Notes in the returned list what the publisher is told. */
  publish(topic: string, payload: string, fields: Partial<Message> = {}): string[] {
    const told: string[] = []
    this.#publication.fromMessage(messageOf({ topic, payload, timestamp: 1, ...fields } as never))
    const entry = this.dist.match(TENANT, topic)
    this.router.publish(TENANT, this.#publication, entry, null, (error, matched) =>
      told.push(error === null ? `ok ${matched}` : error.message),
    )
    return told
  }

  figures(): Record<string, number> {
    const figures: Record<string, number> = {}
    const add = (name: string, _help: string, value: number) => {
      figures[name.replace('flockmq_deliver_', '').replace('_total', '')] = value
    }
    this.deliveries.collect({ counter: add, gauge: add, histogram: () => {} })
    return figures
  }

  end(): void {
    this.#end()
    this.peers.close()
  }
}

/** Nodes with real links over simulated wires. */
export class Nodes {
  readonly world: World
  readonly wires: Wires
  readonly shared = new SharedRoutes()
  readonly link: Partial<typeof LINK>
  readonly all: DeliveryNode[] = []
  readonly #processes = new Map<string, SimulatedProcess>()
  readonly #options: Partial<DeliveriesOptions>

  constructor(
    count: number,
    options: { seed?: number; link?: Partial<typeof LINK> } & Partial<DeliveriesOptions> = {},
  ) {
    const { seed = 1, link = {}, ...rest } = options
    this.world = new World({ seed })
    this.wires = new Wires(this.world)
    this.link = link
    this.#options = rest
    for (let i = 1; i <= count; i++) this.start(`n${i}`, 1)
  }

  /** Starts a node, or starts it again; all nodes know each other. */
  start(name: string, run: number): DeliveryNode {
    let process = this.#processes.get(name)
    if (process === undefined) this.#processes.set(name, (process = this.world.process(name)))
    const node = new DeliveryNode(this, process, run, this.#options)
    const others = this.all.filter((other) => other.name !== name)
    this.all.splice(0, this.all.length, ...others, node)
    for (const other of others) {
      this.#introduce(node, other)
      this.#introduce(other, node)
    }
    return node
  }

  crash(node: DeliveryNode): void {
    node.end()
    const process = this.#processes.get(node.name)!
    process.crash()
    process.restart()
  }

  /** One event after the other, no promises. */
  until(condition: () => boolean, what: string, msMax = 20_000): void {
    const endMs = this.world.elapsedMs + msMax
    while (!condition()) {
      if (this.world.elapsedMs <= endMs && this.world.step()) continue
      throw new Error(`It does not come true within ${msMax} ms: ${what}`)
    }
  }

  run(ms: number): void {
    let over = false
    this.world.clock.after(ms, () => {
      over = true
    })
    this.until(() => over, 'time', ms + 1)
  }

  #introduce(node: DeliveryNode, to: DeliveryNode): void {
    node.peers.join({ node: to.name, address: to.name })
    node.deliveries.joined(to.name)
  }
}
