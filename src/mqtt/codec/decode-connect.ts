/**
 * CONNECT and CONNACK.
 *
 * A CONNECT is refused in the way its own version knows: see `connackVersion` of a DecodeError. What is legal on the
 * wire but not acceptable (an empty client id with clean session 0, say) is the session's to refuse.
 *
 * Source: MQTT 5.0 3.1, 3.2; 3.1.1 3.1, 3.2; 3.1 3.1, 3.2.
 */
import type { QoS } from '../../base/message.ts'
import { isValidTopicName } from '../../base/topic.ts'
import { ByteReader } from './byte-reader.ts'
import { isMinimalLength } from './frame.ts'
import type { Connack, Connect, ConnectProperties, DecodeError, Will, WillProperties } from './packet.ts'
import { PACKET, type ProtocolVersion } from './packet-type.ts'
import { readProperties, WILL } from './properties.ts'
import { stripProperties } from './property-bytes.ts'
import { isReasonAllowed, REASON, reasonName, reasonOfReturnCode } from './reason.ts'
import { finish, refusal, refusalOf } from './refusal.ts'
import { readVarint, varintSize } from './varint.ts'

const RESERVED_FLAG = 0x01
const CLEAN_FLAG = 0x02
const WILL_FLAG = 0x04
const WILL_QOS = 0x18
const WILL_RETAIN_FLAG = 0x20
const PASSWORD_FLAG = 0x40
const USER_NAME_FLAG = 0x80

export function decodeConnect(buffer: Buffer, first: number, body: number, end: number): Connect | DecodeError {
  const reader = new ByteReader(buffer, body, end)
  const name = reader.string('protocol name')
  const level = reader.byte('protocol level')
  if (reader.failure !== 0) return refusalOf(reader)
  if (name !== 'MQTT' && name !== 'MQIsdp') {
    return refusal(REASON.UNSUPPORTED_PROTOCOL_VERSION, `protocol name ${JSON.stringify(name)} is unknown`)
  }
  const version = versionOf(name, level)
  if (version === null) {
    const message = `protocol level ${level} of ${name} is not supported`
    return refusal(REASON.UNSUPPORTED_PROTOCOL_VERSION, message, answerTo(name, level))
  }
  if (version > 3 && (first & 0x0f) !== 0) reader.malformed('fixed header flags are not 0') // [MQTT-2.1.3-1]
  if (version === 5 && !isMinimalLength(buffer, first, body, end)) reader.malformed('remaining length is not minimal')
  const packet = readConnect(reader, version)
  if (reader.left > 0) reader.malformed('bytes follow the last field')
  return reader.failure === 0 ? packet : refusalOf(reader, version === 5 ? 5 : 0) // [MQTT-3.1.4-1]
}

function versionOf(name: 'MQTT' | 'MQIsdp', level: number): ProtocolVersion | null {
  if (name === 'MQIsdp') return level === 3 ? 3 : null
  return level === 4 || level === 5 ? level : null
}

/** Bit 7 marks the private dialect of some 3.x bridges, which fall back after return code 1. */
function answerTo(name: 'MQTT' | 'MQIsdp', level: number): ProtocolVersion {
  if (name === 'MQIsdp') return 3
  return level > 5 && level < 0x80 ? 5 : 4
}

function readConnect(reader: ByteReader, version: ProtocolVersion): Connect {
  const flags = reader.byte('connect flags')
  checkFlags(reader, flags, version)
  const keepAliveSeconds = reader.uint16('keep alive')
  const properties = version === 5 ? readProperties<ConnectProperties>(reader, PACKET.CONNECT) : {}
  checkAuthentication(reader, properties)
  const clientId = reader.string('client identifier')
  const will = (flags & WILL_FLAG) === 0 ? null : readWill(reader, flags, version)
  const username = isPresent(reader, flags, USER_NAME_FLAG, version) ? reader.string('user name') : null
  const password = isPresent(reader, flags, PASSWORD_FLAG, version) ? reader.binary('password') : null
  return {
    type: 'connect',
    version,
    clientId,
    cleanStart: (flags & CLEAN_FLAG) !== 0,
    keepAliveSeconds,
    username,
    password,
    will,
    properties,
  }
}

