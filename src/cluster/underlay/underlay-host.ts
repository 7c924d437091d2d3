import { randomUUID } from 'node:crypto'
import { isIP, type Socket } from 'node:net'
import { assert } from '../../base/assert.ts'
import { BrokerError } from '../../base/errors.ts'
import type { HostId } from '../../base/ids.ts'
import type { MetricSink, MetricSource } from '../../base/metrics.ts'
import type { UnderlayHostOptions, UnderlayNotice, UnderlayPort } from './contract.ts'
import {
  type Address,
  type ClusterId,
  type ClusterIdentity,
  type Exchange,
  FRAME_BYTES_MAX,
  type HostRecord,
  type HostView,
  type Input,
  LAN,
  type Metadata,
  type Persistent,
  type Ready,
  type SwimOptions,
  Underlay,
} from './core/index.ts'
import { addressOf, type Endpoint, endpointOf, isLoopback, isWildcard, parseEndpoint } from './shell/addresses.ts'
import { checkExposure, checkOptions, checkSecrets } from './shell/check-options.ts'
import { ShellCounters } from './shell/counters.ts'
import { Envelope, type EnvelopeFault, SEAL_BYTES, type Way } from './shell/envelope.ts'
import { ExchangeClient } from './shell/exchange-client.ts'
import { ExchangeServer } from './shell/exchange-server.ts'
import { LagMeter } from './shell/lag-meter.ts'
import { collectUnderlay } from './shell/metrics.ts'
import { advertisedAddress, listenIp, lookupSeeds, resolveName } from './shell/names.ts'
import { Narrator } from './shell/narrator.ts'
import { bindSockets, type RemoteInfo, type Sockets, sendDatagram } from './shell/sockets.ts'
import { type SavedState, StateFile } from './shell/state-file.ts'

/** Of one datagram, sealed: it fits into every link's packets. */
const DATAGRAM_BYTES_MAX = 1_400
const SEALED_FRAME_BYTES_MAX = FRAME_BYTES_MAX + SEAL_BYTES
/** Beyond the time that leaving takes. */
const DEPARTURE_GRACE_MS = 500
/** Then a name server is not waited for. */
const FIRST_LOOKUP_MS = 3_000

/** What is there between start and stop. */
interface Running {
  core: Underlay
  sockets: Sockets
  server: ExchangeServer
  client: ExchangeClient
  lag: LagMeter
}

/**
 * One host of a cluster on real sockets: drives the core, and decides nothing.
 *
 * Datagrams, TCP frames, the seeds' addresses and time go in; what `ready()` gives is done in its order: the disk first
 * where a cluster's id changed, then the packets, then the listeners.
 */
export class UnderlayHost implements UnderlayPort, MetricSource {
  readonly #options: UnderlayHostOptions
  readonly #swim: SwimOptions
  readonly #counters = new ShellCounters()
  readonly #narrator: Narrator
  readonly #state: StateFile
  readonly #listeners = new Set<(notice: UnderlayNotice) => void>()
  #receiver: ((from: HostId, payload: Uint8Array) => void) | null = null
  #envelope: Envelope | null = null
  #seeds: readonly Endpoint[] = []
  #running: Running | null = null
  #saved: SavedState | null = null
  #ready: Ready['events'] = []
  #telling = false
  #lookingUp = false
  #wakeAtMs = Number.POSITIVE_INFINITY
  #cancelWake: () => void = () => {}
  #stallsSeen = 0
  #refusalsSeen = { foreignName: 0, otherVersion: 0 }
  #departed: (() => void) | null = null

  constructor(options: UnderlayHostOptions) {
    this.#options = options
    // An encrypted packet is longer; so that secrets may come later, plain ones are as short.
    this.#swim = { ...LAN, ...options.swim, packetBytesMax: DATAGRAM_BYTES_MAX - SEAL_BYTES }
    this.#narrator = new Narrator(options.log, options.clock, options.clusterName, options.seeds)
    this.#state = new StateFile(options.statePath)
  }

