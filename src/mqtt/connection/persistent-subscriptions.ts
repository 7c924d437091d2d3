import { parseSharedFilter } from '../../base/topic.ts'
import type { SubscriptionOptions } from '../../dist/index.ts'
import type { Feed, FeedEntry, FeedSink, GroupKey, InboxSubscription, Owner } from '../../inbox/index.ts'
import { REASON } from '../codec/index.ts'
import type { FilterOutcome, FilterRequest } from '../session/effects.ts'
import type { Connection } from './connection.ts'
import { groupOf } from './session-routes.ts'
import { refusalOf, type Subscriptions } from './subscriptions.ts'

/** Most entries that a feed may have under way: see `FeedEntry.packetId`. */
const FEED_CREDIT_MAX = 32_766

type Lost = Parameters<FeedSink['lost']>[0]

/**
 * Subscriptions of a persistent session: in its inbox's list, each with a route of its own; and the feeds that bring
 * its queue, and its share of the groups' queues, to the client.
 */
export class PersistentSubscriptions implements Subscriptions {
  readonly #connection: Connection
  readonly #owner: Owner
  readonly #lost: (reason: Lost) => void
  /** Kept to take routes back with the options they were made with. */
  readonly #filters = new Map<string, SubscriptionOptions>()
  readonly #groups = new Map<string, Feed>()
  readonly #feed: Feed

  constructor(
    connection: Connection,
    owner: Owner,
    subscriptions: readonly InboxSubscription[],
    lost: (reason: Lost) => void,
  ) {
    this.#connection = connection
    this.#owner = owner
    this.#lost = lost
    const { front } = connection
    this.#feed = front.inbox.open(this.#owner, this.#feedOptions(), {
      entries: (entries) => this.#deliver(this.#feed, entries),
      lost: (reason) => this.#lost(reason),
    })
    for (const subscription of subscriptions) this.#resume(subscription)
  }

  async subscribe(filters: readonly FilterRequest[]): Promise<FilterOutcome[]> {
    const accepted = filters.filter(({ refusal }) => refusal === 0)
    const subscriptions = accepted.map(({ filter, options }) => ({ filter, options, pending: true }))
    try {
      const results =
        accepted.length === 0 ? [] : await this.#connection.front.inbox.subscribe(this.#owner, subscriptions)
      const outcomes = new Map(accepted.map((request, i) => [request, results[i]!]))
      return await Promise.all(
        filters.map(async (request) => {
          const outcome = outcomes.get(request)
          if (outcome === undefined) return { request, refusal: request.refusal, fresh: false }
          if (outcome === 'quota') return { request, refusal: REASON.QUOTA_EXCEEDED, fresh: false }
          return { request, refusal: await this.#route(request.filter, request.options), fresh: outcome === 'new' }
        }),
      )
    } catch (error) {
      return filters.map((request) => ({ request, refusal: request.refusal || refusalOf(error), fresh: false }))
    }
  }

  async unsubscribe(filters: readonly string[]): Promise<boolean[]> {
    const known = await this.#connection.front.inbox.unsubscribe(this.#owner, filters)
    const gone = filters.filter((filter, i) => known[i] && this.#filters.has(filter))
    for (const filter of gone) this.#closeGroup(filter)
    const subscriptions = gone.map((filter) => ({ filter, options: this.#filters.get(filter)!, pending: false }))
    for (const filter of gone) this.#filters.delete(filter)
    await this.#connection.front.routes.remove(this.#owner, this.#owner.incarnation, subscriptions)
    return known
  }

  close(): void {
    this.#feed.close()
    for (const feed of this.#groups.values()) feed.close()
  }

  /** A subscription that was in the list when the client came back. */
  #resume({ filter, options, pending }: InboxSubscription): void {
    this.#filters.set(filter, options)
    if (!pending) return this.#openGroup(filter)
    const { front, control } = this.#connection
    front.routes.add(this.#owner, filter, options).then(
      () => this.#openGroup(filter),
      // The client may have been told that it is subscribed: its next connection tries again.
      (error: unknown) => control.resumeFailed(error),
    )
  }

  /** Returns 0, or why the filter is refused: then it is taken back from the list first. */
  async #route(filter: string, options: SubscriptionOptions): Promise<number> {
    const { front } = this.#connection
    try {
      this.#filters.set(filter, options)
      await front.routes.add(this.#owner, filter, options)
      this.#openGroup(filter)
      return 0
    } catch (error) {
      this.#filters.delete(filter)
      await front.inbox.unsubscribe(this.#owner, [filter]).catch(() => {})
      void front.routes.remove(this.#owner, this.#owner.incarnation, [{ filter, options, pending: true }])
      return refusalOf(error)
    }
  }

  #openGroup(filter: string): void {
    const group = groupOf(this.#owner.tenant, filter)
    if (group === null || this.#connection.session.state !== 'open') return
    const before = this.#groups.get(filter)
    before?.close()
    this.#groups.set(filter, this.#openGroupFeed(group, filter))
  }

  #openGroupFeed(group: GroupKey, filter: string): Feed {
    const sink: FeedSink = {
      entries: (entries) => {
        for (const entry of entries) if (entry.qos === 0) this.#adapt(entry, filter)
        this.#deliver(this.#groups.get(filter)!, entries)
      },
      lost: (reason) => this.#lost(reason),
    }
    const options = { ...this.#feedOptions(), packetIds: this.#connection.outbound!.groupIds }
    return this.#connection.front.inbox.openGroup(group, this.#owner, options, sink)
  }

  /** QoS 0 passes a group without a look at its members: what this one's subscription asks for is done here. */
  #adapt(entry: FeedEntry, filter: string): void {
    const options = this.#filters.get(filter)
    if (options === undefined) return
    entry.retain &&= options.retainAsPublished
    if (options.subscriptionId !== 0) entry.subscriptionIds = [options.subscriptionId]
  }

  #closeGroup(filter: string): void {
    if (parseSharedFilter(filter) === null) return
    this.#groups.get(filter)?.close()
    this.#groups.delete(filter)
  }

  #feedOptions() {
    const { clientReceiveMaximum } = this.#connection.session.agreement!
    return { credit: Math.min(clientReceiveMaximum, FEED_CREDIT_MAX), bytesMax: this.#connection.outputBytesMax }
  }

  #deliver(feed: Feed, entries: readonly FeedEntry[]): void {
    const connection = this.#connection
    if (connection.session.state !== 'open') return
    const kept = connection.streaming ? connection.control.retained!.sift(feed, entries) : entries
    connection.front.counters.delivered += kept.length
    connection.outbound!.deliverEntries(feed, kept)
  }
}
