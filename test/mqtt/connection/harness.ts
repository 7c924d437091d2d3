import { type Clock, seededRandom } from '../../../src/base/clock.ts'
import { HybridClock } from '../../../src/base/hlc.ts'
import { silentLogger } from '../../../src/base/logging.ts'
import { createDist, type DistService } from '../../../src/dist/index.ts'
import { MemoryEngine } from '../../../src/kv/engine/memory/engine.ts'
import { Store } from '../../../src/kv/store/store.ts'
import { encodePacket, type Packet, type ProtocolVersion, type Publish } from '../../../src/mqtt/codec/index.ts'
import { LocalTable, type MqttOptions, MqttServer, Router, SessionRoutes } from '../../../src/mqtt/index.ts'
import type { ConnectionInfo } from '../../../src/mqtt/listener/index.ts'
import type { ClusterClients } from '../../../src/mqtt/registry/index.ts'
import type { OtherNodes } from '../../../src/mqtt/routing/other-nodes.ts'
import {
  AuthGate,
  type AuthPlugin,
  type BrokerEvent,
  EventBus,
  SettingsSource,
  stay,
  type TenantSettings,
} from '../../../src/plugin/index.ts'
import { World } from '../../sim/world.ts'
import { connectOf, identityOf, subscriptionOf } from '../session/values.ts'
import { FakeInbox, FakeRetain } from './fake-services.ts'
import { FakeTransport } from './fake-transport.ts'

const OPTIONS: MqttOptions = {
  listeners: [],
  packetBytesMax: 1 << 20,
  connectTimeoutMs: 10_000,
  connectionsMax: 100_000,
  connectionRatePerSecond: 100_000,
  handshakesMax: 256,
  outputBytesPerConnectionMax: 1 << 20,
  processBytesMax: Number.POSITIVE_INFINITY,
  heldBytesMax: 1 << 28,
  flapping: { enabled: false, disconnectsMax: 3, windowSeconds: 60, banSeconds: 300, clientsMax: 100 },
  turnMsMax: 5,
  inFlight3Max: 4096,
}

export interface HarnessOptions {
  options?: Partial<MqttOptions>
  settings?: Partial<TenantSettings>
  auth?: Partial<AuthPlugin>
  others?: OtherNodes
  clients?: ClusterClients
}

/**
 * A whole front end in memory: real connections, sessions, routing and `dist` on a real store; clients whose sockets
 * are arrays; doubles for `inbox` and `retain`; a virtual clock, so that no test waits.
 */
export class Harness {
  readonly world = new World({ seed: 1 })
  readonly clock: Clock = this.world.clock
  readonly inbox = new FakeInbox()
  readonly retain = new FakeRetain()
  readonly settings: SettingsSource
  readonly events: BrokerEvent[] = []
  readonly dist: DistService
  readonly table: LocalTable
  readonly router: Router
  readonly server: MqttServer
  #clients = 0

  constructor({ options = {}, settings = {}, auth = {}, others, clients }: HarnessOptions = {}) {
    const { clock } = this
    const log = silentLogger
    const bus = new EventBus({ clock, logger: log })
    bus.add({ name: 'test', types: null, report: (event) => void this.events.push(event) })
    this.settings = new SettingsSource({ configured: { default: settings }, plugin: null, logger: log })
    const defer = (callback: () => void) => void setImmediate(callback)
    const store = new Store({ engine: new MemoryEngine(), clock, random: seededRandom(1), storeId: 'n1', log, defer })
    this.dist = createDist({
      serve: (coprocessor, observer) => store.serve(coprocessor, observer),
      defer,
      now: () => clock.monotonic(),
      cacheBytesMax: 1 << 24,
      seed: 1,
    })
    const node = 'n1'
    this.table = new LocalTable(this.dist, node, 1)
    const { dist, inbox, retain, table } = this
    this.router = new Router({
      ...{ dist, inbox, retain, table, node, log },
      settings: this.settings,
      brokers: new Map(),
      queueDropped: () => {},
      ...(others === undefined ? {} : { others }),
    })
    const plugin: AuthPlugin = {
      name: 'test',
      generation: 0,
      authenticate: () => ({ result: 'accepted', identity: identityOf() }),
    }
    // Getters stay getters: a plugin's generation changes.
    Object.defineProperties(plugin, Object.getOwnPropertyDescriptors(auth))
    const routes = new SessionRoutes(this.dist, inbox, log)
    inbox.ended = (...session) => void routes.remove(...session)
    this.server = new MqttServer(
      {
        ...{ dist, inbox, retain, table, node, log, clock, routes },
        router: this.router,
        auth: new AuthGate(plugin, { clock, logger: log, events: bus, trusted: false }),
        balancer: stay,
        settings: this.settings,
        events: bus,
        hlc: new HybridClock(),
        ...(clients === undefined ? {} : { clients }),
      },
      { ...OPTIONS, ...options },
    )
  }

  /** Starts the ticks; time begins after 0, as it does for a process. */
  async start(): Promise<this> {
    await this.world.run(1000)
    await this.server.start()
    await this.until(() => this.dist.ready())
    return this
  }

  /** A connection without CONNECT. */
  open(info: Partial<ConnectionInfo> = {}): FakeTransport {
    const transport = new FakeTransport()
    this.server.accept(transport, {
      listener: 'tcp',
      type: 'tcp',
      remoteAddress: '192.0.2.1',
      remotePort: 1,
      secure: false,
      certificate: null,
      certificateTenant: null,
      acceptedAtMs: this.clock.monotonic(),
      ...info,
    })
    return transport
  }