/** 3.1 disregards what it does not use: bit 0, and the will's QoS and RETAIN where there is no will. */
function checkFlags(reader: ByteReader, flags: number, version: ProtocolVersion): void {
  const willQos = flags & WILL_QOS
  if (version > 3 && (flags & RESERVED_FLAG) !== 0) reader.malformed('reserved connect flag is set') // [MQTT-3.1.2-3]
  if ((flags & WILL_FLAG) !== 0) {
    if (willQos === WILL_QOS) reader.malformed('will QoS is 3') // [MQTT-3.1.2-12]
  } else if (version > 3 && (willQos !== 0 || (flags & WILL_RETAIN_FLAG) !== 0)) {
    reader.malformed('will QoS or will retain is set without a will') // [MQTT-3.1.2-11] [MQTT-3.1.2-13]
  }
  if (version < 5 && (flags & PASSWORD_FLAG) !== 0 && (flags & USER_NAME_FLAG) === 0) {
    reader.malformed('there is a password without a user name') // [MQTT-3.1.2-22] of 3.1.1
  }
}

/** 3.1 section 3.1: where the remaining length says that the field is missing, it outweighs the flag. */
function isPresent(reader: ByteReader, flags: number, flag: number, version: ProtocolVersion): boolean {
  return (flags & flag) !== 0 && (version > 3 || reader.left > 0)
}

function readWill(reader: ByteReader, flags: number, version: ProtocolVersion): Will {
  const start = reader.at
  const properties = version === 5 ? readProperties<WillProperties>(reader, WILL) : {}
  const rawProperties = rawWillProperties(reader, start, reader.at)
  const topic = reader.string('will topic')
  if (reader.failure === 0 && !isValidTopicName(topic)) reader.malformed('will topic is not a topic name')
  const payload = reader.binary('will payload')
  const qos = ((flags & WILL_QOS) >> 3) as QoS
  return { topic, payload, qos, retain: (flags & WILL_RETAIN_FLAG) !== 0, properties, rawProperties }
}

/** What the will's message will carry, from the properties whose length field is at `start`. */
function rawWillProperties(reader: ByteReader, start: number, end: number): Uint8Array {
  if (reader.failure !== 0 || start === end) return new Uint8Array(0)
  const length = readVarint(reader.buffer, start, end)
  return stripProperties(reader.buffer, start + varintSize(length), end)
}

/** MQTT 5.0 3.1.2.11.10: authentication data without a method is a protocol error. */
function checkAuthentication(reader: ByteReader, properties: ConnectProperties): void {
  if (properties.authenticationData !== undefined && properties.authenticationMethod === undefined) {
    reader.fail(REASON.PROTOCOL_ERROR, 'there is authentication data without a method')
  }
}

export function decodeConnack(reader: ByteReader, version: ProtocolVersion): Connack | DecodeError {
  const flags = reader.byte('acknowledge flags')
  const code = reader.byte('reason code')
  // In 3.1 the byte is reserved and not used.
  if (version > 3 && flags > 1) reader.malformed('reserved acknowledge flags are set') // [MQTT-3.2.2-1]
  const reasonCode = version === 5 ? code : reasonOfReturnCode(code)
  if (reasonCode === null || (version === 5 && !isReasonAllowed(PACKET.CONNACK, code, true))) {
    reader.fail(REASON.PROTOCOL_ERROR, `reason code ${reasonName(code)} is not for CONNACK`) // [MQTT-3.2.2-8]
  }
  const sessionPresent = version > 3 && flags === 1
  if (sessionPresent && code !== 0) {
    reader.fail(REASON.PROTOCOL_ERROR, 'a refusal says that a session is present') // [MQTT-3.2.2-6]
  }
  const properties = version === 5 ? readProperties<Connack['properties']>(reader, PACKET.CONNACK) : {}
  return finish(reader) ?? { type: 'connack', sessionPresent, reasonCode: reasonCode ?? code, properties }
}
