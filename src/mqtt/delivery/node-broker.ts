/**
 * Messages on their way to one other node: the batch of this turn, and what waits behind a link that is full.
 *
 * Hot path: {@link NodeBroker.send} for each message, without an allocation (bench/micro/deliver.ts).
 */
import { BrokerError } from '../../base/errors.ts'
import { Fifo } from '../../base/fifo.ts'
import type { TenantId } from '../../base/ids.ts'
import type { Message, QoS } from '../../base/message.ts'
import type { DropReason } from '../../plugin/index.ts'
import type { SendResult } from '../../rpc/index.ts'
import type { ProtocolVersion } from '../codec/index.ts'
import type { NodeRoute, Sent } from '../routing/other-nodes.ts'
import { Publication } from '../routing/publication.ts'
import { BatchReader, readTopicBlock } from './batch-reader.ts'
import { type BatchTopic, BatchWriter, type TopicNames, topicBlock } from './batch-writer.ts'

export interface NodeLimits {
  /** A batch, at most: it fits in a frame of a link. A larger message goes alone. */
  batchBytes: number
  /** What waits for the node beyond which QoS 0 is dropped. */
  qos0BytesMax: number
  /** And beyond which QoS 1 and 2 wait. Less than the link's own bound, for others use the link too. */
  heldBytesMax: number
  /** Messages of QoS 1 and 2 that wait for that, in bytes; beyond, they are refused. */
  waitingBytesMax: number
  /** How long one of them waits before it is refused. */
  waitMsMax: number
}

export const NODE_LIMITS: NodeLimits = {
  batchBytes: 60 * 1024,
  qos0BytesMax: 8 * 1024 * 1024,
  heldBytesMax: 24 * 1024 * 1024,
  waitingBytesMax: 8 * 1024 * 1024,
  waitMsMax: 10_000,
}

/** What a broker stands on. */
export interface NodeLink {
  /** Takes a batch: the bytes are the caller's again when it returns. */
  send(batch: Buffer): SendResult
  /** Bytes that the link holds for the node. */
  bufferedBytes(): number
  /** Monotonic. */
  nowMs(): number
  /** Something is to be flushed at the end of this turn. */
  pending(broker: NodeBroker): void
  /** Something waits: {@link NodeBroker.tick} is due soon. */
  waiting(): void
  dropped(reason: DropReason, tenant: TenantId, topic: string, qos: QoS, count: number): void
}

/**
 * `unknown`: its address is not known yet; QoS 1 and 2 wait for it. `gone`: its subscribers are gone with it, so nobody
 * waits for what is sent there.
 */
export type NodeState = 'unknown' | 'joined' | 'gone'

interface Waiting {
  topic: NodeTopic
  message: Message
  bytes: number
  sinceMs: number
  done: (error: Error | null) => void
}

/** What a message costs while it waits, beside its bytes. */
const WAITING_BYTES = 200

const scratch = new Publication()

export class NodeBroker {
  readonly node: string
  state: NodeState = 'unknown'
  sent = 0
  readonly #link: NodeLink
  readonly #limits: NodeLimits
  readonly #batch: BatchWriter
  /** Batches that were accepted here, and that the link did not take. */
  #kept: Buffer[] = []
  #keptBytes = 0
  readonly #waiting = new Fifo<Waiting>()
  #waitingBytes = 0
  /** What the link held when the batch was begun. */
  #linkBytes = 0
  #planned = false

  constructor(node: string, run: number, link: NodeLink, limits: NodeLimits = NODE_LIMITS) {
    this.node = node
    this.#link = link
    this.#limits = limits
    this.#batch = new BatchWriter(run, limits.batchBytes)
  }

  topic(names: TopicNames): NodeTopic {
    return new NodeTopic(this, names)
  }

  /** Bytes accepted here that the link does not have yet. */
  get heldBytes(): number {
    return this.#batch.bytes + this.#keptBytes
  }

  get waitingMessages(): number {
    return this.#waiting.length
  }