  /** A connection whose CONNECT was sent. */
  begin(fields: Parameters<typeof connectOf>[0] = {}): Client {
    const client = new Client(this, this.open(), fields.version ?? 5)
    client.id = fields.clientId ?? `c${++this.#clients}`
    client.send(connectOf({ ...fields, clientId: client.id }))
    return client
  }

  /** A connection that was accepted. */
  async connect(fields: Parameters<typeof connectOf>[0] = {}): Promise<Client> {
    const client = this.begin(fields)
    await client.expect('connack')
    return client
  }

  async subscriber(filter: string, qos: 0 | 1 | 2 = 0, fields: Parameters<typeof connectOf>[0] = {}): Promise<Client> {
    const client = await this.connect(fields)
    await client.subscribe(filter, qos)
    return client
  }

  /** Lets turns of the event loop pass, not time, until `condition` holds. */
  async until(condition: () => boolean, turns = 500): Promise<void> {
    for (let turn = 0; turn < turns; turn++) {
      if (condition()) return
      await new Promise<void>((resolve) => setImmediate(resolve))
    }
    throw new Error('The condition does not hold')
  }

  /** Lets everything happen that needs no time. */
  async settle(turns = 10): Promise<void> {
    for (let turn = 0; turn < turns; turn++) await new Promise<void>((resolve) => setImmediate(resolve))
  }

  run(ms: number): Promise<void> {
    return this.world.run(ms)
  }

  /** Events of a type, as `reason` and what else `pick` names. */
  eventsOf(type: string): BrokerEvent[] {
    return this.events.filter((event) => event.type === type)
  }

  /** One of the front end's figures. */
  metric(name: string, labels: Record<string, string> = {}): number {
    let found = Number.NaN
    const note = (metric: string, _help: string, value: number, given: Readonly<Record<string, string>> = {}) => {
      if (metric === name && Object.entries(labels).every(([key, label]) => given[key] === label)) found = value
    }
    this.server.collect({ counter: note, gauge: note, histogram: () => {} })
    return found
  }
}

/** A client that speaks in packets. */
export class Client {
  id = ''
  readonly transport: FakeTransport
  readonly version: ProtocolVersion
  readonly #harness: Harness
  #inbox: Packet[] = []
  #packetId = 0

  constructor(harness: Harness, transport: FakeTransport, version: ProtocolVersion) {
    this.#harness = harness
    this.transport = transport
    this.version = version
    transport.version = version
  }

  get closed(): boolean {
    return this.transport.ended
  }

  /** Sends packets, all in one read of the broker. */
  send(...packets: Packet[]): void {
    this.transport.send(Buffer.concat(packets.map((packet) => encodePacket(packet, this.version))))
  }

  /** Everything that arrived and was not expected yet. */
  arrived(): Packet[] {
    this.#inbox.push(...this.transport.take())
    return this.#inbox
  }

  /** The next packet of a type; those before it stay. */
  async expect<Type extends Packet['type']>(type: Type): Promise<Packet & { type: Type }> {
    const find = () => this.arrived().findIndex((packet) => packet.type === type)
    await this.#harness.until(() => find() >= 0).catch(() => this.#missing(type))
    const [packet] = this.#inbox.splice(find(), 1)
    return packet as Packet & { type: Type }
  }

  async expectClose(): Promise<void> {
    await this.#harness.until(() => this.closed).catch(() => this.#missing('close'))
  }

  /** The reason code of the DISCONNECT with which the broker ended the connection. */
  async expectDisconnect(): Promise<number> {
    const { reasonCode } = await this.expect('disconnect')
    await this.expectClose()
    return reasonCode
  }

  async subscribe(filter: string, qos: 0 | 1 | 2 = 0, fields = {}): Promise<number> {
    const packetId = this.nextId()
    const subscriptions = [subscriptionOf(filter, { qos, ...fields })]
    this.send({ type: 'subscribe', packetId, subscriptions, properties: {} })
    const suback = await this.expect('suback')
    return suback.reasonCodes[0]!
  }

  /** Returns the packet id. */
  publish(topic: string, payload: string | Buffer = '', fields: Partial<Publish> = {}): number {
    const packet = this.publishOf(topic, payload, fields)
    this.send(packet)
    return packet.packetId
  }

  publishOf(topic: string, payload: string | Buffer = '', fields: Partial<Publish> = {}): Publish {
    const packetId = fields.packetId ?? (fields.qos ? this.nextId() : 0)
    const bytes = typeof payload === 'string' ? Buffer.from(payload) : payload
    const plain = { qos: 0, retain: false, dup: false, properties: {} } as const
    return { type: 'publish', topic, payload: bytes, ...plain, ...fields, packetId }
  }

  ack(type: 'puback' | 'pubrec' | 'pubrel' | 'pubcomp', packetId: number, reasonCode = 0): void {
    this.send({ type, packetId, reasonCode, properties: {} })
  }

  nextId(): number {
    return ++this.#packetId
  }

  /** Packets so far, in a line each. */
  lines(): string[] {
    return this.arrived().map((packet) => ('packetId' in packet ? `${packet.type} ${packet.packetId}` : packet.type))
  }

  /** Payloads of the PUBLISH packets that arrived; they are taken. */
  payloads(): string[] {
    const publishes = this.arrived().filter((packet) => packet.type === 'publish')
    this.#inbox = this.#inbox.filter((packet) => packet.type !== 'publish')
    return publishes.map(({ payload }) => payload.toString())
  }

  #missing(what: string): never {
    throw new Error(`No ${what}; arrived: ${JSON.stringify(this.lines())}, closed: ${this.closed}`)
  }
}
