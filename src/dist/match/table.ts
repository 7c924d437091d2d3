import type { TenantId } from '../../base/ids.ts'
import { compareBytes, within } from '../../kv/engine/bytes.ts'
import type { Applied, RangeDescriptor, RangeObserver, Reader } from '../../kv/range/coprocessor.ts'
import type { DistStats, Receiver, Route, RouteChange, TopicEntry } from '../contract.ts'
import { keyAfter, readRoute, routeKey } from '../store/schema.ts'
import { MatchCache } from './cache.ts'
import { buildEntry } from './entry.ts'
import { Interner, LevelBuffer } from './interner.ts'
import { RouteTrie } from './trie.ts'

export interface RouteTableOptions {
  /** Runs `work` later, when what is more urgent has had its turn (`setImmediate`). */
  defer: (work: () => void) => void
  /** Monotonic milliseconds: for the length of slices. */
  now: () => number
  /** Most approximate bytes of the match cache. */
  cacheBytesMax: number
  /** Any number, best a random one: hashes of texts start from it. */
  seed: number
}

/** Most milliseconds of loading or sweeping at a time. */
const SLICE_MS = 10
/** Routes between two looks at the clock. */
const ROUTES_PER_LOOK = 128

type TableStats = Omit<DistStats, 'publishesWaiting' | 'publishesWaited' | 'publishesRefused'>

interface OpenRange {
  descriptor: RangeDescriptor
  reader: Reader
  /** Number of the load; routes in its boundary with a lower stamp are not in the range any more. */
  stamp: number
  /** Next key to load; null = loaded. */
  next: Uint8Array | null
}

/**
 * The node's derived state of `dist`: the routes of all ranges that it holds, in one trie, and the match cache.
 *
 * Routes come by {@link opened} in slices and by {@link applied} at once. A slice reads what is stored now and runs to
 * its end, so the two never disagree. What a range that closed had brought is swept later, if no other range covers it
 * then: at a split or merge nothing is lost in between.
 */
export class RouteTable implements RangeObserver<RouteChange> {
  readonly #options: RouteTableOptions
  #levels!: Interner
  #trie!: RouteTrie
  #cache!: MatchCache
  readonly #buffer = new LevelBuffer()
  readonly #ranges = new Map<string, OpenRange>()
  #stamp = 0
  #loading: OpenRange[] = []
  /** True while the trie may hold routes of a range that closed. */
  #leftovers = false
  /** True while such routes may lie in a range that opened since. */
  #doubtful = false
  /** Next route to look at; 0 = no sweep under way. */
  #sweep = 0
  #scheduled = false

  constructor(options: RouteTableOptions) {
    this.#options = options
    this.#clear()
  }

  /** Everything that matches: from the cache, or from the trie once. */
  match(tenant: TenantId, topic: string): TopicEntry {
    return this.#cache.find(tenant, topic) ?? this.#matchNew(tenant, topic)
  }

  touch(tenant: TenantId, filter: string): void {
    this.#cache.invalidate(tenant, filter)
  }

  /** True when exactly the routes of the ranges that are open here match. */
  ready(): boolean {
    return this.#ranges.size > 0 && this.#loading.length === 0 && !this.#doubtful
  }

  /** True when every route of that range here can match. */
  isLoaded(range: string): boolean {
    return this.#ranges.get(range)?.next === null
  }

  stats(): TableStats {
    return {
      routes: this.#trie.routes.count,
      filters: this.#trie.filters,
      trieBytes: this.#trie.bytes + this.#levels.bytes + this.#cache.bytes,
      cacheEntries: this.#cache.count,
      cacheHits: this.#cache.hits,
      cacheMisses: this.#cache.misses,
      invalidations: this.#cache.invalidations,
    }
  }

