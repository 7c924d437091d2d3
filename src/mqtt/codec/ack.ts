/**
 * Reads and writes PUBACK, PUBREC, PUBREL and PUBCOMP by offsets, and PINGRESP.
 *
 * Hot path for QoS 1 and 2: no object per packet. An ack with a reason string or user properties is written by
 * `encodePacket`.
 *
 * Source: MQTT 5.0 sections 3.4 to 3.7.
 */
import { isMinimalLength } from './frame.ts'
import { PACKET, type ProtocolVersion } from './packet-type.ts'
import { PROPERTY } from './property-bytes.ts'
import { isReasonAllowed, REASON } from './reason.ts'
import { isStrictUtf8 } from './utf8.ts'
import { readVarint, varintSize } from './varint.ts'

/** The parts of an ack. Owned by the caller and filled anew by every {@link parseAck}. */
export class AckView {
  buffer: Buffer = Buffer.alloc(0)
  /** PACKET.PUBACK, PUBREC, PUBREL or PUBCOMP. */
  type = 0
  packetId = 0
  reasonCode = 0
  /** The properties' content; equal to `propertiesEnd` where there are none. */
  propertiesStart = 0
  propertiesEnd = 0
}

/** Fills `view` from the ack whose body is [body, end). Returns 0, or the reason code to close with. */
export function parseAck(
  view: AckView,
  buffer: Buffer,
  first: number,
  body: number,
  end: number,
  version: ProtocolVersion,
): number {
  const type = first >> 4
  const length = end - body
  if (!hasAckFlags(first, version) || length < 2) return REASON.MALFORMED_PACKET
  const packetId = (buffer[body]! << 8) | buffer[body + 1]!
  if (packetId === 0) return REASON.PROTOCOL_ERROR // [MQTT-2.2.1-3]
  view.buffer = buffer
  view.type = type
  view.packetId = packetId
  view.reasonCode = REASON.SUCCESS
  view.propertiesStart = view.propertiesEnd = end
  if (version < 5) return length === 2 ? 0 : REASON.MALFORMED_PACKET
  if (!isMinimalLength(buffer, first, body, end)) return REASON.MALFORMED_PACKET
  if (length === 2) return 0
  const reasonCode = buffer[body + 2]!
  if (!isReasonAllowed(type, reasonCode, false)) return REASON.PROTOCOL_ERROR // [MQTT-3.4.2-1]
  view.reasonCode = reasonCode
  return length === 3 ? 0 : parseAckProperties(view, body + 3, end)
}

/** Writes an ack without properties: 4 bytes, 5 where version 5 has a failure to tell. Returns the offset after it. */
export function writeAck(
  target: Uint8Array,
  offset: number,
  type: number,
  packetId: number,
  reasonCode: number,
  version: ProtocolVersion,
): number {
  const withReason = version === 5 && reasonCode !== 0
  target[offset] = (type << 4) | (type === PACKET.PUBREL ? 2 : 0)
  target[offset + 1] = withReason ? 3 : 2
  target[offset + 2] = packetId >> 8
  target[offset + 3] = packetId & 0xff
  if (!withReason) return offset + 4
  target[offset + 4] = reasonCode
  return offset + 5
}

/** The most that {@link writeAck} writes. */
export const ACK_BYTES_MAX = 5

/** True for a PINGREQ; a frame of that type for which this is false is malformed. */
export function isPingreq(first: number, body: number, end: number): boolean {
  return first === PACKET.PINGREQ << 4 && body === end
}

/** Writes PINGRESP, two bytes; returns the offset after it. */
export function writePingresp(target: Uint8Array, offset: number): number {
  target[offset] = PACKET.PINGRESP << 4
  target[offset + 1] = 0
  return offset + 2
}

/** [MQTT-3.6.1-1]. In 3.1 PUBREL is itself sent with QoS 1, and again with DUP (MQTT 3.1 section 3.6). */
function hasAckFlags(first: number, version: ProtocolVersion): boolean {
  const flags = first & 0x0f
  if (first >> 4 !== PACKET.PUBREL) return flags === 0
  return flags === 2 || (version === 3 && flags === 10)
}

/** A reason string at most once, user properties, nothing else. */
function parseAckProperties(view: AckView, at: number, end: number): number {
  const buffer = view.buffer
  const length = readVarint(buffer, at, end)
  if (length < 0 || at + varintSize(length) + length !== end) return REASON.MALFORMED_PACKET
  view.propertiesStart = end - length
  let reasonSeen = false
  for (let next = view.propertiesStart; next < end; ) {
    const id = buffer[next++]!
    if (id === PROPERTY.REASON_STRING) {
      if (reasonSeen) return REASON.PROTOCOL_ERROR
      reasonSeen = true
    } else if (id !== PROPERTY.USER_PROPERTY) return REASON.MALFORMED_PACKET
    for (let strings = id === PROPERTY.USER_PROPERTY ? 2 : 1; strings > 0; strings--) {
      const start = next + 2
      if (start > end) return REASON.MALFORMED_PACKET
      next = start + ((buffer[next]! << 8) | buffer[next + 1]!)
      if (next > end || !isStrictUtf8(buffer, start, next)) return REASON.MALFORMED_PACKET
    }
  }
  return 0
}
