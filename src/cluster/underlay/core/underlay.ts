import { assert } from '../../../base/assert.ts'
import type { Random } from '../../../base/clock.ts'
import type { HostId } from '../../../base/ids.ts'
import { UnderlayCounters } from './counters.ts'
import type { Answer, Command, Datagram, Exchange, UnderlayEvent } from './effects.ts'
import { type ClusterIdentity, Forming, type FormingInput } from './forming.ts'
import {
  type Address,
  type ClusterId,
  type HostRecord,
  type HostState,
  type HostView,
  lifeOf,
  type Metadata,
} from './host.ts'
import { viewOf } from './member-table.ts'
import type { Packet } from './message.ts'
import { checkSwimOptions, type SwimOptions } from './options.ts'
import { Swim } from './swim.ts'
import type { SwimInput } from './swim-input.ts'
import { decodePacket, encodeHeader, encodeMessage, FRAME_BYTES_MAX, joinPacket } from './wire.ts'

export interface UnderlayOptions {
  swim: SwimOptions
  random: Random
  clusterName: string
  /** Kept in the data folder. */
  hostId: HostId
  /**
   * Above all that this host used before: the last one that was to be persisted, and 1, persisted before the start. Should
   * that one be too old, others say so, and it is raised.
   */
  incarnation: number
  /** Wall clock now, ms since 1970. */
  startedMs: number
  address: Address
  metadata: Metadata
  /** Whether any seed is configured; their addresses come as an input. */
  seeded: boolean
  /** `cluster.expect`; 0 = not set. */
  expect: number
  /** As persisted; null: never in a cluster. */
  cluster: ClusterIdentity | null
  /** As persisted: where others were. */
  peers: readonly Address[]
  /** Random ids for clusters that this host founds. */
  freshClusterId: () => ClusterId
  /** Data of users is on this host: its cluster never dissolves. */
  userData: boolean
}

export type Input =
  | Command
  | { type: 'datagram'; from: Address; bytes: Uint8Array }
  /** A frame that came over TCP: it is answered in `answers`, under the same number. */
  | { type: 'request'; request: number; bytes: Uint8Array }
  /** How an exchange ended; null: it failed, or took too long. */
  | { type: 'exchanged'; exchange: number; bytes: Uint8Array | null }
  /** The addresses of all seeds, after `lookup`; `complete`: every name was found. */
  | { type: 'seeds'; addresses: readonly Address[]; complete: boolean }
  | { type: 'user-data'; present: boolean }
  /** After `formed`: what the founder has to do is done, and on disk. */
  | { type: 'founded' }
  /** After the event `dissolve`: what was founded here is wiped, or there was something to keep. */
  | { type: 'dissolved'; done: boolean }

/** What must survive a restart. */
export interface Persistent {
  incarnation: number
  cluster: ClusterIdentity | null
  peers: readonly Address[]
}

/** What the host does now. The order matters in one case only: see `persist`. */
export interface Ready {
  /**
   * Null: nothing changed. A changed cluster is written before the datagrams go out; all else may be late, and a crash
   * before it is written costs a refutation, or the time to find the others again.
   */
  persist: Persistent | null
  datagrams: Datagram[]
  exchanges: Exchange[]
  answers: Answer[]
  /** Look the seeds up, and give their addresses. */
  lookup: boolean
  events: UnderlayEvent[]
}

const LOOKUP_MS = 3_000
const PEERS_MAX = 64
/** Events after which the addresses of the others differ. */
const MOVES: readonly UnderlayEvent['type'][] = ['joined', 'changed', 'left', 'forgotten']

/**
 * Hosts that find each other and watch each other: {@link Forming} until there is a cluster, {@link Swim} within it, as
 * one pure machine whose messages are bytes. The host owns the sockets, the encryption and the disk.
 *
 * Feed it with `step`, take what it wants with `ready` after each step, and give a tick at `deadlineMs()`.
 */
