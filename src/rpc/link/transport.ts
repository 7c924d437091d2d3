import type { HostId } from '../../base/ids.ts'
import type { LinkKind } from '../contract.ts'

/** A connection, as its link writes to it. Order is kept; nothing else is promised. */
export interface Wire {
  /** The bytes may be overwritten once the connection is closed. */
  write(bytes: Buffer): void
  /** What was written before is sent if that is possible at once. Nothing is called after it. */
  close(): void
}

/** What a connection tells its link. Nothing is called before the call that gave the wire returns. */
export interface WireEvents {
  packet(bytes: Buffer): void
  closed(reason: string): void
}

export interface DialEvents extends WireEvents {
  connected(): void
}

export interface DialTarget {
  node: HostId
  address: string
  kind: LinkKind
}

/** How links reach other processes: gRPC in production. */
export interface LinkTransport {
  dial(target: DialTarget, events: DialEvents): Wire
}

/** Takes connections that came in. */
export type AcceptWire = (wire: Wire) => WireEvents
