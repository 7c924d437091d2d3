import type { TenantSettings } from '../../plugin/index.ts'
import { type Connack, type Connect, type ProtocolVersion, REASON } from '../codec/index.ts'

/** Bytes of a packet where the client set no limit: the most that MQTT can say. */
const PACKET_BYTES_CEILING = 268_435_460
/** Most client ids are short; longer ones are refused rather than kept in keys. */
const CLIENT_ID_BYTES_MAX = 1024

/** What client and broker agreed on at CONNECT. */
export interface Agreement {
  version: ProtocolVersion
  clientId: string
  /** True where the broker made the client id up. */
  assigned: boolean
  cleanStart: boolean
  /** Seconds; 0 ends with the connection; 0xFFFFFFFF never. */
  expirySeconds: number
  /** Enforced keep-alive in seconds; 0 = none. */
  keepAliveSeconds: number
  /** Unacknowledged QoS 1 and 2 publishes that the client may have under way. */
  receiveMaximum: number
  clientReceiveMaximum: number
  /** Largest packet from the client. */
  packetBytesMax: number
  clientPacketBytesMax: number
  topicAliasMax: number
  clientTopicAliasMax: number
  /** True where reason strings and user properties may be sent with any packet [MQTT-3.1.2-29]. */
  problemInformation: boolean
  responseInformation: boolean
}

export type Negotiation =
  | { result: 'agreed'; agreement: Agreement }
  | { result: 'refused'; reasonCode: number; reason: string }

/** What the node brings to the agreement. */
export interface NegotiatingHost {
  /** Taken where the client sent none. */
  assignedClientId: string
  packetBytesMax: number
}

/** Judges a CONNECT by the tenant's settings. */
export function negotiate(connect: Connect, settings: TenantSettings, host: NegotiatingHost): Negotiation {
  const failure = refusal(connect, settings)
  if (failure !== null) return { result: 'refused', ...failure }
  const properties = connect.properties
  const five = connect.version === 5
  return {
    result: 'agreed',
    agreement: {
      version: connect.version,
      clientId: connect.clientId === '' ? host.assignedClientId : connect.clientId,
      assigned: connect.clientId === '',
      cleanStart: connect.cleanStart,
      expirySeconds: settings.forceTransient ? 0 : sessionExpiry(connect, settings),
      keepAliveSeconds: keepAlive(connect, settings),
      receiveMaximum: settings.receiveMaximum,
      clientReceiveMaximum: properties.receiveMaximum ?? 65_535,
      packetBytesMax: Math.min(settings.packetBytesMax, host.packetBytesMax),
      clientPacketBytesMax: properties.maximumPacketSize ?? PACKET_BYTES_CEILING,
      topicAliasMax: five ? settings.topicAliasMax : 0,
      clientTopicAliasMax: five ? Math.min(properties.topicAliasMaximum ?? 0, settings.topicAliasMax) : 0,
      problemInformation: properties.requestProblemInformation ?? true,
      responseInformation: properties.requestResponseInformation ?? false,
    },
  }
}

function refusal(connect: Connect, settings: TenantSettings): { reasonCode: number; reason: string } | null {
  const enabled = { 3: settings.mqtt31Enabled, 4: settings.mqtt311Enabled, 5: settings.mqtt5Enabled }
  if (!enabled[connect.version]) {
    return { reasonCode: REASON.UNSUPPORTED_PROTOCOL_VERSION, reason: 'This protocol version is not enabled' }
  }
  if (connect.clientId === '' && (connect.version === 3 || (connect.version === 4 && !connect.cleanStart))) {
    // [MQTT-3.1.3-8] of 3.1.1; 3.1 asks for 1 to 23 characters.
    return { reasonCode: REASON.CLIENT_IDENTIFIER_NOT_VALID, reason: 'A client id is needed to keep a session' }
  }
  if (Buffer.byteLength(connect.clientId) > CLIENT_ID_BYTES_MAX || connect.clientId.includes('\0')) {
    return { reasonCode: REASON.CLIENT_IDENTIFIER_NOT_VALID, reason: 'The client id is too long' }
  }
  const will = connect.will
  if (will === null) return null
  if (will.qos > settings.maximumQos) {
    return { reasonCode: REASON.QOS_NOT_SUPPORTED, reason: 'The QoS of the will is not supported' } // [MQTT-3.2.2-12]
  }
  if (will.retain && !settings.retainEnabled) {
    return { reasonCode: REASON.RETAIN_NOT_SUPPORTED, reason: 'A retained will is not supported' } // [MQTT-3.2.2-13]
  }
  if (will.payload.length > settings.willBytesMax) {
    return { reasonCode: REASON.PACKET_TOO_LARGE, reason: 'The will is too large' }
  }
  return null
}

