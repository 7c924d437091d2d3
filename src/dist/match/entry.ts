import type { InboxId, TenantId } from '../../base/ids.ts'
import type { GroupMember, MatchedGroup, MatchedInbox, MatchedNode, TopicEntry } from '../contract.ts'
import { unpackOptions } from '../options.ts'
import { KIND_GROUP_INBOX, KIND_GROUP_NODE, KIND_INBOX, KIND_NODE, type RouteLists } from './routes.ts'
import type { RouteTrie } from './trie.ts'

/** What an entry that matched nothing costs, its place in the cache included. Measured: bench/micro/match.ts. */
const ENTRY_BYTES = 450
const NODE_BYTES = 120
const FILTER_BYTES = 40
const INBOX_BYTES = 330
const GROUP_BYTES = 150
const MEMBER_BYTES = 80
const PLUGIN_BYTES = 80

/** What has no nodes, no identifiers and so on shares one empty array: entries that match nothing are the most. */
const NO_IDS: number[] = []
const NO_NODES: MatchedNode[] = []
const NO_INBOXES: MatchedInbox[] = []
const NO_GROUPS: MatchedGroup[] = []
const NO_PLUGINS: { broker: string; receiver: string; filter: string }[] = []

/** A {@link TopicEntry} and its place in the cache. */
export class CachedTopic implements TopicEntry {
  readonly tenant: TenantId
  readonly topic: string
  alive = true
  nodes: readonly MatchedNode[] = NO_NODES
  inboxes: readonly MatchedInbox[] = NO_INBOXES
  groups: readonly MatchedGroup[] = NO_GROUPS
  plugins: readonly { broker: string; receiver: string; filter: string }[] = NO_PLUGINS
  derived: unknown = null
  /** Asked for since the cache's clock hand last passed. */
  used = false
  /** Place in the cache's ring; -1 = not cached. */
  slot = -1
  /** Node of the cache's topic trie where the topic ends. */
  end = 0
  /** Approximate bytes of the entry and of all that the cache keeps for it. */
  bytes: number

  constructor(tenant: TenantId, topic: string) {
    this.tenant = tenant
    this.topic = topic
    this.bytes = ENTRY_BYTES + topic.length
  }
}

type Subscription = MatchedInbox['subscriptions'][number]
type MergedNode = { node: string; filters: string[] }
type MergedGroup = { group: string; filter: string; ordered: boolean; members: GroupMember[] }
type MergedInbox = {
  -readonly [Name in keyof MatchedInbox]: MatchedInbox[Name] extends readonly (infer Item)[]
    ? Item[]
    : MatchedInbox[Name]
}

/**
 * Gathers the routes of the lists that matched a topic into one entry, merging what overlaps.
 *
 * @param count how many of `trie.matched` count
 */
export function buildEntry(trie: RouteTrie, tenant: TenantId, topic: string, count: number): CachedTopic {
  const entry = new CachedTopic(tenant, topic)
  if (count === 0) return entry
  const gathered = new Gathered(trie.routes)
  for (let i = 0; i < count; i++) {
    const list = trie.matched[i]!
    gathered.read(trie.head(list), trie.filterOf(list))
  }
  if (gathered.nodes.length > 0) entry.nodes = gathered.nodes
  if (gathered.inboxes.length > 0) entry.inboxes = gathered.inboxes
  if (gathered.groups.length > 0) entry.groups = gathered.groups
  if (gathered.plugins.length > 0) entry.plugins = gathered.plugins
  entry.bytes += gathered.bytes
  return entry
}

class Gathered {
  readonly nodes: MergedNode[] = []
  readonly inboxes: MergedInbox[] = []
  readonly groups: MergedGroup[] = []
  readonly plugins: { broker: string; receiver: string; filter: string }[] = []
  bytes = 0
  readonly #routes: RouteLists
  /** Inboxes of the filters before this one; null until one had inboxes. An inbox is in one filter's list once. */
  #byInbox: Map<string, MergedInbox> | null = null

  constructor(routes: RouteLists) {
    this.#routes = routes
  }

