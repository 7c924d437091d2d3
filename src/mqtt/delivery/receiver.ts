/**
 * Messages of other nodes on their way to this node's subscribers.
 *
 * Hot path: a topic's subscribers are found by the bytes that name it, and stay found until one of them changes; a run of
 * packets is appended to plain subscribers as it came (bench/micro/deliver.ts).
 */

import { hlcToMs } from '../../base/hlc.ts'
import type { TenantId } from '../../base/ids.ts'
import { NO_BYTES, NO_EXPIRY, type QoS } from '../../base/message.ts'
import type { DropReason } from '../../plugin/index.ts'
import { checkTopicName, FRAME_READY, FrameReader, PACKET, PublishView, parsePublish } from '../codec/index.ts'
import { deliverLocal, deliverTo, sendQos0 } from '../routing/deliver.ts'
import { Fanout } from '../routing/fanout.ts'
import { pickLocalMember } from '../routing/group-choice.ts'
import type { LocalTable } from '../routing/local-table.ts'
import { Publication } from '../routing/publication.ts'
import { equalBytes } from '../routing/topic-cache.ts'
import { BatchReader, readTopicBlock } from './batch-reader.ts'
import type { TopicNames } from './batch-writer.ts'
import { ByteCache } from './byte-cache.ts'

/** Topics whose subscribers are kept found: a power of two. */
const TOPICS = 1 << 15
const PUBLISHERS = 1 << 12
/** Largest packet of MQTT, and of a batch. */
const PACKET_BYTES_MAX = 268_435_460

/** First byte of a PUBLISH without DUP and RETAIN. */
const QOS0_PUBLISH = PACKET.PUBLISH << 4

/** What became of a message for a group's member. */
export const OUTCOME = { taken: 0, full: 1, absent: 2 } as const

export interface ReceiverParts {
  node: string
  table: LocalTable
  /** Something that turns false when a subscription here changes that concerns the topic: a cached match. */
  lifeOf: (tenant: TenantId, topic: string) => { readonly alive: boolean }
  /** Milliseconds since 1970: for message expiry. */
  nowMs: () => number
  dropped: (reason: DropReason, tenant: TenantId, topic: string, qos: QoS, count: number) => void
}

/** What a block of a batch means here. */
class Received {
  readonly names: TopicNames
  readonly tenant: TenantId
  readonly topicBytes: Uint8Array
  readonly #parts: ReceiverParts
  #life: { readonly alive: boolean } = { alive: false }
  #fanout: Fanout | null = null

  constructor(names: TopicNames, parts: ReceiverParts) {
    this.names = names
    this.tenant = names.tenant as TenantId
    this.topicBytes = Buffer.from(names.topic)
    this.#parts = parts
  }

  get fanout(): Fanout {
    if (this.#fanout !== null && this.#life.alive) return this.#fanout
    const { names, tenant } = this
    const { node, table, lifeOf } = this.#parts
    this.#life = lifeOf(tenant, names.topic)
    const nodes = [{ node, filters: names.filters }]
    this.#fanout = new Fanout({ tenant, topic: names.topic, nodes, inboxes: [], groups: [], plugins: [] }, table, node)
    return this.#fanout
  }
}

// One of each serves all batches: a batch is handled to its end.
const reader = new BatchReader()
const view = new PublishView()
const publication = new Publication()

export class Receiver {
  messages = 0
  delivered = 0
  /** Batches of an earlier run of their sender. */
  stale = 0
  /** Batches that could not be read, or not to their end. */
  malformed = 0
  readonly #parts: ReceiverParts
  readonly #topics = new ByteCache<Received>(TOPICS)
  readonly #publishers = new ByteCache<string>(PUBLISHERS)
  /** Of each node, the latest run that was heard of. */
  readonly #runs = new Map<string, number>()
  /** Topics of the batch at hand. */
  readonly #numbered: Received[] = []

  constructor(parts: ReceiverParts) {
    this.#parts = parts
  }

  /** The node left for good: its runs need not be told apart any more. */
  forget(node: string): void {
    this.#runs.delete(node)
  }

  /** Delivers all messages of a batch. */
  received(from: string, batch: Buffer): void {
    this.#walk(from, batch, null)
  }

  /** A batch of messages for members of groups: an {@link OUTCOME} for each; null where the batch is not for us. */
  asked(from: string, batch: Buffer): number[] | null {
    const outcomes: number[] = []
    return this.#walk(from, batch, outcomes) ? outcomes : null
  }

  #walk(from: string, batch: Buffer, outcomes: number[] | null): boolean {
    if (!reader.begin(batch)) return this.#bad()
    const run = this.#runs.get(from) ?? 0
    if (reader.run < run) {
      this.stale++
      return false
    }
    if (reader.run > run) this.#runs.set(from, reader.run)
    this.#numbered.length = 0
    let publisher = ''
    for (;;) {
      const found = reader.next()
      if (found === 'end') return true
      if (found === 'bad') return this.#bad()
      if (found === 'topic') {
        const topic = this.#find()
        if (topic === null) return this.#bad()
        this.#numbered.push(topic)
        continue
      }
      if (reader.newPublisher) publisher = this.#publisher()
      const topic = this.#numbered[reader.topic]!
      if (found === 'packets') {
        if (topic.names.group !== null || !this.#packets(topic, publisher)) return this.#bad()
      } else this.#message(topic, publisher, outcomes)
    }
  }

