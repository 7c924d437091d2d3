import type { InboxId, TenantId } from '../base/ids.ts'
import type { Message, QoS } from '../base/message.ts'
import type { SubscriptionOptions } from '../dist/index.ts'
import type { LeaseWatch } from './leases/contract.ts'

/**
 * What `inbox` promises to the front end: persistent sessions, their queues, their state in flight, and wills.
 *
 * One session has one owner at a time: an attachment (connection id) fenced by the session's incarnation. Every call of
 * an attachment that was taken over fails with CONFLICT. Each mutation resolves when it is committed.
 */
export interface Inbox {
  /** The session of a client id as committed; null where there is none. */
  head(key: InboxKey, msMax?: number): Promise<InboxHead | null>
  /**
   * Creates, resumes or replaces the session and makes `connection` its owner, in one step (compare and set on the
   * incarnation). With `cleanStart` the old session is gone, with queue, subscriptions and will: the answer carries
   * its filters, so that the caller takes the routes back. The will is committed by the time this resolves.
   */
  attach(request: AttachRequest): Promise<Attached>
  /**
   * Resolves when a session of that client id may be attached here; rejects with UNAVAILABLE where its range gives this
   * node no lease within `msMax`.
   */
  ready(key: InboxKey, msMax: number): Promise<void>
  /** The connection ended. Idempotent; CONFLICT where another connection owns the session by now. */
  detach(request: DetachRequest): Promise<void>
  /** Ends a session for good. Fires nothing. Resolves false where there was none. */
  remove(key: InboxKey, incarnation?: number): Promise<boolean>

  /** Writes filters into the session's list, marked pending until {@link confirm}. Replaces options of known ones. */
  subscribe(owner: Owner, subscriptions: readonly InboxSubscription[]): Promise<SubscribeOutcome[]>
  /** Marks filters as routed. Awaited by nobody. */
  confirm(owner: Owner, filters: readonly string[]): void
  /** Removes filters from the list; false for those that were not in it. */
  unsubscribe(owner: Owner, filters: readonly string[]): Promise<boolean[]>

  /**
   * Puts a message into many queues; all inserts of a turn share entries, the payload is stored once a log entry.
   * `done` is called once, when all of them are committed: results in the order of `targets`.
   */
  insert(tenant: TenantId, insert: Insert, done: (error: Error | null, results: InsertResult[] | null) => void): void

  /**
   * Starts pushing the session's queue to its owner, from the oldest entry not yet acknowledged. At most `credit`
   * entries are outstanding (pushed and not acknowledged).
   */
  open(owner: Owner, options: FeedOptions, sink: FeedSink): Feed

  /** A publish of QoS 2 by this session: stores {packet id -> publish number} before the message is routed. */
  receive(owner: Owner, packetId: number): Promise<PublishNumber>
  /** PUBREL came: the packet id is free again. Resolves when committed; unknown ids resolve false. */
  release(owner: Owner, packetId: number): Promise<boolean>

  /** Shared groups: `member` joins or leaves the group's inbox, which lives as long as it has a persistent member. */
  joinGroup(group: GroupKey, member: Owner, options: SubscriptionOptions): Promise<GroupJoined>
  /** With `incarnation`, a newer session of this client id stays. */
  leaveGroup(group: GroupKey, member: InboxKey, incarnation?: number): Promise<GroupLeft>
  /** As {@link open}, for the entries of a group that are assigned to this member. */
  openGroup(group: GroupKey, member: Owner, options: FeedOptions, sink: FeedSink): Feed

  /** Stored sessions, page by page. */
  list(
    tenant: TenantId,
    page: { after?: InboxId; limit: number },
  ): Promise<{ heads: InboxHead[]; next: InboxId | null }>
  /** Starts the timed work (expiry, wills). Wills that are due go to `publisher`, once. */
  start(publisher: WillPublisher): void
  /** What a connection that owns a session looks at before it acts on what has come. */
  readonly lease: LeaseWatch
  /** All sessions were given up, for this node stops: nobody need hold it for gone. Before {@link close}. */
  leave(): Promise<void>
  stats(): InboxStats
  close(): Promise<void>
}

export interface InboxKey {
  tenant: TenantId
  inbox: InboxId
}

/** An attachment: whoever names an older incarnation or another connection gets CONFLICT. */
export interface Owner extends InboxKey {
  incarnation: number
  /** Unique for ever: node incarnation and a counter. */
  connection: string
  /** Rises with each attach of the session, given by it: the groups of the session know a stale owner by it. */
  attachment?: number
}

