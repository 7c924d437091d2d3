/** What the layers above see of the overlay. Everything here is a hint and answers at once. Bytes that are given are not changed. */

import type { HostId } from '../../base/ids.ts'
import type { Metadata } from '../underlay/index.ts'

/** A host that takes part in an agent. */
export interface AgentMember {
  readonly host: HostId
  readonly metadata: Metadata
}

export type AgentEvent =
  | { type: 'joined'; member: AgentMember }
  | { type: 'changed'; member: AgentMember }
  /** It left, or its host died, left or was started anew. */
  | { type: 'left'; host: HostId }

/** A named group of hosts; each is in it once. */
export interface Agent {
  readonly name: string
  /** This host takes part from now on, or with other metadata: at most 16 KiB. */
  join(metadata: Metadata): void
  /** Replaces the metadata of this host, which has joined. */
  update(metadata: Metadata): void
  leave(): void
  readonly joined: boolean
  /** By host, this one among them if it has joined. The same array until something changes. */
  members(): readonly AgentMember[]
  /** Each change, after `members()` shows it. The returned function ends it. A watcher must not throw. */
  watch(watcher: (event: AgentEvent) => void): () => void
}

export interface KeyEntry {
  readonly host: HostId
  readonly key: string
  readonly value: Uint8Array
}

export type KeyEvent =
  | ({ type: 'set' } & KeyEntry)
  /** Deleted, or its host died, left or was started anew. */
  | { type: 'deleted'; host: HostId; key: string }

/** What each host says under keys of its own. Gone with the host; said again by whoever is started anew. */
export interface Keys {
  /** Keys up to 256 bytes, values up to 16 KiB, which are copied; all of one host up to 1 MiB and 8,192 keys. */
  set(key: string, value: Uint8Array): void
  delete(key: string): void
  /** What that host says; null: nothing. */
  get(host: HostId, key: string): Uint8Array | null
  entries(prefix: string): KeyEntry[]
  /** Each change of keys that begin so, of this host too. The returned function ends it. A watcher must not throw. */
  watch(prefix: string, watcher: (event: KeyEvent) => void): () => void
}

export type HintEvent =
  | { type: 'set'; key: string; value: Uint8Array; by: HostId }
  /** Deleted, or its time is over. */
  | { type: 'deleted'; key: string }

/** What all hosts write: the last writer wins, by hybrid logical clock. */
export interface Hints {
  /** Keys up to 256 bytes, values up to 1 KiB; over after `ttlMs`, an hour at most: set it again where it is to last. */
  set(key: string, value: Uint8Array, ttlMs: number): void
  delete(key: string): void
  get(key: string): Uint8Array | null
  entries(prefix: string): { key: string; value: Uint8Array }[]
  watch(prefix: string, watcher: (event: HintEvent) => void): () => void
}