  /** Listens, and begins to look for the others. Whether there is a cluster then, `cluster` and the notices tell. */
  async start(): Promise<void> {
    assert(this.#running === null, 'A host starts once')
    const options = this.#options
    this.#seeds = checkOptions(options)
    const ip = await listenIp(options.host, resolveName)
    checkExposure(ip, options)
    const saved = this.#readState()
    this.#envelope = await Envelope.derive(options.secrets)
    const sockets = await bindSockets(ip, options.port)
    try {
      const address = await this.#address(sockets)
      this.#save({ ...saved, incarnation: saved.incarnation + 1 }, true)
      this.#open(sockets, address)
    } catch (error) {
      sockets.udp.close()
      sockets.tcp.close()
      throw error
    }
    this.#sayWhere(ip)
    this.#perform()
  }

  /**
   * `pause`: the others expect this host back. `leave`: it goes for ever, and its data folder cannot start again.
   * Resolves when they were told, and all is closed and on the disk.
   */
  async stop(how: 'pause' | 'leave' = 'pause'): Promise<void> {
    const running = this.#running
    if (running === null) return this.#state.settled()
    if (how === 'leave') this.#save({ ...this.#saved!, left: true }, true)
    await new Promise<void>((resolve) => {
      this.#departed = resolve
      this.#options.clock.after(this.#swim.leaveMs + DEPARTURE_GRACE_MS, resolve)
      this.#step({ type: 'leave', forever: how === 'leave' })
    })
    await this.#close()
    await this.#state.settled()
  }

  get self(): HostRecord {
    assert(this.#running !== null, 'A host that does not run has no record')
    return this.#running.core.self
  }

  get cluster(): ClusterIdentity | null {
    return this.#running?.core.cluster ?? null
  }

  /** 0 is well, 7 is worst: see LocalHealth. */
  get healthScore(): number {
    return this.#running?.core.healthScore ?? 0
  }

  members(): HostView[] {
    return this.#running?.core.members() ?? []
  }

  member(host: HostId): HostView | null {
    return this.#running?.core.member(host) ?? null
  }

  on(listener: (notice: UnderlayNotice) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  onPayload(receiver: (from: HostId, payload: Uint8Array) => void): void {
    assert(this.#receiver === null, 'There is one receiver of payloads')
    this.#receiver = receiver
  }

  sendPayload(to: HostId, payload: Uint8Array): void {
    this.#step({ type: 'send', to, payload })
  }

  setMetadata(metadata: Metadata): void {
    this.#step({ type: 'update', metadata })
  }

  doubt(host: HostId): void {
    this.#step({ type: 'doubt', host })
  }

  /** A cluster with users' data never dissolves into an older one. */
  setUserData(present: boolean): void {
    this.#step({ type: 'user-data', present })
  }

  /** From now on the first encrypts and all decrypt. First add the new one last everywhere, then first, then alone. */
  async setSecrets(secrets: readonly string[]): Promise<void> {
    checkSecrets(secrets)
    const before = this.#envelope
    assert(before !== null, 'Secrets change while the host runs')
    if (secrets.length > 0 !== before.encrypts)
      throw new BrokerError('CONFIG_INVALID', 'cluster.secret cannot be set or removed while the node runs')
    this.#envelope = await Envelope.derive(secrets, before)
  }

  collect(sink: MetricSink): void {
    if (this.#running !== null) collectUnderlay(this.#running.core, this.#counters, sink)
  }

  #sayWhere(ip: string): void {
    const { log, clusterName } = this.#options
    const { address } = this.self
    const { encrypts } = this.#envelope!
    const how = encrypts ? ', encrypted' : ''
    log.info(
      { address, clusterName, encrypted: encrypts },
      `Listening for hosts of cluster "${clusterName}" on ${address}, UDP and TCP${how}`,
    )
    if (encrypts || isLoopback(ip)) return
    log.warn(
      { address },
      'Gossip is not encrypted: whoever reaches this port can pretend to be a host; set cluster.secret',
    )
  }

  #readState(): SavedState {
    const { clusterName, statePath } = this.#options
    const saved = this.#state.read()
    if (saved === null) return { clusterName, incarnation: 0, cluster: null, peers: [], left: false }
    if (saved.left)
      throw new BrokerError(
        'CONFLICT',
        `Cannot start: this host left cluster "${saved.clusterName}" for ever; start with an empty data folder`,
      )
    if (saved.clusterName === clusterName) return saved
    if (saved.cluster === null) return { ...saved, clusterName, peers: [] }
    throw new BrokerError(
      'CONFIG_INVALID',
      `Cannot start: "${statePath}" belongs to cluster "${saved.clusterName}", and cluster.name is "${clusterName}"; ` +
        'correct the name, or use another data folder',
    )
  }

  async #address(sockets: Sockets): Promise<Address> {
    const { advertise, port } = this.#options
    const endpoint = advertise === null ? null : parseEndpoint(advertise, port === 0 ? sockets.port : port)
    if (advertise !== null && endpoint === null)
      throw new BrokerError('CONFIG_INVALID', `cluster.advertise "${advertise}" must be host, host:port or [ip6]:port`)
    const { ip, port: bound } = sockets
    return advertisedAddress({ advertise: endpoint, ip, port: bound, seeds: () => this.#firstLookup(ip) }, resolveName)
  }

  /** A name server that does not answer does not keep us from starting. */
  async #firstLookup(ip: string): Promise<readonly Address[]> {
    let cancel = () => {}
    const timeout = new Promise<null>((resolve) => {
      cancel = this.#options.clock.after(FIRST_LOOKUP_MS, () => resolve(null))
    })
    const found = await Promise.race([lookupSeeds(this.#seeds, ip, resolveName), timeout])
    cancel()
    return found?.addresses ?? []
  }

  #open(sockets: Sockets, address: Address): void {
    const { clock, random, clusterName, hostId, metadata, expect, userData } = this.#options
    const { incarnation, cluster, peers } = this.#saved!
    const core = new Underlay(
      {
        ...{ swim: this.#swim, random, clusterName, hostId, incarnation, startedMs: clock.now(), address, metadata },
        ...{ seeded: this.#seeds.length > 0, expect, cluster, peers, userData },
        freshClusterId: () => randomUUID() as string as ClusterId,
      },
      clock.monotonic(),
    )
    const localAddress = isWildcard(sockets.ip) ? undefined : sockets.ip
    const frameBytesMax = SEALED_FRAME_BYTES_MAX
    const client = new ExchangeClient({ clock, frameBytesMax, localAddress })
    const server = new ExchangeServer(sockets.tcp, {
      ...{ clock, counters: this.#counters, frameBytesMax },
      onFrame: (request, bytes, from) => this.#onFrame(request, bytes, from),
    })
    sockets.udp.on('message', (bytes, from) => this.#onDatagram(bytes, from))
    const lag = new LagMeter(clock, (lagMs) => this.#onLag(lagMs))
    lag.start()
    this.#running = { core, sockets, server, client, lag }
  }

  async #close(): Promise<void> {
    const running = this.#running
    if (running === null) return
    this.#running = null
    this.#cancelWake()
    running.lag.stop()
    running.client.close()
    running.server.close()
    await Promise.all([
      new Promise<void>((resolve) => running.sockets.udp.close(() => resolve())),
      new Promise<void>((resolve) => running.sockets.tcp.close(() => resolve())),
    ])
  }

  #fail(error: Error): void {
    this.#close().then(
      () => this.#options.fatal(error),
      () => this.#options.fatal(error),
    )
    this.#departed?.()
  }

  #onDatagram(bytes: Buffer, info: RemoteInfo): void {
    // A port nobody can answer to.
    if (info.port === 0) return
    if (bytes.length > DATAGRAM_BYTES_MAX) {
      this.#counters.oversized++
      return
    }
    const from = addressOf(info.address, info.port)
    const opened = this.#unseal(bytes, 'datagram', from)
    if (opened === null) return
    this.#step({ type: 'datagram', from, bytes: opened })
    this.#watchRefusals(from)
  }

  #onFrame(request: number, bytes: Buffer, socket: Socket): void {
    const from = socket.remoteAddress ?? 'unknown'
    const opened = this.#unseal(bytes, 'request', from)
    if (opened === null) return this.#running?.server.answer(request, null)
    this.#step({ type: 'request', request, bytes: opened })
    this.#watchRefusals(from)
  }

  #unseal(bytes: Buffer, way: Way, from: string): Uint8Array | null {
    const opened = this.#envelope!.open(bytes, way)
    if (typeof opened !== 'string') return opened
    this.#counters[opened]++
    // A replay may be the network's, and happens.
    if (opened !== ('replayed' satisfies EnvelopeFault)) this.#narrator.refused(opened, from)
    return null
  }

  /** The core counts what it refuses; here it is said who sent it. */
  #watchRefusals(from: string): void {
    if (this.#running === null) return
    const { foreignName, otherVersion } = this.#running.core.counters
    if (foreignName !== this.#refusalsSeen.foreignName) this.#narrator.refused('foreign-name', from)
    if (otherVersion !== this.#refusalsSeen.otherVersion) this.#narrator.refused('other-version', from)
    this.#refusalsSeen = { foreignName, otherVersion }
  }

  /** What the protocol noticed itself, as a late tick, does not count twice. */
  #onLag(lagMs: number): void {
    this.#step({ type: 'tick' })
    const stalls = this.#running?.core.counters.stalls ?? 0
    if (stalls === this.#stallsSeen) this.#step({ type: 'lag', lagMs })
    this.#stallsSeen = stalls
  }

  #step(input: Input): void {
    const running = this.#running
    if (running === null) return
    running.core.step(input, this.#options.clock.monotonic())
    this.#perform()
  }

  #perform(): void {
    const running = this.#running
    if (running === null) return
    const ready = running.core.ready()
    if (ready.persist !== null && !this.#persist(ready.persist)) return
    for (const { to, bytes } of ready.datagrams) this.#send(running, to, bytes)
    for (const exchange of ready.exchanges) this.#exchange(running, exchange)
    for (const { request, bytes } of ready.answers)
      running.server.answer(request, bytes === null ? null : this.#envelope!.seal(bytes, 'answer'))
    if (ready.lookup) void this.#lookup(running)
    this.#plan(running)
    this.#ready.push(...ready.events)
    this.#tellAll()
  }

  #send(running: Running, to: Address, bytes: Uint8Array): void {
    const endpoint = endpointOf(to)
    const failed = () => {
      this.#counters.sendFailures++
    }
    // A packet may carry what only looks like an address.
    if (isIP(endpoint.host) === 0) failed()
    else sendDatagram(running.sockets, endpoint, this.#envelope!.seal(bytes, 'datagram'), failed)
  }

  #exchange(running: Running, exchange: Exchange): void {
    const { exchange: number, to, answered, timeoutMs } = exchange
    const ended = (bytes: Buffer | null | 'oversized') => {
      if (!answered || this.#running !== running) return
      if (bytes === 'oversized') this.#counters.oversized++
      const opened = bytes === null || bytes === 'oversized' ? null : this.#unseal(bytes, 'answer', to)
      this.#step({ type: 'exchanged', exchange: number, bytes: opened })
    }
    const endpoint = endpointOf(to)
    const bytes = this.#envelope!.seal(exchange.bytes, 'request')
    if (isIP(endpoint.host) !== 0 && running.client.begin({ to: endpoint, bytes, answered, timeoutMs }, ended)) return
    this.#counters.exchangesRefused++
    queueMicrotask(() => ended(null))
  }

  async #lookup(running: Running): Promise<void> {
    if (this.#lookingUp) return
    this.#lookingUp = true
    const { sockets } = running
    const { addresses, missing } = await lookupSeeds(this.#seeds, sockets.ip, resolveName)
    this.#lookingUp = false
    if (this.#running !== running) return
    this.#counters.lookupsFailed += missing.length
    if (missing.length > 0)
      this.#options.log.debug({ names: missing }, `Seeds have no address now: ${missing.join(', ')}`)
    this.#step({ type: 'seeds', addresses, complete: missing.length === 0 })
    await this.#readdress(running, addresses)
  }

  /** The machine may have got another address meanwhile. */
  async #readdress(running: Running, seeds: readonly Address[]): Promise<void> {
    const { sockets } = running
    if (this.#options.advertise !== null || !isWildcard(sockets.ip)) return
    const { ip, port } = sockets
    const address = await advertisedAddress({ advertise: null, ip, port, seeds: async () => seeds }, resolveName)
    if (this.#running === running && address !== this.self.address) this.#step({ type: 'update', address })
  }

  #plan(running: Running): void {
    const deadlineMs = running.core.deadlineMs()
    if (deadlineMs === this.#wakeAtMs) return
    this.#cancelWake()
    this.#wakeAtMs = deadlineMs
    this.#cancelWake = () => {}
    if (deadlineMs === Number.POSITIVE_INFINITY) return
    const { clock } = this.#options
    this.#cancelWake = clock.after(Math.max(0, Math.ceil(deadlineMs - clock.monotonic())), () => {
      this.#wakeAtMs = Number.POSITIVE_INFINITY
      this.#step({ type: 'tick' })
    })
  }

  /** False: it cannot be written, and this host ends. */
  #persist(persistent: Persistent): boolean {
    const { cluster } = this.#saved!
    const now = JSON.stringify(cluster) !== JSON.stringify(persistent.cluster)
    try {
      this.#save({ ...this.#saved!, ...persistent }, now)
    } catch (error) {
      this.#options.log.error({ err: error }, 'This host stops: its cluster cannot be written to the disk')
      this.#fail(error as Error)
      return false
    }
    return true
  }

  #save(state: SavedState, now: boolean): void {
    this.#saved = state
    if (now) return this.#state.writeNow(state)
    this.#state.writeSoon(state, (error) =>
      this.#options.log.warn(
        { err: error },
        `Cannot write "${this.#options.statePath}": a restart finds an older state`,
      ),
    )
  }

  /** In the order in which things happened, also where a listener lets more happen. */
  #tellAll(): void {
    if (this.#telling) return
    this.#telling = true
    try {
      for (let event = this.#ready.shift(); event !== undefined; event = this.#ready.shift()) {
        if (event.type === 'payload') this.#receiver?.(event.from, event.payload)
        else this.#tell(event)
      }
    } finally {
      this.#telling = false
    }
  }

  #tell(notice: UnderlayNotice): void {
    this.#narrator.tell(notice)
    for (const listener of this.#listeners) listener(notice)
    if (notice.type === 'departed') this.#departed?.()
    if (notice.type === 'dissolve') void this.#dissolve()
    if (notice.type === 'duplicate-id' && notice.refused) {
      const { hostId } = this.#options
      this.#fail(
        new BrokerError(
          'CONFLICT',
          `Cannot go on: host id "${hostId}" is in use at ${notice.address}; empty the data folder`,
        ),
      )
    }
  }

  async #dissolve(): Promise<void> {
    let done = false
    try {
      done = await this.#options.dissolve()
    } catch (error) {
      this.#options.log.error({ err: error }, 'Cannot wipe what was founded here: both clusters stay')
    }
    this.#step({ type: 'dissolved', done })
  }
}
