/**
 * Properties of the packets off the hot path, by one table: name, wire type, packets, and the rule of the value.
 *
 * Source: MQTT 5.0 section 2.2.2.2 (table 2-4); rules from the property's own section.
 */
import { isValidTopicName } from '../../base/topic.ts'
import type { ByteReader } from './byte-reader.ts'
import type { ByteWriter } from './byte-writer.ts'
import { PACKET } from './packet-type.ts'
import { PROPERTY } from './property-bytes.ts'
import { REASON } from './reason.ts'

/** A will's properties are a list of their own inside CONNECT; it gets the packet type that nobody has. */
export const WILL = 0

/** User properties in one packet off the hot path: what a turn can decode. The specification sets no limit. */
const USER_PROPERTIES_MAX = 16_384

type WireType = 'byte' | 'flag' | 'uint16' | 'uint32' | 'varint' | 'string' | 'binary'
type Rule = 'bit' | 'positive' | 'alias' | 'topic' | null

interface PropertyRow {
  id: number
  name: string
  wire: WireType
  rule: Rule
  /** A bit for each packet type that may carry it. */
  packets: number
}

const { CONNECT, CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP } = PACKET
const { SUBSCRIBE, SUBACK, UNSUBACK, DISCONNECT, AUTH } = PACKET
const ACKS = [PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK, UNSUBACK]
const P = PROPERTY

const TABLE: readonly PropertyRow[] = [
  row(P.PAYLOAD_FORMAT_INDICATOR, 'payloadFormatIndicator', 'byte', 'bit', [PUBLISH, WILL]),
  row(P.MESSAGE_EXPIRY_INTERVAL, 'messageExpiryInterval', 'uint32', null, [PUBLISH, WILL]),
  row(P.CONTENT_TYPE, 'contentType', 'string', null, [PUBLISH, WILL]),
  row(P.RESPONSE_TOPIC, 'responseTopic', 'string', 'topic', [PUBLISH, WILL]),
  row(P.CORRELATION_DATA, 'correlationData', 'binary', null, [PUBLISH, WILL]),
  row(P.SUBSCRIPTION_IDENTIFIER, 'subscriptionIdentifier', 'varint', 'positive', [PUBLISH, SUBSCRIBE]),
  row(P.SESSION_EXPIRY_INTERVAL, 'sessionExpiryInterval', 'uint32', null, [CONNECT, CONNACK, DISCONNECT]),
  row(P.ASSIGNED_CLIENT_IDENTIFIER, 'assignedClientIdentifier', 'string', null, [CONNACK]),
  row(P.SERVER_KEEP_ALIVE, 'serverKeepAlive', 'uint16', null, [CONNACK]),
  row(P.AUTHENTICATION_METHOD, 'authenticationMethod', 'string', null, [CONNECT, CONNACK, AUTH]),
  row(P.AUTHENTICATION_DATA, 'authenticationData', 'binary', null, [CONNECT, CONNACK, AUTH]),
  row(P.REQUEST_PROBLEM_INFORMATION, 'requestProblemInformation', 'flag', 'bit', [CONNECT]),
  row(P.WILL_DELAY_INTERVAL, 'willDelayInterval', 'uint32', null, [WILL]),
  row(P.REQUEST_RESPONSE_INFORMATION, 'requestResponseInformation', 'flag', 'bit', [CONNECT]),
  row(P.RESPONSE_INFORMATION, 'responseInformation', 'string', null, [CONNACK]),
  row(P.SERVER_REFERENCE, 'serverReference', 'string', null, [CONNACK, DISCONNECT]),
  row(P.REASON_STRING, 'reasonString', 'string', null, [CONNACK, ...ACKS, DISCONNECT, AUTH]),
  row(P.RECEIVE_MAXIMUM, 'receiveMaximum', 'uint16', 'positive', [CONNECT, CONNACK]),
  row(P.TOPIC_ALIAS_MAXIMUM, 'topicAliasMaximum', 'uint16', null, [CONNECT, CONNACK]),
  row(P.TOPIC_ALIAS, 'topicAlias', 'uint16', 'alias', [PUBLISH]),
  row(P.MAXIMUM_QOS, 'maximumQoS', 'byte', 'bit', [CONNACK]),
  row(P.RETAIN_AVAILABLE, 'retainAvailable', 'flag', 'bit', [CONNACK]),
  row(P.MAXIMUM_PACKET_SIZE, 'maximumPacketSize', 'uint32', 'positive', [CONNECT, CONNACK]),
  row(P.WILDCARD_SUBSCRIPTION_AVAILABLE, 'wildcardSubscriptionAvailable', 'flag', 'bit', [CONNACK]),
  row(P.SUBSCRIPTION_IDENTIFIERS_AVAILABLE, 'subscriptionIdentifiersAvailable', 'flag', 'bit', [CONNACK]),
  row(P.SHARED_SUBSCRIPTION_AVAILABLE, 'sharedSubscriptionAvailable', 'flag', 'bit', [CONNACK]),
]

