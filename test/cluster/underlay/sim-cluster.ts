import type { HostId } from '../../../src/base/ids.ts'
import {
  type Address,
  type ClusterId,
  type Exchange,
  LAN,
  type Persistent,
  type SwimOptions,
  Underlay,
  type UnderlayEvent,
} from '../../../src/cluster/underlay/core/index.ts'
import type { NetworkOptions } from '../../sim/network.ts'
import { World } from '../../sim/world.ts'

export interface SimClusterOptions {
  seed: number
  hosts: number
  network?: Partial<NetworkOptions>
  swim?: Partial<SwimOptions>
  /** As configured on host `index`; default: the first host stands alone and is the seed of the others. */
  seeds?: (index: number) => readonly number[]
  expect?: number
  /** All at once, at the beginning. */
  start?: boolean
  clusterName?: (index: number) => string
  /** Length of ids, so that packets are as large as real ones; default: as short as it goes. */
  idLetters?: number
}

/** Hosts on the one simulated world: the code that ships, real bytes, datagrams and a model of TCP. */
export class SimCluster {
  readonly world: World
  readonly hosts: SimHost[] = []
  readonly options: SimClusterOptions
  readonly #cuts = new Set<string>()

  constructor(options: SimClusterOptions) {
    this.options = options
    this.world = new World({ seed: options.seed, network: options.network ?? {} })
    for (let index = 0; index < options.hosts; index++) this.hosts.push(new SimHost(this, index))
    if (options.start) for (const host of this.hosts) host.start()
  }

  get now(): number {
    return this.world.elapsedMs
  }

  /** Runs for `ms` of simulated time; `every` is called each `everyMs`. */
  run(ms: number, every: () => void = () => {}, everyMs = ms): void {
    let over = false
    const clock = this.world.clock
    const again = () => {
      every()
      clock.after(everyMs, again)
    }
    const stop = clock.after(everyMs, again)
    clock.after(ms, () => {
      over = true
    })
    while (!over) this.world.step()
    stop()
    // What was planned for later checks nothing any more.
    every = () => {}
    everyMs = 1e12
  }

  /** Runs until it holds, at most `maxMs`; gives how long that took, or null. */
  until(condition: () => boolean, maxMs: number, everyMs = 50): number | null {
    const start = this.now
    while (!condition()) {
      if (this.now - start >= maxMs) return null
      this.run(everyMs)
    }
    return this.now - start
  }

  /** All hosts that are up see each other, and nobody else, in one cluster. */
  get whole(): boolean {
    const up = this.hosts.filter((host) => host.up)
    const ids = new Set(up.map((host) => host.underlay.cluster?.id ?? `none of ${host.id}`))
    return ids.size === 1 && up.every((host) => host.seesAll)
  }

  /** Cuts the way from one host to another. */
  cut(from: SimHost, to: SimHost): void {
    this.#cuts.add(`${from.index}>${to.index}`)
    this.applyCuts()
  }

  partition(left: readonly SimHost[], right: readonly SimHost[]): void {
    for (const a of left) {
      for (const b of right) {
        this.#cuts.add(`${a.index}>${b.index}`)
        this.#cuts.add(`${b.index}>${a.index}`)
      }
    }
    this.applyCuts()
  }

  heal(): void {
    this.#cuts.clear()
    this.applyCuts()
  }

  isOpen(from: SimHost, to: SimHost): boolean {
    return !this.#cuts.has(`${from.index}>${to.index}`)
  }

  applyCuts(): void {
    const { network } = this.world
    network.heal()
    for (const cut of this.#cuts) {
      const [from, to] = cut.split('>').map((index) => this.hosts[Number(index)]!)
      network.cut(from!.address, to!.address)
    }
  }

  hostAt(address: Address): SimHost | undefined {
    return this.hosts.find((host) => host.up && host.address === address)
  }
}

/** Datagrams that a socket holds for a process that stands still. */
const SOCKET_QUEUE_MAX = 256

