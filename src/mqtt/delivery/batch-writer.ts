/**
 * Writes messages for one other node into a batch, which leaves with the frame of the turn.
 *
 * Hot path: every message for another node passes here; nothing is allocated for one. A topic, with its tenant and the
 * filters that matched, is written once a batch, from bytes that were made once for each cached match; a run of QoS 0
 * packets goes as the bytes that came in (bench/micro/deliver.ts).
 *
 *     batch   = format u8 | 0 u8 | run of the sender f64 | record ...
 *     record  = topic | message | packets
 *     topic   = 1 u8 | length u32 | block           numbered from 0 in the order of their places
 *     block   = kind u8 (0 nodes, 1 group, 2 ordered group) | tenant | topic | filters u16 | filter ... | [group]
 *     message = 2 u8 | flags u8 | topic's number u16 | timestamp f64 | [publisher] | [expiry u32] |
 *               [length u32 | properties] | length u32 | payload
 *     packets = 3 u8 | flags u8 | topic's number u16 | timestamp f64 | [publisher] | protocol u8 | count u16 |
 *               length u32 | PUBLISH ...
 *
 * Texts are `length u16 | UTF-8`; numbers are big endian. A publisher is left out where it is that of the record before.
 */
import { assert } from '../../base/assert.ts'
import type { ProtocolVersion } from '../codec/index.ts'
import type { Publication } from '../routing/publication.ts'

export const FORMAT = 1
export const HEADER_BYTES = 10
export const RECORD = { topic: 1, message: 2, packets: 3 } as const
export const FLAG = { qos: 3, retain: 4, publisher: 8, expiry: 16, properties: 32, force: 64 } as const
export const KIND = { nodes: 0, group: 1, ordered: 2 } as const

const TOPIC_BYTES = 5
/** All that a message may have beside publisher, properties and payload. */
const MESSAGE_BYTES = 12 + 2 + 4 + 4 + 4
const PACKETS_BYTES = 12 + 2 + 1 + 2 + 4
/** The number of a topic is 16 bits. */
const TOPICS_MAX = 65_535
const COUNT_MAX = 65_535

/** A topic as batches name it. */
export interface BatchTopic {
  readonly block: Uint8Array
  /** The batch that it was last written into, and its number there. */
  batch: number
  number: number
}

let lastBatch = 0

export class BatchWriter {
  messages = 0
  #buffer: Buffer
  #at = 0
  #batch = 0
  #topics = 0
  #publisher: string | null = null
  readonly #run: number
  readonly #bytes: number

  /**
   * @param run of this process: each start of the node has a higher one
   * @param bytes of a batch, at most; a message that is larger goes alone
   */
  constructor(run: number, bytes: number) {
    this.#run = run
    this.#bytes = bytes
    this.#buffer = Buffer.allocUnsafeSlow(bytes)
    this.#begin()
  }

  get empty(): boolean {
    return this.messages === 0
  }

  /** Bytes of the batch so far; 0 where it is empty. */
  get bytes(): number {
    return this.empty ? 0 : this.#at
  }

  /** Room that a message takes, at most. */
  sizeOf(topic: BatchTopic, publication: Publication): number {
    const { properties, publisher } = publication
    return this.#topicBytes(topic) + MESSAGE_BYTES + publisher.length * 3 + properties.length + publication.payloadBytes
  }

  /** Room that a run of packets takes, at most. */
  sizeOfPackets(topic: BatchTopic, publisher: string, bytes: number): number {
    return this.#topicBytes(topic) + PACKETS_BYTES + publisher.length * 3 + bytes
  }

