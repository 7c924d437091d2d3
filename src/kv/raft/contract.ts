import type { ErrorCode } from '../../base/errors.ts'

/** One replica of the group: a positive integer, never used twice in a group, also not after a removal. */
export type ReplicaId = number

export type Role = 'follower' | 'pre-candidate' | 'candidate' | 'leader'

/** What must survive a crash besides the entries. */
export interface HardState {
  term: number
  vote: ReplicaId | null
  /**
   * Highest index known to be committed. It is only written along with something else, never for its own sake: an entry
   * that is on disk has with it the commit index that was known when it came, which safe configuration changes need.
   */
  commit: number
}

export interface Entry {
  index: number
  term: number
  type: 'command' | 'config' | 'empty'
  /** The host's bytes; of a `config` entry too. Owned by the log from the moment of proposing: never changed after. */
  data: Uint8Array
  /** Of a `config` entry; else null. */
  change: ConfigChange | null
}

/** Who belongs to the group. `outgoing` is empty unless the group is in a joint configuration. */
export interface ConfState {
  voters: readonly ReplicaId[]
  /** Voters before the joint change: while not empty, every decision needs a majority of both. */
  outgoing: readonly ReplicaId[]
  learners: readonly ReplicaId[]
  /** Voters of `outgoing` that become learners when the joint configuration is left. */
  learnersNext: readonly ReplicaId[]
  /** The leader leaves the joint configuration by itself. */
  autoLeave: boolean
}

export interface MemberChange {
  type: 'add-voter' | 'add-learner' | 'remove'
  id: ReplicaId
}

/**
 * A change of the configuration. More than one voter at a time goes through a joint configuration, which is left by
 * itself, or with `leave: 'explicit'` by a further change without members (which also forces the joint way).
 */
export interface ConfigChange {
  members: readonly MemberChange[]
  leave: 'auto' | 'explicit'
}

/** What a snapshot stands for: the state after the entry at `index`. Its data is the host's business. */
export interface SnapshotMeta {
  index: number
  term: number
  config: ConfState
}

/**
 * The log on this replica's disk, as far as writes were reported with `persisted` (it may show more). Reads answer at
 * once: the host holds recent entries in memory.
 */
export interface LogStorage {
  /** First index that {@link entries} can give; 1 more than the index that the log was compacted to. */
  firstIndex(): number
  /** Last index; `firstIndex() - 1` where there is none. */
  lastIndex(): number
  /** Known from `firstIndex() - 1` to `lastIndex()`; null elsewhere. */
  term(index: number): number | null
  /** Entries of [lo, hi), at least the first one, then up to `bytesMax`. Empty: not at hand, asked again later. */
  entries(lo: number, hi: number, bytesMax: number): Entry[]
  /** A snapshot that could be sent now, not older than `firstIndex() - 1`; null: none yet, asked again later. */
  snapshot(): SnapshotMeta | null
}

interface Envelope {
  from: ReplicaId
  to: ReplicaId
  /** Of the sender; for a pre-vote, the term that it would campaign in. */
  term: number
}

export interface AppendMessage extends Envelope {
  type: 'append'
  previousIndex: number
  previousTerm: number
  entries: readonly Entry[]
  commit: number
}

export interface AppendAnswer extends Envelope {
  type: 'append-answer'
  accepted: boolean
  /** Accepted: the log is the leader's up to here. Refused: `previousIndex` of what was refused. */
  index: number
  /** Refused: the last place where the logs may agree, and the term there; 0 = unknown. */
  hintIndex: number
  hintTerm: number
}

export interface HeartbeatMessage extends Envelope {
  type: 'heartbeat'
  commit: number
  /** Number of the read round that an answer confirms. */
  round: number
  /** Nothing is left to do: whoever has everything may sleep, and then does not answer. */
  quiesce: boolean
}

export interface HeartbeatAnswer extends Envelope {
  type: 'heartbeat-answer'
  round: number
}

/**
 * Both sides of a vote tell what they know to be committed. Else a group may be stuck after a removal: who knows of it
 * cannot lead any more, and who could lead asks by the old configuration, and lacks entries that are not committed.
 */
interface VoteEnvelope extends Envelope {
  commit: number
  /** Of the entry at `commit`. */
  commitTerm: number
}

export interface VoteRequest extends VoteEnvelope {
  type: 'vote-request'
  pre: boolean
  lastIndex: number
  lastTerm: number
  /** The leader itself asked for this campaign, so a voter that hears it may vote. */
  transfer: boolean
}

export interface VoteAnswer extends VoteEnvelope {
  type: 'vote-answer'
  pre: boolean
  granted: boolean
}

/** The host sends the data along, hands the message over when it has all of it, and the sender's host reports. */
export interface SnapshotMessage extends Envelope {
  type: 'snapshot'
  snapshot: SnapshotMeta
}

