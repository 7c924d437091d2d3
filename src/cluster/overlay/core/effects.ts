import type { HostId } from '../../../base/ids.ts'

export interface Now {
  /** Never goes back: for all that waits. */
  readonly monotonicMs: number
  /** Milliseconds since 1970: for hints only. */
  readonly wallMs: number
}

/** A write of this host. What {@link import('./overlay.ts').OverlayCore.refuses} objects to must not be given. */
export type Write =
  /** Joins an agent, or changes the metadata there. */
  | { type: 'join'; agent: string; metadata: Uint8Array }
  | { type: 'leave'; agent: string }
  | { type: 'set'; key: string; value: Uint8Array }
  | { type: 'delete'; key: string }
  | { type: 'set-hint'; key: string; value: Uint8Array; ttlMs: number }
  | { type: 'delete-hint'; key: string }

export type Input =
  /** Time went on: given whenever `deadlineMs()` is reached, or later. */
  | { type: 'tick' }
  /** The underlay sees this host, alive or suspect, in this life: another life replaces the one before. */
  | { type: 'host-up'; host: HostId; life: number }
  /** Dead or left. */
  | { type: 'host-down'; host: HostId }
  | { type: 'payload'; from: HostId; payload: Uint8Array }
  | Write

/** Why a write is not possible. */
export type Refusal = 'key' | 'value' | 'ttl' | 'full'

export interface Payload {
  to: HostId
  bytes: Uint8Array
}

export type EntryEvent =
  | { type: 'member-joined'; agent: string; host: HostId; metadata: Uint8Array }
  | { type: 'member-changed'; agent: string; host: HostId; metadata: Uint8Array }
  /** It left, or its host died, left or was started anew. */
  | { type: 'member-left'; agent: string; host: HostId }
  | { type: 'key-set'; key: string; host: HostId; value: Uint8Array }
  | { type: 'key-deleted'; key: string; host: HostId }

export type HintEvent =
  | { type: 'hint-set'; key: string; value: Uint8Array; by: HostId }
  /** Deleted, expired, or pushed out by the limit. */
  | { type: 'hint-deleted'; key: string }

export type OverlayEvent = EntryEvent | HintEvent

export interface Ready {
  payloads: Payload[]
  /** Our own writes too. */
  events: OverlayEvent[]
}
