/**
 * SUBSCRIBE, SUBACK, UNSUBSCRIBE and UNSUBACK.
 *
 * Source: MQTT 5.0 3.8 to 3.11 and 4.8.2; 3.1.1 3.8 to 3.11; 3.1 3.8 to 3.11.
 */
import type { QoS } from '../../base/message.ts'
import { isShared, isValidTopicFilter } from '../../base/topic.ts'
import type { ByteReader } from './byte-reader.ts'
import type { DecodeError, Suback, Subscribe, Subscription, Unsuback, Unsubscribe } from './packet.ts'
import { PACKET, type ProtocolVersion } from './packet-type.ts'
import { readProperties } from './properties.ts'
import { isReasonAllowed, REASON, reasonName } from './reason.ts'
import { finish } from './refusal.ts'

/** Filters in one packet: what a turn can decode. The specification sets no limit. */
const FILTERS_MAX = 16_384

const QOS = 0x03
const NO_LOCAL = 0x04
const RETAIN_AS_PUBLISHED = 0x08
const RETAIN_HANDLING = 0x30
const RESERVED = 0xc0
const RESERVED_3 = 0xfc
/** 3.x SUBACK: the subscription failed. */
const FAILURE = 0x80

export function decodeSubscribe(reader: ByteReader, version: ProtocolVersion): Subscribe | DecodeError {
  const packetId = reader.packetId()
  const properties = version === 5 ? readProperties<Subscribe['properties']>(reader, PACKET.SUBSCRIBE) : {}
  const subscriptions: Subscription[] = []
  requireFilter(reader) // [MQTT-3.8.3-2]
  while (reader.left > 0) {
    const filter = readFilter(reader, subscriptions.length)
    subscriptions.push(readSubscription(reader, filter, version))
  }
  return finish(reader) ?? { type: 'subscribe', packetId, subscriptions, properties }
}

export function decodeUnsubscribe(reader: ByteReader, version: ProtocolVersion): Unsubscribe | DecodeError {
  const packetId = reader.packetId()
  const properties = version === 5 ? readProperties<Unsubscribe['properties']>(reader, PACKET.UNSUBSCRIBE) : {}
  const filters: string[] = []
  requireFilter(reader) // [MQTT-3.10.3-2]
  while (reader.left > 0) filters.push(readFilter(reader, filters.length))
  return finish(reader) ?? { type: 'unsubscribe', packetId, filters, properties }
}

export function decodeSuback(reader: ByteReader, version: ProtocolVersion): Suback | DecodeError {
  const packetId = reader.packetId()
  const properties = version === 5 ? readProperties<Suback['properties']>(reader, PACKET.SUBACK) : {}
  const reasonCodes = readReasonCodes(reader, PACKET.SUBACK, version)
  return finish(reader) ?? { type: 'suback', packetId, reasonCodes, properties }
}

export function decodeUnsuback(reader: ByteReader, version: ProtocolVersion): Unsuback | DecodeError {
  const packetId = reader.packetId()
  const properties = version === 5 ? readProperties<Unsuback['properties']>(reader, PACKET.UNSUBACK) : {}
  const reasonCodes = version === 5 ? readReasonCodes(reader, PACKET.UNSUBACK, version) : []
  return finish(reader) ?? { type: 'unsuback', packetId, reasonCodes, properties }
}

function requireFilter(reader: ByteReader): void {
  if (reader.left === 0) reader.fail(REASON.PROTOCOL_ERROR, 'there is no topic filter')
}

function readFilter(reader: ByteReader, count: number): string {
  if (count >= FILTERS_MAX) reader.fail(REASON.QUOTA_EXCEEDED, `more than ${FILTERS_MAX} topic filters in a packet`)
  const filter = reader.string('topic filter')
  if (reader.failure === 0 && !isValidTopicFilter(filter)) {
    reader.malformed(`topic filter ${JSON.stringify(filter.slice(0, 100))} is not well formed`) // [MQTT-4.7.1-1]
  }
  return filter
}

function readSubscription(reader: ByteReader, filter: string, version: ProtocolVersion): Subscription {
  const options = reader.byte('subscription options')
  const qos = options & QOS
  const noLocal = version === 5 && (options & NO_LOCAL) !== 0
  const retainHandling = version === 5 ? (options & RETAIN_HANDLING) >> 4 : 0
  // [MQTT-3.8.3-5]; 3.1 does not use the upper bits.
  if (version > 3 && (options & (version === 5 ? RESERVED : RESERVED_3)) !== 0) {
    reader.malformed('reserved subscription options are set')
  }
  if (qos === 3) reader.fail(version === 5 ? REASON.PROTOCOL_ERROR : REASON.MALFORMED_PACKET, 'requested QoS is 3')
  if (retainHandling === 3) reader.fail(REASON.PROTOCOL_ERROR, 'retain handling is 3')
  if (noLocal && isShared(filter)) reader.fail(REASON.PROTOCOL_ERROR, 'no local on a shared subscription') // [MQTT-3.8.3-4]
  const retainAsPublished = version === 5 && (options & RETAIN_AS_PUBLISHED) !== 0
  return { filter, qos: qos as QoS, noLocal, retainAsPublished, retainHandling }
}

function readReasonCodes(reader: ByteReader, type: number, version: ProtocolVersion): number[] {
  const codes: number[] = []
  if (reader.left === 0) reader.malformed('there is no reason code')
  while (reader.left > 0) {
    const code = reader.byte('reason code')
    const allowed = version === 5 ? isReasonAllowed(type, code, true) : code <= 2 || code === FAILURE
    if (!allowed) reader.fail(REASON.PROTOCOL_ERROR, `reason code ${reasonName(code)} is not for this packet`)
    codes.push(code)
  }
  return codes
}