export interface AttachRequest extends InboxKey {
  connection: string
  /** Node that holds the connection. */
  node: string
  cleanStart: boolean
  /** Session expiry interval in seconds; 0 = ends with the connection; 0xFFFFFFFF = never. */
  expirySeconds: number
  /** Null = no will. Replaces the will of the connection before. */
  will: Will | null
  /** For lists and events. */
  client: { user: string; address: string; protocol: 3 | 4 | 5 }
  limits: InboxLimits
  /** The node may not act on the session any more: the connection is to be closed, now. */
  lost?: () => void
}

export interface Will {
  message: Message
  /** Will delay interval in seconds; the session's end fires it earlier. */
  delaySeconds: number
}

export interface InboxLimits {
  /** Most queued entries. */
  messagesMax: number
  /** Most queued bytes. */
  bytesMax: number
  /** Which entry gives way at the limit; never one in flight. */
  dropPolicy: 'oldest' | 'newest'
  /** True: QoS 0 messages wait too while nobody is attached. Default false: they are dropped. */
  queueQos0?: boolean
  filtersMax: number
}

export interface Attached {
  owner: Owner
  sessionPresent: boolean
  /** Subscriptions of the resumed session; with `pending` those whose route may be missing. */
  subscriptions: InboxSubscription[]
  /** The shared groups among them. */
  groups: GroupKey[]
  /** QoS 2 packet ids received from this client and not released. */
  received: { packetId: number; number: number }[]
  /** Of a session that clean start ended, or that had expired: its filters and incarnation, to take routes back. */
  ended: { incarnation: number; subscriptions: InboxSubscription[]; groups: GroupKey[] } | null
  /** Connection and node of the owner before, where it had not detached: to be closed with 0x8E. */
  previous: { connection: string; node: string } | null
}

export interface DetachRequest {
  owner: Owner
  /** Session expiry as changed by DISCONNECT; null = unchanged. */
  expirySeconds: number | null
  /** True = DISCONNECT with 0x00: the will is discarded. False: it fires after its delay. */
  discardWill: boolean
  /** Sequence of the last entry that was pushed into the socket: later ones were never sent (DUP=0 on resume). */
  sentUpTo: number
}

export interface InboxSubscription {
  /** As the client gave it, with `$share/...` where shared. */
  filter: string
  options: SubscriptionOptions
  /** True until its route is confirmed. */
  pending: boolean
}

export type SubscribeOutcome = 'new' | 'replaced' | 'quota'

export interface Insert {
  /** The inbox keeps it: neither it nor its bytes change after the call. */
  message: Message
  targets: readonly InsertTarget[]
  /** Set for a QoS 2 publish of a persistent session, and for a will: a repetition is dropped. */
  dedup: Dedup | null
}

/** Names a publish for ever; a {@link PublishNumber} may be given as it is. */
export interface Dedup {
  publisher: InboxId
  number: number
  /**
   * No publish with a lower number comes again: what is kept of them may go. Without it the last 1,024 numbers are
   * kept for each publisher.
   */
  floor?: number
}

export interface InsertTarget {
  inbox: InboxId
  incarnation: number
  /** min(message, subscription). */
  qos: QoS
  retain: boolean
  subscriptionIds: readonly number[]
}

/** `absent`: no such session or a newer one: the route is stale. `dropped`: full, and the policy chose this one. */
export type InsertResult = 'ok' | 'absent' | 'dropped' | 'repeated'

export interface FeedOptions {
  /** Most entries outstanding; at most 32,767. */
  credit: number
  /** Most bytes outstanding; one entry may go beyond it. */
  bytesMax: number
  /**
   * For groups: gives packet ids above 32,767. With it an entry of QoS 2 gets its id, committed, before it is pushed:
   * so delivery is completed with the same id after a resume [MQTT-4.8.2-4], and goes to nobody else [MQTT-4.8.2-5].
   * Entries pushed after a resume carry ids that were taken before: the front end must not give them to others. An id,
   * such a one too, is in use until `free` is called with it: its acknowledgement alone does not free it.
   */
  packetIds?: { take(): number; free(packetId: number): void }
}

