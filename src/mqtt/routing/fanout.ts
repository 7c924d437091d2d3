import type { SubscriptionOptions, TopicEntry } from '../../dist/index.ts'
import type { InsertTarget } from '../../inbox/index.ts'
import type { LocalTable } from './local-table.ts'
import type { NodeRoute, OtherNodes } from './other-nodes.ts'
import { type LocalTarget, type Subscriber, toTarget } from './subscriber.ts'

/** What a fanout is made from: a match, or what another node says that it matched. */
export type FanoutEntry = Pick<TopicEntry, 'tenant' | 'topic' | 'nodes' | 'inboxes' | 'groups' | 'plugins'>

/**
 * Who gets a topic's messages on this node, ready for the loop that sends them: derived from a TopicEntry, kept in its
 * `derived` slot, and gone with it.
 */
export class Fanout {
  /** Subscribers for whom a QoS 0 packet without retain needs nothing of its own: by wire format. */
  readonly plain3: Subscriber[] = []
  readonly plain5: Subscriber[] = []
  /** The others: identifiers, no-local, topic aliases. */
  readonly special: LocalTarget[] = []
  /** All of them. */
  readonly targets: LocalTarget[] = []
  /** The ways to the other nodes that have subscribers. */
  readonly remotes: NodeRoute[] = []
  /** Smallest packet limit among the plain ones. */
  packetBytesMax = Number.POSITIVE_INFINITY
  /** True where nobody but transient subscribers of this node is concerned: no inbox, group, plugin, other node. */
  readonly localOnly: boolean
  /** The same, or transient subscribers of other nodes: nobody who stores it, chooses or answers. */
  readonly transientOnly: boolean
  /** True where nobody at all is. */
  readonly empty: boolean
  /** What is asked of `inbox` for each QoS, and QoS with RETAIN: as long as no-local plays no part, always the same. */
  readonly inserts: (readonly InsertTarget[] | null)[] | null

  constructor(entry: FanoutEntry, table: LocalTable, node: string, others: OtherNodes | null = null) {
    let remote = false
    for (const matched of entry.nodes) {
      if (matched.node === node) this.#addLocal(entry, matched.filters, table)
      else {
        remote = true
        if (others) this.remotes.push(others.route(matched.node, entry.tenant, entry.topic, matched.filters))
      }
    }
    this.transientOnly = entry.inboxes.length === 0 && entry.groups.length === 0 && entry.plugins.length === 0
    this.localOnly = !remote && this.transientOnly
    this.empty = this.localOnly && this.targets.length === 0
    const same = entry.groups.length === 0 && !entry.inboxes.some(({ noLocal }) => noLocal)
    this.inserts = same ? [null, null, null, null, null, null] : null
  }

  #addLocal(entry: FanoutEntry, filters: readonly string[], table: LocalTable): void {
    if (filters.length === 1) {
      const subscribers = table.subscribers(entry.tenant, filters[0]!)
      if (subscribers) for (const [subscriber, options] of subscribers) this.#addTarget(toTarget(subscriber, options))
      return
    }
    const merged = new Map<Subscriber, LocalTarget>()
    for (const filter of filters) {
      const subscribers = table.subscribers(entry.tenant, filter)
      if (!subscribers) continue
      for (const [subscriber, options] of subscribers) {
        const known = merged.get(subscriber)
        if (known) merge(known, options)
        else merged.set(subscriber, toTarget(subscriber, options))
      }
    }
    for (const target of merged.values()) this.#addTarget(target)
  }

  #addTarget(target: LocalTarget): void {
    this.targets.push(target)
    const subscriber = target.subscriber
    if (target.noLocal || target.subscriptionIds.length > 0 || subscriber.individual) {
      this.special.push(target)
      return
    }
    if (subscriber.version === 5) this.plain5.push(subscriber)
    else this.plain3.push(subscriber)
    if (subscriber.clientPacketBytesMax < this.packetBytesMax) this.packetBytesMax = subscriber.clientPacketBytesMax
  }
}

function merge(target: LocalTarget, options: SubscriptionOptions): void {
  target.overlapping ??= [
    {
      qos: target.qos as SubscriptionOptions['qos'],
      noLocal: target.noLocal,
      retainAsPublished: target.retainAsPublished,
      subscriptionId: target.subscriptionIds[0] ?? 0,
    },
  ]
  target.overlapping.push(options)
  target.qos = Math.max(target.qos, options.qos)
  target.noLocal ||= options.noLocal
  target.retainAsPublished ||= options.retainAsPublished
  if (options.subscriptionId !== 0) target.subscriptionIds = [...target.subscriptionIds, options.subscriptionId]
}

/**
 * What is left of overlapping subscriptions for their own publisher: those without no-local [MQTT-3.8.3-3]; null where
 * none is.
 */
export function withoutNoLocal(target: LocalTarget): LocalTarget | null {
  const left = target.overlapping?.filter((options) => !options.noLocal) ?? []
  if (left.length === 0) return null
  const reduced = toTarget(target.subscriber, left[0]!)
  for (const options of left.slice(1)) merge(reduced, options)
  return reduced
}
