import type { Logger } from '../base/logging.ts'
import { parseSharedFilter } from '../base/topic.ts'
import { within } from '../kv/engine/bytes.ts'
import type { Applied, RangeDescriptor, RangeObserver, Reader } from '../kv/range/coprocessor.ts'
import type { GroupKey, InboxKey, InboxStats, InboxSubscription, WillPublisher } from './contract.ts'
import type { QueueFeed } from './feed.ts'
import type { FeedHost } from './feed-host.ts'
import type { GroupFeed } from './group-feed.ts'
import type { MemberGate } from './member-gate.ts'
import type { CountEffect, Effect } from './store/command.ts'
import { nameOf, parseStart } from './store/schema.ts'
import { addStored, noneStored, type Stored, StoredCount } from './stored.ts'

/** Effects that come before {@link InboxObserver.start}; a will among those that found no room comes again. */
const EARLY_MAX = 10_000

type LeaderEffect = Extract<Effect, { type: 'will' | 'ended' | 'dropped' }>

/** The node's side of the inbox ranges: hands what was applied to the feeds that are open here, and to the world. */
export class InboxObserver implements RangeObserver<Effect> {
  /** By `nameOf(start)`. */
  readonly feeds = new Map<string, QueueFeed>()
  /** The feeds of members, by group's name. */
  readonly groups = new Map<string, GroupFeed[]>()
  /** The same by the member's session. */
  readonly members = new Map<string, MemberGate<GroupFeed>>()
  /** What is stored, by range. Of a part that a split cut off, its parent goes on to count what was there. */
  readonly #stored = new Map<string, Stored>()
  /** What is being counted of it. */
  readonly #counting = new Map<string, StoredCount>()
  #inserts = 0
  #drops = 0
  #wills = 0
  readonly #log: Logger
  readonly #defer: (callback: () => void) => void
  #host: FeedHost | null = null
  #publisher: WillPublisher | null = null
  #confirm: (key: Uint8Array, number: number) => void = () => {}
  #early: LeaderEffect[] = []
  readonly #firing = new Set<string>()

  /** @param defer runs a callback after what runs now */
  constructor(log: Logger, defer: (callback: () => void) => void) {
    this.#log = log
    this.#defer = defer
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
  opened(range: RangeDescriptor, reader: Reader): void {
    this.#countStored(range, reader)
    for (const feed of [...this.feeds.values()]) if (within(feed.key, range)) feed.resync()
    for (const feeds of [...this.groups.values()]) {
      for (const feed of [...feeds]) if (within(feed.key, range)) feed.open()
    }
  }

  /** All that happened before was told by the parent. */
  split(_parent: RangeDescriptor, child: RangeDescriptor): void {
    this.#stored.set(child.id, noneStored())
  }

  /** What is stored is counted anew; all that happened before was told by both. */
  merged(left: RangeDescriptor, right: RangeDescriptor, reader: Reader): void {
    this.closed(right)
    this.#countStored(left, reader)
  }

  closed(range: RangeDescriptor): void {
    this.#counting.get(range.id)?.end()
    this.#counting.delete(range.id)
    this.#stored.delete(range.id)
  }

  applied(range: RangeDescriptor, { effects, leader }: Applied<Effect>): void {
    for (const effect of effects) {
      if (effect.type === 'count') this.#count(range.id, effect)
      else this.#apply(effect, leader)
    }
    this.#host?.runWoken()
  }

  /** Of entries that expired before they were sent: no entry of the log says so. */
  countDrops(drops: number): void {
    this.#drops += drops
  }

  /** Just after a start, less than there is: see {@link StoredCount}. */
  stats(): InboxStats {
    const sum = noneStored()
    for (const stored of this.#stored.values()) addStored(sum, stored)
    const { sessions, attached, messages, bytes } = sum
    return {
      ...{ sessions, attached, queuedMessages: messages, queuedBytes: bytes },
      ...{ inserts: this.#inserts, drops: this.#drops, willsFired: this.#wills },
    }
  }

  #countStored(range: RangeDescriptor, reader: Reader): void {
    this.#counting.get(range.id)?.end()
    const stored = noneStored()
    this.#stored.set(range.id, stored)
    this.#counting.set(range.id, new StoredCount(reader, stored, this.#defer))
  }

  #apply(effect: Exclude<Effect, CountEffect>, leader: boolean): void {
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
        const gate = this.members.get(effect.name)
        if (gate !== undefined && gate.connection !== effect.connection) gate.lost('taken-over')
        return
      }
      default:
        if (effect.type === 'ended') this.#end(effect)
        if (leader) this.#onLeader(effect)
    }
  }

  #end(effect: Extract<Effect, { type: 'ended' }>): void {
    const feed = this.feeds.get(effect.name)
    if (feed === undefined || feed.owner.incarnation !== effect.incarnation) return
    const reason = effect.reason === 'replaced' ? 'taken-over' : effect.reason
    feed.lost(reason)
    this.members.get(effect.name)?.lost(reason)
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

  #count(range: string, effect: CountEffect): void {
    const stored = this.#stored.get(range)
    if (stored !== undefined) addStored(stored, effect)
    this.#inserts += effect.inserts
    this.#drops += effect.drops
    this.#wills += effect.wills
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
