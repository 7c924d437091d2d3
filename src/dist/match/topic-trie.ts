import { HashIndex, mix, Records } from './arena.ts'
import { type Interner, LevelBuffer } from './interner.ts'

const PARENT = 0
const LEVEL = 1
const CHAIN = 2
/** First child; of an end, the number of its topic. */
const CHILD = 3
const NEXT = 4
const PREVIOUS = 5
const PEERS = 6
const PEER_NEXT = 7
const PEER_PREVIOUS = 8
const CHILDREN = 9
const STRIDE = 10

/** Peers: the nodes of one level at one depth of one root. */
const PEERS_ROOT = 0
const PEERS_DEPTH = 1
const PEERS_LEVEL = 2
const PEERS_CHAIN = 3
const PEERS_HEAD = 4
const PEERS_COUNT = 5
const PEERS_STRIDE = 6

/** The level that ends a topic, so that "exactly two levels" is found like any other text. Texts begin at 1. */
const END = 0
/** `+` and `#` where a filter's levels have ids. */
const ONE = -1
const MANY = -2
const NOWHERE = -1

const DOLLAR = 0x24
const HASH = 0x23
const PLUS = 0x2b

/**
 * A set of topics, searched by filter: the reverse of the route trie. It tells which cached topics a route concerns.
 *
 * Topics are a trie of levels with an end each. Where a filter has `+`, the search either walks the children or, where
 * they are fewer, the peers: the nodes that have the filter's next text at its depth, whatever is above them. So `a/+/b`
 * costs what the rarer of "children of a" and "b at depth 2" costs, and a filter whose text occurs nowhere costs nothing.
 */
export class TopicTrie {
  readonly #levels: Interner
  readonly #nodes = new Records(STRIDE)
  readonly #index = new HashIndex(this.#nodes, CHAIN, (id) =>
    mix(this.#nodes.get(id, PARENT), this.#nodes.get(id, LEVEL)),
  )
  readonly #peers = new Records(PEERS_STRIDE)
  readonly #peerIndex = new HashIndex(this.#peers, PEERS_CHAIN, (id) =>
    peersHash(this.#peers.get(id, PEERS_ROOT), this.#peers.get(id, PEERS_DEPTH), this.#peers.get(id, PEERS_LEVEL)),
  )
  readonly #buffer = new LevelBuffer()
  /** Pairs of node and depth still to be looked at. */
  readonly #stack: number[] = []
  /** By level of the filter: peers of the rarest text from there on (0 = only wildcards), and their depth. */
  readonly #rarest: number[] = []

  /** @param levels shared with the route trie */
  constructor(levels: Interner) {
    this.#levels = levels
  }

  get bytes(): number {
    return this.#nodes.bytes + this.#index.bytes + this.#peers.bytes + this.#peerIndex.bytes
  }

  addRoot(): number {
    return this.#nodes.alloc()
  }

  /** The root must have no topics left. */
  removeRoot(root: number): void {
    this.#nodes.free(root)
  }

  /**
   * Adds a topic that is not there yet; returns its end, by which it is removed.
   *
   * @param levels the topic's level ids as the interner gave them just now
   * @param name what {@link find} gives for it
   */
  add(root: number, topic: string, levels: LevelBuffer, name: number): number {
    let node = root
    for (let depth = 0; depth < levels.count; depth++) {
      const level = levels.ids[depth]!
      const child = level === 0 ? 0 : this.#child(node, level)
      if (child !== 0) {
        node = child
        continue
      }
      const held = this.#levels.acquire(topic, levels.starts[depth]!, levels.starts[depth + 1]! - 1)
      node = this.#addChild(root, node, depth, held)
    }
    const end = this.#addChild(root, node, levels.count, END)
    this.#nodes.set(end, CHILD, name)
    return end
  }

  remove(end: number): void {
    const nodes = this.#nodes
    let node = end
    do {
      const parent = nodes.get(node, PARENT)
      if (parent === 0) return
      const level = nodes.get(node, LEVEL)
      this.#unlink(parent, node)
      this.#leavePeers(node)
      this.#index.remove(mix(parent, level), node)
      if (level !== END) this.#levels.release(level)
      nodes.free(node)
      node = parent
    } while (nodes.get(node, CHILDREN) === 0)
  }