export class SimHost {
  readonly cluster: SimCluster
  readonly index: number
  id: HostId
  address: Address
  up = false
  /** Wiped together with the id by {@link wipe}. */
  disk: Persistent = { incarnation: 0, cluster: null, peers: [] }
  userData = false
  metadata = new Map<string, string>()
  underlay!: Underlay
  events: { atMs: number; event: UnderlayEvent }[] = []
  /** The layer above, which hears each event as well. */
  heard: (event: UnderlayEvent) => void = () => {}
  /** Since when it runs, for the checks. */
  upSinceMs = 0
  /** False: it is there to be asked, and the test answers. */
  answersDissolve = true
  #life = 0
  #wakeAtMs = Number.POSITIVE_INFINITY
  #cancelWake: () => void = () => {}
  #stalledUntilMs = 0
  #queue: (() => void)[] = []
  #requests = new Map<number, (bytes: Uint8Array | null) => void>()
  #request = 0

  constructor(cluster: SimCluster, index: number) {
    this.cluster = cluster
    this.index = index
    const { idLetters } = cluster.options
    this.id = (idLetters === undefined ? `h${index}` : `h${index}-`.padEnd(idLetters, '0')) as HostId
    this.address = addressOf(index)
  }

  start(): void {
    const { world, options } = this.cluster
    this.up = true
    this.#life++
    this.upSinceMs = this.cluster.now
    this.#queue = []
    this.#stalledUntilMs = 0
    this.#requests.clear()
    this.disk = { ...this.disk, incarnation: this.disk.incarnation + 1 }
    const seeds = this.#seeds()
    this.underlay = new Underlay(
      {
        swim: { ...LAN, ...options.swim },
        random: world.random,
        clusterName: options.clusterName?.(this.index) ?? 'test',
        hostId: this.id,
        incarnation: this.disk.incarnation,
        startedMs: world.clock.now(),
        address: this.address,
        metadata: this.metadata,
        seeded: seeds.length > 0,
        expect: options.expect ?? 0,
        cluster: this.disk.cluster,
        peers: this.disk.peers,
        freshClusterId: () => `c${this.index}-${world.random.below(1e9)}` as ClusterId,
        userData: this.userData,
      },
      this.cluster.now,
    )
    world.network.attach(this.address, (from, bytes) => {
      this.#arrives(() => this.step({ type: 'datagram', from: from as Address, bytes: bytes as Uint8Array }))
    })
    this.#perform()
  }

  /** The process dies; its machine answers connections with a reset. */
  crash(): void {
    this.up = false
    this.#life++
    this.#cancelWake()
    this.#wakeAtMs = Number.POSITIVE_INFINITY
    this.cluster.world.network.detach(this.address)
  }

  /** Its disk is empty: another id at the next start. */
  wipe(): void {
    this.disk = { incarnation: 0, cluster: null, peers: [] }
    this.id = `${this.id}x` as HostId
  }

  /** Another address from the next start on. */
  move(): void {
    this.#moves++
    this.address = addressOf(this.index + 1_024 * this.#moves)
    this.cluster.applyCuts()
  }
  #moves = 0

  /** The event loop stands still: the socket holds what comes, timers are late. */
  stall(ms: number): void {
    this.#stalledUntilMs = Math.max(this.#stalledUntilMs, this.cluster.now + ms)
    const life = this.#life
    this.cluster.world.clock.after(ms, () => {
      if (life === this.#life && !this.stalled) this.#wake()
    })
  }

  get stalled(): boolean {
    return this.cluster.now < this.#stalledUntilMs
  }

  step(input: Parameters<Underlay['step']>[0]): void {
    this.underlay.step(input, this.cluster.now)
    this.#perform()
  }

  sees(other: SimHost): string {
    return this.underlay.stateOf(other.id) ?? 'unknown'
  }

  /**
   * What it knows, as text that is equal for equal views: who is `here` (alive or suspect) and where, or `all` of those,
   * with states and incarnations. Both show whether everybody is here.
   */
  view(what: 'here' | 'all'): string {
    const mine = { ...this.underlay.self, state: 'alive', stateIncarnation: this.underlay.self.incarnation }
    const here = this.underlay.members().filter((host) => host.state === 'alive' || host.state === 'suspect')
    return [mine, ...here]
      .map((host) => {
        const { id, life, address, state, stateIncarnation } = host
        return what === 'here' ? `${id} ${life} ${address}` : `${id} ${life} ${address} ${state} ${stateIncarnation}`
      })
      .sort()
      .join('\n')
  }

  /** Whether it sees all hosts that are up, and nobody else. */
  get seesAll(): boolean {
    const others = this.cluster.hosts.filter((host) => host.up && host !== this)
    const here = this.underlay.members().filter((host) => host.state === 'alive' || host.state === 'suspect')
    return here.length === others.length && others.every((host) => this.sees(host) === 'alive')
  }

  #seeds(): readonly number[] {
    const { seeds } = this.cluster.options
    if (seeds !== undefined) return seeds(this.index)
    return this.index === 0 ? [] : [0]
  }

  #arrives(input: () => void): void {
    if (!this.stalled) input()
    else if (this.#queue.length < SOCKET_QUEUE_MAX) this.#queue.push(input)
  }

  /** As Node does: timers first, then what the sockets hold. */
  #wake(): void {
    this.step({ type: 'tick' })
    const queue = this.#queue
    this.#queue = []
    for (const input of queue) input()
  }

