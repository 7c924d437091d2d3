/**
 * One message on its way to local subscribers, as ranges of the buffer it arrived in.
 *
 * Hot path: one Publication serves all messages, filled anew for each. The packet is encoded at most once for each wire
 * shape (3.x or 5, with or without packet id) and copied into each subscriber's output with the packet id patched in;
 * where the packet that arrived has the right shape already it is the template (bench: `pairs`, `fan-out`).
 */
import { type Message, NO_BYTES, NO_EXPIRY, type QoS } from '../../base/message.ts'
import {
  forwardProperties,
  type ProtocolVersion,
  PublishOut,
  type PublishView,
  publishSize,
  writePublish,
} from '../codec/index.ts'

/** Encoded PUBLISH with retain and DUP clear; QoS bits are patched in. */
export class Template {
  buffer: Buffer = NO_BUFFER
  start = 0
  end = 0
  /** Offset of the packet id from `start`; -1 where the packet has none. */
  packetIdAt = -1
  valid = false
}

const NO_BUFFER = Buffer.alloc(0)
const out = new PublishOut()

export class Publication {
  topic = ''
  topicBuffer: Uint8Array = NO_BUFFER
  topicStart = 0
  topicEnd = 0
  payloadBuffer: Uint8Array = NO_BUFFER
  payloadStart = 0
  payloadEnd = 0
  /** Raw forwardable properties. */
  properties: Uint8Array = NO_BYTES
  qos: QoS = 0
  retain = false
  expirySeconds = NO_EXPIRY
  timestamp = 0
  publisher = ''
  readonly #templates = [new Template(), new Template(), new Template(), new Template()]
  #message: Message | null = null

  /** From a packet just read. Valid until the next read. */
  fromView(view: PublishView, version: ProtocolVersion, topic: string, publisher: string, timestamp: number): void {
    this.#reset(topic, publisher, timestamp)
    this.topicBuffer = this.payloadBuffer = view.buffer
    this.topicStart = view.topicStart
    this.topicEnd = view.topicEnd
    this.payloadStart = view.payloadStart
    this.payloadEnd = view.end
    this.properties = version === 5 ? forwardProperties(view) : NO_BYTES
    this.qos = view.qos as QoS
    this.retain = view.retain
    this.expirySeconds = view.messageExpirySeconds
    const asIs = version === 5 ? view.topicAlias === 0 : true
    if (!asIs) return
    const template = this.#templates[(version === 5 ? 2 : 0) + (view.qos > 0 ? 1 : 0)]!
    template.buffer = view.buffer
    template.start = view.frameStart
    template.end = view.end
    template.packetIdAt = view.qos > 0 ? view.topicEnd - view.frameStart : -1
    template.valid = true
  }

  /** Gives the topic's bytes where the packet carried only an alias. */
  setTopicBytes(bytes: Uint8Array): void {
    this.topicBuffer = bytes
    this.topicStart = 0
    this.topicEnd = bytes.length
  }

  /** From a stored or made message: a will, a group's, the API's. */
  fromMessage(message: Message, expirySeconds: number = message.expirySeconds): void {
    this.#reset(message.topic, message.publisher, message.timestamp)
    this.setTopicBytes(Buffer.from(message.topic))
    this.payloadBuffer = message.payload
    this.payloadStart = 0
    this.payloadEnd = message.payload.length
    this.properties = message.properties
    this.qos = message.qos
    this.retain = message.retain
    this.expirySeconds = expirySeconds
    this.#message = message
  }

  /** The packet for subscribers of `version`, encoded once. `withId`: QoS > 0. */
  template(version: ProtocolVersion, withId: boolean): Template {
    const template = this.#templates[(version === 5 ? 2 : 0) + (withId ? 1 : 0)]!
    if (!template.valid) this.#encode(template, version, withId)
    return template
  }

  /** The message as an object of its own, for inboxes, retain and queues; made once, its bytes copied. */
  message(): Message {
    this.#message ??= {
      topic: this.topic,
      payload: copy(this.payloadBuffer, this.payloadStart, this.payloadEnd),
      qos: this.qos,
      retain: this.retain,
      properties: this.properties.length === 0 ? NO_BYTES : Buffer.from(this.properties),
      expirySeconds: this.expirySeconds,
      timestamp: this.timestamp,
      publisher: this.publisher,
    }
    return this.#message
  }

  get payloadBytes(): number {
    return this.payloadEnd - this.payloadStart
  }

  /** Prepares the shared encoder with everything but what differs from subscriber to subscriber. */
  prepare(version: ProtocolVersion): PublishOut {
    out.version = version
    out.dup = false
    out.sendTopic = true
    out.topicAlias = 0
    out.retain = false
    out.messageExpirySeconds = this.expirySeconds
    out.subscriptionIds = NO_IDS
    out.setTopic(this.topicBuffer, this.topicStart, this.topicEnd)
    out.setForwarded(this.properties)
    out.setPayload(this.payloadBuffer, this.payloadStart, this.payloadEnd)
    return out
  }

  #encode(template: Template, version: ProtocolVersion, withId: boolean): void {
    const prepared = this.prepare(version)
    prepared.qos = withId ? 1 : 0
    prepared.packetId = withId ? 1 : 0
    const size = publishSize(prepared)
    // Not pooled memory: a lone packet is handed to the transport as it is, and may wait there.
    template.buffer = Buffer.allocUnsafe(size)
    template.start = 0
    template.end = writePublish(template.buffer, 0, prepared)
    template.packetIdAt = prepared.packetIdAt
    template.valid = true
  }

  /** For whoever sets the other fields one by one. Valid until the next message. */
  begin(topic: string, publisher: string, timestamp: number): void {
    this.#reset(topic, publisher, timestamp)
  }

  #reset(topic: string, publisher: string, timestamp: number): void {
    this.topic = topic
    this.publisher = publisher
    this.timestamp = timestamp
    this.#message = null
    for (let i = 0; i < 4; i++) this.#templates[i]!.valid = false
  }
}

const NO_IDS: readonly number[] = []

function copy(source: Uint8Array, start: number, end: number): Uint8Array {
  const target = Buffer.allocUnsafe(end - start)
  if (end - start > 64) target.set(source.subarray(start, end))
  else for (let i = start; i < end; i++) target[i - start] = source[i]!
  return target
}