function row(id: number, name: string, wire: WireType, rule: Rule, packets: readonly number[]): PropertyRow {
  return { id, name, wire, rule, packets: packets.reduce((bits, type) => bits | (1 << type), 0) }
}

const BY_ID: ReadonlyMap<number, PropertyRow> = new Map(TABLE.map((entry) => [entry.id, entry]))

type Bag = Record<string, unknown>

/**
 * Reads a property length and the properties after it. `T` is the property type of that packet: the table holds only
 * what it declares.
 */
export function readProperties<T extends object>(reader: ByteReader, packetType: number): T {
  const bag: Bag = {}
  const length = reader.varint('property length')
  if (length > reader.left) reader.malformed('properties are longer than the packet')
  if (reader.failure !== 0) return bag as T
  const packetEnd = reader.end
  reader.end = reader.at + length
  while (reader.left > 0) readProperty(reader, packetType, bag)
  if (reader.failure === 0) reader.end = packetEnd
  return bag as T
}

function readProperty(reader: ByteReader, packetType: number, bag: Bag): void {
  const id = reader.byte('property identifier')
  if (id === PROPERTY.USER_PROPERTY) {
    const list = (bag.userProperties ??= []) as [string, string][]
    if (list.length >= USER_PROPERTIES_MAX && packetType !== PACKET.PUBLISH) {
      reader.fail(REASON.QUOTA_EXCEEDED, `more than ${USER_PROPERTIES_MAX} user properties in a packet`)
      return
    }
    list.push([reader.string('user property name'), reader.string('user property value')])
    return
  }
  const entry = BY_ID.get(id)
  if (entry === undefined || (entry.packets & (1 << packetType)) === 0) {
    reader.malformed(`property 0x${id.toString(16).padStart(2, '0')} does not belong to this packet`)
    return
  }
  const value = readValue(reader, entry)
  if (reader.failure !== 0) return
  if (id === PROPERTY.SUBSCRIPTION_IDENTIFIER && packetType === PACKET.PUBLISH) {
    const list = (bag.subscriptionIdentifiers ??= []) as unknown[]
    list.push(value)
  } else if (entry.name in bag) reader.fail(REASON.PROTOCOL_ERROR, `${entry.name} occurs twice`)
  else bag[entry.name] = value
}

function readValue(reader: ByteReader, { wire, name, rule }: PropertyRow): unknown {
  if (wire === 'string') {
    const text = reader.string(name)
    if (rule === 'topic' && reader.failure === 0 && !isValidTopicName(text)) {
      reader.malformed(`${name} is not a topic name`) // [MQTT-3.3.2-14]
    }
    return text
  }
  if (wire === 'binary') return reader.binary(name)
  const value = wire === 'flag' ? reader.byte(name) : reader[wire](name)
  if (reader.failure !== 0) return value
  if (rule === 'bit' && value > 1) reader.fail(REASON.PROTOCOL_ERROR, `${name} is ${value}: allowed are 0 and 1`)
  if (rule === 'positive' && value === 0) reader.fail(REASON.PROTOCOL_ERROR, `${name} is 0`)
  if (rule === 'alias' && value === 0) reader.fail(REASON.TOPIC_ALIAS_INVALID, `${name} is 0`)
  return wire === 'flag' ? value === 1 : value
}

/** Writes the property length and the properties, in the order of the table, user properties last. */
export function writeProperties(writer: ByteWriter, packetType: number, properties: object): void {
  const bag = properties as Bag
  const start = writer.at
  for (const entry of TABLE) {
    if ((entry.packets & (1 << packetType)) === 0) continue
    if (entry.id === PROPERTY.SUBSCRIPTION_IDENTIFIER && packetType === PACKET.PUBLISH) {
      for (const value of (bag.subscriptionIdentifiers ?? []) as number[]) writeProperty(writer, entry, value)
    } else if (bag[entry.name] !== undefined) writeProperty(writer, entry, bag[entry.name])
  }
  for (const [name, value] of (bag.userProperties ?? []) as [string, string][]) {
    writer.byte(PROPERTY.USER_PROPERTY)
    writer.string(name)
    writer.string(value)
  }
  writer.insertVarint(start, writer.at - start)
}

function writeProperty(writer: ByteWriter, { id, wire }: PropertyRow, value: unknown): void {
  writer.byte(id)
  if (wire === 'flag') writer.byte(value === true ? 1 : 0)
  else if (wire === 'string') writer.string(value as string)
  else if (wire === 'binary') writer.binary(value as Uint8Array)
  else writer[wire](value as number)
}