/** From the leader: campaign now. */
export interface TimeoutNow extends Envelope {
  type: 'timeout-now'
}

/** To the leader: show that you live. */
export interface WakeMessage extends Envelope {
  type: 'wake'
}

export type Message =
  | AppendMessage
  | AppendAnswer
  | HeartbeatMessage
  | HeartbeatAnswer
  | VoteRequest
  | VoteAnswer
  | SnapshotMessage
  | TimeoutNow
  | WakeMessage

/**
 * Everything handed out for writing up to write number `write` is on disk: entries up to `index`, whose term was `term`,
 * and the hard state of `hardTerm`. The host gives it back as it got it in {@link Ready.persisted}.
 */
export interface Persisted {
  type: 'persisted'
  write: number
  index: number
  term: number
  hardTerm: number
}

/** `context` is the host's number for a request; the outcome carries it. */
export type Input =
  | { type: 'tick' }
  | { type: 'message'; message: Message }
  | Persisted
  | { type: 'propose'; data: Uint8Array; context: number }
  | { type: 'change'; change: ConfigChange; data: Uint8Array; context: number }
  | { type: 'read'; context: number }
  | { type: 'transfer'; to: ReplicaId; context: number }
  /** Elect without waiting for the timeout: a group's first leader, or a split's child. */
  | { type: 'campaign' }
  /** The host of `id` may be dead: a connection was reset, or gossip suspects it. */
  | { type: 'suspect'; id: ReplicaId }
  /** Messages to `id` may have been lost. */
  | { type: 'unreachable'; id: ReplicaId }
  /** How the snapshot to `id` went. Owed for every `snapshot` message, else that replica gets nothing more. */
  | { type: 'snapshot-report'; id: ReplicaId; arrived: boolean }
  /** The entry at `index` is committed if it is of `term`: the host knows it from elsewhere. */
  | { type: 'committed'; index: number; term: number }
  /** While the host has leases out, the group does not sleep. */
  | { type: 'lease'; held: boolean }

export interface Accepted {
  context: number
  index: number
  term: number
}

export interface Refused {
  context: number
  /** NOT_LEADER, OVERLOADED, CONFLICT or INVALID_ARGUMENT. Nothing was appended. */
  code: ErrorCode
  message: string
}

export interface ReadGrant {
  context: number
  /** The read is linearizable on a replica that has applied this index. */
  index: number
}

export interface Leadership {
  role: Role
  term: number
  leader: ReplicaId | null
}

export interface AppliedConfig {
  index: number
  config: ConfState
}

/**
 * Pending effects, in the order in which the host performs them. Writes must reach the disk in the order of Readys; they
 * may share a sync, and be reported late, together or out of order.
 */
export interface Ready {
  /** Install this snapshot in place of the state and the whole log. */
  snapshot: SnapshotMeta | null
  /** Write to the log; what the log has from the first one's index on is replaced. */
  entries: readonly Entry[]
  hardState: HardState | null
  /** Give this back when the three above are on disk; null: nothing to write. A later one speaks for all before it. */
  persisted: Persisted | null
  /** Send at once: nothing here promises anything. May be lost. */
  messages: readonly Message[]
  /** Send when this Ready's writes, and all before them, are on disk; at once where there are none. May be lost. */
  afterPersist: readonly Message[]
  /** Apply in this order. Writes of their effects come after those above. */
  committed: readonly Entry[]
  /** The configuration after each `config` entry of `committed`: kept with the applied index. */
  configs: readonly AppliedConfig[]
  /** Requests that are in the log, not yet committed; an entry of another term at that index means that one is lost. */
  accepted: readonly Accepted[]
  refused: readonly Refused[]
  reads: readonly ReadGrant[]
  /** Null where nothing changed. */
  leadership: Leadership | null
  /** A bound was hit: call `ready` again soon. False where storage had no entries at hand: then when it has. */
  more: boolean
}

export type ProgressState = 'probe' | 'replicate' | 'snapshot'

export interface PeerStatus {
  id: ReplicaId
  state: ProgressState
  match: number
  next: number
  /** Of the snapshot that it is sent, in state snapshot; else 0. */
  snapshotIndex: number
  active: boolean
  /**
   * It denies what it once said to have on disk: its disk lost writes. Where that lasts it must be replaced, under a new
   * id. A late message may say so for a moment.
   */
  lost: boolean
}

export interface Status extends Leadership {
  id: ReplicaId
  commit: number
  /** Last index handed out in `committed`. */
  applied: number
  lastIndex: number
  /** Last index of this log that is on disk. */
  persisted: number
  config: ConfState
  quiescent: boolean
  transferTo: ReplicaId | null
}