/** One entry of a queue as it goes to the client. */
export interface FeedEntry {
  sequence: number
  /**
   * The packet id: the same on every resume. From 1 to 32,767 for the session's own queue (1 + sequence mod 32,767);
   * the front end uses 32,768 to 65,535 for what does not come from the queue. 0 for QoS 0, and for entries of a
   * group: the front end takes an id then (see {@link FeedOptions.packetIds}).
   */
  packetId: number
  qos: QoS
  /** True where it may have been sent before. */
  dup: boolean
  /** True: PUBREC came already; `message` is null and PUBREL is owed. */
  released: boolean
  message: Message | null
  retain: boolean
  subscriptionIds: readonly number[]
}

/** Owned by the connection. Never called from inside a call of {@link Feed}. */
export interface FeedSink {
  entries(entries: readonly FeedEntry[]): void
  /** Another connection took the session, or the session ended: nothing more comes. */
  lost(reason: 'taken-over' | 'expired' | 'removed' | 'closed'): void
}

export interface Feed {
  /** QoS 1: PUBACK; QoS 2 after PUBCOMP: trimmed lazily, awaited by nobody. Gives credit back. */
  acknowledge(sequence: number): void
  /**
   * QoS 2: PUBREC with success. `done` when the marker is committed: only then may PUBREL leave. `packetId` is kept
   * with the marker, for a group's entry whose id the front end chose.
   */
  received(sequence: number, packetId: number, done: (error: Error | null) => void): void
  /** Nothing more is pushed. Entries of a group that were not sent to the end go to other members. */
  close(): void
}

export interface PublishNumber {
  /** Grows with every new QoS 2 publish of the session. */
  number: number
  /** True where the packet id was known: the PUBLISH is a repetition. */
  repeated: boolean
  /** For {@link Dedup.floor}. */
  floor: number
}

export interface GroupKey {
  tenant: TenantId
  group: string
  /** Without the prefix. */
  filter: string
  ordered: boolean
}

export interface GroupJoined {
  /** The group's own inbox, for its route. */
  inbox: InboxId
  incarnation: number
  /** True where this call created it: the caller adds the route. */
  created: boolean
}

export interface GroupLeft {
  /** Set where the last persistent member left: the caller removes the route of this inbox. */
  ended: { inbox: InboxId; incarnation: number } | null
}

export interface InboxHead extends InboxKey {
  incarnation: number
  /** Null while nobody is attached. */
  connection: string | null
  node: string | null
  user: string
  expirySeconds: number
  /** Ms since 1970; null while attached. */
  detachedAtMs: number | null
  subscriptions: number
  queuedMessages: number
  queuedBytes: number
}

/** Declared here, implemented by the composition root: routes a will as any publish. */
export interface WillPublisher {
  /**
   * Resolves when the will is in every inbox and retained where it asks for that. After a crash in between it is called
   * again with the same message and `dedup`: inboxes then drop the repetition.
   */
  publishWill(tenant: TenantId, client: InboxId, message: Message, dedup: Dedup): Promise<void>
  /** A session ended by expiry, at its detach or by {@link Inbox.remove}: its routes go. */
  sessionEnded(
    key: InboxKey,
    incarnation: number,
    subscriptions: readonly InboxSubscription[],
    groups: readonly GroupKey[],
  ): void
  /** A node is held for gone, with all its incarnations up to this one: its own routes are to be taken back. */
  nodeGone(node: string, incarnation: number): Promise<void>
  /** This node begins anew, with this incarnation: resolves when all its own routes are made again. */
  renewed(incarnation: number): Promise<void>
  /** An entry was dropped: an event and a counter. */
  dropped(key: InboxKey, reason: 'full-oldest' | 'full-newest' | 'expired', count: number): void
}

export interface InboxStats {
  sessions: number
  attached: number
  queuedMessages: number
  queuedBytes: number
  inserts: number
  drops: number
  willsFired: number
  /** Feeds here that another node tells of, and inboxes that this node tells others of. */
  watching: number
  watched: number
  /** Entries pushed to feeds of other nodes. */
  pushed: number
  /** Messages about feeds that could not be read. */
  malformed: number
  /** Node leases that this node holds, one for each range. */
  leasesHeld: number
  /** Connections closed because a lease ended, or this node was held for gone. */
  leaseClosed: number
  /** How often this node found itself held for gone. */
  selfFenced: number
  /** Of the ranges that this node led: nodes held for gone, and sessions detached therefore. */
  fences: number
  fencedSessions: number
}