  #bad(): false {
    this.malformed++
    return false
  }

  #find(): Received | null {
    const { batch, start, end } = reader
    const known = this.#topics.find(batch, start, end)
    if (known !== null) return known
    const names = readTopicBlock(batch.subarray(start, end))
    if (names === null) return null
    const topic = new Received(names, this.#parts)
    if (checkTopicName(topic.topicBytes, 0, topic.topicBytes.length) !== 0) return null
    this.#topics.keep(batch, start, end, topic)
    return topic
  }

  #publisher(): string {
    const { batch, publisherStart, publisherEnd } = reader
    const known = this.#publishers.find(batch, publisherStart, publisherEnd)
    if (known !== null) return known
    const publisher = batch.toString('utf8', publisherStart, publisherEnd)
    this.#publishers.keep(batch, publisherStart, publisherEnd, publisher)
    return publisher
  }

  #message(topic: Received, publisher: string, outcomes: number[] | null): void {
    this.messages++
    const expiry = this.#leftSeconds(reader.expirySeconds, reader.timestamp)
    if (expiry === 0) {
      this.#parts.dropped('expired', topic.tenant, topic.names.topic, reader.qos, 1)
      outcomes?.push(OUTCOME.taken)
      return
    }
    const { batch, propertiesStart, propertiesEnd } = reader
    publication.begin(topic.names.topic, publisher, reader.timestamp)
    publication.setTopicBytes(topic.topicBytes)
    publication.payloadBuffer = batch
    publication.payloadStart = reader.start
    publication.payloadEnd = reader.end
    publication.properties = propertiesStart < propertiesEnd ? batch.subarray(propertiesStart, propertiesEnd) : NO_BYTES
    publication.qos = reader.qos
    publication.retain = reader.retain
    publication.expirySeconds = expiry
    if (topic.names.group !== null) {
      const outcome = this.#toMember(topic, outcomes === null || reader.force)
      if (outcomes !== null) outcomes.push(outcome)
      else if (outcome !== OUTCOME.taken)
        this.#parts.dropped('unroutable', topic.tenant, topic.names.topic, reader.qos, 1)
      return
    }
    const { fanout } = topic
    this.delivered += fanout.targets.length
    deliverLocal(publication, fanout)
    outcomes?.push(OUTCOME.taken)
  }

  #toMember(topic: Received, evenWithoutRoom: boolean): number {
    const { group, filters } = topic.names
    const local = this.#parts.table.group(topic.tenant, group!.name, filters[0]!, group!.ordered)
    if (local === undefined) return OUTCOME.absent
    const chosen = pickLocalMember(local, publication.publisher, evenWithoutRoom)
    if (chosen === null) return OUTCOME.full
    this.delivered++
    deliverTo(publication, chosen)
    return OUTCOME.taken
  }

  /** A run of QoS 0 packets. False where they are something else. */
  #packets(topic: Received, publisher: string): boolean {
    const { batch, start, end, version, count, timestamp } = reader
    const packets = batch.subarray(start, end)
    const largest = largestPlain(packets, topic.topicBytes)
    if (largest < 0) return false
    this.messages += count
    const { fanout } = topic
    const plain = version === 5 ? fanout.plain5 : fanout.plain3
    this.delivered += count * fanout.targets.length
    if (plain.length < fanout.targets.length || largest > fanout.packetBytesMax) {
      this.#oneByOne(packets, topic, publisher)
      return true
    }
    for (let i = 0; i < plain.length; i++) {
      sendQos0(plain[i]!, packets, 0, packets.length, count)
      if (plain[i]!.streaming) plain[i]!.noteLive(topic.names.topic, timestamp)
    }
    return true
  }

  /** For those who need a packet of their own, or another wire format. */
  #oneByOne(packets: Buffer, topic: Received, publisher: string): void {
    const { version, timestamp } = reader
    const frames = new FrameReader(PACKET_BYTES_MAX)
    frames.push(packets)
    while (frames.next() === FRAME_READY) {
      parsePublish(view, packets, frames.first, frames.start, frames.body, frames.end, version)
      publication.fromView(view, version, topic.names.topic, publisher, timestamp)
      deliverLocal(publication, topic.fanout)
    }
  }

  #leftSeconds(expirySeconds: number, timestamp: number): number {
    if (expirySeconds < 0) return NO_EXPIRY
    const waited = Math.floor((this.#parts.nowMs() - hlcToMs(timestamp)) / 1000)
    return Math.max(0, expirySeconds - Math.max(0, waited))
  }
}

/**
 * Size of the largest of `reader.count` packets that any subscriber of their wire format may get as they are; -1 where
 * one is none, or there are not so many.
 */
function largestPlain(packets: Buffer, topic: Uint8Array): number {
  const frames = new FrameReader(PACKET_BYTES_MAX)
  frames.push(packets)
  let largest = 0
  for (let i = 0; i < reader.count; i++) {
    if (frames.next() !== FRAME_READY || frames.first !== QOS0_PUBLISH) return -1
    const { start, body, end } = frames
    if (parsePublish(view, packets, QOS0_PUBLISH, start, body, end, reader.version) !== 0) return -1
    // What changes on the way must not travel as it came.
    if (view.topicAlias !== 0 || view.messageExpirySeconds >= 0) return -1
    if (!equalBytes(topic, packets, view.topicStart, view.topicEnd)) return -1
    largest = Math.max(largest, end - start)
  }
  return frames.pending() ? -1 : largest
}
