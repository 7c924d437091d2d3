/**
 * Reads PUBLISH by offsets, without an object per packet or field.
 *
 * Hot path: every message passes here. One view serves all packets; a topic becomes a string and a payload a view only
 * where somebody asks (a native copy costs 40 ns, the whole parse 16-22 ns: bench/micro/codec.ts).
 *
 * Source: MQTT 5.0 section 3.3.
 */
import { NO_BYTES, NO_EXPIRY } from '../../base/message.ts'
import { isMinimalLength } from './frame.ts'
import type { ProtocolVersion } from './packet-type.ts'
import { PROPERTY, stripProperties } from './property-bytes.ts'
import { REASON } from './reason.ts'
import { isStrictUtf8 } from './utf8.ts'
import { readVarint, varintSize } from './varint.ts'

const HASH = 0x23
const PLUS = 0x2b

/** Where the parts of a PUBLISH are. Owned by the caller and filled anew by every {@link parsePublish}. */
export class PublishView {
  buffer: Buffer = Buffer.alloc(0)
  frameStart = 0
  topicStart = 0
  topicEnd = 0
  /** 0 when QoS is 0. */
  packetId = 0
  qos = 0
  retain = false
  dup = false
  /** The properties' content, after the property length; equal to `propertiesEnd` where there are none. */
  propertiesStart = 0
  propertiesEnd = 0
  payloadStart = 0
  end = 0
  /** 0 when there is none. */
  topicAlias = 0
  /** NO_EXPIRY (-1) when there is none. */
  messageExpirySeconds = NO_EXPIRY
  /** 1 when the payload claims to be UTF-8. */
  payloadFormat = 0
  /** True when every property goes on to subscribers, so that the range can be forwarded as it is. */
  forwardable = true
}

/**
 * Fills `view` from the frame at [start, end) and checks everything but the topic's characters: those are for
 * {@link checkTopicName}, after the caller has looked the bytes up in its cache.
 * @returns 0, or the reason code to close with
 */
export function parsePublish(
  view: PublishView,
  buffer: Buffer,
  first: number,
  start: number,
  body: number,
  end: number,
  version: ProtocolVersion,
  fromServer = false,
): number {
  const qos = (first >> 1) & 3
  const dup = (first & 8) !== 0
  if (qos === 3) return REASON.MALFORMED_PACKET // [MQTT-3.3.1-4]
  if (dup && qos === 0) return REASON.MALFORMED_PACKET // [MQTT-3.3.1-2]
  const topicStart = body + 2
  if (topicStart > end) return REASON.MALFORMED_PACKET
  const topicEnd = topicStart + ((buffer[body]! << 8) | buffer[body + 1]!)
  if (topicEnd > end) return REASON.MALFORMED_PACKET
  let at = topicEnd
  let packetId = 0
  if (qos !== 0) {
    at += 2
    if (at > end) return REASON.MALFORMED_PACKET
    packetId = (buffer[topicEnd]! << 8) | buffer[topicEnd + 1]!
    if (packetId === 0) return REASON.PROTOCOL_ERROR // [MQTT-2.2.1-3]
  }
  view.buffer = buffer
  view.frameStart = start
  view.topicStart = topicStart
  view.topicEnd = topicEnd
  view.packetId = packetId
  view.qos = qos
  view.retain = (first & 1) !== 0
  view.dup = dup
  view.propertiesStart = view.propertiesEnd = view.payloadStart = at
  view.end = end
  view.topicAlias = 0
  view.messageExpirySeconds = NO_EXPIRY
  view.payloadFormat = 0
  view.forwardable = true
  if (version < 5) return topicStart === topicEnd ? REASON.PROTOCOL_ERROR : 0 // [MQTT-4.7.3-1]
  if (!isMinimalLength(buffer, first, body, end)) return REASON.MALFORMED_PACKET
  if (at < end && buffer[at] === 0) view.propertiesStart = view.propertiesEnd = view.payloadStart = at + 1
  else {
    const failure = parseProperties(view, at, fromServer)
    if (failure !== 0) return failure
  }
  return topicStart === topicEnd && view.topicAlias === 0 ? REASON.PROTOCOL_ERROR : 0
}

/** The characters of a topic name: strict UTF-8, no U+0000, no wildcard, not empty. Returns 0 or a reason code. */
export function checkTopicName(buffer: Uint8Array, start: number, end: number): number {
  if (start === end) return REASON.PROTOCOL_ERROR
  let multibyte = false
  for (let i = start; i < end; i++) {
    const byte = buffer[i]!
    if (byte === HASH || byte === PLUS || byte === 0) return REASON.MALFORMED_PACKET // [MQTT-3.3.2-2]
    if (byte >= 0x80) multibyte = true
  }
  return multibyte && !isStrictUtf8(buffer, start, end) ? REASON.MALFORMED_PACKET : 0
}

/**
 * The properties that go on to subscribers, as the bytes that arrived. A view of the packet where nothing must be
 * taken out, else a copy: whoever keeps it past the packet copies it.
 */
