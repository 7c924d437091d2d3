import { crc32 } from 'node:zlib'
import type { Logger } from '../../base/logging.ts'
import type { Engine } from '../engine/engine.ts'
import type { ReplicaId } from '../raft/index.ts'
import type { RangeDescriptor, ServiceName } from '../range/coprocessor.ts'
import { afterPrefix } from '../range/schema.ts'
import {
  recordsPrefix,
  SNAPSHOT_LIMITS,
  type SnapshotLimits,
  type SnapshotMessage,
  type SnapshotOffer,
  type SnapshotReceiver,
  SnapshotSender,
  TokenBucket,
} from '../snapshot/index.ts'
import type { Gathered } from './gathered.ts'
import type { Hosted } from './hosted.ts'

/** A replica whose state can be sent. */
export interface SnapshotSourceHost extends Hosted {
  readonly descriptor: RangeDescriptor
  snapshot(): SnapshotOffer['snapshot'] | null
}

/** What becomes of what comes in. */
export interface Admission {
  receiver: SnapshotReceiver
  /** The last batch has landed, or it was given up after the first one. */
  ended(outcome: 'installed' | 'emptied'): void
}

export interface SnapshotsOptions {
  engine: Engine
  log: Logger
  /** Monotonic ms. */
  now(): number
  send(store: string, service: ServiceName, toSender: boolean, message: SnapshotMessage): void
  /** Takes the replica down for what is offered, or says why not. */
  admit(offer: SnapshotOffer, from: string): Admission | 'needless' | { refused: string }
  /** There may be something to do. */
  wake(host: Hosted | null): void
  bytesPerSecond: number | undefined
  limits?: Partial<SnapshotLimits>
}

/** Bandwidth of all snapshots that are sent. */
const SNAPSHOT_BYTES_PER_SECOND = 64 * 1024 * 1024
/** Snapshots that are sent at once; others wait. What comes in is bounded by the senders. */
const SENDERS_MAX = 2
/** As many may come in at once: a store that is new is sent all of its ranges. */
const RECEIVERS_MAX = 4
const BURST_BYTES = 1 << 20

interface Outgoing {
  host: SnapshotSourceHost
  to: ReplicaId
  store: string
  /** Null while it waits for its turn. */
  sender: SnapshotSender | null
  term: number
}

interface Incoming {
  from: string
  offer: SnapshotOffer
  admission: Admission
}

/** All states on their way from and to this store. Moves the machines; decides nothing but their number. */
export class Snapshots {
  readonly #options: SnapshotsOptions
  readonly #limits: SnapshotLimits
  readonly #bucket: TokenBucket
  readonly #outgoing = new Map<number, Outgoing>()
  readonly #incoming = new Map<string, Incoming>()
  #offers: { from: string; offer: SnapshotOffer }[] = []
  #streams = 0
  /** States sent and installed since the start, and those that were given up. */
  readonly counts = { sent: 0, installed: 0, failed: 0 }

  constructor(options: SnapshotsOptions) {
    this.#options = options
    this.#limits = { ...SNAPSHOT_LIMITS, ...options.limits }
    this.#bucket = new TokenBucket(options.bytesPerSecond ?? SNAPSHOT_BYTES_PER_SECOND, BURST_BYTES, options.now())
  }

  get busy(): boolean {
    return this.#outgoing.size > 0 || this.#incoming.size > 0 || this.#offers.length > 0
  }

