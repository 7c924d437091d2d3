/**
 * Encodes any packet for any version. Properties, and reason codes that 3.x does not know, are left out for 3.x.
 *
 * Packets come from the broker itself: one that cannot be put on the wire breaks an invariant.
 *
 * Source: MQTT 5.0 chapter 3; 3.1.1 chapter 3.
 */
import { assert, unreachable } from '../../base/assert.ts'
import { ByteWriter } from './byte-writer.ts'
import type {
  Ack,
  Connack,
  Connect,
  Disconnect,
  Packet,
  Publish,
  Suback,
  Subscribe,
  Unsuback,
  Unsubscribe,
} from './packet.ts'
import { PACKET, type ProtocolVersion } from './packet-type.ts'
import { WILL, writeProperties } from './properties.ts'
import { connackReturnCode, REASON } from './reason.ts'

/** 3.x SUBACK: the subscription failed. */
const FAILURE = 0x80
/** 3.x CONNACK, for a reason that 3.x has no code for. */
const SERVER_UNAVAILABLE_3 = 3

/** The packet's bytes, in a buffer of its own. */
export function encodePacket(packet: Packet, version: ProtocolVersion): Buffer {
  const writer = new ByteWriter()
  writer.byte(firstByte(packet))
  writeBody(writer, packet, version)
  writer.insertVarint(1, writer.at - 1)
  return writer.bytes()
}

/**
 * As {@link encodePacket}, within the receiver's maximum packet size: the reason string is left out first, then the
 * user properties [MQTT-3.2.2-19] [MQTT-3.2.2-20] and their siblings. Null when that does not help; a PUBLISH, a
 * SUBSCRIBE and what else must stay complete is never cut.
 */
export function encodeWithin(packet: Packet, version: ProtocolVersion, packetBytesMax: number): Buffer | null {
  const full = encodePacket(packet, version)
  if (full.length <= packetBytesMax) return full
  if (version < 5 || !mayShrink(packet)) return null
  const { reasonString: _, ...properties } = packet.properties as Suback['properties']
  const shorter = encodePacket({ ...packet, properties }, version)
  if (shorter.length <= packetBytesMax) return shorter
  const { userProperties: __, ...rest } = properties
  const shortest = encodePacket({ ...packet, properties: rest }, version)
  return shortest.length <= packetBytesMax ? shortest : null
}

type Shrinkable = Exclude<
  Packet,
  { type: 'connect' | 'publish' | 'subscribe' | 'unsubscribe' | 'pingreq' | 'pingresp' }
>

function mayShrink(packet: Packet): packet is Shrinkable {
  switch (packet.type) {
    case 'connect':
    case 'publish':
    case 'subscribe':
    case 'unsubscribe':
    case 'pingreq':
    case 'pingresp':
      return false
    default:
      return true
  }
}

function firstByte(packet: Packet): number {
  const type = packetNumber(packet)
  if (packet.type === 'publish') {
    return (type << 4) | (packet.dup ? 8 : 0) | (packet.qos << 1) | (packet.retain ? 1 : 0)
  }
  const flags = packet.type === 'pubrel' || packet.type === 'subscribe' || packet.type === 'unsubscribe' ? 2 : 0
  return (type << 4) | flags
}

function packetNumber(packet: Packet): number {
  return PACKET[packet.type.toUpperCase() as Uppercase<Packet['type']>]
}

function writeBody(writer: ByteWriter, packet: Packet, version: ProtocolVersion): void {
  switch (packet.type) {
    case 'connect':
      writeConnect(writer, packet)
      break
    case 'connack':
      writeConnack(writer, packet, version)
      break
    case 'publish':
      writePublishBody(writer, packet, version)
      break
    case 'puback':
    case 'pubrec':
    case 'pubrel':
    case 'pubcomp':
      writer.uint16(packet.packetId)
      writeReason(writer, packet, version)
      break
    case 'subscribe':
      writeSubscribe(writer, packet, version)
      break
    case 'suback':
    case 'unsuback':
      writeReasonCodes(writer, packet, version)
      break
    case 'unsubscribe':
      writeUnsubscribe(writer, packet, version)
      break
    case 'pingreq':
    case 'pingresp':
      break
    case 'disconnect':
      writeReason(writer, packet, version)
      break
    case 'auth':
      assert(version === 5, 'AUTH exists in MQTT 5.0 only')
      if (packet.reasonCode === REASON.SUCCESS && isEmpty(packet.properties)) break
      writer.byte(packet.reasonCode)
      writeProperties(writer, PACKET.AUTH, packet.properties)
      break
    default:
      unreachable(packet)
  }
}