export function forwardProperties(view: PublishView): Uint8Array {
  if (view.propertiesStart === view.propertiesEnd) return NO_BYTES
  if (view.forwardable) return view.buffer.subarray(view.propertiesStart, view.propertiesEnd)
  return stripProperties(view.buffer, view.propertiesStart, view.propertiesEnd)
}

/** A bit for each property that may occur only once: all but user properties and subscription identifiers. */
const ONCE = new Uint8Array(256)
ONCE[PROPERTY.PAYLOAD_FORMAT_INDICATOR] = 1
ONCE[PROPERTY.MESSAGE_EXPIRY_INTERVAL] = 2
ONCE[PROPERTY.CONTENT_TYPE] = 4
ONCE[PROPERTY.RESPONSE_TOPIC] = 8
ONCE[PROPERTY.CORRELATION_DATA] = 16
ONCE[PROPERTY.TOPIC_ALIAS] = 32

/** Walks the properties, whose length field is at `at`. Returns 0 or a reason code. */
function parseProperties(view: PublishView, at: number, fromServer: boolean): number {
  const buffer = view.buffer
  const length = readVarint(buffer, at, view.end)
  if (length < 0) return REASON.MALFORMED_PACKET
  const start = at + varintSize(length)
  const end = start + length
  if (end > view.end) return REASON.MALFORMED_PACKET
  view.propertiesStart = start
  view.propertiesEnd = view.payloadStart = end
  let seen = 0
  let next = start
  while (next < end) {
    const id = buffer[next]!
    const value = next + 1
    const bit = ONCE[id]!
    if ((seen & bit) !== 0) return REASON.PROTOCOL_ERROR
    seen |= bit
    switch (id) {
      case PROPERTY.USER_PROPERTY:
        next = afterString(buffer, afterString(buffer, value, end), end)
        break
      case PROPERTY.CONTENT_TYPE:
        next = afterString(buffer, value, end)
        break
      case PROPERTY.RESPONSE_TOPIC:
        next = afterTopic(buffer, value, end)
        break
      case PROPERTY.CORRELATION_DATA:
        next = afterBinary(buffer, value, end)
        break
      default:
        next = parseNumber(view, id, value, end, fromServer)
    }
    if (next <= 0) return next === 0 ? REASON.MALFORMED_PACKET : -next
  }
  return 0
}

/** Reads a number property. Returns the offset after it, 0 when malformed, or a negated reason code. */
function parseNumber(view: PublishView, id: number, at: number, end: number, fromServer: boolean): number {
  const buffer = view.buffer
  switch (id) {
    case PROPERTY.PAYLOAD_FORMAT_INDICATOR:
      if (at + 1 > end) return 0
      if (buffer[at]! > 1) return -REASON.PROTOCOL_ERROR
      view.payloadFormat = buffer[at]!
      return at + 1
    case PROPERTY.MESSAGE_EXPIRY_INTERVAL:
      if (at + 4 > end) return 0
      view.messageExpirySeconds =
        buffer[at]! * 0x100_0000 + ((buffer[at + 1]! << 16) | (buffer[at + 2]! << 8) | buffer[at + 3]!)
      view.forwardable = false
      return at + 4
    case PROPERTY.TOPIC_ALIAS:
      if (at + 2 > end) return 0
      view.topicAlias = (buffer[at]! << 8) | buffer[at + 1]!
      view.forwardable = false
      return view.topicAlias === 0 ? -REASON.TOPIC_ALIAS_INVALID : at + 2 // [MQTT-3.3.2-8]
    case PROPERTY.SUBSCRIPTION_IDENTIFIER: {
      if (!fromServer) return -REASON.PROTOCOL_ERROR // [MQTT-3.3.4-6]
      const identifier = readVarint(buffer, at, end)
      view.forwardable = false
      return identifier < 0 ? 0 : identifier === 0 ? -REASON.PROTOCOL_ERROR : at + varintSize(identifier)
    }
    default:
      return 0 // not a property of PUBLISH: MQTT 5.0 2.2.2.2
  }
}

/** Offset after the length-prefixed bytes at `at`; 0 when they are cut off, or when `at` is 0 already. */
function afterBinary(buffer: Uint8Array, at: number, end: number): number {
  if (at === 0 || at + 2 > end) return 0
  const next = at + 2 + ((buffer[at]! << 8) | buffer[at + 1]!)
  return next > end ? 0 : next
}

/** As {@link afterBinary}, and 0 when they are no topic name [MQTT-3.3.2-14]. */
function afterTopic(buffer: Uint8Array, at: number, end: number): number {
  const next = afterBinary(buffer, at, end)
  return next !== 0 && checkTopicName(buffer, at + 2, next) === 0 ? next : 0
}

/** As {@link afterBinary}, and 0 when they are no UTF-8 Encoded String. */
function afterString(buffer: Uint8Array, at: number, end: number): number {
  const next = afterBinary(buffer, at, end)
  return next !== 0 && isStrictUtf8(buffer, at + 2, next) ? next : 0
}