export class Underlay {
  readonly counters = new UnderlayCounters()
  readonly #options: UnderlayOptions
  readonly #life: number
  readonly #forming: Forming
  #record: HostRecord
  #swim: Swim | null = null
  #events: UnderlayEvent[] = []
  #datagrams: Datagram[] = []
  #answers: Answer[] = []
  #seeds: readonly Address[] = []
  #peers: readonly Address[]
  #lookupAtMs: number
  #persisted: Persistent
  #peersChanged = false
  #lookup = false
  #refused = false

  constructor(options: UnderlayOptions, now: number) {
    checkSwimOptions(options.swim)
    assert(options.clusterName !== '', 'A cluster must have a name')
    const { hostId, startedMs, address, metadata, cluster, incarnation } = options
    this.#options = options
    this.#life = lifeOf(startedMs, options.random.below(4_096))
    this.#record = { id: hostId, incarnation, life: this.#life, address, metadata }
    this.#peers = options.peers.slice(0, PEERS_MAX)
    this.#persisted = { incarnation, cluster, peers: this.#peers }
    const { seeded, expect, freshClusterId, userData } = options
    this.#forming = new Forming(
      { self: hostId, life: this.#life, startedMs, address, seeded, expect, cluster, freshClusterId, userData },
      now,
    )
    this.#lookupAtMs = seeded ? now : Number.POSITIVE_INFINITY
    if (cluster !== null) this.#join(null, now)
    this.#settle(now)
  }

  /** Null: waiting, or dissolving. */
  get cluster(): ClusterIdentity | null {
    return this.#forming.cluster
  }

  /** Our own record as others see it. */
  get self(): HostRecord {
    return this.#swim?.own.record ?? this.#record
  }

  /** Refused for its id, or departed: silent. */
  get silent(): boolean {
    return this.#refused || this.#swim?.silent === true
  }

  /** 0 is well. */
  get healthScore(): number {
    return this.#swim?.healthScore ?? 0
  }

  /** Rumours that are still passed on. */
  get gossipQueued(): number {
    return this.#swim?.gossipQueued ?? 0
  }

  /** All hosts but this one. */
  members(): HostView[] {
    return this.#swim?.members() ?? []
  }

  member(id: HostId): HostView | null {
    const member = this.#swim?.find(id)
    return member === undefined ? null : viewOf(member)
  }

  /** Null: never heard of. */
  stateOf(id: HostId): HostState | null {
    return this.#swim?.find(id)?.state ?? null
  }

  /** How long the host has been in its state, in ms; null: never heard of. */
  stateAgeMs(id: HostId, now: number): number | null {
    const member = this.#swim?.find(id)
    return member === undefined ? null : Math.max(0, now - member.sinceMs)
  }

