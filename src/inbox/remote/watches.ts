import type { Clock } from '../../base/clock.ts'
import type { HostId } from '../../base/ids.ts'
import type { Peers, StreamCall } from '../../rpc/index.ts'
import type { InboxRanges, RunningFeed } from '../feed-host.ts'
import { FEED, WATCH } from './channels.ts'
import { type Letter, LetterWriter, type News, readNews } from './letters.ts'

/** A feed as it is told from elsewhere. */
export interface WatchingFeed extends RunningFeed {
  readonly key: Uint8Array
  /** Of a member of a group; '' = a session's own queue. */
  readonly watchedAs: string
  /** Another node tells of it, and pushes up to its limit. */
  remote: boolean
  /** Whatever happens from now on is told: what there is already is to be asked for. */
  heard(): void
}

export interface FeedWatchesOptions {
  peers: Peers
  ranges: InboxRanges
  clock: Clock
  /** What happened to an inbox of a feed here. */
  happened: (news: News) => void
  /** All of a chunk happened. */
  done: () => void
}

/** A place where a feed is told of. */
interface Watch {
  feed: WatchingFeed
  /** Null: nowhere now. */
  source: Source | null
  finding: boolean
}

interface Source {
  node: HostId
  number: number
  call: StreamCall | null
  watches: Set<Watch>
  letters: LetterWriter
}

/** What may be under way from one node. */
const CREDIT_BYTES = 4 * 1024 * 1024
/** A node that leads says something each second. */
const IDLE_MS = 4_000
/** Until a feed that nobody tells of looks for somebody. */
const FIND_MS = 50
const FIND_AGAIN_MS = 500
/** Letters that are gathered before they leave: of more than one turn where there are so many. */
const LETTERS_BYTES = 256 * 1024

/**
 * Where the feeds of this node are told of that have no replica here: by the node that leads the range. A node that
 * breaks off, or leads no more, is replaced by the one that answers a read.
 */
export class FeedWatches {
  readonly #options: FeedWatchesOptions
  readonly #sources = new Map<HostId, Source>()
  readonly #watches = new Map<WatchingFeed, Watch>()
  /** By name of the inbox and of who watches: what is told is for these. */
  readonly #named = new Map<string, Watch>()
  readonly #unwatch: () => void
  #number = 0
  #planned = false
  #stopped = false

  constructor(options: FeedWatchesOptions) {
    this.#options = options
    this.#unwatch = options.peers.watchLinks((node, kind, state) => {
      if (kind === FEED.kind && state === 'waiting') this.#sources.get(node)?.call?.cancel()
    })
  }

  /** Feeds without a replica here. */
  get count(): number {
    return this.#watches.size
  }

  add(feed: WatchingFeed): void {
    if (this.#stopped || this.#watches.has(feed)) return
    const watch: Watch = { feed, source: null, finding: false }
    this.#watches.set(feed, watch)
    this.#named.set(idOf(feed), watch)
    this.#place(watch)
  }

  remove(feed: WatchingFeed): void {
    const watch = this.#watches.get(feed)
    if (watch === undefined) return
    feed.remote = false
    this.#watches.delete(feed)
    if (this.#named.get(idOf(feed)) !== watch) return
    this.#named.delete(idOf(feed))
    const { source } = watch
    if (source === null) return
    source.watches.delete(watch)
    this.#write(source, { type: 'unwatch', name: feed.name, connection: feed.watchedAs })
  }

  /** Entries up to this sequence may be pushed. */
  limit({ feed, upTo }: { feed: WatchingFeed; upTo: number }): void {
    const source = this.#watches.get(feed)?.source ?? null
    if (source !== null) this.#write(source, { type: 'limit', name: feed.name, upTo })
  }

  stop(): void {
    this.#stopped = true
    this.#unwatch()
    for (const { call } of [...this.#sources.values()]) call?.cancel()
  }

  #place(watch: Watch): void {
    const { ranges, peers } = this.#options
    const { key, name, watchedAs } = watch.feed
    const node = ranges.leader(key) as HostId
    if (node === '' || node === peers.node) return this.#findLater(watch, FIND_AGAIN_MS)
    const source = this.#sources.get(node) ?? this.#open(node)
    watch.source = source
    source.watches.add(watch)
    this.#write(source, { type: 'watch', name, connection: watchedAs })
  }

  #open(node: HostId): Source {
    const letters = new LetterWriter()
    const source: Source = { node, number: ++this.#number, call: null, watches: new Set(), letters }
    this.#sources.set(node, source)
    const options = { creditBytes: CREDIT_BYTES, idleMs: IDLE_MS }
    source.call = this.#options.peers.open(node, FEED, source.number, options, {
      chunk: (chunk, bytes) => this.#chunk(source, chunk, bytes),
      ended: () => this.#ended(source),
    })
    return source
  }

  #chunk(source: Source, chunk: Uint8Array, bytes: number): void {
    let all: News[]
    try {
      all = readNews(chunk)
    } catch {
      source.call?.cancel()
      return
    }
    source.call?.grant(bytes)
    for (const news of all) {
      if (news.type === 'watching') this.#watching(source, news)
      else if (news.type === 'lost') this.#lost(source, news)
      else this.#options.happened(news)
    }
    this.#options.done()
  }

  #watching(source: Source, { name, connection }: News & { type: 'watching' }): void {
    const watch = this.#named.get(name + connection)
    if (watch === undefined || watch.source !== source) return
    watch.feed.remote = true
    watch.feed.heard()
  }

  #lost(source: Source, { name, connection }: News & { type: 'lost' }): void {
    const watch = this.#named.get(name + connection)
    if (watch === undefined || watch.source !== source) return
    source.watches.delete(watch)
    this.#findLater(watch, FIND_MS)
  }

  #ended(source: Source): void {
    if (this.#sources.get(source.node) === source) this.#sources.delete(source.node)
    for (const watch of source.watches) this.#findLater(watch, FIND_MS)
    source.watches.clear()
  }

  #findLater(watch: Watch, ms: number): void {
    watch.source = null
    watch.feed.remote = false
    if (watch.finding || this.#stopped) return
    watch.finding = true
    this.#options.clock.after(ms, () => this.#find(watch))
  }

  /** A read goes to whoever leads, and then it is known who that is. */
  #find(watch: Watch): void {
    const { key } = watch.feed
    if (this.#gone(watch)) return
    this.#options.ranges.query(key, { type: 'head', key }).then(
      () => {
        watch.finding = false
        if (!this.#gone(watch)) this.#place(watch)
      },
      () => {
        watch.finding = false
        if (!this.#gone(watch)) this.#findLater(watch, FIND_AGAIN_MS)
      },
    )
  }

  #gone(watch: Watch): boolean {
    return this.#stopped || this.#watches.get(watch.feed) !== watch
  }

  #write(source: Source, letter: Letter): void {
    source.letters.write(source.number, letter)
    if (source.letters.length >= LETTERS_BYTES) this.#send(source)
    if (this.#planned) return
    this.#planned = true
    this.#options.peers.beforeFrames(() => {
      this.#planned = false
      for (const each of this.#sources.values()) if (each.letters.length > 0) this.#send(each)
    })
  }

  #send(source: Source): void {
    const result = this.#options.peers.send(source.node, WATCH, source.letters.finish())
    if (result !== 'accepted') source.call?.cancel()
  }
}

function idOf({ name, watchedAs }: WatchingFeed): string {
  return name + watchedAs
}
