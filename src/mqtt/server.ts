import { randomBytes } from 'node:crypto'
import { BrokerError } from '../base/errors.ts'
import type { TenantId } from '../base/ids.ts'
import type { MetricSink, MetricSource } from '../base/metrics.ts'
import { FlapGuard } from '../plugin/index.ts'
import { REASON } from './codec/index.ts'
import type { AttachRefusal } from './connection/attach.ts'
import { Connection } from './connection/connection.ts'
import { Counters } from './connection/counters.ts'
import { FlushQueue } from './connection/flush-queue.ts'
import type { FrontEnd } from './connection/front-end.ts'
import { Leftovers } from './connection/leftovers.ts'
import { Mover } from './connection/mover.ts'
import { RefusalLog } from './connection/refusal-log.ts'
import { Registry } from './connection/registry.ts'
import { Turn } from './connection/turn.ts'
import type { MqttOptions, MqttParts } from './contract.ts'
import {
  Admission,
  type ConnectionInfo,
  type Listener,
  ListenerMetrics,
  openListeners,
  type Transport,
} from './listener/index.ts'

/** How often deadlines (keep-alive, CONNECT) are looked at. */
const TICK_MS = 250
/** Connections that hold less are not worth closing. */
const SHED_BYTES_MIN = 16_384
/** Connections closed at a time when the node stops. */
const STOP_SLICE = 500

/** The protocol front end of a node: its listeners and connections. */
export class MqttServer implements MetricSource {
  readonly #parts: MqttParts
  readonly #options: MqttOptions
  readonly #front: FrontEnd
  readonly #connections = new Set<Connection>()
  /** Sends clients to other nodes. */
  readonly mover: Mover
  readonly #admission: Admission
  #listeners: Listener[] = []
  #listenerMetrics: ListenerMetrics | null = null
  #endTicks: () => void = () => {}
  #stopping = false
  /** As of the last tick. */
  #heldBytes = 0
  /** No new connection is taken. */
  #overloaded = false
  #shed = 0
  #nextConnection = 0

