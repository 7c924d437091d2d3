import { randomUUID } from 'node:crypto'
import { assert } from '../../base/assert.ts'
import { BrokerError } from '../../base/errors.ts'
import type { HostId } from '../../base/ids.ts'
import type { MetricSink, MetricSource } from '../../base/metrics.ts'
import type { UnderlayHostOptions, UnderlayNotice, UnderlayPort } from './contract.ts'
import {
  type Address,
  type ClusterId,
  type ClusterIdentity,
  type HostRecord,
  type HostView,
  type Input,
  LAN,
  METADATA_BYTES_MAX,
  type Metadata,
  metadataBytes,
  type Persistent,
  type Ready,
  type SwimOptions,
  Underlay,
} from './core/index.ts'
import { isLoopback } from './shell/addresses.ts'
import { checkExposure, checkOptions, checkSecrets, checkState } from './shell/check-options.ts'
import { ShellCounters } from './shell/counters.ts'
import { Envelope, SEAL_BYTES } from './shell/envelope.ts'
import { LagMeter } from './shell/lag-meter.ts'
import { collectUnderlay } from './shell/metrics.ts'
import { listenIp, resolveName } from './shell/names.ts'
import { Narrator } from './shell/narrator.ts'
import { bindSockets, type Sockets } from './shell/sockets.ts'
import { type SavedState, StateFile } from './shell/state-file.ts'
import { DATAGRAM_BYTES_MAX, Transport } from './shell/transport.ts'
import { Whereabouts } from './shell/whereabouts.ts'

/** Beyond the time that leaving takes. */
const DEPARTURE_GRACE_MS = 500

/** What is there between start and stop. */
interface Running {
  core: Underlay
  transport: Transport
  whereabouts: Whereabouts
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
  #running: Running | null = null
  #saved: SavedState | null = null
  #lastSelf: HostRecord | null = null
  #events: Ready['events'] = []
  #telling = false
  #lookingUp = false
  #wakeAtMs = Number.POSITIVE_INFINITY
  #cancelWake: () => void = () => {}
  #refusalsSeen = { foreignName: 0, otherVersion: 0 }
  #departed: () => void = () => {}

  constructor(options: UnderlayHostOptions) {
    this.#options = options
    // An encrypted packet is longer than what the core makes.
    this.#swim = { ...LAN, ...options.swim, packetBytesMax: DATAGRAM_BYTES_MAX - SEAL_BYTES }
    this.#narrator = new Narrator(options.log, options.clock, options.clusterName, options.seeds)
    this.#state = new StateFile(options.statePath)
  }

