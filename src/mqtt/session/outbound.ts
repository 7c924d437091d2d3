/**
 * Messages towards one client: packet ids, the client's receive maximum, topic aliases, what waits for room.
 *
 * Hot path: QoS 1 and 2 to transient subscribers copy the shared template and patch the packet id; nothing is kept of
 * the message once it is sent, because a transient session ends with its connection and never sends again
 * (bench: `pairs --qos 1`). Entries of an inbox come with their packet id and stay there until they are acknowledged.
 *
 * Source: MQTT 5.0 4.3 (QoS), 4.9 (flow control), 3.3.2.3.4 (topic alias).
 */
import { Fifo } from '../../base/fifo.ts'
import { type Message, remainingExpirySeconds } from '../../base/message.ts'
import type { Feed, FeedEntry } from '../../inbox/index.ts'
import { PACKET, type ProtocolVersion, publishSize, writeAck, writePublish } from '../codec/index.ts'
import { Publication } from '../routing/publication.ts'
import type { LocalTarget } from '../routing/subscriber.ts'
import { AWAITS_PUBACK, AWAITS_PUBCOMP, AWAITS_PUBREC, AWAITS_TRIM, PacketIds } from './packet-ids.ts'
import { OutboundAliases } from './topic-alias.ts'

/** Where packets are written: an output, or an array in a test. */
export interface PacketTarget {
  readonly buffer: Buffer | null
  reserve(size: number): number
  /** True where `size` more bytes would be over `max`, and the client has not taken what went before. */
  isFull(size: number, max: number): boolean
  /** Called when bytes left: set while something waits for that. */
  onRoom: (() => void) | null
}

export type DropReason = 'slow-consumer' | 'too-large' | 'queue-full' | 'expired'

export interface OutboundOptions {
  version: ProtocolVersion
  clientReceiveMaximum: number
  clientPacketBytesMax: number
  clientTopicAliasMax: number
  /** True where the session's queue is in the inbox service: then ids below 32,768 are the queue's. */
  persistent: boolean
  /** Bytes that may wait in the output before QoS 0 is dropped and QoS 1 and 2 wait; the same in their queue. */
  waitingBytesMax: number
  target: PacketTarget
  /** Milliseconds since 1970, for message expiry; asked when a message leaves a queue. */
  nowMs: () => number
  dropped: (count: number, reason: DropReason) => void
}

/** First packet id that no queue uses in a persistent session: see `FeedEntry.packetId`. */
const OTHER_IDS = 32_768

/** What an alias adds to a packet: 3 bytes, and one each where the property and the remaining length get longer. */
const ALIAS_BYTES_MAX = 5
/** Shorter topics are not longer than their alias: a packet with one is never larger than without. */
const ALIASED_CHARACTERS_MIN = 5

interface Queued {
  message: Message
  qos: number
  retain: boolean
  subscriptionIds: readonly number[]
  bytes: number
}

interface Outstanding {
  feed: Feed
  sequence: number
  state: number
  /** The id was taken here, and is stored nowhere. */
  taken: boolean
}

const NO_ENTRIES = new Map<number, Outstanding>()
const scratch = new Publication()

export class Outbound {
  readonly #options: OutboundOptions
  readonly #ids: PacketIds
  readonly #aliases: OutboundAliases | null
  /** Entries of inboxes by packet id. */
  readonly #entries: Map<number, Outstanding>
  /** What waits for the client's receive maximum or for room in the output, in order. */
  readonly #queue = new Fifo<Queued>()
  #queueBytes = 0
  readonly #held = new Fifo<{ feed: Feed; entry: FeedEntry }>()
  /** Packets of QoS 1 and 2 that are not acknowledged to the end. */
  inFlight = 0
  sent = 0
  /** Highest sequence of the session's own queue that was written; 0 = none. */
  sentUpTo = 0
  /** Called when room came back after {@link sendMessage} refused. */
  onRoom: (() => void) | null = null
  #resuming = false
  readonly #resume = () => this.resume()

