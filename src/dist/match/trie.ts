import type { TenantId } from '../../base/ids.ts'
import type { Receiver } from '../contract.ts'
import { HashIndex, mix, Records } from './arena.ts'
import { type Interner, LevelBuffer } from './interner.ts'
import { RouteLists } from './routes.ts'

const PARENT = 0
/** Level id; 0 for a `+` and for a tenant's root. */
const LEVEL = 1
const CHAIN = 2
/** The child `+`. */
const PLUS = 3
/** First route of the filter that ends here. */
const ROUTES = 4
/** First route of the filter that goes on with `#` here and ends: `#` has no node of its own. */
const HASH_ROUTES = 5
/** Children other than `+`. */
const CHILDREN = 6
const STRIDE = 7

const DOLLAR = 0x24
const HASH = 0x23
const PLUS_SIGN = 0x2b

/**
 * The routes of every tenant as a trie of levels: what {@link topicMatches} says, for a million filters at once.
 *
 * A node is seven numbers in an arena; a child is found by hash of (parent, level id). Each tenant has a root of its
 * own. A filter's routes are a list: number `2 * node`, or `2 * node + 1` where the filter ends with `#` below the node.
 * What a removed filter held goes back to the arena and to the interner at once.
 *
 * Hot: bench/micro/match.ts gives bytes a filter and nanoseconds a match.
 */
export class RouteTrie {
  readonly routes: RouteLists
  readonly #levels: Interner
  readonly #nodes = new Records(STRIDE)
  readonly #index = new HashIndex(this.#nodes, CHAIN, (id) =>
    mix(this.#nodes.get(id, PARENT), this.#nodes.get(id, LEVEL)),
  )
  readonly #roots = new Map<TenantId, number>()
  readonly #tenants = new Map<number, TenantId>()
  #filters = 0
  /** Pairs of node and depth still to be looked at. */
  #stack = new Int32Array(256)
  /** Lists that matched, of the last {@link match}. */
  matched = new Int32Array(64)
  readonly #buffer = new LevelBuffer()

  /** @param levels shared with the cache, so that a topic is taken apart once */
  constructor(levels: Interner, seed: number) {
    this.#levels = levels
    this.routes = new RouteLists(seed)
  }

  get filters(): number {
    return this.#filters
  }

  /** Without the levels. */
  get bytes(): number {
    return this.#nodes.bytes + this.#index.bytes + this.routes.bytes
  }

  /** Adds the route or replaces it; true where a match looks different for it. */
  add(tenant: TenantId, filter: string, receiver: Receiver, incarnation: number, stamp: number): boolean {
    const list = this.#listFor(tenant, filter)
    const head = this.#head(list)
    const known = head === 0 ? 0 : this.routes.find(list, receiver)
    if (known !== 0) return this.routes.update(known, receiver, incarnation, stamp)
    if (head === 0) this.#filters++
    const id = this.routes.add(list, head, receiver)
    this.#setHead(list, id)
    this.routes.update(id, receiver, incarnation, stamp)
    return true
  }

  /** True where there was such a route. */
  remove(tenant: TenantId, filter: string, receiver: Receiver): boolean {
    const list = this.#findList(tenant, filter)
    const id = list === 0 ? 0 : this.routes.find(list, receiver)
    if (id === 0) return false
    this.removeRoute(id)
    return true
  }