  /** Ranges that are being installed here, with their keys. */
  *arriving(): Iterable<RangeDescriptor> {
    for (const { offer } of this.#incoming.values()) yield offer.descriptor
  }

  /** The leader at `host` wants replica `to` to have its state. */
  request(host: SnapshotSourceHost, to: ReplicaId, store: string): void {
    for (const each of this.#outgoing.values()) if (each.host === host && each.to === to) return
    this.#outgoing.set(++this.#streams, { host, to, store, sender: null, term: host.group.term })
    this.#options.wake(null)
  }

  /** This replica sends nothing any more. */
  cancel(host: Hosted, reason: string): void {
    for (const [stream, each] of this.#outgoing) {
      if (each.host !== host) continue
      if (each.sender === null) this.#outgoing.delete(stream)
      else each.sender.cancel(reason)
    }
  }

  receive(from: string, toSender: boolean, message: SnapshotMessage): void {
    const nowMs = this.#options.now()
    if (toSender) {
      const outgoing = this.#outgoing.get(message.stream)
      if (outgoing?.store !== from) return
      if (message.type === 'credit' || message.type === 'done' || message.type === 'cancel') {
        outgoing.sender?.receive(message, nowMs)
      }
    } else if (message.type === 'offer') this.#offers.push({ from, offer: message })
    else if (message.type === 'chunk' || message.type === 'end' || message.type === 'cancel') {
      this.#incoming.get(`${from} ${message.stream}`)?.admission.receiver.receive(message, nowMs)
    }
    this.#options.wake(null)
  }

  /** Begins what waits, while no batch is under way: then the engine shows exactly the state that has landed. */
  begin(): void {
    let free = SENDERS_MAX
    for (const { sender } of this.#outgoing.values()) if (sender !== null) free--
    for (const [stream, outgoing] of this.#outgoing) {
      if (free <= 0) return
      if (outgoing.sender !== null) continue
      outgoing.sender = this.#open(stream, outgoing)
      if (outgoing.sender === null) this.#outgoing.delete(stream)
      else free--
    }
  }

  /** Sends what can be sent, and gathers what is to be written. */
  pump(gathered: Gathered): void {
    const nowMs = this.#options.now()
    for (const { from, offer } of this.#offers.splice(0)) this.#offered(from, offer, gathered)
    for (const [stream, outgoing] of this.#outgoing) this.#send(stream, outgoing, nowMs)
    for (const [name, incoming] of this.#incoming) this.#write(name, incoming, nowMs, gathered)
  }

  /**
   * How long until {@link pump} has something to do without a message, in whole ms, so that time has passed by then; null
   * where nothing is on its way.
   */
  waitMs(): number | null {
    const nowMs = this.#options.now()
    let waitMs = this.#incoming.size > 0 ? 1_000 : Number.POSITIVE_INFINITY
    for (const { sender } of this.#outgoing.values()) waitMs = Math.min(waitMs, sender?.waitMs(nowMs) ?? 1_000)
    return waitMs === Number.POSITIVE_INFINITY ? null : Math.max(1, Math.ceil(waitMs))
  }

  #open(stream: number, { host, to, term }: Outgoing): SnapshotSender | null {
    const { engine, now } = this.#options
    const snapshot = host.group.leads && host.group.term === term ? host.snapshot() : null
    // A state from before the replica was one of the group knows nothing of it: later.
    if (snapshot === null || !host.descriptor.replicas.some(({ replica }) => replica === to)) {
      host.group.step({ type: 'snapshot-report', id: to, arrived: false })
      return null
    }
    const { descriptor } = host
    const { start, end, service, id } = descriptor
    const prefix = recordsPrefix(service, id)
    const records = engine.cursor('meta', { start: prefix, end: afterPrefix(prefix) })
    const source = { data: engine.cursor(service, { start, end }), records }
    const offer: SnapshotOffer = { type: 'offer', stream, from: host.group.replica, to, term, snapshot, descriptor }
    const nowMs = now()
    return new SnapshotSender({ offer, source, bucket: this.#bucket, limits: this.#limits, checksum: crc32, nowMs })
  }

  #send(stream: number, { host, to, store, sender, term }: Outgoing, nowMs: number): void {
    if (sender === null) return
    if (!host.group.leads || host.group.term !== term) sender.cancel('the leader is another one by now')
    for (let next = sender.next(nowMs); next !== null; next = sender.next(nowMs)) {
      this.#options.send(store, host.service, false, next)
    }
    if (sender.outcome === null) return
    this.#outgoing.delete(stream)
    const arrived = sender.outcome !== 'failed'
    this.counts[arrived ? 'sent' : 'failed']++
    const fields = { range: host.id, store, reason: sender.reason }
    if (!arrived) this.#options.log.warn(fields, 'A snapshot did not arrive')
    host.group.step({ type: 'snapshot-report', id: to, arrived })
    this.#options.wake(host)
  }

  #offered(from: string, offer: SnapshotOffer, gathered: Gathered): void {
    const { service } = offer.descriptor
    const { stream } = offer
    const name = `${from} ${stream}`
    if (this.#incoming.has(name)) return
    const answer = (message: SnapshotMessage) => this.#options.send(from, service, true, message)
    const tooMany = this.#incoming.size >= RECEIVERS_MAX
    const admission = tooMany ? { refused: 'others come in' } : this.#options.admit(offer, from)
    if (admission === 'needless') answer({ type: 'done', stream, outcome: 'needless' })
    else if ('refused' in admission) answer({ type: 'cancel', stream, reason: admission.refused })
    if (admission === 'needless' || 'refused' in admission) return
    this.#incoming.set(name, { from, offer, admission })
    // The first batch is gathered with whatever the replica still had to write, and nothing comes between.
    this.#write(name, this.#incoming.get(name)!, this.#options.now(), gathered)
  }

  #write(name: string, { from, offer, admission }: Incoming, nowMs: number, gathered: Gathered): void {
    const { receiver } = admission
    const batch = receiver.next(nowMs)
    if (batch !== null) {
      for (const write of batch.writes) gathered.last.push(write)
      if (batch.sync) gathered.sync = true
      gathered.urgent = true
      gathered.landings.push(() => {
        receiver.landed(this.#options.now())
        this.#options.wake(null)
      })
    }
    const { service } = offer.descriptor
    for (let answer = receiver.answer(); answer !== null; answer = receiver.answer()) {
      this.#options.send(from, service, true, answer)
    }
    if (receiver.outcome === null || !receiver.idle) return
    this.#incoming.delete(name)
    const installed = receiver.outcome === 'installed'
    this.counts[installed ? 'installed' : 'failed']++
    const fields = { range: offer.descriptor.id, from, reason: receiver.reason }
    if (!installed) this.#options.log.warn(fields, 'A snapshot was given up before its end')
    admission.ended(installed ? 'installed' : 'emptied')
  }
}
