import { BrokerError } from './errors.ts'
import { hlcToMs } from './hlc.ts'

export type QoS = 0 | 1 | 2

/** Message expiry of a message that never expires. */
export const NO_EXPIRY = -1
export const NO_BYTES: Uint8Array = new Uint8Array(0)

/**
 * An application message on its way through the broker.
 *
 * `properties` are the MQTT 5 properties that travel to subscribers unaltered (payload format, content type, response
 * topic, correlation data, user properties), as the bytes that arrived: they are never encoded again.
 */
export interface Message {
  topic: string
  /** May be a view: whoever keeps it past the call copies it. */
  payload: Uint8Array
  /** The QoS it was published with. */
  qos: QoS
  /** The RETAIN flag it was published with. */
  retain: boolean
  /** Raw MQTT 5 properties that are forwarded; empty where there are none. */
  properties: Uint8Array
  /** Message expiry interval in seconds from `timestamp`; {@link NO_EXPIRY} where there is none. */
  expirySeconds: number
  /** Hybrid logical clock of the acceptance: see `hlc.ts`. */
  timestamp: number
  /** Client id of the publisher: no-local, and order per publisher. */
  publisher: string
}

const FORMAT = 1
const HEADER_BYTES = 24

/** Bytes that {@link writeMessage} needs. */
export function messageBytes(message: Message): number {
  return (
    HEADER_BYTES +
    Buffer.byteLength(message.topic) +
    Buffer.byteLength(message.publisher) +
    message.properties.length +
    message.payload.length
  )
}

/**
 * Writes `format u8 | flags u8 | timestamp f64 | expiry u32 (0xFFFFFFFF none) | topic u16 | publisher u16 |
 * properties u32 | reserved u16 | topic | publisher | properties | payload`; big endian. Returns the offset after it.
 */
export function writeMessage(target: Buffer, offset: number, message: Message): number {
  const topicBytes = target.write(message.topic, offset + HEADER_BYTES)
  const publisherBytes = target.write(message.publisher, offset + HEADER_BYTES + topicBytes)
  target[offset] = FORMAT
  target[offset + 1] = message.qos | (message.retain ? 4 : 0)
  target.writeDoubleBE(message.timestamp, offset + 2)
  target.writeUInt32BE(message.expirySeconds < 0 ? 0xffffffff : message.expirySeconds, offset + 10)
  target.writeUInt16BE(topicBytes, offset + 14)
  target.writeUInt16BE(publisherBytes, offset + 16)
  target.writeUInt32BE(message.properties.length, offset + 18)
  target.writeUInt16BE(0, offset + 22)
  let at = offset + HEADER_BYTES + topicBytes + publisherBytes
  target.set(message.properties, at)
  at += message.properties.length
  target.set(message.payload, at)
  return at + message.payload.length
}

/** Reads what {@link writeMessage} wrote between `start` and `end`. The payload is a view into `source`. */
export function readMessage(source: Buffer, start = 0, end = source.length): Message {
  if (end - start < HEADER_BYTES || source[start] !== FORMAT) {
    throw new BrokerError('STORAGE_FAILED', `Cannot read a stored message: unknown format ${source[start]}`)
  }
  const flags = source[start + 1]!
  const expiry = source.readUInt32BE(start + 10)
  const topicAt = start + HEADER_BYTES
  const publisherAt = topicAt + source.readUInt16BE(start + 14)
  const propertiesAt = publisherAt + source.readUInt16BE(start + 16)
  const payloadAt = propertiesAt + source.readUInt32BE(start + 18)
  if (payloadAt > end) throw new BrokerError('STORAGE_FAILED', 'Cannot read a stored message: it is cut short')
  return {
    topic: source.toString('utf8', topicAt, publisherAt),
    payload: source.subarray(payloadAt, end),
    qos: (flags & 3) as QoS,
    retain: (flags & 4) !== 0,
    properties: payloadAt === propertiesAt ? NO_BYTES : source.subarray(propertiesAt, payloadAt),
    expirySeconds: expiry === 0xffffffff ? NO_EXPIRY : expiry,
    timestamp: source.readDoubleBE(start + 2),
    publisher: source.toString('utf8', publisherAt, propertiesAt),
  }
}

/** Seconds a message may still live at `nowMs`; NO_EXPIRY where it never expires; 0 or less once expired. */
export function remainingExpirySeconds(message: Message, nowMs: number): number {
  if (message.expirySeconds < 0) return NO_EXPIRY
  const waited = Math.floor((nowMs - hlcToMs(message.timestamp)) / 1000)
  const left = message.expirySeconds - Math.max(0, waited)
  return left > 0 ? left : 0
}
