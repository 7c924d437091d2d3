import type { Clock } from '../base/clock.ts'
import type { Logger } from '../base/logging.ts'
import type { RangeClient } from '../kv/client/client.ts'
import type { InboxKey } from './contract.ts'
import type { LeaseWatch } from './leases/contract.ts'
import type { FeedWatches, WatchingFeed } from './remote/watches.ts'
import type { Answer, Command, Query, Response } from './store/command.ts'

export type InboxRanges = RangeClient<Command, Response, Query, Answer>

/** What feeds have in common. */
export interface RunningFeed {
  readonly name: string
  /** Pushes what may be pushed. */
  run(): void
  /** Sends what was put off. */
  tick(): void
}

export interface FeedHostOptions {
  ranges: InboxRanges
  clock: Clock
  defer: (callback: () => void) => void
  log: Logger
  /** Host id of this node. */
  node: string
  nodeIncarnation: () => number
  /** Looked at before anything is pushed. */
  lease: LeaseWatch
  /** Entries that expired before they were sent. */
  expired: (key: InboxKey, count: number) => void
  closed: (feed: RunningFeed) => void
  /** Whether a replica here tells of that inbox. */
  covers: (key: Uint8Array) => boolean
  /** Where feeds are told of that have no replica here; null: there are no other nodes. */
  watches: FeedWatches | null
}

/** Milliseconds that acknowledgements wait for company. */
const TRIM_MS = 100
/** Milliseconds until a read that failed is tried again. */
const RETRY_MS = 500
/** Bytes that all feeds together keep of entries that have no credit yet. */
const AHEAD_BYTES = 32 * 1024 * 1024

/** Turns and timers for all feeds of the node: one of each, however many feeds there are. */
export class FeedHost {
  readonly ranges: InboxRanges
  readonly #options: FeedHostOptions
  #woken = new Set<RunningFeed>()
  #ticking = new Set<RunningFeed>()
  #runScheduled = false
  #stopTick: (() => void) | null = null
  #aheadBytes = 0

  constructor(options: FeedHostOptions) {
    this.#options = options
    this.ranges = options.ranges
  }

  get node(): string {
    return this.#options.node
  }

  /** Feeds that another node tells of. */
  get watching(): number {
    return this.#options.watches?.count ?? 0
  }

  get nodeIncarnation(): number {
    return this.#options.nodeIncarnation()
  }

  nowMs(): number {
    return this.#options.clock.now()
  }

  /** Lets the feed hear what is applied from now on: from a replica here, else from the node that leads. */
  listen(feed: WatchingFeed): void {
    const { watches, covers } = this.#options
    if (watches !== null && !covers(feed.key)) return watches.add(feed)
    watches?.remove(feed)
    feed.heard()
  }

  /** Entries up to this sequence may be pushed by the node that tells of the feed. */
  allow(feed: WatchingFeed, upTo: number): void {
    this.#options.watches?.limit({ feed, upTo })
  }

  /** Runs the feed at the end of the turn: once, however often it is woken. */
  wake(feed: RunningFeed): void {
    this.#woken.add(feed)
    if (this.#runScheduled) return
    this.#runScheduled = true
    this.#options.defer(() => {
      this.#runScheduled = false
      this.runWoken()
    })
  }

  /** Runs the feeds woken so far, now. */
  runWoken(): void {
    if (this.#woken.size === 0) return
    const { lease, clock } = this.#options
    const nowMs = clock.monotonic()
    if (nowMs >= lease.untilMs) lease.look(nowMs)
    const woken = this.#woken
    this.#woken = new Set()
    for (const feed of woken) feed.run()
  }

  /** Marks a feed for {@link runWoken}, which the caller will call itself. */
  touch(feed: RunningFeed): void {
    this.#woken.add(feed)
  }

  tickLater(feed: RunningFeed): void {
    this.#ticking.add(feed)
    this.#stopTick ??= this.#options.clock.after(TRIM_MS, () => {
      this.#stopTick = null
      this.tickAll()
    })
  }

  tickAll(): void {
    const ticking = this.#ticking
    this.#ticking = new Set()
    for (const feed of ticking) feed.tick()
  }

  retry(feed: RunningFeed, again: () => void, error: unknown): void {
    this.#options.log.warn({ err: error, inbox: feed.name }, 'Could not read a queue: it is tried again')
    this.#options.clock.after(RETRY_MS, again)
  }

  refused(feed: RunningFeed, reason: string): void {
    this.#options.log.warn({ inbox: feed.name }, `Could not open a feed: ${reason}`)
  }

  reserve(bytes: number): boolean {
    if (this.#aheadBytes + bytes > AHEAD_BYTES) return false
    this.#aheadBytes += bytes
    return true
  }

  release(bytes: number): void {
    this.#aheadBytes -= bytes
  }

  expired(key: InboxKey, count: number): void {
    this.#options.expired(key, count)
  }

  closed(feed: WatchingFeed): void {
    this.#options.watches?.remove(feed)
    this.#ticking.delete(feed)
    this.#woken.delete(feed)
    this.#options.closed(feed)
  }

  stop(): void {
    this.tickAll()
    this.#options.watches?.stop()
    this.#stopTick?.()
    this.#stopTick = null
  }
}