  removeRoute(id: number): void {
    const list = this.routes.list(id)
    const head = this.routes.remove(id, this.#head(list))
    this.#setHead(list, head)
    if (head !== 0) return
    this.#filters--
    this.#prune(list >>> 1)
  }

  /** First route of a list; 0 = none. */
  head(list: number): number {
    return this.#head(list)
  }

  tenantOf(list: number): TenantId {
    let node = list >>> 1
    for (let up = this.#nodes.get(node, PARENT); up !== 0; up = this.#nodes.get(node, PARENT)) node = up
    return this.#tenants.get(node)!
  }

  /** The filter whose routes a list holds. */
  filterOf(list: number): string {
    let filter = (list & 1) === 1 ? '#' : ''
    let joined = filter !== ''
    for (let node = list >>> 1; ; ) {
      const parent = this.#nodes.get(node, PARENT)
      if (parent === 0) return filter
      const level = this.#nodes.get(node, LEVEL)
      const text = level === 0 ? '+' : this.#levels.text(level)
      filter = joined ? `${text}/${filter}` : text
      joined = true
      node = parent
    }
  }

  /**
   * Finds every list whose filter matches the topic; returns their number, the lists are in {@link matched}.
   *
   * @param levels the topic's level ids, as `Interner.levelsOf` gives them
   */
  match(tenant: TenantId, topic: string, levels: LevelBuffer): number {
    const root = this.#roots.get(tenant)
    if (root === undefined) return 0
    const nodes = this.#nodes
    const { ids, count } = levels
    // A leading wildcard does not match a topic that begins with `$` [MQTT-4.7.2-1].
    const reserved = topic.charCodeAt(0) === DOLLAR
    let found = 0
    let top = 0
    let node = root
    let depth = 0
    for (;;) {
      const wild = depth > 0 || !reserved
      if (found + 2 > this.matched.length) this.matched = grown(this.matched)
      if (wild && nodes.get(node, HASH_ROUTES) !== 0) this.matched[found++] = node * 2 + 1
      let next = 0
      if (depth === count) {
        if (nodes.get(node, ROUTES) !== 0) this.matched[found++] = node * 2
      } else {
        const level = ids[depth]!
        if (level !== 0 && nodes.get(node, CHILDREN) !== 0) next = this.#child(node, level)
        const plus = wild ? nodes.get(node, PLUS) : 0
        depth++
        if (next === 0) next = plus
        else if (plus !== 0) {
          if (top + 2 > this.#stack.length) this.#stack = grown(this.#stack)
          this.#stack[top++] = plus
          this.#stack[top++] = depth
        }
      }
      if (next !== 0) {
        node = next
      } else {
        if (top === 0) return found
        depth = this.#stack[--top]!
        node = this.#stack[--top]!
      }
    }
  }

  /** The list of a filter, with the nodes that lead to it. */
  #listFor(tenant: TenantId, filter: string): number {
    const levels = this.#buffer
    const count = this.#levels.levelsOf(filter, levels)
    let node = this.#roots.get(tenant) ?? this.#addRoot(tenant)
    for (let i = 0; i < count; i++) {
      const start = levels.starts[i]!
      const end = levels.starts[i + 1]! - 1
      const code = end - start === 1 ? filter.charCodeAt(start) : 0
      if (code === HASH) return node * 2 + 1
      if (code === PLUS_SIGN) {
        node = this.#nodes.get(node, PLUS) || this.#addPlus(node)
        continue
      }
      const level = levels.ids[i]!
      const child = level === 0 ? 0 : this.#child(node, level)
      node = child !== 0 ? child : this.#addChild(node, this.#levels.acquire(filter, start, end))
    }
    return node * 2
  }

  /** The list of a filter; 0 where no node leads to it. */
  #findList(tenant: TenantId, filter: string): number {
    const levels = this.#buffer
    const count = this.#levels.levelsOf(filter, levels)
    let node = this.#roots.get(tenant) ?? 0
    for (let i = 0; i < count && node !== 0; i++) {
      const start = levels.starts[i]!
      const code = levels.starts[i + 1]! - start === 2 ? filter.charCodeAt(start) : 0
      if (code === HASH) return node * 2 + 1
      if (code === PLUS_SIGN) node = this.#nodes.get(node, PLUS)
      else node = levels.ids[i] === 0 ? 0 : this.#child(node, levels.ids[i]!)
    }
    return node * 2
  }

  #child(parent: number, level: number): number {
    const nodes = this.#nodes
    for (let id = this.#index.head(mix(parent, level)); id !== 0; id = nodes.get(id, CHAIN)) {
      if (nodes.get(id, PARENT) === parent && nodes.get(id, LEVEL) === level) return id
    }
    return 0
  }

  #addRoot(tenant: TenantId): number {
    const root = this.#nodes.alloc()
    this.#roots.set(tenant, root)
    this.#tenants.set(root, tenant)
    return root
  }

  #addPlus(parent: number): number {
    const node = this.#nodes.alloc()
    this.#nodes.set(node, PARENT, parent)
    this.#nodes.set(parent, PLUS, node)
    return node
  }

  /** Takes over the caller's hold on `level`. */
  #addChild(parent: number, level: number): number {
    const node = this.#nodes.alloc()
    this.#nodes.set(node, PARENT, parent)
    this.#nodes.set(node, LEVEL, level)
    this.#nodes.set(parent, CHILDREN, this.#nodes.get(parent, CHILDREN) + 1)
    this.#index.insert(mix(parent, level), node)
    return node
  }

  /** Frees the node and those above it that lead nowhere any more. */
  #prune(from: number): void {
    const nodes = this.#nodes
    let node = from
    while (
      nodes.get(node, ROUTES) === 0 &&
      nodes.get(node, HASH_ROUTES) === 0 &&
      nodes.get(node, PLUS) === 0 &&
      nodes.get(node, CHILDREN) === 0
    ) {
      const parent = nodes.get(node, PARENT)
      const level = nodes.get(node, LEVEL)
      if (parent === 0) {
        this.#roots.delete(this.#tenants.get(node)!)
        this.#tenants.delete(node)
        nodes.free(node)
        return
      }
      if (level === 0) nodes.set(parent, PLUS, 0)
      else {
        this.#index.remove(mix(parent, level), node)
        nodes.set(parent, CHILDREN, nodes.get(parent, CHILDREN) - 1)
        this.#levels.release(level)
      }
      nodes.free(node)
      node = parent
    }
  }

  #head(list: number): number {
    return this.#nodes.get(list >>> 1, (list & 1) === 1 ? HASH_ROUTES : ROUTES)
  }

  #setHead(list: number, route: number): void {
    this.#nodes.set(list >>> 1, (list & 1) === 1 ? HASH_ROUTES : ROUTES, route)
  }
}

function grown(array: Int32Array<ArrayBuffer>): Int32Array<ArrayBuffer> {
  const larger = new Int32Array(array.length * 2)
  larger.set(array)
  return larger
}
