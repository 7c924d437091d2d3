import { assert } from '../../base/assert.ts'
import type { Random } from '../../base/clock.ts'
import type { ConfState, HardState, LogStorage, ReplicaId } from './contract.ts'

/** A tick is the host's unit of time; the figures below are meant for 100 ms. */
export interface RaftLimits {
  /** Shortest election timeout, in ticks; the timeout is drawn anew from [electionTicks, 2 * electionTicks). */
  electionTicks: number
  heartbeatTicks: number
  /** Election timeout once the leader's host is suspected, in ticks: from min to max. */
  suspectTicksMin: number
  suspectTicksMax: number
  /** The group sleeps after that many ticks without a request; 0 = never. */
  quiesceTicks: number
  /** Of entries in one append. One entry always fits. */
  appendBytesMax: number
  /** Appends under way to one replica, before its first answer. */
  inflightCountMax: number
  inflightBytesMax: number
  /** Of a leader's own entries that are not committed, or not on its disk; beyond it proposals are refused. */
  uncommittedBytesMax: number
  /** Of entries in one Ready's `committed`. */
  committedBytesMax: number
  /** Reads that wait for a majority; beyond it they are refused. */
  readsMax: number
}

export const RAFT_LIMITS: RaftLimits = {
  electionTicks: 20,
  heartbeatTicks: 3,
  suspectTicksMin: 1,
  suspectTicksMax: 5,
  quiesceTicks: 50,
  appendBytesMax: 1 << 20,
  inflightCountMax: 64,
  inflightBytesMax: 8 << 20,
  uncommittedBytesMax: 16 << 20,
  committedBytesMax: 4 << 20,
  readsMax: 10_000,
}

export interface RaftOptions {
  id: ReplicaId
  storage: LogStorage
  random: Random
  /** As last written; a new replica has `{ term: 0, vote: null, commit: 0 }`. */
  hardState: HardState
  /** The last index whose effects are in the host's state. */
  applied: number
  /**
   * As of `applied`. A group begins with a state at an index above 0, which its first members hold; whoever joins later
   * begins at 0 with {@link NO_CONFIG}, and so is sent a snapshot before entries that change what it does not know.
   */
  config: ConfState
  /**
   * Where this replica was emptied for a snapshot that has not come to its end: that snapshot's place. It begins with an
   * empty log, {@link NO_CONFIG} and its last hard state, with commit 0. Its old entries counted once, perhaps against a
   * candidate of a configuration long gone; so it votes as if its log ended there, and takes no older snapshot.
   */
  emptiedFor?: { index: number; term: number } | null
  limits?: Partial<RaftLimits>
}

export const NO_CONFIG: ConfState = { voters: [], outgoing: [], learners: [], learnersNext: [], autoLeave: false }

/** The limits in force. A mistake here is the composition's own, so it stops the process. */
export function checkedLimits(options: RaftOptions): RaftLimits {
  const limits = { ...RAFT_LIMITS, ...options.limits }
  for (const [name, value] of Object.entries(limits)) {
    const least = name === 'quiesceTicks' ? 0 : 1
    assert(Number.isInteger(value) && value >= least, `Raft limit ${name}=${value} must be an integer >= ${least}`)
  }
  assert(limits.heartbeatTicks < limits.electionTicks, 'Heartbeats must be faster than elections')
  assert(limits.suspectTicksMin <= limits.suspectTicksMax, 'suspectTicksMin must not be above suspectTicksMax')
  assert(options.id > 0 && Number.isInteger(options.id), `Replica id ${options.id} must be a positive integer`)
  assert(options.config.voters.length === 0 || options.applied > 0, 'A group begins with a state at an index above 0')
  return limits
}