  /** Routes of a node that are older than `incarnation`, from the `from`th on; `next` 0 = all were looked at. */
  olderRoutes(node: string, incarnation: number, from: number, limit: number): { routes: Route[]; next: number } {
    const { routes } = this.#trie
    const found: Route[] = []
    for (let id = Math.max(1, from); id < routes.limit; id++) {
      const list = routes.list(id)
      if (list === 0 || routes.incarnation(id) >= incarnation) continue
      const receiver = routes.receiver(id)
      if (nodeOf(receiver) !== node) continue
      const tenant = this.#trie.tenantOf(list)
      found.push({ tenant, filter: this.#trie.filterOf(list), receiver, incarnation: routes.incarnation(id) })
      if (found.length >= limit) return { routes: found, next: id + 1 }
    }
    return { routes: found, next: 0 }
  }

  opened(descriptor: RangeDescriptor, reader: Reader): void {
    this.#forget(descriptor.id)
    if (this.#leftovers) this.#doubtful = true
    this.#load({ descriptor, reader, stamp: ++this.#stamp, next: descriptor.start ?? new Uint8Array(0) })
  }

  /** What is loaded stays: only a part that the parent had not come to is loaded by the child. */
  split(parent: RangeDescriptor, descriptor: RangeDescriptor, reader: Reader): void {
    const from = this.#ranges.get(parent.id)
    if (from === undefined) return this.opened(descriptor, reader)
    from.descriptor = parent
    const start = descriptor.start!
    const next = from.next === null || compareBytes(from.next, start) >= 0 ? from.next : start
    const child = { descriptor, reader, stamp: from.stamp, next }
    if (next === null) this.#ranges.set(descriptor.id, child)
    else this.#load(child)
  }

  /** What is loaded stays: only where something of the two is not, all is loaded again. */
  merged(left: RangeDescriptor, right: RangeDescriptor, reader: Reader): void {
    const into = this.#ranges.get(left.id)
    const from = this.#ranges.get(right.id)
    const isLoaded = into?.next === null && from?.next === null && !this.#leftovers
    if (!isLoaded || into === undefined || from === undefined) {
      this.closed(right)
      return this.opened(left, reader)
    }
    this.#ranges.delete(right.id)
    into.descriptor = left
    into.stamp = Math.min(into.stamp, from.stamp)
  }

  applied(descriptor: RangeDescriptor, applied: Applied<RouteChange>): void {
    const range = this.#ranges.get(descriptor.id)
    if (range === undefined) return
    range.descriptor = descriptor
    for (const change of applied.effects) {
      if (change.op === 'add') this.#add(change, this.#stamp)
      else this.#remove(change)
    }
  }

  closed(descriptor: RangeDescriptor): void {
    if (!this.#forget(descriptor.id)) return
    this.#sweep = 1
    this.#schedule()
  }

  #clear(): void {
    const { seed, cacheBytesMax } = this.#options
    this.#cache?.clear()
    this.#levels = new Interner(seed)
    this.#trie = new RouteTrie(this.#levels, seed)
    this.#cache = new MatchCache(this.#levels, cacheBytesMax)
  }

  #matchNew(tenant: TenantId, topic: string): TopicEntry {
    this.#levels.levelsOf(topic, this.#buffer)
    const count = this.#trie.match(tenant, topic, this.#buffer)
    const entry = buildEntry(this.#trie, tenant, topic, count)
    this.#cache.add(entry, this.#buffer)
    return entry
  }

  #add(route: Route, stamp: number): void {
    const { tenant, filter, receiver, incarnation } = route
    if (this.#trie.add(tenant, filter, receiver, incarnation, stamp)) this.#cache.invalidate(tenant, filter)
  }

  #remove(route: Route): void {
    const { tenant, filter, receiver } = route
    if (this.#trie.remove(tenant, filter, receiver)) this.#cache.invalidate(tenant, filter)
  }

  #load(range: OpenRange): void {
    this.#ranges.set(range.descriptor.id, range)
    this.#loading.push(range)
    if (!this.#scheduled) this.#work()
  }

  #forget(id: string): boolean {
    const range = this.#ranges.get(id)
    if (range === undefined) return false
    this.#ranges.delete(id)
    this.#loading = this.#loading.filter((loading) => loading !== range)
    this.#leftovers = true
    return true
  }

  #schedule(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    this.#options.defer(() => {
      this.#scheduled = false
      this.#work()
    })
  }

  /** One slice: loads first, then what is to be swept. */
  #work(): void {
    const until = this.#options.now() + SLICE_MS
    while (this.#loading.length > 0) {
      if (!this.#loadUntil(this.#loading[0]!, until)) return this.#schedule()
      this.#loading.shift()
      if (this.#leftovers) this.#sweep = 1
    }
    if (this.#sweep !== 0 && !this.#sweepUntil(until)) this.#schedule()
  }

  /** Loads until the time is up; true when the range is loaded. */
  #loadUntil(range: OpenRange, until: number): boolean {
    const { next: start, reader, descriptor } = range
    if (!within(start!, { end: descriptor.end })) {
      range.next = null
      return true
    }
    const cursor = reader.cursor({ start: start!, end: descriptor.end })
    try {
      let looked = 0
      for (let found = cursor.seek(start!); found; found = cursor.next()) {
        this.#add(readRoute(cursor.key, cursor.value), range.stamp)
        if (++looked % ROUTES_PER_LOOK !== 0 || this.#options.now() < until) continue
        range.next = keyAfter(cursor.key)
        return false
      }
    } finally {
      cursor.close()
    }
    range.next = null
    return true
  }

  /** Removes the routes that no open range has; true when all were looked at. */
  #sweepUntil(until: number): boolean {
    if (this.#ranges.size === 0) this.#clear()
    const { routes } = this.#trie
    let looked = 0
    for (let id = this.#sweep; id < routes.limit; id++) {
      if (++looked % ROUTES_PER_LOOK === 0 && this.#options.now() >= until) {
        this.#sweep = id
        return false
      }
      const list = routes.list(id)
      if (list === 0) continue
      const tenant = this.#trie.tenantOf(list)
      const filter = this.#trie.filterOf(list)
      const route = { tenant, filter, receiver: routes.receiver(id), incarnation: routes.incarnation(id) }
      if (this.#isHeld(routeKey(route), routes.stamp(id))) continue
      this.#trie.removeRoute(id)
      this.#cache.invalidate(tenant, filter)
    }
    this.#sweep = 0
    this.#leftovers = false
    this.#doubtful = false
    return true
  }

  #isHeld(key: Uint8Array, stamp: number): boolean {
    for (const range of this.#ranges.values()) {
      if (within(key, range.descriptor)) return range.next !== null || stamp >= range.stamp
    }
    return false
  }
}

/** The node that a route leads to; null for inboxes and plugins. */
function nodeOf(receiver: Receiver): string | null {
  if (receiver.kind === 'node') return receiver.node
  return receiver.kind === 'group' && receiver.member.kind === 'node' ? receiver.member.node : null
}