  /** Appends the names of all topics that `filter` matches. */
  find(root: number, filter: string, names: number[]): void {
    const count = this.#levels.levelsOf(filter, this.#buffer)
    if (!this.#prepare(root, filter, count)) return
    const { ids } = this.#buffer
    const stack = this.#stack
    stack.push(root, 0)
    while (stack.length > 0) {
      const depth = stack.pop()!
      const node = stack.pop()!
      const level = ids[depth]!
      if (level === MANY) this.#collect(node, depth, names)
      else if (level === ONE) this.#pushAny(node, depth)
      else {
        const child = this.#child(node, level)
        if (child === 0) continue
        if (depth === count) names.push(this.#nodes.get(child, CHILD))
        else stack.push(child, depth + 1)
      }
    }
  }

  /** Marks the wildcards and finds the rarest text after each level; false where a text of the filter is in no topic. */
  #prepare(root: number, filter: string, count: number): boolean {
    const { ids, starts } = this.#buffer
    for (let i = 0; i < count; i++) {
      const code = starts[i + 1]! - starts[i]! === 2 ? filter.charCodeAt(starts[i]!) : 0
      if (code === PLUS) ids[i] = ONE
      else if (code === HASH) ids[i] = MANY
      else if (ids[i] === 0) return false
    }
    ids[count] = END
    let peers = 0
    let depth = NOWHERE
    for (let i = ids[count - 1] === MANY ? count - 1 : count; i >= 0; i--) {
      if (ids[i]! >= 0) {
        const found = this.#findPeers(root, i, ids[i]!)
        if (found === 0) return false
        if (peers === 0 || this.#peers.get(found, PEERS_COUNT) < this.#peers.get(peers, PEERS_COUNT)) {
          peers = found
          depth = i
        }
      }
      this.#rarest[i * 2] = peers
      this.#rarest[i * 2 + 1] = depth
    }
    return true
  }

  /** Every topic below the node. */
  #collect(node: number, depth: number, names: number[]): void {
    const nodes = this.#nodes
    const stack = this.#stack
    const base = stack.length
    for (let child = nodes.get(node, CHILD); child !== 0; child = nodes.get(child, NEXT)) {
      if (depth > 0 || !this.#isReserved(child)) stack.push(child)
    }
    while (stack.length > base) {
      const at = stack.pop()!
      if (nodes.get(at, LEVEL) === END) {
        names.push(nodes.get(at, CHILD))
        continue
      }
      for (let child = nodes.get(at, CHILD); child !== 0; child = nodes.get(child, NEXT)) stack.push(child)
    }
  }

  /** Goes on below the node past a `+`: by its children, or from the rarest of the filter's further texts upwards. */
  #pushAny(node: number, depth: number): void {
    const nodes = this.#nodes
    const peers = this.#rarest[depth * 2]!
    if (peers !== 0 && this.#peers.get(peers, PEERS_COUNT) < nodes.get(node, CHILDREN)) {
      this.#pushPeers(peers, this.#rarest[depth * 2 + 1]!, node, depth)
      return
    }
    for (let child = nodes.get(node, CHILD); child !== 0; child = nodes.get(child, NEXT)) {
      if (nodes.get(child, LEVEL) === END || (depth === 0 && this.#isReserved(child))) continue
      this.#stack.push(child, depth + 1)
    }
  }

  /** Those of the peers, which are at `peerDepth`, that the filter leads to from the node at `depth`. */
  #pushPeers(peers: number, peerDepth: number, node: number, depth: number): void {
    const nodes = this.#nodes
    const { ids } = this.#buffer
    for (let peer = this.#peers.get(peers, PEERS_HEAD); peer !== 0; peer = nodes.get(peer, PEER_NEXT)) {
      const above = nodes.get(peer, PARENT)
      let child = above
      let at = peerDepth - 1
      while (at > depth && (ids[at] === ONE || nodes.get(child, LEVEL) === ids[at])) {
        child = nodes.get(child, PARENT)
        at--
      }
      if (at > depth || nodes.get(child, PARENT) !== node || (depth === 0 && this.#isReserved(child))) continue
      this.#stack.push(above, peerDepth)
    }
  }

  /** A leading wildcard does not match a topic that begins with `$` [MQTT-4.7.2-1]. */
  #isReserved(node: number): boolean {
    const level = this.#nodes.get(node, LEVEL)
    return level !== END && this.#levels.text(level).charCodeAt(0) === DOLLAR
  }

  #child(parent: number, level: number): number {
    const nodes = this.#nodes
    for (let id = this.#index.head(mix(parent, level)); id !== 0; id = nodes.get(id, CHAIN)) {
      if (nodes.get(id, PARENT) === parent && nodes.get(id, LEVEL) === level) return id
    }
    return 0
  }

  #addChild(root: number, parent: number, depth: number, level: number): number {
    const nodes = this.#nodes
    const node = nodes.alloc()
    nodes.set(node, PARENT, parent)
    nodes.set(node, LEVEL, level)
    const sibling = nodes.get(parent, CHILD)
    nodes.set(node, NEXT, sibling)
    if (sibling !== 0) nodes.set(sibling, PREVIOUS, node)
    nodes.set(parent, CHILD, node)
    nodes.set(parent, CHILDREN, nodes.get(parent, CHILDREN) + 1)
    this.#index.insert(mix(parent, level), node)
    this.#joinPeers(root, depth, level, node)
    return node
  }

