/**
 * Every reason code of MQTT 5.0, by name, with the packets that may carry it and the side that may send it.
 *
 * One vocabulary for all versions: the rest of the broker speaks version 5 reason codes, and 3.x return codes exist
 * only on the wire, through the two tables at the end.
 *
 * Source: MQTT 5.0 section 2.4 and the tables of 3.2.2.2, 3.4.2.1, 3.6.2.1, 3.9.3, 3.11.3, 3.14.2.1, 3.15.2.1.
 */
import { PACKET } from './packet-type.ts'

export const REASON = {
  /** Also: normal disconnection, granted QoS 0. */
  SUCCESS: 0x00,
  GRANTED_QOS_1: 0x01,
  GRANTED_QOS_2: 0x02,
  DISCONNECT_WITH_WILL: 0x04,
  NO_MATCHING_SUBSCRIBERS: 0x10,
  NO_SUBSCRIPTION_EXISTED: 0x11,
  CONTINUE_AUTHENTICATION: 0x18,
  REAUTHENTICATE: 0x19,
  UNSPECIFIED_ERROR: 0x80,
  MALFORMED_PACKET: 0x81,
  PROTOCOL_ERROR: 0x82,
  IMPLEMENTATION_SPECIFIC_ERROR: 0x83,
  UNSUPPORTED_PROTOCOL_VERSION: 0x84,
  CLIENT_IDENTIFIER_NOT_VALID: 0x85,
  BAD_USER_NAME_OR_PASSWORD: 0x86,
  NOT_AUTHORIZED: 0x87,
  SERVER_UNAVAILABLE: 0x88,
  SERVER_BUSY: 0x89,
  BANNED: 0x8a,
  SERVER_SHUTTING_DOWN: 0x8b,
  BAD_AUTHENTICATION_METHOD: 0x8c,
  KEEP_ALIVE_TIMEOUT: 0x8d,
  SESSION_TAKEN_OVER: 0x8e,
  TOPIC_FILTER_INVALID: 0x8f,
  TOPIC_NAME_INVALID: 0x90,
  PACKET_IDENTIFIER_IN_USE: 0x91,
  PACKET_IDENTIFIER_NOT_FOUND: 0x92,
  RECEIVE_MAXIMUM_EXCEEDED: 0x93,
  TOPIC_ALIAS_INVALID: 0x94,
  PACKET_TOO_LARGE: 0x95,
  MESSAGE_RATE_TOO_HIGH: 0x96,
  QUOTA_EXCEEDED: 0x97,
  ADMINISTRATIVE_ACTION: 0x98,
  PAYLOAD_FORMAT_INVALID: 0x99,
  RETAIN_NOT_SUPPORTED: 0x9a,
  QOS_NOT_SUPPORTED: 0x9b,
  USE_ANOTHER_SERVER: 0x9c,
  SERVER_MOVED: 0x9d,
  SHARED_SUBSCRIPTIONS_NOT_SUPPORTED: 0x9e,
  CONNECTION_RATE_EXCEEDED: 0x9f,
  MAXIMUM_CONNECT_TIME: 0xa0,
  SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED: 0xa1,
  WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED: 0xa2,
} as const

export type ReasonCode = (typeof REASON)[keyof typeof REASON]

const NAMES: ReadonlyMap<number, string> = new Map(
  Object.entries(REASON).map(([name, code]) => [code, name.toLowerCase().replaceAll('_', ' ')]),
)

/** The name of a reason code in words, such as `session taken over`. */
export function reasonName(code: number): string {
  return NAMES.get(code) ?? `0x${code.toString(16).padStart(2, '0')}`
}

const CLIENT = 1
const SERVER = 2
const BOTH = CLIENT | SERVER

const CONNACK_CODES = [
  ...[0x00, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x8c],
  ...[0x90, 0x95, 0x97, 0x99, 0x9a, 0x9b, 0x9c, 0x9d, 0x9f],
]
const PUBLISH_ACK_CODES = [0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99]
const SUBACK_CODES = [0x00, 0x01, 0x02, 0x80, 0x83, 0x87, 0x8f, 0x91, 0x97, 0x9e, 0xa1, 0xa2]
const UNSUBACK_CODES = [0x00, 0x11, 0x80, 0x83, 0x87, 0x8f, 0x91]
const DISCONNECT_CODES_BOTH = [...[0x00, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99]]
const DISCONNECT_CODES_SERVER = [
  ...[0x87, 0x89, 0x8b, 0x8d, 0x8e, 0x8f, 0x9a, 0x9b, 0x9c, 0x9d, 0x9e, 0x9f, 0xa0, 0xa1, 0xa2],
]

