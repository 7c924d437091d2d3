import type { Message, QoS } from '../../base/message.ts'
import type { SubscriptionOptions } from '../../dist/index.ts'
import type {
  Dedup,
  FeedEntry,
  InboxHead,
  InboxLimits,
  InboxSubscription,
  InsertResult,
  PublishNumber,
  SubscribeOutcome,
  Will,
} from '../contract.ts'
import type { TimerKind } from './schema.ts'

/**
 * What goes through the log. `key` is the inbox's start (see `schema.ts`): the command is routed by it. Every command
 * may be applied twice: by content, or because a number says so.
 */
export type Command =
  | AttachCommand
  | DetachCommand
  | { type: 'remove'; key: Uint8Array; incarnation: number | null }
  | (Fenced & { type: 'subscribe'; subscriptions: readonly InboxSubscription[] })
  | (Fenced & { type: 'confirm'; filters: readonly string[] })
  | (Fenced & { type: 'unsubscribe'; filters: readonly string[] })
  | InsertCommand
  | TrimCommand
  | (Fenced & { type: 'received'; sequence: number })
  | (Fenced & { type: 'receive'; packetId: number })
  | (Fenced & { type: 'release'; packetId: number })
  | { type: 'fired'; key: Uint8Array; number: number }
  | JoinCommand
  /** `incarnation` null = whichever session of the member. */
  | { type: 'leave'; key: Uint8Array; member: string; incarnation: number | null }
  | MemberOpenCommand
  | (Member & { type: 'member-close' })
  | MemberTrimCommand
  | (Member & { type: 'member-bind'; sequence: number; packetId: number; released: boolean })
  | DueCommand
  | { type: 'index'; key: Uint8Array }
  | NodeCommand
  | { type: 'sweep'; key: Uint8Array }

/**
 * About a node, to a range: `key` is any of its keys. `enter`: sessions of this incarnation may be attached from now on,
 * those of earlier ones are fenced. `fence`: this one is held for gone. `exit`: it has given up all that it had. `routed`:
 * the routes of fenced ones are taken back.
 */
export interface NodeCommand {
  type: 'enter' | 'fence' | 'exit' | 'routed'
  key: Uint8Array
  node: string
  incarnation: number
}

/** Fails with `conflict` unless the session has this incarnation and this owner. */
export interface Fenced {
  key: Uint8Array
  incarnation: number
  connection: string
}

/** A member of the group whose inbox is `key`: fenced by the connection that opened its feed. */
export interface Member {
  key: Uint8Array
  member: string
  connection: string
}

export interface AttachCommand {
  type: 'attach'
  key: Uint8Array
  connection: string
  node: string
  /** Of the process that asks: refused where it is held for gone. */
  nodeIncarnation: number
  cleanStart: boolean
  expirySeconds: number
  will: Will | null
  user: string
  address: string
  protocol: 3 | 4 | 5
  limits: InboxLimits
}

/** `incarnation` 0: whichever, for the connection had but one. */
export interface DetachCommand extends Fenced {
  type: 'detach'
  expirySeconds: number | null
  discardWill: boolean
  sentUpTo: number
}

export interface InsertCommand {
  type: 'insert'
  key: Uint8Array
  incarnation: number
  qos: QoS
  retain: boolean
  subscriptionIds: readonly number[]
  message: Message
  dedup: Dedup | null
}

/** Acknowledged entries go; the owner may push further. */
export interface TrimCommand extends Fenced {
  type: 'trim'
  /** 1 and rising for each connection: a repetition changes nothing. */
  number: number
  /** Sequences as pairs of first and last. */
  ranges: readonly number[]
  /** What the ranges hold: the owner knows, so that nothing is read. */
  messages: number
  bytes: number
  /** Everything below is acknowledged, by this or an earlier trim. */
  floor: number
  /** See `Tally.window`. */
  window: number
}

export interface MemberOpenCommand extends Member {
  type: 'member-open'
  /** Of the member's session: an older owner does not take the place of a newer one. */
  incarnation: number
  attachment: number
  node: string
  nodeIncarnation: number
  credit: number
}

export interface MemberTrimCommand extends Member {
  type: 'member-trim'
  sequences: readonly number[]
}

export interface JoinCommand {
  type: 'join'
  key: Uint8Array
  member: string
  incarnation: number
  options: SubscriptionOptions
  /** Of the group's queue, where this creates it. */
  limits: InboxLimits
}