  /** When the next tick is due; Infinity: never. */
  deadlineMs(): number {
    if (this.silent) return Number.POSITIVE_INFINITY
    const lookupMs = this.#seeking() ? this.#lookupAtMs : Number.POSITIVE_INFINITY
    return Math.min(this.#forming.deadlineMs(), this.#swim?.deadlineMs() ?? Number.POSITIVE_INFINITY, lookupMs)
  }

  step(input: Input, now: number): void {
    if (this.silent) {
      if (input.type === 'request') this.#answers.push({ request: input.request, bytes: null })
      return
    }
    switch (input.type) {
      case 'datagram':
        this.#datagram(input.from, input.bytes, now)
        break
      case 'request':
        this.#request(input.request, input.bytes, now)
        break
      case 'exchanged':
        this.#exchanged(input.exchange, input.bytes, now)
        break
      case 'seeds':
        this.#seeds = input.addresses.slice(0, PEERS_MAX)
        this.#form({ type: 'seeds', addresses: this.#seeds, complete: input.complete }, now)
        this.#step({ type: 'contacts', seeds: this.#seeds, peers: this.#peers }, now)
        break
      case 'user-data':
      case 'founded':
        this.#form(input, now)
        break
      case 'dissolved':
        this.#form(input, now)
        // There was something to keep: the cluster that was parted from goes on.
        if (this.#swim === null && this.#forming.cluster !== null) this.#join(null, now)
        break
      default:
        this.#command(input, now)
    }
    this.#settle(now)
  }

  /** Takes what is to be done. */
  ready(): Ready {
    const outbox = this.#swim?.outbox
    const datagrams = outbox === undefined ? this.#datagrams : [...this.#datagrams, ...outbox.datagrams]
    const answers = outbox === undefined ? this.#answers : [...this.#answers, ...outbox.answers]
    const ready: Ready = {
      persist: this.#persist(),
      datagrams,
      exchanges: outbox?.exchanges ?? [],
      answers,
      lookup: this.#lookup,
      events: this.#events,
    }
    this.#datagrams = []
    this.#answers = []
    this.#events = []
    this.#lookup = false
    if (outbox !== undefined) {
      outbox.datagrams = []
      outbox.exchanges = []
      outbox.answers = []
    }
    return ready
  }

  #command(input: Command, now: number): void {
    if (input.type === 'tick') this.#form(input, now)
    if (input.type === 'update') {
      const { address, metadata } = input
      this.#record = { ...this.#record, ...(address && { address }), ...(metadata && { metadata }) }
      if (address !== undefined) this.#form({ type: 'moved', address }, now)
    }
    if (input.type === 'leave' && this.#swim === null) {
      this.#refused = true
      this.#events.push({ type: 'departed' })
    }
    this.#step(input, now)
  }

  #datagram(from: Address, bytes: Uint8Array, now: number): void {
    this.counters.datagramsReceived++
    this.counters.datagramBytesReceived += bytes.length
    const packet = this.#decode(bytes, this.#options.swim.packetBytesMax)
    if (packet === null) return
    if (packet.sender === this.#record.id && packet.life === this.#life) return this.#form({ type: 'self', from }, now)
    const ours = this.#swim !== null && packet.clusterId === this.#forming.cluster?.id
    if (ours) this.#step({ type: 'packet', from, packet }, now)
    let greeted = false
    for (const hello of packet.messages) {
      if (hello.type !== 'hello') continue
      greeted = true
      this.#form({ type: 'hello', from, header: packet, hello }, now)
    }
    if (ours || greeted) return
    this.counters.foreignCluster++
    if (packet.clusterId !== '') this.#form({ type: 'heard', from }, now)
  }

  #request(request: number, bytes: Uint8Array, now: number): void {
    this.counters.exchangeBytesReceived += bytes.length
    const packet = this.#ofOurCluster(bytes)
    if (packet === null) this.#answers.push({ request, bytes: null })
    else this.#step({ type: 'request', request, packet }, now)
  }