  /** True where the batch has room for `size` bytes; an empty one always has. */
  fits(size: number): boolean {
    return this.empty || (this.#at + size <= this.#bytes && this.#topics < TOPICS_MAX)
  }

  /** @param force a group's member is to take it, whether it has room or not */
  add(topic: BatchTopic, publication: Publication, force = false): void {
    this.#reserve(this.sizeOf(topic, publication))
    const { qos, retain, expirySeconds, properties } = publication
    let flags: number = qos
    if (retain) flags |= FLAG.retain
    if (expirySeconds >= 0) flags |= FLAG.expiry
    if (properties.length > 0) flags |= FLAG.properties
    if (force) flags |= FLAG.force
    this.#head(RECORD.message, flags, topic, publication.timestamp, publication.publisher)
    if (expirySeconds >= 0) this.#uint32(expirySeconds)
    if (properties.length > 0) this.#sized(properties, 0, properties.length)
    this.#sized(publication.payloadBuffer, publication.payloadStart, publication.payloadEnd)
    this.messages++
  }

  /** Adds `count` whole QoS 0 packets without RETAIN, of one topic and publisher. */
  addPackets(
    topic: BatchTopic,
    publisher: string,
    timestamp: number,
    packets: { version: ProtocolVersion; buffer: Buffer; start: number; end: number; count: number },
  ): void {
    const { version, buffer, start, end, count } = packets
    assert(count <= COUNT_MAX, 'Too many packets for one record')
    this.#reserve(this.sizeOfPackets(topic, publisher, end - start))
    this.#head(RECORD.packets, 0, topic, timestamp, publisher)
    this.#buffer[this.#at++] = version
    this.#uint16(count)
    this.#sized(buffer, start, end)
    this.messages += count
  }

  /** The batch; valid until the next one is begun, which a message does. */
  take(): Buffer {
    const batch = this.#buffer.subarray(0, this.#at)
    if (this.#buffer.length > this.#bytes) this.#buffer = Buffer.allocUnsafeSlow(this.#bytes)
    this.#begin()
    return batch
  }

  #begin(): void {
    this.#batch = ++lastBatch
    this.#topics = 0
    this.#publisher = null
    this.messages = 0
    this.#buffer[0] = FORMAT
    this.#buffer[1] = 0
    this.#buffer.writeDoubleBE(this.#run, 2)
    this.#at = HEADER_BYTES
  }

  #topicBytes(topic: BatchTopic): number {
    return topic.batch === this.#batch ? 0 : TOPIC_BYTES + topic.block.length
  }

  #reserve(size: number): void {
    if (this.#at + size <= this.#buffer.length) return
    assert(this.empty, 'A batch takes what fits, or one message')
    const grown = Buffer.allocUnsafeSlow(this.#at + size)
    this.#buffer.copy(grown, 0, 0, this.#at)
    this.#buffer = grown
  }

  #head(record: number, flags: number, topic: BatchTopic, timestamp: number, publisher: string): void {
    if (topic.batch !== this.#batch) this.#topic(topic)
    const named = publisher !== this.#publisher
    const buffer = this.#buffer
    buffer[this.#at] = record
    buffer[this.#at + 1] = named ? flags | FLAG.publisher : flags
    buffer[this.#at + 2] = topic.number >> 8
    buffer[this.#at + 3] = topic.number & 0xff
    buffer.writeDoubleBE(timestamp, this.#at + 4)
    this.#at += 12
    if (!named) return
    this.#publisher = publisher
    const bytes = buffer.write(publisher, this.#at + 2)
    this.#uint16(bytes)
    this.#at += bytes
  }

  #topic(topic: BatchTopic): void {
    topic.batch = this.#batch
    topic.number = this.#topics++
    this.#buffer[this.#at++] = RECORD.topic
    this.#sized(topic.block, 0, topic.block.length)
  }

  #sized(source: Uint8Array, start: number, end: number): void {
    const size = end - start
    this.#uint32(size)
    const target = this.#buffer
    const at = this.#at
    this.#at = at + size
    // A loop beats the native call below some 24 bytes.
    if (size >= 24) target.set(source.subarray(start, end), at)
    else for (let i = 0; i < size; i++) target[at + i] = source[start + i]!
  }

  #uint16(value: number): void {
    const at = this.#at
    this.#buffer[at] = value >> 8
    this.#buffer[at + 1] = value & 0xff
    this.#at = at + 2
  }

  #uint32(value: number): void {
    const at = this.#at
    const buffer = this.#buffer
    buffer[at] = value >>> 24
    buffer[at + 1] = (value >>> 16) & 0xff
    buffer[at + 2] = (value >>> 8) & 0xff
    buffer[at + 3] = value & 0xff
    this.#at = at + 4
  }
}

export interface TopicNames {
  tenant: string
  topic: string
  /** That matched for the node; of a group, its one filter. */
  filters: readonly string[]
  group: { name: string; ordered: boolean } | null
}

/** The block of a topic: see the top of this file. */
export function topicBlock({ tenant, topic, filters, group }: TopicNames): Uint8Array {
  const texts = group === null ? [tenant, topic, ...filters] : [tenant, topic, ...filters, group.name]
  const bytes = texts.reduce((sum, text) => sum + 2 + Buffer.byteLength(text), 3)
  const block = Buffer.allocUnsafeSlow(bytes)
  block[0] = group === null ? KIND.nodes : group.ordered ? KIND.ordered : KIND.group
  let at = 1
  texts.forEach((text, index) => {
    if (index === 2) at = block.writeUInt16BE(filters.length, at)
    const length = block.write(text, at + 2)
    block.writeUInt16BE(length, at)
    at += 2 + length
  })
  return block
}
