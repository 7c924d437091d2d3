/**
 * Property identifiers, and the walk over properties that are known to be well formed.
 *
 * A message keeps its properties as the bytes that arrived; what belongs to one hop only is taken out here.
 *
 * Source: MQTT 5.0 section 2.2.2.2.
 */
import { NO_BYTES } from '../../base/message.ts'
import { copyBytes, readVarint, varintSize } from './varint.ts'

export const PROPERTY = {
  PAYLOAD_FORMAT_INDICATOR: 0x01,
  MESSAGE_EXPIRY_INTERVAL: 0x02,
  CONTENT_TYPE: 0x03,
  RESPONSE_TOPIC: 0x08,
  CORRELATION_DATA: 0x09,
  SUBSCRIPTION_IDENTIFIER: 0x0b,
  SESSION_EXPIRY_INTERVAL: 0x11,
  ASSIGNED_CLIENT_IDENTIFIER: 0x12,
  SERVER_KEEP_ALIVE: 0x13,
  AUTHENTICATION_METHOD: 0x15,
  AUTHENTICATION_DATA: 0x16,
  REQUEST_PROBLEM_INFORMATION: 0x17,
  WILL_DELAY_INTERVAL: 0x18,
  REQUEST_RESPONSE_INFORMATION: 0x19,
  RESPONSE_INFORMATION: 0x1a,
  SERVER_REFERENCE: 0x1c,
  REASON_STRING: 0x1f,
  RECEIVE_MAXIMUM: 0x21,
  TOPIC_ALIAS_MAXIMUM: 0x22,
  TOPIC_ALIAS: 0x23,
  MAXIMUM_QOS: 0x24,
  RETAIN_AVAILABLE: 0x25,
  USER_PROPERTY: 0x26,
  MAXIMUM_PACKET_SIZE: 0x27,
  WILDCARD_SUBSCRIPTION_AVAILABLE: 0x28,
  SUBSCRIPTION_IDENTIFIERS_AVAILABLE: 0x29,
  SHARED_SUBSCRIPTION_AVAILABLE: 0x2a,
} as const

/**
 * What of a PUBLISH's or will's properties goes on to subscribers, in its order: payload format, content type,
 * response topic, correlation data and user properties; without topic alias, subscription identifiers, message expiry
 * and will delay, which are written anew. The range must have been checked. Returns a copy.
 */
export function stripProperties(bytes: Uint8Array, start: number, end: number): Uint8Array {
  let kept = 0
  for (let at = start; at < end; ) {
    const next = afterProperty(bytes, at, end)
    if (isForwarded(bytes[at]!)) kept += next - at
    at = next
  }
  if (kept === 0) return NO_BYTES
  const target = new Uint8Array(kept)
  let offset = 0
  let run = start // where the properties began that are kept and not copied yet
  for (let at = start; at < end; ) {
    const next = afterProperty(bytes, at, end)
    if (!isForwarded(bytes[at]!)) {
      offset = copyBytes(bytes, run, at, target, offset)
      run = next
    }
    at = next
  }
  copyBytes(bytes, run, end, target, offset)
  return target
}

function isForwarded(id: number): boolean {
  switch (id) {
    case PROPERTY.PAYLOAD_FORMAT_INDICATOR:
    case PROPERTY.CONTENT_TYPE:
    case PROPERTY.RESPONSE_TOPIC:
    case PROPERTY.CORRELATION_DATA:
    case PROPERTY.USER_PROPERTY:
      return true
    default:
      return false
  }
}

/** Offset after the PUBLISH or will property at `at`. */
function afterProperty(bytes: Uint8Array, at: number, end: number): number {
  const value = at + 1
  switch (bytes[at]) {
    case PROPERTY.PAYLOAD_FORMAT_INDICATOR:
      return value + 1
    case PROPERTY.TOPIC_ALIAS:
      return value + 2
    case PROPERTY.MESSAGE_EXPIRY_INTERVAL:
    case PROPERTY.WILL_DELAY_INTERVAL:
      return value + 4
    case PROPERTY.SUBSCRIPTION_IDENTIFIER:
      return value + varintSize(readVarint(bytes, value, end))
    case PROPERTY.USER_PROPERTY:
      return afterBytes(bytes, afterBytes(bytes, value))
    default:
      return afterBytes(bytes, value)
  }
}

function afterBytes(bytes: Uint8Array, at: number): number {
  return at + 2 + ((bytes[at]! << 8) | bytes[at + 1]!)
}