function sessionExpiry(connect: Connect, settings: TenantSettings): number {
  const max = settings.sessionExpirySecondsMax
  if (connect.version === 5) return Math.min(connect.properties.sessionExpiryInterval ?? 0, max)
  return connect.cleanStart ? 0 : max
}

function keepAlive(connect: Connect, settings: TenantSettings): number {
  const asked = connect.keepAliveSeconds
  if (connect.version < 5) return asked
  if (settings.serverKeepAliveSeconds > 0) return settings.serverKeepAliveSeconds
  if (asked !== 0 && asked < settings.keepAliveSecondsMin) return settings.keepAliveSecondsMin
  if (settings.keepAliveSecondsMax > 0 && (asked === 0 || asked > settings.keepAliveSecondsMax)) {
    return settings.keepAliveSecondsMax
  }
  return asked
}

/** The CONNACK of an accepted CONNECT: for version 5 every value that differs from what the client may assume. */
export function connack(
  connect: Connect,
  agreement: Agreement,
  settings: TenantSettings,
  answer: { sessionPresent: boolean; responseInformation: string | null; authenticationData: Uint8Array | null },
): Connack {
  const packet: Connack = {
    type: 'connack',
    sessionPresent: answer.sessionPresent,
    reasonCode: REASON.SUCCESS,
    properties: {},
  }
  if (agreement.version < 5) return packet
  const properties = packet.properties
  if (agreement.expirySeconds !== (connect.properties.sessionExpiryInterval ?? 0)) {
    properties.sessionExpiryInterval = agreement.expirySeconds
  }
  if (agreement.receiveMaximum < 65_535) properties.receiveMaximum = agreement.receiveMaximum
  if (settings.maximumQos < 2) properties.maximumQoS = settings.maximumQos
  if (!settings.retainEnabled) properties.retainAvailable = false
  properties.maximumPacketSize = agreement.packetBytesMax
  if (agreement.assigned) properties.assignedClientIdentifier = agreement.clientId
  if (agreement.topicAliasMax > 0) properties.topicAliasMaximum = agreement.topicAliasMax
  if (!settings.wildcardSubscriptionEnabled) properties.wildcardSubscriptionAvailable = false
  if (!settings.subscriptionIdentifierEnabled) properties.subscriptionIdentifiersAvailable = false
  if (!settings.sharedSubscriptionEnabled) properties.sharedSubscriptionAvailable = false
  if (agreement.keepAliveSeconds !== connect.keepAliveSeconds) properties.serverKeepAlive = agreement.keepAliveSeconds
  if (agreement.responseInformation && answer.responseInformation !== null) {
    properties.responseInformation = answer.responseInformation
  }
  if (connect.properties.authenticationMethod !== undefined) {
    properties.authenticationMethod = connect.properties.authenticationMethod
    if (answer.authenticationData !== null) properties.authenticationData = Buffer.from(answer.authenticationData)
  }
  return packet
}

/** Milliseconds without a packet after which the client counts as gone: one and a half times [MQTT-3.1.2-22]. */
export function keepAliveTimeoutMs(keepAliveSeconds: number): number {
  return keepAliveSeconds === 0 ? Number.POSITIVE_INFINITY : keepAliveSeconds * 1500
}