/** The end of an ack or a DISCONNECT: both may leave out what is success and empty (MQTT 5.0 3.4.2.1, 3.14.2.1). */
function writeReason(writer: ByteWriter, packet: Ack | Disconnect, version: ProtocolVersion): void {
  if (version < 5) return
  const empty = isEmpty(packet.properties)
  if (packet.reasonCode === REASON.SUCCESS && empty) return
  writer.byte(packet.reasonCode)
  if (!empty) writeProperties(writer, packetNumber(packet), packet.properties)
}

function isEmpty(properties: object): boolean {
  return Object.values(properties).every((value) => value === undefined)
}

function writeConnect(writer: ByteWriter, packet: Connect): void {
  const { will, username, password } = packet
  writer.string(packet.version === 3 ? 'MQIsdp' : 'MQTT')
  writer.byte(packet.version)
  writer.byte(
    (packet.cleanStart ? 0x02 : 0) |
      (will === null ? 0 : 0x04 | (will.qos << 3) | (will.retain ? 0x20 : 0)) |
      (password === null ? 0 : 0x40) |
      (username === null ? 0 : 0x80),
  )
  writer.uint16(packet.keepAliveSeconds)
  if (packet.version === 5) writeProperties(writer, PACKET.CONNECT, packet.properties)
  writer.string(packet.clientId)
  if (will !== null) {
    if (packet.version === 5) writeProperties(writer, WILL, will.properties)
    writer.string(will.topic)
    writer.binary(will.payload)
  }
  if (username !== null) writer.string(username)
  if (password !== null) writer.binary(password)
}

function writeConnack(writer: ByteWriter, packet: Connack, version: ProtocolVersion): void {
  // [MQTT-3.2.2-6]; in 3.1 the byte is reserved.
  writer.byte(packet.sessionPresent && packet.reasonCode === REASON.SUCCESS && version > 3 ? 1 : 0)
  writer.byte(version === 5 ? packet.reasonCode : (connackReturnCode(packet.reasonCode) ?? SERVER_UNAVAILABLE_3))
  if (version === 5) writeProperties(writer, PACKET.CONNACK, packet.properties)
}

function writePublishBody(writer: ByteWriter, packet: Publish, version: ProtocolVersion): void {
  writer.string(packet.topic)
  if (packet.qos > 0) writer.uint16(packet.packetId)
  if (version === 5) writeProperties(writer, PACKET.PUBLISH, packet.properties)
  writer.raw(packet.payload)
}

function writeSubscribe(writer: ByteWriter, packet: Subscribe, version: ProtocolVersion): void {
  writer.uint16(packet.packetId)
  if (version === 5) writeProperties(writer, PACKET.SUBSCRIBE, packet.properties)
  for (const { filter, qos, noLocal, retainAsPublished, retainHandling } of packet.subscriptions) {
    writer.string(filter)
    const options = (noLocal ? 4 : 0) | (retainAsPublished ? 8 : 0) | (retainHandling << 4)
    writer.byte(version === 5 ? qos | options : qos)
  }
}

function writeUnsubscribe(writer: ByteWriter, packet: Unsubscribe, version: ProtocolVersion): void {
  writer.uint16(packet.packetId)
  if (version === 5) writeProperties(writer, PACKET.UNSUBSCRIBE, packet.properties)
  for (const filter of packet.filters) writer.string(filter)
}

/** A 3.x SUBACK knows one failure, 0x80; a 3.x UNSUBACK carries no codes. */
function writeReasonCodes(writer: ByteWriter, packet: Suback | Unsuback, version: ProtocolVersion): void {
  writer.uint16(packet.packetId)
  if (version === 5) writeProperties(writer, packetNumber(packet), packet.properties)
  else if (packet.type === 'unsuback') return
  for (const code of packet.reasonCodes) writer.byte(version < 5 && code >= FAILURE ? FAILURE : code)
}