  /** Listens, and begins to look for the others. Whether there is a cluster then, `cluster` and the notices tell. */
  async start(): Promise<void> {
    assert(this.#running === null, 'A host starts once')
    const seeds = checkOptions(this.#options)
    const ip = await listenIp(this.#options.host, this.#options.resolve ?? resolveName)
    checkExposure(ip, this.#options)
    const saved = checkState(this.#state.read(), this.#options)
    const envelope = await Envelope.derive(this.#options.secrets)
    const sockets = await bindSockets(ip, this.#options.port)
    try {
      const whereabouts = new Whereabouts(this.#options, seeds, sockets)
      const address = await whereabouts.first()
      this.#save({ ...saved, incarnation: saved.incarnation + 1 }, true)
      const core = this.#makeCore(address)
      const transport = this.#makeTransport(sockets, envelope)
      this.#running = {
        core,
        transport,
        whereabouts,
        lag: new LagMeter(this.#options.clock, (lagMs) => this.#step({ type: 'lag', lagMs })),
      }
    } catch (error) {
      sockets.udp.close()
      sockets.tcp.close()
      throw error
    }
    this.#running.lag.start()
    this.#sayWhere(ip, envelope.encrypts)
    this.#perform()
  }

  /**
   * `pause`: the others expect this host back. `leave`: it goes for ever, and its data folder cannot start again.
   * Resolves when they were told, and all is closed and on the disk.
   */
  async stop(how: 'pause' | 'leave' = 'pause'): Promise<void> {
    if (this.#running !== null) {
      if (how === 'leave') this.#save({ ...this.#saved!, left: true }, true)
      await this.#depart(how === 'leave')
      await this.#close()
    }
    await this.#state.settled()
  }

  get self(): HostRecord {
    const self = this.#running?.core.self ?? this.#lastSelf
    assert(self !== null, 'A host that never ran has no record')
    return self
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

  /** How long the host has been alive, suspect, dead or left, as far as is known here, in ms. Null: never heard of. */
  stateAgeMs(host: HostId): number | null {
    return this.#running?.core.stateAgeMs(host, this.#options.clock.monotonic()) ?? null
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
    assert(metadataBytes(metadata) <= METADATA_BYTES_MAX, 'Metadata must fit into 512 bytes')
    this.#step({ type: 'update', metadata })
  }

  doubt(host: HostId): void {
    this.#step({ type: 'doubt', host })
  }

  /** A cluster with users' data never dissolves into an older one. */
  setUserData(present: boolean): void {
    this.#step({ type: 'user-data', present })
  }

  /** After `formed`: what the founder has to do is done, and on disk. Until then `cluster` says that it is founding. */
  founded(): void {
    this.#step({ type: 'founded' })
  }

  /** From now on the first encrypts and all decrypt. First add the new one last everywhere, then first, then alone. */
  async setSecrets(secrets: readonly string[]): Promise<void> {
    checkSecrets(secrets)
    const running = this.#running
    assert(running !== null, 'Secrets change while the host runs')
    const before = running.transport.envelope
    if (secrets.length > 0 !== before.encrypts)
      throw new BrokerError('CONFIG_INVALID', 'cluster.secret cannot be set or removed while the node runs')
    running.transport.envelope = await Envelope.derive(secrets, before)
  }

  collect(sink: MetricSink): void {
    if (this.#running !== null) collectUnderlay(this.#running.core, this.#counters, sink)
  }

  #makeCore(address: Address): Underlay {
    const { clock, random, clusterName, hostId, metadata, seeds, expect, userData } = this.#options
    const { incarnation, cluster, peers } = this.#saved!
    return new Underlay(
      {
        ...{ swim: this.#swim, random, clusterName, hostId, incarnation, startedMs: clock.now(), address, metadata },
        ...{ seeded: seeds.length > 0, expect, cluster, peers, userData },
        freshClusterId: () => randomUUID() as string as ClusterId,
      },
      clock.monotonic(),
    )
  }

  #makeTransport(sockets: Sockets, envelope: Envelope): Transport {
    return new Transport({
      ...{ clock: this.#options.clock, counters: this.#counters, sockets, envelope },
      handlers: {
        datagram: (from, bytes) => this.#receive({ type: 'datagram', from, bytes }, from),
        request: (request, bytes, from) => this.#receive({ type: 'request', request, bytes }, from),
        exchanged: (exchange, bytes) => this.#step({ type: 'exchanged', exchange, bytes }),
        // A replay may be the network's, and happens.
        refused: (fault, from) => fault !== 'replayed' && this.#narrator.refused(fault, from),
      },
    })
  }

  #sayWhere(ip: string, encrypted: boolean): void {
    const { log, clusterName } = this.#options
    const { address } = this.self
    const how = encrypted ? ', encrypted' : ''
    log.info(
      { address, clusterName, encrypted },
      `Listening for hosts of cluster "${clusterName}" on ${address}, UDP and TCP${how}`,
    )
    if (encrypted || isLoopback(ip)) return
    log.warn(
      { address },
      'Gossip is not encrypted: whoever reaches this port can pretend to be a host; set cluster.secret',
    )
  }

  /** Until the others were told, or should have been. */
  #depart(forever: boolean): Promise<void> {
    return new Promise((resolve) => {
      const cancel = this.#options.clock.after(this.#swim.leaveMs + DEPARTURE_GRACE_MS, resolve)
      this.#departed = () => {
        cancel()
        resolve()
      }
      this.#step({ type: 'leave', forever })
    })
  }

  async #close(): Promise<void> {
    const running = this.#running
    if (running === null) return
    this.#lastSelf = running.core.self
    this.#running = null
    this.#cancelWake()
    running.lag.stop()
    await running.transport.close()
  }

  #fail(error: Error): void {
    const { fatal } = this.#options
    this.#close().then(
      () => fatal(error),
      () => fatal(error),
    )
    this.#departed()
  }

  /** The core counts what it refuses; here it is said who sent it. */
  #receive(input: Input, from: string): void {
    this.#step(input)
    if (this.#running === null) return
    const { foreignName, otherVersion } = this.#running.core.counters
    if (foreignName !== this.#refusalsSeen.foreignName) this.#narrator.refused('foreign-name', from)
    if (otherVersion !== this.#refusalsSeen.otherVersion) this.#narrator.refused('other-version', from)
    this.#refusalsSeen = { foreignName, otherVersion }
  }

  #step(input: Input): void {
    this.#running?.core.step(input, this.#options.clock.monotonic())
    this.#perform()
  }

  #perform(): void {
    const running = this.#running
    if (running === null) return
    const ready = running.core.ready()
    if (ready.persist !== null && !this.#persist(ready.persist)) return
    for (const datagram of ready.datagrams) running.transport.send(datagram)
    for (const exchange of ready.exchanges) running.transport.exchange(exchange)
    for (const answer of ready.answers) running.transport.answer(answer)
    if (ready.lookup) void this.#lookup(running)
    this.#plan(running)
    this.#events.push(...ready.events)
    this.#tellAll()
  }

  async #lookup(running: Running): Promise<void> {
    if (this.#lookingUp) return
    this.#lookingUp = true
    const { seeds, missing, own } = await running.whereabouts.lookup()
    this.#lookingUp = false
    if (this.#running !== running) return
    this.#counters.lookupsFailed += missing.length
    if (missing.length > 0)
      this.#options.log.debug({ names: missing }, `Seeds have no address now: ${missing.join(', ')}`)
    this.#step({ type: 'seeds', addresses: seeds, complete: missing.length === 0 })
    // The machine may have got another address meanwhile.
    if (this.#running === running && own !== null && own !== this.self.address)
      this.#step({ type: 'update', address: own })
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
    const { log, statePath } = this.#options
    this.#state.writeSoon(state, (error) =>
      log.warn({ err: error }, `Cannot write "${statePath}": after a restart this host knows less of the others`),
    )
  }

  /** In the order in which things happened, also where a listener lets more happen. */
  #tellAll(): void {
    if (this.#telling) return
    this.#telling = true
    try {
      for (let event = this.#events.shift(); event !== undefined; event = this.#events.shift()) {
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
    if (notice.type === 'departed') this.#departed()
    else if (notice.type === 'dissolve') void this.#dissolve()
    else if (notice.type === 'duplicate-id' && notice.refused) {
      const what = `host id "${this.#options.hostId}" is in use at ${notice.address}`
      this.#fail(new BrokerError('CONFLICT', `Cannot go on: ${what}; stop one of the two, or empty a data folder`))
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
