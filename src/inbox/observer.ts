import type { Logger } from '../base/logging.ts'
import { parseSharedFilter } from '../base/topic.ts'
import { within } from '../kv/engine/bytes.ts'
import type { Applied, RangeDescriptor, RangeObserver } from '../kv/range/coprocessor.ts'
import type { GroupKey, InboxKey, InboxStats, InboxSubscription, WillPublisher } from './contract.ts'
import type { QueueFeed } from './feed.ts'
import type { FeedHost } from './feed-host.ts'
import type { GroupFeed } from './group-feed.ts'
import type { Effect } from './store/command.ts'
import { nameOf, parseStart } from './store/schema.ts'

/** Effects that come before {@link InboxObserver.start}; a will among those that found no room comes again. */
const EARLY_MAX = 10_000

type LeaderEffect = Extract<Effect, { type: 'will' | 'ended' | 'dropped' }>

/** The node's side of the inbox ranges: hands what was applied to the feeds that are open here, and to the world. */
export class InboxObserver implements RangeObserver<Effect> {
  /** By `nameOf(start)`. */
  readonly feeds = new Map<string, QueueFeed>()
  /** The feeds of members, by group's name. */
  readonly groups = new Map<string, GroupFeed[]>()
  readonly stats: InboxStats = {
    sessions: 0,
    attached: 0,
    queuedMessages: 0,
    queuedBytes: 0,
    inserts: 0,
    drops: 0,
    willsFired: 0,
  }
  readonly #log: Logger
  #host: FeedHost | null = null
  #publisher: WillPublisher | null = null
  #confirm: (key: Uint8Array, number: number) => void = () => {}
  #early: LeaderEffect[] = []
  readonly #firing = new Set<string>()

  constructor(log: Logger) {
    this.#log = log
  }

  /** `confirm` is told of each will that is out. */
  connect(host: FeedHost, confirm: (key: Uint8Array, number: number) => void): void {
    this.#host = host
    this.#confirm = confirm
  }

  start(publisher: WillPublisher): void {
    this.#publisher = publisher
    const early = this.#early
    this.#early = []
    for (const effect of early) this.#act(effect, publisher)
  }

  /** The range may have gone on without this node hearing of it. */
  opened(range: RangeDescriptor): void {
    for (const feed of [...this.feeds.values()]) if (within(feed.key, range)) feed.resync()
    for (const feeds of [...this.groups.values()]) {
      for (const feed of [...feeds]) if (within(feed.key, range)) feed.open()
    }
  }

  /** All that happened before was told by the parent. */
  split(): void {}

  closed(): void {}

  applied(_range: RangeDescriptor, { effects, leader }: Applied<Effect>): void {
    for (const effect of effects) this.#apply(effect, leader)
    this.#host?.runWoken()
  }

  #apply(effect: Effect, leader: boolean): void {
    switch (effect.type) {
      case 'grown': {
        const feed = this.feeds.get(effect.name)
        if (feed === undefined) return
        feed.grown(effect)
        this.#host!.touch(feed)
        return
      }
      case 'assigned':
        for (const feed of this.groups.get(effect.name) ?? []) {
          if (feed.member.inbox === effect.member && feed.member.connection === effect.connection) {
            feed.assigned(effect.entry)
            this.#host!.touch(feed)
          }
        }
        return
      case 'attached': {
        const feed = this.feeds.get(effect.name)
        if (feed !== undefined && feed.owner.connection !== effect.connection) feed.lost('taken-over')
        return
      }
      case 'count':
        return this.#count(effect)
      default:
        if (effect.type === 'ended') this.#end(effect)
        if (leader) this.#onLeader(effect)
    }
  }

  #end(effect: Extract<Effect, { type: 'ended' }>): void {
    const feed = this.feeds.get(effect.name)
    if (feed === undefined || feed.owner.incarnation !== effect.incarnation) return
    feed.lost(effect.reason === 'replaced' ? 'taken-over' : effect.reason)
  }

  #onLeader(effect: LeaderEffect): void {
    if (this.#publisher !== null) this.#act(effect, this.#publisher)
    else if (this.#early.length < EARLY_MAX) this.#early.push(effect)
  }

  #act(effect: LeaderEffect, publisher: WillPublisher): void {
    if (effect.type === 'will') return this.#publish(effect, publisher)
    const key = parseStart(effect.key)
    if (effect.type === 'dropped') return publisher.dropped(key, effect.reason, effect.count)
    if (effect.reason === 'replaced') return
    const { incarnation, subscriptions } = effect
    publisher.sessionEnded(key, incarnation, subscriptions, groupsOf(key, subscriptions))
  }

  #publish({ key, number, message }: Extract<Effect, { type: 'will' }>, publisher: WillPublisher): void {
    const { tenant, inbox } = parseStart(key)
    const name = `${nameOf(key)}${number}`
    if (this.#firing.has(name)) return
    this.#firing.add(name)
    publisher
      .publishWill(tenant, inbox, message, { publisher: inbox, number })
      .then(
        () => this.#confirm(key, number),
        (error: unknown) =>
          this.#log.warn({ err: error, tenant, inbox }, 'Could not publish a will: it is tried again'),
      )
      .finally(() => this.#firing.delete(name))
  }

  #count(effect: Extract<Effect, { type: 'count' }>): void {
    const { stats } = this
    stats.sessions += effect.sessions
    stats.attached += effect.attached
    stats.queuedMessages += effect.messages
    stats.queuedBytes += effect.bytes
    stats.inserts += effect.inserts
    stats.drops += effect.drops
    stats.willsFired += effect.wills
  }
}

/** The shared groups among a session's filters. */
export function groupsOf({ tenant }: InboxKey, subscriptions: readonly InboxSubscription[]): GroupKey[] {
  const groups: GroupKey[] = []
  for (const { filter } of subscriptions) {
    const shared = parseSharedFilter(filter)
    if (shared !== null) groups.push({ tenant, ...shared })
  }
  return groups
}
