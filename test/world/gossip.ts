import { assert } from '../../src/base/assert.ts'
import type { Clock, Random } from '../../src/base/clock.ts'
import type { HostId } from '../../src/base/ids.ts'
import {
  type Address,
  type ClusterId,
  type ClusterIdentity,
  type Exchange,
  type HostRecord,
  type HostView,
  type Input,
  LAN,
  type Metadata,
  type Persistent,
  Underlay,
  type UnderlayEvent,
} from '../../src/cluster/underlay/core/index.ts'
import type { UnderlayNotice, UnderlayPort } from '../../src/cluster/underlay/index.ts'
import { LagMeter } from '../../src/cluster/underlay/shell/lag-meter.ts'
import type { SimulatedProcess, World } from '../sim/world.ts'

/** What a host keeps on its disk of its cluster. Written at once: how it is synced is the real host's. */
export type Kept = Persistent

export interface GossipOptions {
  world: World
  machine: SimulatedProcess
  hostId: HostId
  address: Address
  metadata: Metadata
  seeds: readonly Address[]
  kept: Kept
  keep: (kept: Kept) => void
  userData: () => boolean
  dissolve: () => Promise<void>
  /** Another process uses the host's id. */
  fatal: (error: Error) => void
  /** The host at that address; null: nobody listens there. */
  hostAt: (address: Address) => SimGossip | null
  /** Both ways are open. */
  reaches: (address: Address) => boolean
}

/** One host of the underlay in the simulated world: drives the core that ships, as `UnderlayHost` does on sockets. */
export class SimGossip implements UnderlayPort {
  readonly #options: GossipOptions
  readonly #clock: Clock
  readonly #random: Random
  readonly #core: Underlay
  readonly #lag: LagMeter
  readonly #listeners = new Set<(notice: UnderlayNotice) => void>()
  readonly #requests = new Map<number, (bytes: Uint8Array | null) => void>()
  #request = 0
  #receiver: ((from: HostId, payload: Uint8Array) => void) | null = null
  #events: UnderlayEvent[] = []
  #telling = false
  #wakeAtMs = Number.POSITIVE_INFINITY
  #cancelWake: () => void = () => {}

  constructor(options: GossipOptions) {
    const { world, machine, hostId, address, metadata, seeds, kept } = options
    this.#options = options
    this.#clock = machine.clock()
    this.#random = world.random
    const incarnation = kept.incarnation + 1
    options.keep({ ...kept, incarnation })
    this.#core = new Underlay(
      {
        ...{ swim: LAN, random: world.random, clusterName: 'sim', hostId, incarnation, address, metadata },
        ...{ startedMs: this.#clock.now(), seeded: seeds.length > 0, expect: 0 },
        ...{ cluster: kept.cluster, peers: kept.peers, userData: options.userData() },
        freshClusterId: () => `cluster-${world.random.below(2 ** 31)}` as ClusterId,
      },
      this.#clock.monotonic(),
    )
    this.#lag = new LagMeter(this.#clock, (lagMs) => this.#step({ type: 'lag', lagMs }))
    machine.attach((from, bytes) => this.#step({ type: 'datagram', from: from as Address, bytes: bytes as Uint8Array }))
    this.#lag.start()
    this.#perform()
  }

  get self(): HostRecord {
    return this.#core.self
  }

  get cluster(): ClusterIdentity | null {
    return this.#core.cluster
  }

  members(): HostView[] {
    return this.#core.members()
  }

  member(host: HostId): HostView | null {
    return this.#core.member(host)
  }

  stateAgeMs(host: HostId): number | null {
    return this.#core.stateAgeMs(host, this.#clock.monotonic())
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

  founded(): void {
    this.#step({ type: 'founded' })
  }

  #step(input: Input): void {
    this.#core.step(input, this.#clock.monotonic())
    this.#perform()
  }

  #perform(): void {
    const { keep, machine, world } = this.#options
    const ready = this.#core.ready()
    if (ready.persist !== null) keep(ready.persist)
    for (const { to, bytes } of ready.datagrams) world.network.send(machine.name, to, bytes)
    for (const exchange of ready.exchanges) this.#exchange(exchange)
    for (const { request, bytes } of ready.answers) {
      this.#requests.get(request)?.(bytes)
      this.#requests.delete(request)
    }
    if (ready.lookup) {
      const { seeds } = this.#options
      this.#clock.after(2, () => this.#step({ type: 'seeds', addresses: seeds, complete: true }))
    }
    this.#plan()
    this.#events.push(...ready.events)
    this.#tellAll()
  }

  #plan(): void {
    const deadlineMs = this.#core.deadlineMs()
    if (deadlineMs === this.#wakeAtMs) return
    this.#cancelWake()
    this.#wakeAtMs = deadlineMs
    this.#cancelWake = () => {}
    if (deadlineMs === Number.POSITIVE_INFINITY) return
    this.#cancelWake = this.#clock.after(Math.max(0, Math.ceil(deadlineMs - this.#clock.monotonic())), () => {
      this.#wakeAtMs = Number.POSITIVE_INFINITY
      this.#step({ type: 'tick' })
    })
  }

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
    for (const listener of this.#listeners) listener(notice)
    if (notice.type === 'dissolve') void this.#dissolve()
    else if (notice.type === 'duplicate-id' && notice.refused) {
      this.#options.fatal(new Error(`Host id ${this.self.id} is in use at ${notice.address}`))
    }
  }

  async #dissolve(): Promise<void> {
    const done = !this.#options.userData()
    if (done) await this.#options.dissolve()
    this.#step({ type: 'dissolved', done })
  }

  /** Connects, sends, waits: a connection that does not come about is one that nobody answers. */
  #exchange({ exchange, to, bytes, answered, timeoutMs }: Exchange): void {
    const { world, hostAt, reaches, machine } = this.#options
    let over = false
    const finish = (answer: Uint8Array | null) => {
      if (over || !answered) return
      over = true
      machine.guard(() => this.#step({ type: 'exchanged', exchange, bytes: answer }))()
    }
    this.#clock.after(timeoutMs, () => finish(null))
    world.clock.after(this.#wayMs() + this.#wayMs() + this.#wayMs(), () => {
      if (over || !reaches(to)) return
      const target = hostAt(to)
      if (target === null) return finish(null)
      target.#serve(bytes, (answer) => world.clock.after(this.#wayMs(), () => void (reaches(to) && finish(answer))))
    })
  }

  #serve(bytes: Uint8Array, answer: (bytes: Uint8Array | null) => void): void {
    const request = ++this.#request
    this.#options.machine.guard(() => {
      this.#requests.set(request, answer)
      this.#step({ type: 'request', request, bytes })
    })()
  }

  #wayMs(): number {
    const { delayMsMin, delayMsMax } = this.#options.world.network.options
    return delayMsMin + this.#random.float() * (delayMsMax - delayMsMin)
  }
}