  /** Adds every route of one filter. */
  read(head: number, filter: string): void {
    const inboxesBefore = this.inboxes.length
    if (inboxesBefore > 0 && this.#byInbox === null) {
      this.#byInbox = new Map()
      for (const inbox of this.inboxes) this.#byInbox.set(inbox.inbox, inbox)
    }
    /** Key of a group to its place in `groups`. */
    let byGroup: Map<number, MergedGroup> | null = null
    this.bytes += filter.length + FILTER_BYTES
    for (let id = head; id !== 0; id = this.#routes.next(id)) {
      switch (this.#routes.kind(id)) {
        case KIND_NODE:
          this.#addNode(this.#routes.name(id), filter)
          break
        case KIND_INBOX:
          this.#addInbox(id, filter)
          break
        case KIND_GROUP_NODE:
        case KIND_GROUP_INBOX:
          byGroup ??= new Map()
          this.#addMember(byGroup, id, filter)
          break
        default:
          this.plugins.push({ broker: this.#routes.owner(id), receiver: this.#routes.name(id), filter })
          this.bytes += PLUGIN_BYTES
      }
    }
    if (this.#byInbox === null) return
    for (let i = inboxesBefore; i < this.inboxes.length; i++)
      this.#byInbox.set(this.inboxes[i]!.inbox, this.inboxes[i]!)
  }

  /** There are as many nodes as the cluster has, so that a walk is quicker than a map. */
  #addNode(node: string, filter: string): void {
    this.bytes += NODE_BYTES
    for (const known of this.nodes) {
      if (known.node !== node) continue
      known.filters.push(filter)
      return
    }
    this.nodes.push({ node, filters: [filter] })
  }

  #addInbox(id: number, filter: string): void {
    this.bytes += INBOX_BYTES
    const inbox = this.#routes.name(id) as InboxId
    const incarnation = this.#routes.incarnation(id)
    const { qos, noLocal, retainAsPublished, subscriptionId } = unpackOptions(this.#routes.detail(id))
    const subscription = { filter, qos, noLocal, retainAsPublished, subscriptionId }
    const known = this.#byInbox?.get(inbox)
    if (known === undefined) this.inboxes.push(newInbox(inbox, incarnation, subscription))
    else if (known.incarnation === incarnation) mergeInto(known, subscription)
    // The routes so far are of a session that is gone: only what the newest one subscribed to counts.
    else if (known.incarnation < incarnation) Object.assign(known, newInbox(inbox, incarnation, subscription))
  }

  #addMember(byGroup: Map<number, MergedGroup>, id: number, filter: string): void {
    this.bytes += MEMBER_BYTES
    const key = this.#routes.groupKey(id)
    const known = byGroup.get(key)
    if (known !== undefined) {
      known.members.push(this.#routes.member(id))
      return
    }
    const group = { group: this.#routes.owner(id), filter, ordered: this.#routes.ordered(id) }
    const added = { ...group, members: [this.#routes.member(id)] }
    byGroup.set(key, added)
    this.groups.push(added)
    this.bytes += GROUP_BYTES
  }
}

function newInbox(inbox: InboxId, incarnation: number, subscription: Subscription): MergedInbox {
  const { qos, noLocal, retainAsPublished, subscriptionId } = subscription
  const subscriptionIds = subscriptionId === 0 ? NO_IDS : [subscriptionId]
  return { inbox, incarnation, subscriptions: [subscription], qos, noLocal, retainAsPublished, subscriptionIds }
}

function mergeInto(inbox: MergedInbox, subscription: Subscription): void {
  inbox.subscriptions.push(subscription)
  if (subscription.qos > inbox.qos) inbox.qos = subscription.qos
  if (subscription.noLocal) inbox.noLocal = true
  if (subscription.retainAsPublished) inbox.retainAsPublished = true
  if (subscription.subscriptionId === 0) return
  if (inbox.subscriptionIds === NO_IDS) inbox.subscriptionIds = [subscription.subscriptionId]
  else inbox.subscriptionIds.push(subscription.subscriptionId)
}