  #exchanged(exchange: number, bytes: Uint8Array | null, now: number): void {
    this.counters.exchangeBytesReceived += bytes?.length ?? 0
    this.#step({ type: 'exchanged', exchange, packet: bytes === null ? null : this.#ofOurCluster(bytes) }, now)
  }

  #ofOurCluster(bytes: Uint8Array): Packet | null {
    const packet = this.#decode(bytes, FRAME_BYTES_MAX)
    if (packet === null) return null
    if (this.#swim !== null && packet.clusterId === this.#forming.cluster?.id) return packet
    this.counters.foreignCluster++
    return null
  }

  /** Null: nothing for us. Counted. */
  #decode(bytes: Uint8Array, bytesMax: number): Packet | null {
    const packet = decodePacket(bytes, bytesMax)
    if (packet === 'oversized') this.counters.oversized++
    else if (packet === 'version') this.counters.otherVersion++
    else if (packet === 'malformed') this.counters.malformed++
    else if (packet.clusterName !== this.#options.clusterName) this.counters.foreignName++
    else {
      this.counters.unknownMessages += packet.unknown
      return packet
    }
    return null
  }

  #form(input: FormingInput, now: number): void {
    this.#forming.step(input, now)
    this.#collectForming(now)
  }

  #step(input: SwimInput, now: number): void {
    this.#swim?.step(input, now)
  }

  #collectForming(now: number): void {
    const { events } = this.#forming
    for (let event = events.shift(); event !== undefined; event = events.shift()) {
      this.#events.push(event)
      if (event.type === 'formed') this.#join(null, now)
      else if (event.type === 'adopted') this.#join(event.contact, now)
      else if (event.type === 'dissolve') this.#part()
      else if (event.type === 'duplicate-id' && event.refused) this.#refused = true
    }
    if (this.#forming.hellos.length === 0) return
    const { clusterName, hostId } = this.#options
    const clusterId = this.#forming.cluster?.id ?? ''
    const header = encodeHeader({ clusterName, clusterId, sender: hostId, life: this.#life })
    for (const { to, hello } of this.#forming.hellos) {
      const bytes = joinPacket(header, [encodeMessage(hello)])
      this.#datagrams.push({ to, bytes })
      this.counters.datagramsSent++
      this.counters.datagramBytesSent += bytes.length
    }
    this.#forming.hellos = []
  }

  /** There is a cluster now. */
  #join(contact: Address | null, now: number): void {
    const { swim: options, random, clusterName } = this.#options
    const clusterId = this.#forming.cluster!.id
    this.#swim = new Swim({ options, random, counters: this.counters, clusterName, clusterId, self: this.#record }, now)
    this.#swim.step({ type: 'contacts', seeds: this.#seeds, peers: this.#peers }, now)
    if (contact !== null) this.#swim.step({ type: 'visit', address: contact }, now)
  }

  /** What was founded here ends; whoever is no member any more needs no farewell. */
  #part(): void {
    this.#record = this.self
    this.#swim = null
    this.#peers = []
  }

  /** After each step: events are ours, the seeds are looked up while nobody is seen. */
  #settle(now: number): void {
    this.#collectForming(now)
    const outbox = this.#swim?.outbox
    if (outbox !== undefined && outbox.events.length > 0) {
      for (const event of outbox.events) {
        this.#events.push(event)
        if (event.type === 'joined') this.#forming.step({ type: 'company' }, now)
        if (MOVES.includes(event.type)) this.#peersChanged = true
      }
      outbox.events = []
    }
    if (this.#seeking() && now >= this.#lookupAtMs) {
      this.#lookup = true
      this.#lookupAtMs = now + LOOKUP_MS
    }
  }

  #seeking(): boolean {
    return this.#options.seeded && (this.#swim === null || this.#swim.alone)
  }

  #persist(): Persistent | null {
    const { incarnation } = this.self
    const { kept: cluster } = this.#forming
    if (this.#peersChanged) this.#peers = this.#peersNow()
    this.#peersChanged = false
    const { peers } = this.#persisted
    const same =
      incarnation === this.#persisted.incarnation &&
      sameCluster(cluster, this.#persisted.cluster) &&
      peers.length === this.#peers.length &&
      peers.every((address, at) => address === this.#peers[at])
    if (same) return null
    this.#persisted = { incarnation, cluster, peers: this.#peers }
    return this.#persisted
  }

  /**
   * The living first; the dead too, since who is cut off holds everybody for dead; then whom we remember from before and
   * have not met since. Only who left is struck out.
   */
  #peersNow(): Address[] {
    const addresses = (accept: (state: HostState) => boolean) =>
      this.members()
        .filter((member) => accept(member.state))
        .map((member) => member.address)
    const left = new Set(addresses((state) => state === 'left'))
    const here = addresses((state) => state === 'alive' || state === 'suspect')
    const others = [...addresses((state) => state === 'dead'), ...this.#peers].filter((address) => !left.has(address))
    return [...new Set([...here, ...others])].slice(0, PEERS_MAX).sort()
  }
}

function sameCluster(a: ClusterIdentity | null, b: ClusterIdentity | null): boolean {
  if (a?.id !== b?.id || a?.formedAtMs !== b?.formedAtMs) return false
  return a?.lonely === b?.lonely && a?.founding === b?.founding
}
