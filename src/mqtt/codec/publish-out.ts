/**
 * Writes PUBLISH into a buffer that the caller owns, from bytes that are never decoded.
 *
 * Hot path: one {@link PublishOut} is filled anew for every packet; all parts are ranges, so that no view is made
 * (bench/micro/codec.ts).
 *
 * Source: MQTT 5.0 section 3.3.
 */
import { assert } from '../../base/assert.ts'
import { NO_BYTES, NO_EXPIRY } from '../../base/message.ts'
import { PACKET, type ProtocolVersion } from './packet-type.ts'
import { PROPERTY } from './property-bytes.ts'
import { copyBytes, varintSize, writeVarint } from './varint.ts'

const NO_IDENTIFIERS: readonly number[] = []

/** What the next PUBLISH consists of. The caller sets every field that differs from the last packet. */
export class PublishOut {
  version: ProtocolVersion = 4
  qos = 0
  retain = false
  dup = false
  /** 1 to 65,535 where QoS > 0. */
  packetId = 0
  /** False where the client knows the topic by `topicAlias`. */
  sendTopic = true
  /** 0 for none. Like all that follows up to the payload: version 5 only, ignored for 3.x. */
  topicAlias = 0
  /** Seconds that are left; NO_EXPIRY (-1) for none. */
  messageExpirySeconds = NO_EXPIRY
  subscriptionIds: readonly number[] = NO_IDENTIFIERS

  topic: Uint8Array = NO_BYTES
  topicStart = 0
  topicEnd = 0
  /** Raw properties as they arrived: see `forwardProperties`. */
  forwarded: Uint8Array = NO_BYTES
  forwardedStart = 0
  forwardedEnd = 0
  payload: Uint8Array = NO_BYTES
  payloadStart = 0
  payloadEnd = 0

  /** Set by {@link writePublish}: where in the target the packet id stands, to be patched in copies; -1 for QoS 0. */
  packetIdAt = -1

  /** UTF-8 bytes of the topic. */
  setTopic(bytes: Uint8Array, start = 0, end: number = bytes.length): void {
    this.topic = bytes
    this.topicStart = start
    this.topicEnd = end
  }

  setForwarded(bytes: Uint8Array, start = 0, end: number = bytes.length): void {
    this.forwarded = bytes
    this.forwardedStart = start
    this.forwardedEnd = end
  }

  setPayload(bytes: Uint8Array, start = 0, end: number = bytes.length): void {
    this.payload = bytes
    this.payloadStart = start
    this.payloadEnd = end
  }
}

/** Bytes that {@link writePublish} will write. */
export function publishSize(out: PublishOut): number {
  const length = remainingLength(out, out.version < 5 ? 0 : propertyLength(out))
  return 1 + varintSize(length) + length
}

/** Writes the packet at `offset`; returns the offset after it. `target` must have {@link publishSize} bytes left. */
export function writePublish(target: Buffer, offset: number, out: PublishOut): number {
  const properties = out.version < 5 ? 0 : propertyLength(out)
  const length = remainingLength(out, properties)
  target[offset] = (PACKET.PUBLISH << 4) | (out.dup ? 8 : 0) | (out.qos << 1) | (out.retain ? 1 : 0)
  let at = writeVarint(target, offset + 1, length)
  assert(at + length <= target.length, 'A PUBLISH must fit into its buffer')
  const topicBytes = out.sendTopic ? out.topicEnd - out.topicStart : 0
  target[at] = topicBytes >> 8
  target[at + 1] = topicBytes & 0xff
  at = copyBytes(out.topic, out.topicStart, out.topicStart + topicBytes, target, at + 2)
  out.packetIdAt = -1
  if (out.qos > 0) {
    out.packetIdAt = at
    target[at] = out.packetId >> 8
    target[at + 1] = out.packetId & 0xff
    at += 2
  }
  if (out.version === 5) at = writeProperties(target, at, out, properties)
  return copyBytes(out.payload, out.payloadStart, out.payloadEnd, target, at)
}

function remainingLength(out: PublishOut, properties: number): number {
  return (
    2 +
    (out.sendTopic ? out.topicEnd - out.topicStart : 0) +
    (out.qos > 0 ? 2 : 0) +
    (out.version === 5 ? varintSize(properties) + properties : 0) +
    (out.payloadEnd - out.payloadStart)
  )
}

function propertyLength(out: PublishOut): number {
  let length = out.forwardedEnd - out.forwardedStart
  if (out.topicAlias !== 0) length += 3
  if (out.messageExpirySeconds >= 0) length += 5
  for (let i = 0; i < out.subscriptionIds.length; i++) length += 1 + varintSize(out.subscriptionIds[i]!)
  return length
}

function writeProperties(target: Buffer, offset: number, out: PublishOut, length: number): number {
  let at = writeVarint(target, offset, length)
  if (length === 0) return at
  if (out.topicAlias !== 0) {
    target[at] = PROPERTY.TOPIC_ALIAS
    target[at + 1] = out.topicAlias >> 8
    target[at + 2] = out.topicAlias & 0xff
    at += 3
  }
  if (out.messageExpirySeconds >= 0) {
    target[at] = PROPERTY.MESSAGE_EXPIRY_INTERVAL
    target[at + 1] = out.messageExpirySeconds >>> 24
    target[at + 2] = (out.messageExpirySeconds >>> 16) & 0xff
    target[at + 3] = (out.messageExpirySeconds >>> 8) & 0xff
    target[at + 4] = out.messageExpirySeconds & 0xff
    at += 5
  }
  for (let i = 0; i < out.subscriptionIds.length; i++) {
    target[at] = PROPERTY.SUBSCRIPTION_IDENTIFIER
    at = writeVarint(target, at + 1, out.subscriptionIds[i]!)
  }
  return copyBytes(out.forwarded, out.forwardedStart, out.forwardedEnd, target, at)
}