  /** True while {@link tick} has something to do. */
  get busy(): boolean {
    return this.#waiting.length > 0 || this.#kept.length > 0
  }

  send(topic: NodeTopic, publication: Publication): Sent {
    const size = this.#batch.sizeOf(topic, publication)
    if (publication.qos === 0) {
      if (!this.#takesQos0(size)) {
        this.#drop(topic, 0, 1)
        return 'dropped'
      }
    } else if (this.state !== 'joined' || this.#waiting.length > 0 || !this.#hasRoom(size, this.#limits.heldBytesMax)) {
      if (this.state !== 'gone') return 'full'
      this.#drop(topic, publication.qos, 1)
      return 'dropped'
    }
    this.#makeRoom(size)
    this.#batch.add(topic, publication)
    this.sent++
    return 'accepted'
  }

  sendPackets(
    topic: NodeTopic,
    publisher: string,
    timestamp: number,
    packets: { version: ProtocolVersion; buffer: Buffer; start: number; end: number; count: number },
  ): void {
    const size = this.#batch.sizeOfPackets(topic, publisher, packets.end - packets.start)
    if (!this.#takesQos0(size)) return this.#drop(topic, 0, packets.count)
    this.#makeRoom(size)
    this.#batch.addPackets(topic, publisher, timestamp, packets)
    this.sent += packets.count
  }

  wait(topic: NodeTopic, message: Message, done: (error: Error | null) => void): void {
    const bytes = WAITING_BYTES + message.payload.length + message.properties.length + message.topic.length
    const full = this.#waiting.length > 0 && this.#waitingBytes + bytes > this.#limits.waitingBytesMax
    if (full) return done(this.#refuse(topic, message.qos))
    this.#waiting.push({ topic, message, bytes, sinceMs: this.#link.nowMs(), done })
    this.#waitingBytes += bytes
    this.#link.waiting()
  }

  /** Hands the batch to the link. */
  flush(): void {
    this.#planned = false
    if (!this.#batch.empty) this.#handOver()
  }

  /** Tries again what waits, and refuses what has waited too long. */
  tick(nowMs: number): void {
    this.#retryKept()
    if (this.state === 'joined') this.#admit()
    for (let first = this.#waiting.peek(); first !== undefined; first = this.#waiting.peek()) {
      if (nowMs - first.sinceMs < this.#limits.waitMsMax) break
      this.#shift(first, this.#refuse(first.topic, first.message.qos))
    }
  }

  joined(): void {
    this.state = 'joined'
    this.#retryKept()
    this.#admit()
  }

  /** The node is dead or left: what waited for it is given up, and nobody waits for it any more. */
  gone(): void {
    this.state = 'gone'
    if (!this.#batch.empty) this.#giveUp(this.#batch.take())
    for (const batch of this.#kept) this.#giveUp(batch)
    this.#kept = []
    this.#keptBytes = 0
    for (let first = this.#waiting.peek(); first !== undefined; first = this.#waiting.peek()) {
      this.#drop(first.topic, first.message.qos, 1)
      this.#shift(first, null)
    }
  }

  #takesQos0(size: number): boolean {
    return this.state === 'joined' && this.#hasRoom(size, this.#limits.qos0BytesMax)
  }

  #hasRoom(size: number, bytesMax: number): boolean {
    // The link is asked once a batch: within one only this broker adds to what waits.
    if (this.#batch.empty) this.#linkBytes = this.#link.bufferedBytes()
    const held = this.#linkBytes + this.#batch.bytes + this.#keptBytes
    // Where nothing waits, any one message is taken.
    return held === 0 || held + size <= bytesMax
  }

  #makeRoom(size: number): void {
    if (!this.#batch.fits(size)) {
      this.#handOver()
      this.#linkBytes = this.#link.bufferedBytes()
    }
    if (this.#planned) return
    this.#planned = true
    this.#link.pending(this)
  }

  #handOver(): void {
    const batch = this.#batch.take()
    if (this.#kept.length > 0) this.#retryKept()
    const result = this.#kept.length > 0 ? 'buffer-full' : this.#link.send(batch)
    if (result === 'accepted') return
    if (result === 'buffer-full' || result === 'unknown-peer') {
      // It was accepted, so it stays: others filled the link, or its peer is joined again in a moment.
      this.#kept.push(Buffer.from(batch))
      this.#keptBytes += batch.length
      this.#link.waiting()
    } else this.#giveUp(batch, result === 'too-large' ? 'too-large' : 'link-lost')
  }

  #retryKept(): void {
    let taken = 0
    for (const batch of this.#kept) {
      const result = this.#link.send(batch)
      if (result === 'buffer-full' || result === 'unknown-peer') break
      if (result !== 'accepted') this.#giveUp(batch)
      taken++
      this.#keptBytes -= batch.length
    }
    if (taken > 0) this.#kept = this.#kept.slice(taken)
  }

  /** Takes those that wait, in order, as far as there is room. */
  #admit(): void {
    for (let first = this.#waiting.peek(); first !== undefined; first = this.#waiting.peek()) {
      scratch.fromMessage(first.message)
      const size = this.#batch.sizeOf(first.topic, scratch)
      if (!this.#hasRoom(size, this.#limits.heldBytesMax)) return
      this.#makeRoom(size)
      this.#batch.add(first.topic, scratch)
      this.sent++
      this.#shift(first, null)
    }
  }

  #shift(first: Waiting, error: Error | null): void {
    this.#waiting.shift()
    this.#waitingBytes -= first.bytes
    first.done(error)
  }

  #refuse(topic: NodeTopic, qos: QoS): BrokerError {
    this.#drop(topic, qos, 1)
    const what = `Cannot send to node "${this.node}"`
    if (this.state === 'joined')
      return new BrokerError('OVERLOADED', `${what}: too much waits for it; send again later`)
    return new BrokerError('UNAVAILABLE', `${what}: its address is not known; send again later`)
  }

  #drop(topic: NodeTopic, qos: QoS, count: number): void {
    const reason = this.state === 'joined' ? 'slow-node' : 'link-lost'
    this.#link.dropped(reason, topic.names.tenant as TenantId, topic.names.topic, qos, count)
  }

  #giveUp(batch: Buffer, reason: DropReason = 'link-lost'): void {
    countLost(batch, (tenant, topic, qos, count) => this.#link.dropped(reason, tenant, topic, qos, count))
  }
}

/** One topic's way to one other node. */
export class NodeTopic implements NodeRoute, BatchTopic {
  readonly names: TopicNames
  readonly block: Uint8Array
  batch = 0
  number = 0
  readonly #broker: NodeBroker

