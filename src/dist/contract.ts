import type { InboxId, TenantId } from '../base/ids.ts'
import type { Message, QoS } from '../base/message.ts'

/**
 * What `dist` promises to the services around it: routes in, matches out.
 *
 * A route says where messages of a filter go. Three kinds of receiver: a node (it has at least one transient subscriber
 * of this filter and knows which), an inbox (a persistent session), a shared group's member.
 */
export interface Dist {
  /**
   * Adds or removes one route; resolves when every match replica has applied it: then it is visible to every publish.
   * Idempotent by (receiver, incarnation): an older incarnation never removes a newer route.
   */
  change(change: RouteChange): Promise<void>
  /** As {@link change} without a promise a route. */
  changeWith(change: RouteChange, done: (error: Error | null) => void): void
  /**
   * Everything that matches a concrete topic. Synchronous, from memory, cached: the same object comes back until a
   * route that concerns it changes; then `alive` turns false and the next call gives a new one.
   */
  match(tenant: TenantId, topic: string): TopicEntry
  /**
   * Whether {@link match} finds every route whose change was answered, wherever: asked for each publish of QoS 1 and 2, in
   * the turn of the match. Where not, it waits for {@link whenSure}.
   */
  isSure(tenant: TenantId): boolean
  /**
   * Calls back in the turn in which that holds; within 5 s with NO_QUORUM where it does not. `bytes`: of what waits; where
   * that is too much it is refused at once.
   */
  whenSure(tenant: TenantId, bytes: number, done: (error: Error | null) => void): void
  /** Ends the life of cached entries that `filter` matches: the caller's own table for that filter changed. */
  touch(tenant: TenantId, filter: string): void
  /** Every route of a tenant, page by page, for `explain` and lists. */
  routes(
    tenant: TenantId,
    options: { after?: string; limit: number },
  ): Promise<{ routes: Route[]; next: string | null }>
  stats(): DistStats
}

export interface Route {
  tenant: TenantId
  /** Without the `$share/group/` prefix. */
  filter: string
  receiver: Receiver
  /** Raised by the receiver's owner; the higher wins. */
  incarnation: number
}

export type RouteChange = Route & { op: 'add' | 'remove' }

export type Receiver =
  | { kind: 'node'; node: string }
  | { kind: 'inbox'; inbox: InboxId; options: SubscriptionOptions }
  | { kind: 'group'; group: string; ordered: boolean; member: GroupMember }
  | { kind: 'plugin'; broker: string; receiver: string }

/** A node with `count` transient members, or the group's own inbox (it has a persistent member). */
export type GroupMember =
  | { kind: 'node'; node: string; count: number }
  | { kind: 'inbox'; inbox: InboxId; incarnation: number }

export interface SubscriptionOptions {
  qos: QoS
  noLocal: boolean
  retainAsPublished: boolean
  /** 0 = none. */
  subscriptionId: number
}

/** The result of a match. Arrays are never null and never changed; entries may share the empty ones. */
export interface TopicEntry {
  readonly tenant: TenantId
  readonly topic: string
  /** False once a route that concerns the topic changed: match again. */
  alive: boolean
  /** One for each node, with the filters that it has subscribers for. */
  readonly nodes: readonly MatchedNode[]
  /** One for each inbox: overlapping subscriptions are merged (highest QoS, every identifier). */
  readonly inboxes: readonly MatchedInbox[]
  /** One for each (group, filter). */
  readonly groups: readonly MatchedGroup[]
  readonly plugins: readonly { broker: string; receiver: string; filter: string }[]
  /** A place for the front end to keep what it derives from this entry; null at first, and again at its end. */
  derived: unknown
}

export interface MatchedNode {
  node: string
  filters: readonly string[]
}

export interface MatchedInbox {
  inbox: InboxId
  incarnation: number
  /** Every subscription that matched: more than one only where filters overlap. */
  subscriptions: readonly (SubscriptionOptions & { filter: string })[]
  /** Highest QoS of them. */
  qos: QoS
  /** True where any has no-local: then the publisher's own client id filters them first. */
  noLocal: boolean
  retainAsPublished: boolean
  subscriptionIds: readonly number[]
}

export interface MatchedGroup {
  group: string
  filter: string
  ordered: boolean
  members: readonly GroupMember[]
}

export interface DistStats {
  routes: number
  filters: number
  /** Approximate bytes of the trie and of the cache. */
  trieBytes: number
  cacheEntries: number
  cacheHits: number
  cacheMisses: number
  invalidations: number
  /** Publishes that wait until this node may match them; that have waited; that were refused in the end. */
  publishesWaiting: number
  publishesWaited: number
  publishesRefused: number
}

/**
 * Something that takes messages for receivers it named in routes: the MQTT front end, the inbox service, a plugin.
 * Batched: one call may carry many messages for many receivers.
 */
export interface SubBroker {
  readonly name: string
  deliver(deliveries: readonly Delivery[]): Promise<DeliveryResult[]>
}

export interface Delivery {
  tenant: TenantId
  message: Message
  /** Names in the sub-broker's own words: the `receiver` of its routes. */
  receivers: readonly string[]
}

/** `no-receiver`: the route is stale and is removed by its incarnation. */
export type DeliveryResult = 'ok' | 'no-receiver' | 'overloaded' | 'failed'
