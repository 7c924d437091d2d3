import type { Logger } from '../base/logging.ts'
import { parseSharedFilter } from '../base/topic.ts'
import { within } from '../kv/engine/bytes.ts'
import type { Applied, RangeDescriptor, RangeObserver, Reader } from '../kv/range/coprocessor.ts'
import type { GroupKey, InboxKey, InboxStats, InboxSubscription, WillPublisher } from './contract.ts'
import type { QueueFeed } from './feed.ts'
import type { FeedHost } from './feed-host.ts'
import type { GroupFeed } from './group-feed.ts'
import type { MemberGate } from './member-gate.ts'
import type { News } from './remote/letters.ts'
import type { FeedSource, Told } from './remote/source.ts'
import type { CountEffect, Effect, EndedEffect, NodeEffect } from './store/command.ts'
import { nameOf, parseStart } from './store/schema.ts'
import { addStored, noneStored, type Stored, StoredCount } from './stored.ts'

/** Effects that come before {@link InboxObserver.start}; a will among those that found no room comes again. */
const EARLY_MAX = 10_000

type StoredStats = Omit<
  InboxStats,
  'watching' | 'leasesHeld' | 'leaseClosed' | 'selfFenced' | 'fences' | 'fencedSessions'
>
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
  /** What is open here, by id. */
  readonly #open = new Map<string, RangeDescriptor>()
  #host: FeedHost | null = null
  #source: FeedSource | null = null
  #publisher: WillPublisher | null = null
  #confirm: (key: Uint8Array, number: number) => void = () => {}
  /** A session that was attached is free. */
  freed: (name: string) => void = () => {}
  nodeChanged: (range: string, effect: NodeEffect) => void = () => {}
  #early: LeaderEffect[] = []
  readonly #firing = new Set<string>()

  /** @param defer runs a callback after what runs now */
  constructor(log: Logger, defer: (callback: () => void) => void) {
    this.#log = log
    this.#defer = defer
  }

  /** `confirm` is told of each will that is out; `source` of what feeds of other nodes may wait for. */
  connect(host: FeedHost, confirm: (key: Uint8Array, number: number) => void, source: FeedSource | null = null): void {
    this.#host = host
    this.#confirm = confirm
    this.#source = source
  }

  start(publisher: WillPublisher): void {
    this.#publisher = publisher
    const early = this.#early
    this.#early = []
    for (const effect of early) this.#act(effect, publisher)
  }

  /** The range may have gone on without this node hearing of it. */
  opened(range: RangeDescriptor, reader: Reader): void {
    this.#open.set(range.id, range)
    this.#countStored(range, reader)
    this.#listenAgain(range)
  }

  /** All that happened before was told by the parent. */
  split(parent: RangeDescriptor, child: RangeDescriptor): void {
    this.#open.set(parent.id, parent)
    this.#open.set(child.id, child)
    this.#stored.set(child.id, noneStored())
    this.#source?.split(parent, child)
  }

  /** What is stored is counted anew; all that happened before was told by both. */
  merged(left: RangeDescriptor, right: RangeDescriptor, reader: Reader): void {
    this.#forget(right)
    this.#open.set(left.id, left)
    this.#countStored(left, reader)
    this.#source?.merged(left, right)
  }

  closed(range: RangeDescriptor): void {
    this.#forget(range)
    this.#source?.follows(range)
    this.#listenAgain(range)
  }

  applied(range: RangeDescriptor, { effects, leader }: Applied<Effect>): void {
    const source = this.#source !== null && this.#source.watched > 0 ? this.#source : null
    if (!leader) source?.follows(range)
    for (const effect of effects) {
      if (effect.type === 'count') this.#count(range.id, effect)
      else if (effect.type === 'node') this.nodeChanged(range.id, effect)
      else {
        this.#apply(effect, leader)
        if (source !== null && isTold(effect)) source.tell(effect)
      }
    }
    this.#host?.runWoken()
  }

  /** Whether a replica here tells of that inbox. */
  covers(key: Uint8Array): boolean {
    for (const range of this.#open.values()) if (within(key, range)) return true
    return false
  }

  /** It was applied on another node, which tells of it. */
  happened(news: News): void {
    if (news.type === 'tail') {
      const feed = this.feeds.get(news.name)
      if (feed === undefined) return
      feed.tailIs(news.sequence)
      this.#host!.touch(feed)
    } else if (news.type === 'ended') this.#end(news)
    else if (news.type !== 'watching' && news.type !== 'lost') this.#apply(news, false)
  }

  /** Of entries that expired before they were sent: no entry of the log says so. */
  countDrops(drops: number): void {
    this.#drops += drops
  }

  /** Just after a start, less than there is: see {@link StoredCount}. */
  stats(): StoredStats {
    const sum = noneStored()
    for (const stored of this.#stored.values()) addStored(sum, stored)
    const { sessions, attached, messages, bytes } = sum
    return {
      ...{ sessions, attached, queuedMessages: messages, queuedBytes: bytes },
      ...{ inserts: this.#inserts, drops: this.#drops, willsFired: this.#wills },
      watched: this.#source?.watched ?? 0,
      pushed: this.#source?.pushed ?? 0,
      malformed: this.#source?.malformed ?? 0,
    }
  }

  #forget(range: RangeDescriptor): void {
    this.#open.delete(range.id)
    this.#counting.get(range.id)?.end()
    this.#counting.delete(range.id)
    this.#stored.delete(range.id)
  }

  /** From who can tell now. */
  #listenAgain(range: RangeDescriptor): void {
    for (const feed of [...this.feeds.values()]) if (within(feed.key, range)) this.#host!.listen(feed)
    for (const feeds of [...this.groups.values()]) {
      for (const feed of [...feeds]) if (within(feed.key, range)) this.#host!.listen(feed)
    }
  }

  #countStored(range: RangeDescriptor, reader: Reader): void {
    this.#counting.get(range.id)?.end()
    const stored = noneStored()
    this.#stored.set(range.id, stored)
    this.#counting.set(range.id, new StoredCount(reader, stored, this.#defer))
  }

  #apply(effect: Exclude<Effect, CountEffect | NodeEffect>, leader: boolean): void {
    switch (effect.type) {
      case 'freed':
        return this.freed(effect.name)
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

  #end(effect: Pick<EndedEffect, 'name' | 'incarnation' | 'reason'>): void {
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

/** What a feed on another node may wait for. */
function isTold(effect: Effect): effect is Told {
  return effect.type === 'grown' || effect.type === 'assigned' || effect.type === 'attached' || effect.type === 'ended'
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