/** A timer of the index came due. Checked against the record: a stale one changes nothing. */
export interface DueCommand {
  type: 'due'
  key: Uint8Array
  kind: TimerKind
  dueMs: number
  number: number
}

export type Response =
  | InsertResult
  /** Done; for `release` and `remove`: it was there. */
  | 'done'
  /** Nothing to do: it was not there. */
  | 'none'
  /** Somebody else owns the session, or it is gone. */
  | 'conflict'
  /** The node that asks is held for gone. */
  | 'fenced'
  /** Another node has the session still: it was told to close its connection. */
  | 'held'
  | AttachedAnswer
  | { type: 'subscribed'; outcomes: SubscribeOutcome[] }
  | { type: 'unsubscribed'; existed: boolean[] }
  | (PublishNumber & { type: 'number' })
  | { type: 'trimmed'; droppedTo: number }
  | { type: 'joined'; incarnation: number; created: boolean }
  | { type: 'left'; endedIncarnation: number | null }
  | { type: 'opened'; owed: FeedEntry[] }

export interface AttachedAnswer {
  type: 'attached'
  incarnation: number
  attachment: number
  sessionPresent: boolean
  subscriptions: InboxSubscription[]
  received: { packetId: number; number: number }[]
  ended: { incarnation: number; subscriptions: InboxSubscription[] } | null
  previous: { connection: string; node: string } | null
}

export type Query =
  | { type: 'head'; key: Uint8Array }
  | (Fenced & { type: 'open' })
  /** Entries of the queue in [from, to], at most so many; `bytesMax` is exceeded by one entry at most. */
  | { type: 'entries'; key: Uint8Array; incarnation: number; from: number; to: number; limit: number; bytesMax: number }
  /** Where a QoS 0 message for a session goes, or what becomes of it. */
  | { type: 'qos0'; key: Uint8Array; incarnation: number }
  /** Heads in [from, end of the range or of the tenant). */
  | { type: 'list'; from: Uint8Array; to: Uint8Array; limit: number }

export type Answer =
  | null
  | 'conflict'
  | InboxHead
  | FeedAnswer
  /** `examined`: there is nothing else up to here. `values` are as stored. */
  | { type: 'entries'; sequences: number[]; values: Uint8Array[]; examined: number }
  | 'absent'
  | 'drop'
  | 'queue'
  /** Nodes of the session's owner, or of the group's members; `queue`: it may wait where none of them takes it. */
  | { type: 'online'; nodes: string[]; queue: boolean }
  | { type: 'list'; heads: InboxHead[]; next: Uint8Array | null }

/** Where a feed begins: see `Tally`. */
export interface FeedAnswer {
  type: 'feed'
  head: number
  tail: number
  window: number
  sentUpTo: number
  messagesMax: number
  queueQos0: boolean
}

/** What the node's host is told of an applied entry. `name` is `nameOf(start)`. */
export type Effect =
  /** An entry for an attached session, ready to be pushed. */
  | { type: 'grown'; name: string; entry: FeedEntry; bytes: number }
  /** An entry of a group for a member whose feed is open. */
  | { type: 'assigned'; name: string; member: string; connection: string; entry: FeedEntry }
  | { type: 'attached'; name: string; incarnation: number; connection: string }
  /** Nobody has the session any more. */
  | { type: 'freed'; name: string }
  | EndedEffect
  | { type: 'will'; key: Uint8Array; number: number; message: Message }
  | NodeEffect
  | { type: 'dropped'; key: Uint8Array; reason: 'full-oldest' | 'full-newest'; count: number }
  /** Differences that the batch made. */
  | CountEffect

/** What the range holds of a node has changed. */
export interface NodeEffect {
  type: 'node'
  node: string
  /** See `NodeRecord`. */
  present: number
  fenced: number
  owesRoutes: boolean
  /** A fence, by its leader or by a later incarnation of the node. */
  isFence: boolean
  /** Detached by this entry. */
  sessions: number
}

export interface EndedEffect {
  type: 'ended'
  key: Uint8Array
  name: string
  incarnation: number
  /** `replaced`: the attach that replaced it takes the routes back. */
  reason: 'expired' | 'removed' | 'replaced'
  subscriptions: InboxSubscription[]
}

export interface CountEffect {
  type: 'count'
  sessions: number
  attached: number
  messages: number
  bytes: number
  inserts: number
  drops: number
  wills: number
}
