import type { HostId } from '../../../base/ids.ts'
import type { Address, ClusterId, HostRecord, HostState } from './host.ts'

/** What hosts say to each other, over UDP and TCP alike. */
export type Message =
  | Ping
  | PingRequest
  | Ack
  | Nack
  | Alive
  | Accusation
  | Left
  | PushPull
  | StateMessage
  | Hello
  | Payload

export interface Ping {
  type: 'ping'
  seq: number
  /** Only this host answers; empty: whoever is there. */
  target: HostId | ''
}

/** Please ping the target for me. */
export interface PingRequest {
  type: 'ping-req'
  seq: number
  target: HostId
  address: Address
}

export interface Ack {
  type: 'ack'
  seq: number
  /** Who is alive: the target, also where a helper passes the ack on. */
  id: HostId
}

/** From a helper: I am well, and the target did not answer me. */
export interface Nack {
  type: 'nack'
  seq: number
}

export interface Alive {
  type: 'alive'
  record: HostRecord
}

export interface Accusation {
  type: 'suspect' | 'dead'
  id: HostId
  incarnation: number
  /** Who says so. A host that says `dead` of itself pauses: it will be back. */
  by: HostId
}

/** Said by the host itself: it leaves for ever. */
export interface Left {
  type: 'left'
  id: HostId
  incarnation: number
}

/** Begins an exchange of views over TCP; the `state` messages follow, the sender's own among them. */
export interface PushPull {
  type: 'push-pull'
}

export interface StateMessage {
  type: 'state'
  record: HostRecord
  state: HostState
  incarnation: number
  /** How long the host has been in this state. */
  ageSeconds: number
}

/** How hosts without a cluster find one, and clusters of one name each other: see forming.ts. */
export interface Hello {
  type: 'hello'
  address: Address
  /** Rises with each hello of this life. */
  seq: number
  /** Last `seq` heard from the receiver; 0 = none. */
  echo: number
  /** Who should found, by what the sender sees; empty: nobody may. */
  supports: HostId | ''
  /** `cluster.expect`; 0 = not set: the sender never founds. */
  expect: number
  /** Hosts without a cluster that the sender sees, with itself, and a digest of their ids. */
  sees: number
  digest: number
  /** Of the sender's cluster, ms since 1970; 0 = none. */
  formedAtMs: number
  /** The sender's cluster never had another member nor user data. */
  fresh: boolean
  /** Please answer. */
  asks: boolean
  /** Some other hosts without a cluster; at most {@link KNOWN_MAX}. */
  known: readonly Address[]
}

/** For the layer above: the overlay's digests and deltas. */
export interface Payload {
  type: 'payload'
  bytes: Uint8Array
}

export const KNOWN_MAX = 16
/** Messages, and payloads in them: their length is 16 bits. A larger one is our mistake, and asserted. */
export const MESSAGE_BYTES_MAX = 65_535
/** Up to here a payload travels in one datagram, whatever the names' lengths; above, in a TCP connection of its own. */
export const PAYLOAD_DATAGRAM_BYTES = 1_150

/** On every packet. */
export interface Header {
  clusterName: string
  /** Empty while the sender has no cluster. */
  clusterId: ClusterId | ''
  sender: HostId
  life: number
}

export interface Packet extends Header {
  messages: Message[]
  /** Messages of types that a later version has: skipped. */
  unknown: number
}
