import type { HostId } from '../../../base/ids.ts'
import type { Address, ClusterId, HostView, Metadata } from './host.ts'

/** Inputs of a running host that mean the same to the protocol and to the whole underlay. */
export type Command =
  /** Time went on: given whenever `deadline()` is reached, or later. */
  | { type: 'tick' }
  /** How late the event loop is now, as the host measured: what a late step showed already does not count again. */
  | { type: 'lag'; lagMs: number }
  /** Our own address or metadata changed; what is left out stays. */
  | { type: 'update'; address?: Address; metadata?: Metadata }
  /** Another layer lost its way to this host: it is probed next. */
  | { type: 'doubt'; host: HostId }
  /** For the layer above of that host; lost where the host is not reachable. At most 65,535 bytes. */
  | { type: 'send'; to: HostId; payload: Uint8Array }
  /** `forever`: the host leaves, and is not asked again. Else it pauses, and the others expect it back. */
  | { type: 'leave'; forever: boolean }

/** One datagram. */
export interface Datagram {
  to: Address
  bytes: Uint8Array
}

/**
 * One exchange over TCP: connect, send this frame, wait for one frame and give it back as `exchanged`, with null where
 * that failed or took longer. Where no answer is wanted, close after sending, and give nothing back.
 */
export interface Exchange {
  exchange: number
  to: Address
  bytes: Uint8Array
  answered: boolean
  timeoutMs: number
}

/** The answer to a frame that came over TCP; null: there is none, close. */
export interface Answer {
  request: number
  bytes: Uint8Array | null
}

export type HostEvent =
  /** Seen for the first time. */
  | { type: 'joined'; host: HostView }
  /** Alive again, after it was suspect, dead or left. */
  | { type: 'alive'; host: HostView; previous: HostView }
  | { type: 'suspect'; host: HostView; by: HostId }
  /** `by` itself: it pauses. */
  | { type: 'dead'; host: HostView; by: HostId }
  | { type: 'left'; host: HostView }
  /** Another process runs under this id; comes before `alive`, where both hold. */
  | { type: 'restarted'; host: HostView; previous: HostView }
  /** Its address or its metadata. */
  | { type: 'changed'; host: HostView; previous: HostView }
  /** Dead or left for so long that it is not remembered any more. */
  | { type: 'forgotten'; host: HostView }

/** Another running process has our id. The later one is refused, and is silent from now on. */
export interface DuplicateId {
  type: 'duplicate-id'
  address: Address
  refused: boolean
}

export type SwimEvent =
  | HostEvent
  | DuplicateId
  | { type: 'payload'; from: HostId; payload: Uint8Array }
  /** We were accused, and said otherwise under this incarnation. */
  | { type: 'refuted'; incarnation: number; by: HostId }
  /** A step came later than announced: nobody was blamed for that time. */
  | { type: 'stalled'; lateMs: number }
  /** After `leave`: everybody who could be told was. The machine is silent from now on. */
  | { type: 'departed' }

export type FormingEvent =
  | DuplicateId
  /** Why there is no cluster yet; again every 10 s. `sees` counts hosts without a cluster, with this one. */
  | { type: 'waiting'; reason: 'listening' | 'expecting' | 'seeds-silent'; sees: number; expect: number }
  /** This host founded the cluster. */
  | { type: 'formed'; clusterId: ClusterId; formedAtMs: number }
  /** This host found its cluster. */
  | { type: 'adopted'; clusterId: ClusterId; contact: Address }
  /**
   * A cluster of our name is there, and ours is fresh: wipe what was founded, and answer with `dissolved`; meanwhile the
   * machine is silent.
   */
  | { type: 'dissolve'; clusterId: ClusterId; into: ClusterId; contact: Address }
  /** Two clusters of one name: both stay as they are. Again once a minute. */
  | { type: 'refused-cluster'; clusterId: ClusterId; address: Address }

export type UnderlayEvent = SwimEvent | FormingEvent
