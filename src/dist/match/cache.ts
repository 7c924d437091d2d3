import { assert } from '../../base/assert.ts'
import type { TenantId } from '../../base/ids.ts'
import { hasWildcard } from '../../base/topic.ts'
import type { CachedTopic } from './entry.ts'
import type { Interner, LevelBuffer } from './interner.ts'
import { TopicTrie } from './topic-trie.ts'

interface TenantTopics {
  readonly entries: Map<string, CachedTopic>
  /** Root in the topic trie. */
  readonly root: number
}

/**
 * Matches of topics that were published to, bounded in bytes over all tenants.
 *
 * An entry lives until a route changes that concerns its topic, or until room is needed: then the clock hand takes the
 * next one that nobody asked for since it last passed. Whatever ends an entry turns its `alive` false, so that whoever
 * kept it notices.
 *
 * Hot: {@link find} is once per PUBLISH; bench/micro/match.ts.
 */
export class MatchCache {
  hits = 0
  misses = 0
  invalidations = 0
  readonly #bytesMax: number
  readonly #trie: TopicTrie
  readonly #tenants = new Map<TenantId, TenantTopics>()
  #lastTenant: TenantId | null = null
  #lastEntries: Map<string, CachedTopic> | null = null
  #bytes = 0
  #count = 0
  /** All entries; null where one was removed. */
  readonly #ring: (CachedTopic | null)[] = []
  readonly #freeSlots: number[] = []
  #hand = 0
  readonly #found: number[] = []

  /** @param bytesMax approximate bytes of all entries */
  constructor(levels: Interner, bytesMax: number) {
    this.#trie = new TopicTrie(levels)
    this.#bytesMax = bytesMax
  }

  get count(): number {
    return this.#count
  }

  get bytes(): number {
    return this.#bytes
  }

  find(tenant: TenantId, topic: string): CachedTopic | undefined {
    let entries = this.#lastEntries
    if (tenant !== this.#lastTenant || entries === null) {
      const topics = this.#tenants.get(tenant)
      if (topics === undefined) {
        this.misses++
        return undefined
      }
      entries = topics.entries
      this.#lastTenant = tenant
      this.#lastEntries = entries
    }
    const entry = entries.get(topic)
    if (entry === undefined) {
      this.misses++
      return undefined
    }
    this.hits++
    if (!entry.used) entry.used = true
    return entry
  }

  /**
   * Keeps an entry for a topic that {@link find} does not know. One that is larger than the whole cache is not kept:
   * its `alive` is false from the first.
   *
   * @param levels the topic's, as the interner gave them just now
   */
  add(entry: CachedTopic, levels: LevelBuffer): void {
    if (entry.bytes > this.#bytesMax) {
      entry.alive = false
      return
    }
    let topics = this.#tenants.get(entry.tenant)
    if (topics === undefined) {
      topics = { entries: new Map(), root: this.#trie.addRoot() }
      this.#tenants.set(entry.tenant, topics)
    }
    assert(!topics.entries.has(entry.topic), 'A topic is cached once')
    const slot = this.#freeSlots.pop() ?? this.#ring.length
    entry.slot = slot
    entry.end = this.#trie.add(topics.root, entry.topic, levels, slot)
    this.#ring[slot] = entry
    topics.entries.set(entry.topic, entry)
    this.#count++
    this.#bytes += entry.bytes
    // After the add: a tenant that loses its last other entry keeps its root.
    this.#makeRoom(entry)
  }

  /** Ends every entry whose topic `filter` matches; returns how many. */
  invalidate(tenant: TenantId, filter: string): number {
    const topics = this.#tenants.get(tenant)
    if (topics === undefined) return 0
    if (!hasWildcard(filter)) {
      const entry = topics.entries.get(filter)
      if (entry === undefined) return 0
      this.#remove(entry)
      this.invalidations++
      return 1
    }
    const found = this.#found
    this.#trie.find(topics.root, filter, found)
    const count = found.length
    for (const slot of found) this.#remove(this.#ring[slot]!)
    found.length = 0
    this.invalidations += count
    return count
  }

  /** Ends every entry. */
  clear(): void {
    for (const entry of this.#ring) if (entry !== null) this.#remove(entry)
  }

  #makeRoom(kept: CachedTopic): void {
    while (this.#bytes > this.#bytesMax) {
      if (this.#hand >= this.#ring.length) this.#hand = 0
      const entry = this.#ring[this.#hand++]
      if (entry === null || entry === undefined || entry === kept) continue
      if (entry.used) entry.used = false
      else this.#remove(entry)
    }
  }

  #remove(entry: CachedTopic): void {
    entry.alive = false
    // Whoever still holds the ended entry must not hold connections with it.
    entry.derived = null
    this.#trie.remove(entry.end)
    this.#ring[entry.slot] = null
    this.#freeSlots.push(entry.slot)
    this.#count--
    this.#bytes -= entry.bytes
    const topics = this.#tenants.get(entry.tenant)!
    topics.entries.delete(entry.topic)
    if (topics.entries.size > 0) return
    this.#trie.removeRoot(topics.root)
    this.#tenants.delete(entry.tenant)
    if (this.#lastEntries === topics.entries) this.#lastEntries = null
  }
}
