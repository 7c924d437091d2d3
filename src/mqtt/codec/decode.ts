/**
 * Decodes any packet of any version, from either side, into a value. Never throws: what is wrong comes back as a
 * {@link DecodeError} with the reason code that the specification names.
 *
 * The hot packets have a faster way, `parsePublish` and `parseAck`; this one uses the same checks for them.
 *
 * Source: MQTT 5.0 chapter 3; 3.1.1 chapter 3; 3.1 chapter 3 (its laxer rules stand where they apply).
 */
import type { QoS } from '../../base/message.ts'
import { AckView, parseAck } from './ack.ts'
import { ByteReader } from './byte-reader.ts'
import { decodeConnack, decodeConnect } from './decode-connect.ts'
import { decodeSuback, decodeSubscribe, decodeUnsuback, decodeUnsubscribe } from './decode-subscribe.ts'
import { isMinimalLength } from './frame.ts'
import type { Ack, Auth, AuthProperties, DecodeError, Disconnect, Packet, Ping, Publish } from './packet.ts'
import { type Direction, PACKET, type ProtocolVersion } from './packet-type.ts'
import { readProperties } from './properties.ts'
import { checkTopicName, PublishView, parsePublish } from './publish.ts'
import { isReasonAllowed, REASON, reasonName } from './reason.ts'
import { finish, refusal, refusalOf } from './refusal.ts'

const CLIENT_ONLY = bits(PACKET.CONNECT, PACKET.SUBSCRIBE, PACKET.UNSUBSCRIBE, PACKET.PINGREQ)
const SERVER_ONLY = bits(PACKET.CONNACK, PACKET.SUBACK, PACKET.UNSUBACK, PACKET.PINGRESP)
/** These carry the fixed-header flags 0010 [MQTT-3.8.1-1] [MQTT-3.10.1-1]; PUBREL is checked with the acks. */
const FLAGS_0010 = bits(PACKET.SUBSCRIBE, PACKET.UNSUBSCRIBE)

/**
 * Decodes the frame whose body is [body, end) of `buffer`; the fixed header stands before it, as a `FrameReader`
 * presents it.
 * @param first first byte of the frame
 * @param version of the connection; a CONNECT reports its own
 */
export function decodePacket(
  buffer: Buffer,
  first: number,
  body: number,
  end: number,
  version: ProtocolVersion,
  direction: Direction,
): Packet | DecodeError {
  const type = first >> 4
  const fromServer = direction === 'from-server'
  if (((fromServer ? CLIENT_ONLY : SERVER_ONLY) & (1 << type)) !== 0) {
    return refusal(REASON.PROTOCOL_ERROR, `packet type ${type} is not sent by this side`)
  }
  if (type === PACKET.CONNECT) return decodeConnect(buffer, first, body, end)
  if (type === PACKET.PUBLISH) return decodePublish(buffer, first, body, end, version, fromServer)
  if (type >= PACKET.PUBACK && type <= PACKET.PUBCOMP) return decodeAck(buffer, first, body, end, version)
  if (type === 0 || (type === PACKET.AUTH && version < 5)) {
    return refusal(REASON.MALFORMED_PACKET, `packet type ${type} is reserved`)
  }
  if (!hasRequiredFlags(first, version)) {
    return refusal(REASON.MALFORMED_PACKET, `fixed header flags are wrong: 0x${(first & 0x0f).toString(16)}`)
  }
  if (version === 5 && !isMinimalLength(buffer, first, body, end)) {
    return refusal(REASON.MALFORMED_PACKET, 'remaining length is not minimal')
  }
  const reader = new ByteReader(buffer, body, end)
  switch (type) {
    case PACKET.CONNACK:
      return decodeConnack(reader, version)
    case PACKET.SUBSCRIBE:
      return decodeSubscribe(reader, version)
    case PACKET.SUBACK:
      return decodeSuback(reader, version)
    case PACKET.UNSUBSCRIBE:
      return decodeUnsubscribe(reader, version)
    case PACKET.UNSUBACK:
      return decodeUnsuback(reader, version)
    case PACKET.PINGREQ:
      return decodePing(reader, 'pingreq')
    case PACKET.PINGRESP:
      return decodePing(reader, 'pingresp')
    case PACKET.DISCONNECT:
      return decodeDisconnect(reader, version, fromServer)
    default:
      return decodeAuth(reader, fromServer)
  }
}

function bits(...types: number[]): number {
  return types.reduce((all, type) => all | (1 << type), 0)
}

/** In 3.1 the packets with flags 0010 are themselves sent at QoS 1, and again with DUP (MQTT 3.1 section 2.1). */
function hasRequiredFlags(first: number, version: ProtocolVersion): boolean {
  const flags = first & 0x0f
  if ((FLAGS_0010 & (1 << (first >> 4))) === 0) return flags === 0
  return flags === 2 || (version === 3 && flags === 10)
}

