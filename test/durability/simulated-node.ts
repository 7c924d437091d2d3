import { assert } from '../../src/base/assert.ts'
import type { Clock } from '../../src/base/clock.ts'
import { silentLogger } from '../../src/base/logging.ts'
import type { Engine } from '../../src/kv/engine/engine.ts'
import type { CrashOptions } from '../../src/kv/engine/memory/simulated.ts'
import { Store } from '../../src/kv/store/store.ts'
import { type MqttOptions, MqttServer } from '../../src/mqtt/index.ts'
import type { Transport } from '../../src/mqtt/listener/index.ts'
import { type Services, startServices } from '../../src/node/services.ts'
import { verifyNode } from '../../src/node/verify.ts'
import { NoAuth } from '../../src/plugin/auth/none.ts'
import { AuthGate, EventBus, SettingsSource, stay, type TenantSettings } from '../../src/plugin/index.ts'
import type { SimulatedProcess, World } from '../sim/world.ts'
import type { Dial } from './peer.ts'

const OPTIONS: MqttOptions = {
  listeners: [],
  packetBytesMax: 1 << 20,
  connectTimeoutMs: 10_000,
  connectionsMax: 1_000,
  connectionRatePerSecond: 100_000,
  handshakesMax: 256,
  outputBytesPerConnectionMax: 1 << 20,
  processBytesMax: Number.POSITIVE_INFINITY,
  heldBytesMax: 1 << 28,
  flapping: { enabled: false, disconnectsMax: 3, windowSeconds: 60, banSeconds: 300, clientsMax: 100 },
  turnMsMax: 1_000,
  inFlight3Max: 4_096,
}
/** One way, ms. */
const LATENCY_MS_MAX = 2

export interface SimulatedNodeOptions {
  world: World
  settings?: Partial<TenantSettings>
  /** Stands between the services and the disk. */
  wrap?: (disk: Engine) => Engine
  /** Longest time that the disk takes for a batch, ms. Default 5. */
  writeMsMax?: number
  /** What reaches the disk of what was not synced. Default: as much as chance will have it. */
  loss?: CrashOptions
}

interface Running {
  services: Services
  server: MqttServer
  wires: Set<Wire>
}

/**
 * The whole node in a simulated process: its services as `node/` composes them, its front end, a disk that loses at a
 * crash what was not synced, and connections whose bytes take time. Only the sockets are not the real ones.
 */
export class SimulatedNode {
  crashes = 0
  #lives = 0
  readonly #options: SimulatedNodeOptions
  readonly #process: SimulatedProcess
  #running: Running | null = null

  constructor(options: SimulatedNodeOptions) {
    this.#options = options
    this.#process = options.world.process('node')
  }

  get up(): boolean {
    return this.#running !== null
  }