  #perform(): void {
    const ready = this.underlay.ready()
    const { network, clock } = this.cluster.world
    if (ready.persist !== null) this.disk = { ...ready.persist }
    for (const { to, bytes } of ready.datagrams) network.send(this.address, to, bytes)
    for (const exchange of ready.exchanges) this.#exchange(exchange)
    for (const { request, bytes } of ready.answers) {
      this.#requests.get(request)?.(bytes)
      this.#requests.delete(request)
    }
    if (ready.lookup) {
      const addresses = this.#seeds().map((index) => this.cluster.hosts[index]!.address)
      const life = this.#life
      clock.after(2, () => {
        if (life === this.#life) this.#arrives(() => this.step({ type: 'seeds', addresses, complete: true }))
      })
    }
    for (const event of ready.events) {
      this.events.push({ atMs: this.cluster.now, event })
      this.heard(event)
      if (event.type === 'dissolve' && this.answersDissolve) {
        const life = this.#life
        clock.after(10, () => {
          if (life === this.#life) this.step({ type: 'dissolved', done: true })
        })
      }
    }
    this.#plan()
  }

  #plan(): void {
    const deadline = this.underlay.deadlineMs()
    if (deadline >= this.#wakeAtMs || deadline === Number.POSITIVE_INFINITY) return
    this.#cancelWake()
    this.#wakeAtMs = deadline
    const life = this.#life
    this.#cancelWake = this.cluster.world.clock.after(Math.max(0, deadline - this.cluster.now), () => {
      if (life !== this.#life) return
      this.#wakeAtMs = Number.POSITIVE_INFINITY
      if (this.stalled) return
      if (this.underlay.deadlineMs() <= this.cluster.now) this.step({ type: 'tick' })
      else this.#plan()
    })
  }

  /** Connects, sends, waits. Loss delays TCP, by a second for the handshake and from 200 ms on for the rest. */
  #exchange(exchange: Exchange): void {
    const { world } = this.cluster
    const life = this.#life
    let over = false
    const finish = (bytes: Uint8Array | null) => {
      if (over || life !== this.#life || !exchange.answered) return
      over = true
      this.#arrives(() => this.step({ type: 'exchanged', exchange: exchange.exchange, bytes }))
    }
    world.clock.after(exchange.timeoutMs, () => finish(null))
    world.clock.after(this.#wayMs(1_000) + this.#wayMs(1_000) + this.#wayMs(200), () => {
      const target = this.cluster.hostAt(exchange.to)
      if (over || life !== this.#life) return
      const machine = this.cluster.hosts.find((host) => host.address === exchange.to)
      if (machine !== undefined && !this.#reaches(machine)) return
      if (target === undefined) return finish(null)
      target.#serve(exchange.bytes, (bytes) => {
        world.clock.after(this.#wayMs(200), () => {
          if (this.#reaches(target)) finish(bytes)
        })
      })
    })
  }

  #serve(bytes: Uint8Array, answer: (bytes: Uint8Array | null) => void): void {
    const request = ++this.#request
    this.#arrives(() => {
      this.#requests.set(request, answer)
      this.step({ type: 'request', request, bytes })
    })
  }

  #reaches(other: SimHost): boolean {
    return this.cluster.isOpen(this, other) && this.cluster.isOpen(other, this)
  }

  #wayMs(timeoutMs: number): number {
    const { random, network } = this.cluster.world
    const { delayMsMin, delayMsMax, lossPercent } = network.options
    let ms = delayMsMin + random.float() * (delayMsMax - delayMsMin)
    for (let retry = timeoutMs; random.float() * 100 < lossPercent && retry < 60_000; retry *= 2) ms += retry
    return ms
  }
}

export function addressOf(index: number): Address {
  return `10.0.${index >> 8}.${index & 255}:7946` as Address
}