/** For each packet type 256 bytes: which side may send this code in it. */
const SENDERS: readonly Uint8Array[] = Array.from({ length: 16 }, () => new Uint8Array(256))

function permit(type: number, codes: readonly number[], senders: number): void {
  for (const code of codes) SENDERS[type]![code] = senders
}

permit(PACKET.CONNACK, CONNACK_CODES, SERVER)
permit(PACKET.PUBACK, PUBLISH_ACK_CODES, BOTH)
permit(PACKET.PUBREC, PUBLISH_ACK_CODES, BOTH)
permit(PACKET.PUBREL, [0x00, 0x92], BOTH)
permit(PACKET.PUBCOMP, [0x00, 0x92], BOTH)
permit(PACKET.SUBACK, SUBACK_CODES, SERVER)
permit(PACKET.UNSUBACK, UNSUBACK_CODES, SERVER)
permit(PACKET.DISCONNECT, DISCONNECT_CODES_BOTH, BOTH)
permit(PACKET.DISCONNECT, [REASON.DISCONNECT_WITH_WILL], CLIENT)
permit(PACKET.DISCONNECT, DISCONNECT_CODES_SERVER, SERVER)
permit(PACKET.AUTH, [REASON.SUCCESS], SERVER)
permit(PACKET.AUTH, [REASON.CONTINUE_AUTHENTICATION], BOTH)
permit(PACKET.AUTH, [REASON.REAUTHENTICATE], CLIENT)

/** True when a version 5 packet of this type, sent by that side, may carry `code` [MQTT-3.4.2-1] and its siblings. */
export function isReasonAllowed(type: number, code: number, fromServer: boolean): boolean {
  return (SENDERS[type]![code]! & (fromServer ? SERVER : CLIENT)) !== 0
}

/** 3.x CONNACK return codes by version 5 reason code (MQTT 3.1.1 table 3.1); what is absent closes in silence. */
const RETURN_CODES: ReadonlyMap<number, number> = new Map([
  [REASON.SUCCESS, 0],
  [REASON.UNSUPPORTED_PROTOCOL_VERSION, 1],
  [REASON.CLIENT_IDENTIFIER_NOT_VALID, 2],
  [REASON.UNSPECIFIED_ERROR, 3],
  [REASON.IMPLEMENTATION_SPECIFIC_ERROR, 3],
  [REASON.SERVER_UNAVAILABLE, 3],
  [REASON.SERVER_BUSY, 3],
  [REASON.SERVER_SHUTTING_DOWN, 3],
  [REASON.QUOTA_EXCEEDED, 3],
  [REASON.USE_ANOTHER_SERVER, 3],
  [REASON.SERVER_MOVED, 3],
  [REASON.CONNECTION_RATE_EXCEEDED, 3],
  [REASON.BAD_USER_NAME_OR_PASSWORD, 4],
  [REASON.NOT_AUTHORIZED, 5],
  [REASON.BANNED, 5],
  [REASON.BAD_AUTHENTICATION_METHOD, 5],
  [REASON.TOPIC_NAME_INVALID, 5],
  [REASON.RETAIN_NOT_SUPPORTED, 5],
  [REASON.QOS_NOT_SUPPORTED, 5],
])

/**
 * The 3.x CONNACK return code for a version 5 reason code; null when a 3.x client is closed without a CONNACK, as for
 * a malformed CONNECT [MQTT-3.1.4-1 of 3.1.1].
 */
export function connackReturnCode(reasonCode: number): number | null {
  return RETURN_CODES.get(reasonCode) ?? null
}

const REASONS_BY_RETURN_CODE: readonly number[] = [
  REASON.SUCCESS,
  REASON.UNSUPPORTED_PROTOCOL_VERSION,
  REASON.CLIENT_IDENTIFIER_NOT_VALID,
  REASON.SERVER_UNAVAILABLE,
  REASON.BAD_USER_NAME_OR_PASSWORD,
  REASON.NOT_AUTHORIZED,
]

/** The version 5 reason code for a 3.x CONNACK return code; null for a reserved one. */
export function reasonOfReturnCode(returnCode: number): number | null {
  return REASONS_BY_RETURN_CODE[returnCode] ?? null
}
