import type { HostId } from '../../../base/ids.ts'
import type { Entry } from './entries.ts'
import type { Hint } from './hint-map.ts'

export type Message = Digest | Delta | HintSums | HintPush

/** How far a host knows the entries of another, in one of its lives. */
export interface Position {
  /** Names the host and the life: see markOf() in replica.ts. */
  readonly mark: number
  /** All entries up to this version are known, or have been overwritten. */
  readonly version: number
  /** While all entries are read anew: deletions up to here are contained; 0: nothing is read anew. */
  readonly resetTo: number
}

/** What the sender knows. Who knows less of a host asks for it, who knows more sends it. */
export interface Digest {
  type: 'digest'
  /** The answer may be a digest: of what the receiver wants to have. */
  asks: boolean
  positions: readonly Position[]
  /** Sum over all hints; null: not compared. */
  hints: readonly [number, number] | null
}

/** Entries of one host, in the order of their versions. Only its owner makes versions; all others pass them on. */
export interface Delta {
  type: 'delta'
  host: HostId
  life: number
  /** Exclusive: the receiver must know all up to here; 0: all entries of the host follow. */
  from: number
  /** What comes up to here is complete; more where this is below `last`. */
  to: number
  /** The sender's own position. */
  last: number
  /** Deletions up to here are not remembered any more. */
  forgotten: number
  entries: readonly Entry[]
}

/** Sums over the hints of each bucket, since the sums over all differ. */
export interface HintSums {
  type: 'hint-sums'
  sums: Uint32Array
}

export interface HintPush {
  type: 'hints'
  /** Told unasked: pass them on. Else they came from a comparison, and others will find them so. */
  news: boolean
  /** There was more than one answer holds: compare again. */
  more: boolean
  /** Of these buckets all that the sender has follows: please send what it lacks. */
  buckets: readonly number[]
  hints: readonly Hint[]
}