  /** What keeps the node from serving: empty, unless something is wrong. */
  health(): string[] {
    return (this.#running?.services.health().reasons ?? []).map(({ part, message }) => `${part}: ${message}`)
  }

  start(): void {
    const { world, wrap = (disk: Engine) => disk, writeMsMax = 5 } = this.#options
    this.#process.restart()
    this.#process.writeMsMax = writeMsMax
    const clock = this.#process.clock()
    const plugins = this.#plugins(clock)
    const log = { ...silentLogger, error: (fields: object, message: string) => world.fail(failure(fields, message)) }
    const common = { clock, log, random: world.random, defer: this.#process.defer() }
    const engine = wrap(this.#process.disk('store'))
    const ranges = new Store({ ...common, engine, storeId: 'node', fatal: (error) => world.fail(error) })
    const incarnations = { next: () => ++this.#lives }
    const services = startServices({ ...common, plugins, node: 'node', incarnations, ranges })
    const server = new MqttServer({ ...services.parts, ...plugins, clock, log, node: 'node' }, OPTIONS)
    this.#running = { services, server, wires: new Set() }
    void server.start()
  }

  /** Ends the process. What it had not synced is lost, or a part of it, and so is what was on the wires. */
  crash(): void {
    if (this.#running === null) return
    this.crashes++
    const { wires } = this.#running
    this.#running = null
    this.#process.crash(this.#options.loss)
    for (const wire of wires) wire.cut()
  }

  /** What a node that is down left behind. */
  get disk(): Engine {
    assert(!this.up, 'Nobody reads the disk of a node that runs')
    return this.#process.disk('store')
  }

  /** For clients. */
  readonly dial: Dial = ({ onData, onClose }) => {
    const { world } = this.#options
    const wire = new Wire(world, onData, onClose)
    const running = this.#running
    if (running === null) {
      world.clock.after(LATENCY_MS_MAX, () => wire.cut())
      return wire
    }
    running.wires.add(wire)
    wire.onGone = () => running.wires.delete(wire)
    running.server.accept(wire.transport, {
      ...{ listener: 'tcp', type: 'tcp', remoteAddress: '127.0.0.1', remotePort: 1 },
      ...{ secure: false, certificate: null, certificateTenant: null, acceptedAtMs: world.clock.monotonic() },
    })
    return wire
  }

  #plugins(clock: Clock) {
    const events = new EventBus({ clock, logger: silentLogger })
    const configured = { default: { queueMessagesMax: 1_000_000, ...this.#options.settings } }
    const settings = new SettingsSource({ configured, plugin: null, logger: silentLogger })
    const auth = new AuthGate(new NoAuth(), { clock, logger: silentLogger, events, trusted: true })
    return { auth, events, settings, balancer: stay }
  }
}

/** A connection in memory: bytes of each direction arrive in order, later. */
class Wire {
  onGone: () => void = () => {}
  readonly transport: WireTransport
  readonly #world: World
  readonly #onData: (bytes: Buffer) => void
  readonly #onClose: () => void
  #closed = false
  /** When the last thing of each direction arrives: nothing overtakes it. */
  #inMs = 0
  #outMs = 0

  constructor(world: World, onData: (bytes: Buffer) => void, onClose: () => void) {
    this.#world = world
    this.#onData = onData
    this.#onClose = onClose
    this.transport = new WireTransport(this)
  }

  // --- the client's side

  write(bytes: Buffer): void {
    const copy = Buffer.from(bytes)
    this.#inMs = this.#arrival(this.#inMs)
    this.#at(this.#inMs, () => {
      if (!this.#closed) this.transport.arrive(copy)
    })
  }

  destroy(): void {
    this.#inMs = this.#arrival(this.#inMs)
    this.#at(this.#inMs, () => this.close())
  }

  // --- the broker's side

  toClient(bytes: Buffer): void {
    this.#outMs = this.#arrival(this.#outMs)
    this.#at(this.#outMs, () => {
      if (!this.#closed) this.#onData(bytes)
    })
  }

  closeLater(): void {
    this.#outMs = this.#arrival(this.#outMs)
    this.#at(this.#outMs, () => this.close())
  }

  /** Both sides hear of it. */
  close(): void {
    if (!this.#cutClient()) return
    this.transport.gone()
  }

  /** The broker is no more, and hears of nothing. */
  cut(): void {
    this.#cutClient()
  }

  #cutClient(): boolean {
    if (this.#closed) return false
    this.#closed = true
    this.onGone()
    this.#onClose()
    return true
  }

  #arrival(lastMs: number): number {
    const { clock, random } = this.#world
    return Math.max(lastMs, clock.monotonic() + random.float() * LATENCY_MS_MAX)
  }

  #at(ms: number, callback: () => void): void {
    this.#world.clock.after(ms - this.#world.clock.monotonic(), callback)
  }
}

class WireTransport implements Transport {
  onData: (buffer: Buffer) => void = () => {}
  onClose: (error: Error | null) => void = () => {}
  onDrain: () => void = () => {}
  readonly writableBytes = 0
  readonly #wire: Wire
  #paused = false
  #ended = false
  #unread: Buffer[] = []

  constructor(wire: Wire) {
    this.#wire = wire
  }

  write(buffer: Buffer): boolean {
    if (this.#ended) return false
    this.#wire.toClient(Buffer.from(buffer))
    return true
  }

  pause(): void {
    this.#paused = true
  }

  resume(): void {
    this.#paused = false
    setImmediate(() => this.#feed())
  }

  end(buffer?: Buffer): void {
    if (this.#ended) return
    if (buffer !== undefined) this.write(buffer)
    this.#ended = true
    this.#wire.closeLater()
  }

  destroy(): void {
    this.#ended = true
    this.#wire.closeLater()
  }

  setNoDelay(): void {}

  arrive(bytes: Buffer): void {
    this.#unread.push(bytes)
    this.#feed()
  }

  gone(): void {
    this.#ended = true
    this.onClose(null)
  }

  #feed(): void {
    while (!this.#paused && !this.#ended) {
      const bytes = this.#unread.shift()
      if (bytes === undefined) return
      this.onData(bytes)
    }
  }
}

function failure(fields: object, message: string): Error {
  const cause = 'err' in fields ? fields.err : fields
  return new Error(`${message}: ${cause instanceof Error ? cause.message : JSON.stringify(cause)}`, { cause })
}

/** What `flockmq check` would tell. */
export function damageOf(engine: Engine): string[] {
  const found: string[] = []
  verifyNode(engine, {
    family: (family, range) => ({
      damage: (key, reason) => {
        const name = key === null ? range : JSON.stringify(Buffer.from(key).toString('latin1'))
        found.push(`${family} ${name}: ${reason}`)
      },
      count: () => {},
      step: () => {},
    }),
  })
  return found
}