  constructor(broker: NodeBroker, names: TopicNames) {
    this.#broker = broker
    this.names = names
    this.block = topicBlock(names)
  }

  send(publication: Publication): Sent {
    return this.#broker.send(this, publication)
  }

  sendPackets(
    publisher: string,
    timestamp: number,
    packets: { version: ProtocolVersion; buffer: Buffer; start: number; end: number; count: number },
  ): void {
    this.#broker.sendPackets(this, publisher, timestamp, packets)
  }

  wait(message: Message, done: (error: Error | null) => void): void {
    this.#broker.wait(this, message, done)
  }
}

/** Calls back for each message of a batch that never gets there: its topic's names and its QoS. */
export function countLost(
  batch: Buffer,
  lost: (tenant: TenantId, topic: string, qos: QoS, count: number) => void,
): void {
  const reader = new BatchReader()
  const topics: { tenant: TenantId; topic: string }[] = []
  if (!reader.begin(batch)) return
  for (let found = reader.next(); found !== 'end' && found !== 'bad'; found = reader.next()) {
    if (found === 'topic') {
      const { tenant = '', topic = '' } = readTopicBlock(batch.subarray(reader.start, reader.end)) ?? {}
      topics.push({ tenant: tenant as TenantId, topic })
      continue
    }
    const { tenant, topic } = topics[reader.topic]!
    lost(tenant, topic, found === 'message' ? reader.qos : 0, found === 'message' ? 1 : reader.count)
  }
}