  #unlink(parent: number, node: number): void {
    const nodes = this.#nodes
    const next = nodes.get(node, NEXT)
    const previous = nodes.get(node, PREVIOUS)
    if (next !== 0) nodes.set(next, PREVIOUS, previous)
    if (previous !== 0) nodes.set(previous, NEXT, next)
    else nodes.set(parent, CHILD, next)
    nodes.set(parent, CHILDREN, nodes.get(parent, CHILDREN) - 1)
  }

  #findPeers(root: number, depth: number, level: number): number {
    const peers = this.#peers
    for (let id = this.#peerIndex.head(peersHash(root, depth, level)); id !== 0; id = peers.get(id, PEERS_CHAIN)) {
      const same = peers.get(id, PEERS_LEVEL) === level && peers.get(id, PEERS_DEPTH) === depth
      if (same && peers.get(id, PEERS_ROOT) === root) return id
    }
    return 0
  }

  #joinPeers(root: number, depth: number, level: number, node: number): void {
    const peers = this.#peers
    let id = this.#findPeers(root, depth, level)
    if (id === 0) {
      id = peers.alloc()
      peers.set(id, PEERS_ROOT, root)
      peers.set(id, PEERS_DEPTH, depth)
      peers.set(id, PEERS_LEVEL, level)
      this.#peerIndex.insert(peersHash(root, depth, level), id)
    }
    const head = peers.get(id, PEERS_HEAD)
    this.#nodes.set(node, PEERS, id)
    this.#nodes.set(node, PEER_NEXT, head)
    if (head !== 0) this.#nodes.set(head, PEER_PREVIOUS, node)
    peers.set(id, PEERS_HEAD, node)
    peers.set(id, PEERS_COUNT, peers.get(id, PEERS_COUNT) + 1)
  }

  #leavePeers(node: number): void {
    const nodes = this.#nodes
    const peers = this.#peers
    const id = nodes.get(node, PEERS)
    const next = nodes.get(node, PEER_NEXT)
    const previous = nodes.get(node, PEER_PREVIOUS)
    if (next !== 0) nodes.set(next, PEER_PREVIOUS, previous)
    if (previous !== 0) nodes.set(previous, PEER_NEXT, next)
    else peers.set(id, PEERS_HEAD, next)
    const count = peers.get(id, PEERS_COUNT) - 1
    peers.set(id, PEERS_COUNT, count)
    if (count > 0) return
    const [root, depth, level] = [peers.get(id, PEERS_ROOT), peers.get(id, PEERS_DEPTH), peers.get(id, PEERS_LEVEL)]
    this.#peerIndex.remove(peersHash(root, depth, level), id)
    peers.free(id)
  }
}

function peersHash(root: number, depth: number, level: number): number {
  return mix(mix(root, depth), level)
}