function decodePublish(
  buffer: Buffer,
  first: number,
  body: number,
  end: number,
  version: ProtocolVersion,
  fromServer: boolean,
): Publish | DecodeError {
  const view = new PublishView()
  const failure =
    parsePublish(view, buffer, first, body, body, end, version, fromServer) ||
    (view.topicStart === view.topicEnd ? 0 : checkTopicName(buffer, view.topicStart, view.topicEnd))
  if (failure !== 0) return refusal(failure, `PUBLISH refused: ${reasonName(failure)}`)
  const reader = new ByteReader(buffer, view.topicEnd + (view.qos > 0 ? 2 : 0), end)
  const properties = version === 5 ? readProperties<Publish['properties']>(reader, PACKET.PUBLISH) : {}
  if (reader.failure !== 0) return refusalOf(reader)
  return {
    type: 'publish',
    topic: buffer.toString('utf8', view.topicStart, view.topicEnd),
    payload: Buffer.from(buffer.subarray(view.payloadStart, end)),
    qos: view.qos as QoS,
    retain: view.retain,
    dup: view.dup,
    packetId: view.packetId,
    properties,
  }
}

const ACK_TYPES: Readonly<Record<number, Ack['type']>> = {
  [PACKET.PUBACK]: 'puback',
  [PACKET.PUBREC]: 'pubrec',
  [PACKET.PUBREL]: 'pubrel',
  [PACKET.PUBCOMP]: 'pubcomp',
}

function decodeAck(
  buffer: Buffer,
  first: number,
  body: number,
  end: number,
  version: ProtocolVersion,
): Ack | DecodeError {
  const type = first >> 4
  const view = new AckView()
  const failure = parseAck(view, buffer, first, body, end, version)
  if (failure !== 0) return refusal(failure, `ack refused: ${reasonName(failure)}`)
  const reader = new ByteReader(buffer, body + 3, end)
  const properties = reader.left > 0 ? readProperties<Ack['properties']>(reader, type) : {}
  return finish(reader) ?? { type: ACK_TYPES[type]!, packetId: view.packetId, reasonCode: view.reasonCode, properties }
}

function decodePing(reader: ByteReader, type: Ping['type']): Ping | DecodeError {
  return reader.left === 0 ? { type } : refusal(REASON.MALFORMED_PACKET, `${type} is not empty`)
}

function decodeDisconnect(reader: ByteReader, version: ProtocolVersion, fromServer: boolean): Disconnect | DecodeError {
  if (version < 5) {
    if (fromServer) return refusal(REASON.PROTOCOL_ERROR, 'a 3.x server sends no DISCONNECT')
    if (reader.left > 0) return refusal(REASON.MALFORMED_PACKET, 'disconnect is not empty')
  }
  if (reader.left === 0) return { type: 'disconnect', reasonCode: REASON.SUCCESS, properties: {} }
  const reasonCode = readReason(reader, PACKET.DISCONNECT, fromServer)
  // MQTT 5.0 3.14.2.2.1: without a property length there are no properties.
  const properties = reader.left > 0 ? readProperties<Disconnect['properties']>(reader, PACKET.DISCONNECT) : {}
  if (fromServer && properties.sessionExpiryInterval !== undefined) {
    reader.fail(REASON.PROTOCOL_ERROR, 'a server sends no session expiry interval') // [MQTT-3.14.2-2]
  }
  if (!fromServer && properties.serverReference !== undefined) {
    reader.fail(REASON.PROTOCOL_ERROR, 'a client sends no server reference')
  }
  return finish(reader) ?? { type: 'disconnect', reasonCode, properties }
}

function decodeAuth(reader: ByteReader, fromServer: boolean): Auth | DecodeError {
  // MQTT 5.0 3.15.2.1: an empty AUTH is success without properties, which only a server may send.
  if (reader.left === 0 && fromServer) return { type: 'auth', reasonCode: REASON.SUCCESS, properties: {} }
  const reasonCode = readReason(reader, PACKET.AUTH, fromServer)
  const properties = readProperties<AuthProperties>(reader, PACKET.AUTH)
  if (properties.authenticationMethod === undefined) {
    reader.fail(REASON.PROTOCOL_ERROR, 'AUTH has no authentication method') // MQTT 5.0 3.15.2.2.2
  }
  return finish(reader) ?? { type: 'auth', reasonCode, properties }
}

function readReason(reader: ByteReader, type: number, fromServer: boolean): number {
  const code = reader.byte('reason code')
  if (reader.failure === 0 && !isReasonAllowed(type, code, fromServer)) {
    reader.fail(REASON.PROTOCOL_ERROR, `reason code ${reasonName(code)} is not for this packet`)
  }
  return code
}
