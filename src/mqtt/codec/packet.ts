/**
 * Every MQTT control packet as a plain value, for all that is not on the hot path: CONNECT, SUBSCRIBE and the like,
 * tests, tools, and the client side.
 *
 * Names are the specification's, in camel case. A decoded packet owns its bytes. Reason codes are those of version 5
 * in every version: 3.x return codes exist on the wire only.
 */
import type { QoS } from '../../base/message.ts'
import type { ProtocolVersion } from './packet-type.ts'

export type UserProperties = [name: string, value: string][]

interface WithUserProperties {
  userProperties?: UserProperties
}

interface WithReasonString extends WithUserProperties {
  reasonString?: string
}

interface WithAuthentication {
  authenticationMethod?: string
  authenticationData?: Buffer
}

/** What travels with an application message. */
interface MessageProperties extends WithUserProperties {
  payloadFormatIndicator?: number
  /** Seconds. */
  messageExpiryInterval?: number
  contentType?: string
  responseTopic?: string
  correlationData?: Buffer
}

export interface ConnectProperties extends WithUserProperties, WithAuthentication {
  /** Seconds; 0xFFFFFFFF never expires. */
  sessionExpiryInterval?: number
  receiveMaximum?: number
  /** Bytes of a whole packet. */
  maximumPacketSize?: number
  topicAliasMaximum?: number
  requestResponseInformation?: boolean
  requestProblemInformation?: boolean
}

export interface WillProperties extends MessageProperties {
  /** Seconds. */
  willDelayInterval?: number
}

export interface Will {
  topic: string
  payload: Buffer
  qos: QoS
  retain: boolean
  properties: WillProperties
  /**
   * What of `properties` goes on to subscribers, as the bytes that arrived: see `stripProperties`. Filled by the
   * decoder; the encoder writes `properties` and does not look here.
   */
  rawProperties: Uint8Array
}

export interface Connect {
  type: 'connect'
  version: ProtocolVersion
  clientId: string
  /** Clean session in 3.x. */
  cleanStart: boolean
  keepAliveSeconds: number
  username: string | null
  password: Buffer | null
  will: Will | null
  properties: ConnectProperties
}

export interface ConnackProperties extends WithReasonString, WithAuthentication {
  sessionExpiryInterval?: number
  receiveMaximum?: number
  /** 0 or 1; absent means 2. */
  maximumQoS?: number
  retainAvailable?: boolean
  maximumPacketSize?: number
  assignedClientIdentifier?: string
  topicAliasMaximum?: number
  wildcardSubscriptionAvailable?: boolean
  subscriptionIdentifiersAvailable?: boolean
  sharedSubscriptionAvailable?: boolean
  /** Seconds. */
  serverKeepAlive?: number
  responseInformation?: string
  serverReference?: string
}

export interface Connack {
  type: 'connack'
  sessionPresent: boolean
  reasonCode: number
  properties: ConnackProperties
}

export interface PublishProperties extends MessageProperties {
  topicAlias?: number
  /** From the server only; one for each subscription that matched. */
  subscriptionIdentifiers?: number[]
}

export interface Publish {
  type: 'publish'
  /** Empty where the topic alias stands for it. */
  topic: string
  payload: Buffer
  qos: QoS
  retain: boolean
  dup: boolean
  /** 0 where QoS is 0. */
  packetId: number
  properties: PublishProperties
}

export interface Ack {
  type: 'puback' | 'pubrec' | 'pubrel' | 'pubcomp'
  packetId: number
  reasonCode: number
  properties: WithReasonString
}

export interface SubscribeProperties extends WithUserProperties {
  subscriptionIdentifier?: number
}

export interface Subscription {
  filter: string
  qos: QoS
  noLocal: boolean
  retainAsPublished: boolean
  /** 0: send retained messages; 1: only for a new subscription; 2: never. */
  retainHandling: number
}

export interface Subscribe {
  type: 'subscribe'
  packetId: number
  subscriptions: Subscription[]
  properties: SubscribeProperties
}

export interface Suback {
  type: 'suback'
  packetId: number
  reasonCodes: number[]
  properties: WithReasonString
}

export interface Unsubscribe {
  type: 'unsubscribe'
  packetId: number
  filters: string[]
  properties: WithUserProperties
}

export interface Unsuback {
  type: 'unsuback'
  packetId: number
  /** Empty in 3.x, whose UNSUBACK carries none. */
  reasonCodes: number[]
  properties: WithReasonString
}

export interface Ping {
  type: 'pingreq' | 'pingresp'
}

export interface DisconnectProperties extends WithReasonString {
  /** From the client only. */
  sessionExpiryInterval?: number
  /** From the server only. */
  serverReference?: string
}

export interface Disconnect {
  type: 'disconnect'
  reasonCode: number
  properties: DisconnectProperties
}

export interface AuthProperties extends WithReasonString, WithAuthentication {}

export interface Auth {
  type: 'auth'
  reasonCode: number
  properties: AuthProperties
}

export type Packet =
  | Connect
  | Connack
  | Publish
  | Ack
  | Subscribe
  | Suback
  | Unsubscribe
  | Unsuback
  | Ping
  | Disconnect
  | Auth

/** Why a packet was refused. The connection closes after it; `message` is for logs and the reason string. */
export interface DecodeError {
  type: 'error'
  reasonCode: number
  message: string
  /**
   * For a refused CONNECT: the version in which a CONNACK with `reasonCode` is to be sent before the close; 0 where the
   * close must be silent. Always 0 for other packets.
   */
  connackVersion: ProtocolVersion | 0
}
