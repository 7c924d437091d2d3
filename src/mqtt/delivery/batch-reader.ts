/**
 * Walks a batch of another node: see batch-writer.ts. Whatever the bytes are, nothing throws.
 *
 * Hot path: offsets into the batch, no object for a message (bench/micro/deliver.ts).
 */
import { NO_EXPIRY, type QoS } from '../../base/message.ts'
import type { ProtocolVersion } from '../codec/index.ts'
import { FLAG, FORMAT, HEADER_BYTES, KIND, RECORD, type TopicNames } from './batch-writer.ts'

/** What {@link BatchReader.next} found: a record, the end, or bytes that make no sense. */
export type Found = 'topic' | 'message' | 'packets' | 'end' | 'bad'

const NOTHING = Buffer.alloc(0)
const VERSIONS: readonly number[] = [3, 4, 5]

export class BatchReader {
  batch: Buffer = NOTHING
  /** The sender's. */
  run = 0
  /** Of the record at hand: the block, the payload or the packets. */
  start = 0
  end = 0
  /** Number of the topic. */
  topic = 0
  timestamp = 0
  /** True where `publisherStart` and `publisherEnd` are new: else the publisher is that of the record before. */
  newPublisher = false
  publisherStart = 0
  publisherEnd = 0
  // Of messages.
  qos: QoS = 0
  retain = false
  force = false
  expirySeconds = NO_EXPIRY
  propertiesStart = 0
  propertiesEnd = 0
  // Of packets.
  version: ProtocolVersion = 4
  count = 0
  #at = 0
  #bad = false
  #topics = 0

  /** False where the batch is of another format, or none. */
  begin(batch: Buffer): boolean {
    this.batch = batch
    this.#topics = 0
    this.#bad = false
    this.#at = HEADER_BYTES
    this.publisherStart = this.publisherEnd = 0
    if (batch.length < HEADER_BYTES || batch[0] !== FORMAT) return false
    this.run = batch.readDoubleBE(2)
    return Number.isSafeInteger(this.run)
  }

  next(): Found {
    if (this.#at === this.batch.length) return 'end'
    const record = this.batch[this.#at++]
    if (record === RECORD.topic) {
      this.#sized()
      this.#topics++
      return this.#bad ? 'bad' : 'topic'
    }
    if (record !== RECORD.message && record !== RECORD.packets) return 'bad'
    const flags = this.#uint8()
    this.#head(flags)
    if (record === RECORD.message) this.#message(flags)
    else this.#packets()
    if (this.#bad) return 'bad'
    return record === RECORD.message ? 'message' : 'packets'
  }

  #head(flags: number): void {
    this.topic = this.#uint16()
    if (this.topic >= this.#topics) this.#bad = true
    this.timestamp = this.#take(8) ? this.batch.readDoubleBE(this.#at - 8) : 0
    if (!(this.timestamp >= 0)) this.#bad = true
    this.newPublisher = (flags & FLAG.publisher) !== 0
    if (!this.newPublisher) return
    const length = this.#uint16()
    this.publisherStart = this.#at
    if (this.#take(length)) this.publisherEnd = this.#at
  }

  #message(flags: number): void {
    const qos = flags & FLAG.qos
    if (qos === 3) this.#bad = true
    this.qos = qos as QoS
    this.retain = (flags & FLAG.retain) !== 0
    this.force = (flags & FLAG.force) !== 0
    this.expirySeconds = (flags & FLAG.expiry) === 0 ? NO_EXPIRY : this.#uint32()
    this.propertiesStart = this.propertiesEnd = 0
    if ((flags & FLAG.properties) !== 0) {
      this.#sized()
      this.propertiesStart = this.start
      this.propertiesEnd = this.end
    }
    this.#sized()
  }

  #packets(): void {
    const version = this.#uint8()
    if (!VERSIONS.includes(version)) this.#bad = true
    this.version = version as ProtocolVersion
    this.count = this.#uint16()
    this.#sized()
  }

  #sized(): void {
    const length = this.#uint32()
    this.start = this.#at
    if (this.#take(length)) this.end = this.#at
  }

  #uint8(): number {
    return this.#take(1) ? this.batch[this.#at - 1]! : 0
  }

  #uint16(): number {
    return this.#take(2) ? (this.batch[this.#at - 2]! << 8) | this.batch[this.#at - 1]! : 0
  }

  #uint32(): number {
    if (!this.#take(4)) return 0
    const at = this.#at - 4
    const { batch } = this
    return ((batch[at]! << 24) | (batch[at + 1]! << 16) | (batch[at + 2]! << 8) | batch[at + 3]!) >>> 0
  }

  #take(bytes: number): boolean {
    if (this.#bad || this.#at + bytes > this.batch.length) {
      this.#bad = true
      return false
    }
    this.#at += bytes
    return true
  }
}

/** Reads the block of a topic; null where it makes no sense. */
export function readTopicBlock(block: Buffer): TopicNames | null {
  const kind = block[0]
  if (kind !== KIND.nodes && kind !== KIND.group && kind !== KIND.ordered) return null
  let at = 1
  let bad = false
  const uint16 = () => {
    at += 2
    if (at > block.length) bad = true
    return bad ? 0 : block.readUInt16BE(at - 2)
  }
  const text = () => {
    const length = uint16()
    at += length
    if (at > block.length) bad = true
    return bad ? '' : block.toString('utf8', at - length, at)
  }
  const tenant = text()
  const topic = text()
  const filters: string[] = []
  for (let left = uint16(); left > 0 && !bad; left--) filters.push(text())
  const name = kind === KIND.nodes ? '' : text()
  if (bad || at !== block.length || tenant === '' || topic === '' || filters.length === 0) return null
  if (kind === KIND.nodes) return { tenant, topic, filters, group: null }
  if (filters.length !== 1 || name === '') return null
  return { tenant, topic, filters, group: { name, ordered: kind === KIND.ordered } }
}