  constructor(options: OutboundOptions) {
    this.#options = options
    // Only inboxes push entries, and only to persistent sessions.
    this.#entries = options.persistent ? new Map() : NO_ENTRIES
    this.#ids = new PacketIds(options.persistent ? OTHER_IDS : 1, 65_535)
    this.#aliases = options.clientTopicAliasMax > 0 ? new OutboundAliases(options.clientTopicAliasMax) : null
  }

  /** Packet ids for a group's entries: committed by the group before they are sent, free again when it is rid of them. */
  get groupIds(): { take(): number; free(packetId: number): void } {
    return {
      take: () => this.#ids.take(AWAITS_PUBREC),
      free: (packetId) => this.#freeUnused(packetId),
    }
  }

  /** Bytes of messages that wait for room. */
  get queuedBytes(): number {
    return this.#queueBytes
  }

  /** Messages of QoS 1 and 2 that may leave now. */
  get room(): number {
    if (this.#queue.length > 0) return 0
    return this.#options.clientReceiveMaximum - this.inFlight
  }

  /** Sends a publication of QoS `publication.qos`, lowered to the subscription's. */
  deliver(publication: Publication, target: LocalTarget): void {
    const qos = publication.qos < target.qos ? publication.qos : target.qos
    const retain = publication.retain && target.retainAsPublished
    if (qos > 0 && (this.room <= 0 || this.#isFull(publication.payloadBytes))) {
      this.#enqueue(publication.message(), qos, retain, target.subscriptionIds)
      return
    }
    if (qos === 0 && this.#isFull(publication.payloadBytes)) return this.#options.dropped(1, 'slow-consumer')
    if (retain || target.subscriptionIds.length > 0 || this.#aliases !== null) {
      this.#sendIndividual(publication, qos, retain, false, 0, target.subscriptionIds)
    } else this.#sendTemplate(publication, qos)
  }

  /** Entries pushed by an inbox; those without room wait here, which their feed's credit bounds. */
  deliverEntries(feed: Feed, entries: readonly FeedEntry[]): void {
    for (const entry of entries) {
      if (entry.qos > 0 && (this.#held.length > 0 || this.#mustWait(entry))) this.#hold(feed, entry)
      else this.#sendEntry(feed, entry)
    }
  }

  /** Ids became free, or the output has room again: what waited leaves, in order. */
  resume(): void {
    if (this.#resuming) return // what is sent now may end at once, and calls again
    this.#resuming = true
    for (let next = this.#held.peek(); next !== undefined; next = this.#held.peek()) {
      if (this.#mustWait(next.entry)) break
      this.#held.shift()
      this.#sendEntry(next.feed, next.entry)
    }
    const max = this.#options.clientReceiveMaximum
    for (let next = this.#queue.peek(); next !== undefined && this.inFlight < max; next = this.#queue.peek()) {
      if (this.#isFull(next.message.payload.length)) break
      this.#queue.shift()
      this.#sendQueued(next)
    }
    this.#resuming = false
    if (this.#held.length === 0 && this.#queue.length === 0) this.#options.target.onRoom = null
    if (this.onRoom !== null && this.room > 0) this.onRoom()
  }

  /** A message for this client alone, such as a retained one. False where it must wait for room: QoS > 0 only. */
  sendMessage(message: Message, qos: number, retain: boolean, subscriptionIds: readonly number[]): boolean {
    if (qos > 0 && this.room <= 0) return false
    const expiry = remainingExpirySeconds(message, this.#options.nowMs())
    if (expiry === 0) this.#options.dropped(1, 'expired')
    else {
      scratch.fromMessage(message, expiry)
      this.#sendIndividual(scratch, qos, retain, false, 0, subscriptionIds)
    }
    return true
  }

  /** PUBACK. False for an id that waits for none. */
  onPuback(id: number): boolean {
    const entry = this.#entries.get(id)
    if (entry !== undefined) {
      if (entry.state !== AWAITS_PUBACK) return false
      this.#finish(id, entry)
      return true
    }
    if (this.#ids.state(id) !== AWAITS_PUBACK) return false
    this.#free(id)
    return true
  }

  /** PUBREC. Answers PUBREL; for an inbox's entry once its marker is committed. False for an unknown id. */
  onPubrec(id: number, failed: boolean): boolean {
    const entry = this.#entries.get(id)
    if (entry !== undefined) return this.#onEntryPubrec(id, entry, failed)
    const state = this.#ids.state(id)
    if (state !== AWAITS_PUBREC && state !== AWAITS_PUBCOMP) return false
    if (failed) {
      this.#free(id) // MQTT 5.0 4.3.3: a PUBREC of 0x80 or more ends the exchange
      return true
    }
    this.#ids.set(id, AWAITS_PUBCOMP)
    this.#sendPubrel(id)
    return true
  }

  /** PUBCOMP. False for an id that waits for none. */
  onPubcomp(id: number): boolean {
    const entry = this.#entries.get(id)
    if (entry !== undefined) {
      if (entry.state !== AWAITS_PUBCOMP) return false
      this.#finish(id, entry)
      return true
    }
    if (this.#ids.state(id) !== AWAITS_PUBCOMP) return false
    this.#free(id)
    return true
  }

  #free(id: number): void {
    this.#ids.free(id)
    this.inFlight--
    this.resume()
  }

  #onEntryPubrec(id: number, entry: Outstanding, failed: boolean): boolean {
    if (entry.state === AWAITS_PUBACK) return false
    if (failed) {
      this.#finish(id, entry)
      return true
    }
    if (entry.state === AWAITS_PUBCOMP) {
      this.#sendPubrel(id)
      return true
    }
    entry.feed.received(entry.sequence, id, (error) => {
      // Without its marker PUBREL must not leave: the client sends PUBREC again after its resume.
      if (error !== null || this.#entries.get(id) !== entry) return
      entry.state = AWAITS_PUBCOMP
      this.#sendPubrel(id)
    })
    return true
  }

  #finish(id: number, entry: Outstanding): void {
    this.#entries.delete(id)
    this.inFlight--
    if (entry.taken) this.#ids.free(id)
    // An id that a group has stored may be owed again after a crash: free only when its feed says so.
    else if (this.#ids.state(id) !== 0) this.#ids.set(id, AWAITS_TRIM)
    entry.feed.acknowledge(entry.sequence)
    this.resume()
  }

  #freeUnused(id: number): void {
    if (!this.#entries.has(id) && this.#ids.state(id) !== 0) this.#ids.free(id)
  }

  #mustWait(entry: FeedEntry): boolean {
    if (this.inFlight >= this.#options.clientReceiveMaximum) return true
    // An id that an earlier connection chose may be in use by what this one sent before it heard of that.
    if (entry.packetId === 0 ? this.#ids.full : this.#entries.has(entry.packetId)) return true
    return entry.message !== null && this.#isFull(entry.message.payload.length)
  }

  #hold(feed: Feed, entry: FeedEntry): void {
    this.#held.push({ feed, entry })
    this.#options.target.onRoom = this.#resume
  }

  #sendEntry(feed: Feed, entry: FeedEntry): void {
    if (entry.released) {
      if (entry.packetId >= OTHER_IDS && this.#options.persistent) this.#ids.reserve(entry.packetId, AWAITS_PUBCOMP)
      const { packetId, sequence } = entry
      this.#entries.set(packetId, { feed, sequence, state: AWAITS_PUBCOMP, taken: false })
      this.inFlight++
      return this.#sendPubrel(entry.packetId)
    }
    const message = entry.message!
    const expiry = remainingExpirySeconds(message, this.#options.nowMs())
    if (expiry === 0 && !entry.dup) {
      this.#options.dropped(1, 'expired')
      if (entry.qos > 0) feed.acknowledge(entry.sequence)
      return
    }
    scratch.fromMessage(message, expiry)
    if (entry.qos === 0 && this.#isFull(message.payload.length)) return this.#options.dropped(1, 'slow-consumer')
    const taken = entry.packetId === 0 && entry.qos > 0
    const id = taken ? this.#ids.take(AWAITS_PUBREC) : entry.packetId
    if (id >= OTHER_IDS && this.#options.persistent) this.#ids.reserve(id, AWAITS_PUBREC)
    if (entry.qos > 0) {
      if (entry.packetId !== 0 && entry.packetId < OTHER_IDS && entry.sequence > this.sentUpTo)
        this.sentUpTo = entry.sequence
      this.inFlight++
      const state = entry.qos === 1 ? AWAITS_PUBACK : AWAITS_PUBREC
      this.#entries.set(id, { feed, sequence: entry.sequence, state, taken })
    }
    if (
      !this.#sendIndividual(scratch, entry.qos, entry.retain, entry.dup, id, entry.subscriptionIds) &&
      entry.qos > 0
    ) {
      this.#finish(id, this.#entries.get(id)!)
    }
  }

  /** Copies the shared packet and patches what differs: QoS bits and packet id. */
  #sendTemplate(publication: Publication, qos: number): void {
    const options = this.#options
    const template = publication.template(options.version, qos > 0)
    const size = template.end - template.start
    if (size > options.clientPacketBytesMax) return options.dropped(1, 'too-large') // [MQTT-3.1.2-25]
    const output = options.target
    const at = output.reserve(size)
    const buffer = output.buffer!
    template.buffer.copy(buffer, at, template.start, template.end)
    buffer[at] = 0x30 | (qos << 1)
    if (qos > 0) {
      const id = this.#ids.take(qos === 1 ? AWAITS_PUBACK : AWAITS_PUBREC)
      this.inFlight++
      buffer[at + template.packetIdAt] = id >> 8
      buffer[at + template.packetIdAt + 1] = id & 0xff
    }
    this.sent++
  }

  /** Encodes a packet that no other client shares. `id` 0 = take one. False where it is too large for the client. */
  #sendIndividual(
    publication: Publication,
    qos: number,
    retain: boolean,
    dup: boolean,
    id: number,
    subscriptionIds: readonly number[],
  ): boolean {
    const options = this.#options
    const out = publication.prepare(options.version)
    out.qos = qos
    out.retain = retain
    out.dup = dup
    out.subscriptionIds = subscriptionIds
    out.packetId = id === 0 ? 1 : id
    let size = publishSize(out)
    if (size > options.clientPacketBytesMax) {
      options.dropped(1, 'too-large')
      return false
    }
    if (this.#aliases !== null && publication.topic.length >= ALIASED_CHARACTERS_MIN) {
      out.topicAlias = this.#aliases.known(publication.topic)
      out.sendTopic = out.topicAlias === 0
      if (out.topicAlias === 0 && size + ALIAS_BYTES_MAX <= options.clientPacketBytesMax) {
        out.topicAlias = this.#aliases.assign(publication.topic)
      }
      size = publishSize(out)
    }
    if (qos > 0 && id === 0) {
      out.packetId = this.#ids.take(qos === 1 ? AWAITS_PUBACK : AWAITS_PUBREC)
      this.inFlight++
    }
    const output = options.target
    const at = output.reserve(size)
    writePublish(output.buffer!, at, out)
    this.sent++
    return true
  }

  #sendPubrel(id: number): void {
    const at = this.#options.target.reserve(4)
    writeAck(this.#options.target.buffer!, at, PACKET.PUBREL, id, 0, this.#options.version)
  }

  #isFull(bytes: number): boolean {
    return this.#options.target.isFull(bytes, this.#options.waitingBytesMax)
  }

  #enqueue(message: Message, qos: number, retain: boolean, subscriptionIds: readonly number[]): void {
    const bytes = message.payload.length + message.topic.length + message.properties.length + 200
    if (this.#queueBytes + bytes > this.#options.waitingBytesMax) return this.#options.dropped(1, 'queue-full')
    this.#queue.push({ message, qos, retain, subscriptionIds, bytes })
    this.#queueBytes += bytes
    this.#options.target.onRoom = this.#resume
  }

  #sendQueued(queued: Queued): void {
    this.#queueBytes -= queued.bytes
    const expiry = remainingExpirySeconds(queued.message, this.#options.nowMs())
    if (expiry === 0) return this.#options.dropped(1, 'expired')
    scratch.fromMessage(queued.message, expiry)
    this.#sendIndividual(scratch, queued.qos, queued.retain, false, 0, queued.subscriptionIds)
  }
}