  constructor(parts: MqttParts, options: MqttOptions) {
    this.#parts = parts
    this.#options = options
    this.#admission = new Admission(options.connectionsMax)
    this.mover = new Mover(this.#connections, parts.clock)
    this.#front = this.#createFront()
  }

  /** Opens the listeners; until then nobody can connect. */
  async start(): Promise<readonly Listener[]> {
    const { clock, log } = this.#parts
    this.#listeners = await openListeners(this.#options.listeners, (transport, info) => this.accept(transport, info), {
      clock,
      logger: log,
      admission: this.#admission,
      connectionRatePerSecond: this.#options.connectionRatePerSecond,
      handshakeTimeoutMs: this.#options.connectTimeoutMs,
      handshakesMax: this.#options.handshakesMax,
      messageBytesMax: this.#options.packetBytesMax,
    })
    this.#listenerMetrics = new ListenerMetrics(this.#listeners)
    this.#tick()
    return this.#listeners
  }

  /** Closes the listeners, tells version 5 clients, and gives every session up before it resolves. */
  async stop(): Promise<void> {
    this.#stopping = true
    this.mover.stop()
    await Promise.all(this.#listeners.map((listener) => listener.close()))
    const connections = [...this.#connections]
    for (let i = 0; i < connections.length; i += STOP_SLICE) {
      const slice = connections.slice(i, i + STOP_SLICE)
      await Promise.all(
        slice.map((connection) => connection.control.leave(REASON.SERVER_SHUTTING_DOWN, 'The server is stopping')),
      )
    }
    this.#endTicks()
  }

  /** Serves a client that came to a listener. */
  accept(transport: Transport, info: ConnectionInfo): void {
    if (this.#stopping) return transport.destroy()
    const connection = new Connection(this.#front, transport, info)
    this.#connections.add(connection)
    connection.control.onGone = () => this.#connections.delete(connection)
  }

  /** Connections of the process, until their sessions are given up. */
  get connections(): number {
    return this.#connections.size
  }

  collect(sink: MetricSink): void {
    this.#front.counters.collect(sink)
    this.#listenerMetrics?.collect(sink)
    const help = 'Bytes held for clients: input not handled yet, output not sent yet'
    sink.gauge('flockmq_mqtt_held_bytes', help, this.#heldBytes)
    sink.counter('flockmq_mqtt_shed_total', 'Connections closed because the process held too much', this.#shed)
    sink.counter('flockmq_mqtt_moved_total', 'Connections sent to other nodes to even them out', this.mover.movedTotal)
  }

  #tick(): void {
    const { clock } = this.#parts
    const now = clock.monotonic()
    let held = 0
    for (const connection of this.#connections) {
      if (connection.output.unsentBytes > 0) connection.drained()
      held += connection.heldBytes
      if (connection.deadlineMs <= now) connection.control.end({ type: 'tick' })
    }
    this.#heldBytes = held
    this.#overloaded = held > this.#options.heldBytesMax || isOver(this.#options.processBytesMax)
    if (held > this.#options.heldBytesMax) this.#shedLoad(held)
    this.#endTicks = clock.after(TICK_MS, () => this.#tick())
  }

  /** Closes those that hold most, until four fifths of the budget are left. */
  #shedLoad(heldBytes: number): void {
    const heavy = [...this.#connections].filter(
      ({ heldBytes: held, session }) => held >= SHED_BYTES_MIN && session.state !== 'closed',
    )
    heavy.sort((a, b) => b.heldBytes - a.heldBytes)
    let excess = heldBytes - this.#options.heldBytesMax * 0.8
    for (const connection of heavy) {
      if (excess <= 0) return
      excess -= connection.heldBytes
      this.#shed++
      connection.control.end({
        type: 'end',
        reasonCode: REASON.QUOTA_EXCEEDED,
        reason: 'The server holds too much for slow clients',
      })
    }
  }

  #refuses(registry: Registry, flapping: FlapGuard, tenant: TenantId, clientId: string): AttachRefusal | null {
    if (flapping.bannedUntilMs(tenant, clientId, this.#parts.clock.monotonic()) > 0) {
      return { reasonCode: REASON.BANNED, reason: 'The client lost its connection too often' }
    }
    if (registry.get(tenant, clientId) !== undefined) return null
    if (this.#overloaded) {
      return { reasonCode: REASON.SERVER_BUSY, reason: 'The server is overloaded' }
    }
    if (registry.count(tenant) < this.#parts.settings.of(tenant).connectionsMax) return null
    return { reasonCode: REASON.QUOTA_EXCEEDED, reason: 'The tenant has all the connections it may have' }
  }

  #createFront(): FrontEnd {
    const { parts, options } = { parts: this.#parts, options: this.#options }
    const counters = new Counters()
    const { defer = (callback: () => void) => void setImmediate(callback), run = randomBytes(8).toString('hex') } =
      parts
    const turn = new Turn(options.turnMsMax, () => parts.clock.monotonic(), defer)
    const registry = new Registry()
    const flapping = new FlapGuard(options.flapping)
    counters.turnDeferrals = () => turn.deferrals
    counters.subscriptions = () => parts.table.subscriptions
    return {
      ...parts,
      registry,
      leftovers: new Leftovers(parts.inbox, parts.clock),
      counters,
      flush: new FlushQueue(defer),
      refusals: new RefusalLog(parts.log, parts.clock),
      turn,
      defer,
      limits: {
        packetBytesMax: options.packetBytesMax,
        connectTimeoutMs: options.connectTimeoutMs,
        outputBytesMax: options.outputBytesPerConnectionMax,
        inFlight3Max: options.inFlight3Max,
      },
      assignClientId: () => `flockmq-${randomBytes(12).toString('base64url')}`,
      nextConnectionId: () => `${run}-${++this.#nextConnection}`,
      refuses: (tenant, clientId) => this.#refuses(registry, flapping, tenant, clientId),
      stopping: () => this.#stopping,
      flapping,
    }
  }
}

/** Asking the system costs more than a tick otherwise does. */
function isOver(processBytesMax: number): boolean {
  return processBytesMax < Number.POSITIVE_INFINITY && process.memoryUsage.rss() > processBytesMax
}

/** Refuses options that would harm: called before anything starts. */
export function checkMqttOptions(options: MqttOptions): void {
  if (options.listeners.length > 0) return
  throw new BrokerError('CONFIG_INVALID', 'Cannot start: no MQTT listener is enabled (mqtt.listeners)')
}
