import { assert } from '../../../base/assert.ts'
import { earlierEnd, laterStart } from '../bytes.ts'
import type { Bounds, Cursor } from '../engine.ts'
import { Inner, type Leaf, type Node } from './node.ts'

const NOTHING = new Uint8Array(0)

/** Walks one snapshot of a tree: nodes of it are never changed, so nothing is locked and nothing is copied. */
export class TreeCursor implements Cursor {
  readonly #root: Node
  readonly #start: Uint8Array | undefined
  readonly #end: Uint8Array | undefined
  #release: (() => void) | null
  /** Inner nodes from the root down, and the child taken in each. */
  readonly #path: Inner[] = []
  readonly #turns: number[] = []
  #leaf: Leaf | null = null
  #index = 0
  /** Entries of the leaf within the bounds end here. */
  #limit = 0
  #fresh = true

  constructor(root: Node, bounds: Bounds, release: () => void) {
    this.#root = root
    this.#start = bounds.start
    this.#end = bounds.end
    this.#release = release
  }

  get valid(): boolean {
    return this.#leaf !== null
  }

  get key(): Uint8Array {
    return this.#leaf === null ? NOTHING : this.#leaf.keyAt(this.#index)
  }

  get value(): Uint8Array {
    return this.#leaf === null ? NOTHING : this.#leaf.valueAt(this.#index)
  }

  seek(key: Uint8Array): boolean {
    return this.#seekFrom(laterStart(this.#start, key))
  }

  seekBefore(key?: Uint8Array): boolean {
    const end = earlierEnd(this.#end, key)
    this.#descend(end, true)
    const leaf = this.#leaf!
    this.#index = (end === undefined ? leaf.count : leaf.lowerBound(end)) - 1
    if (this.#index < 0 && !this.#climb(-1)) return this.#lose()
    if (this.#start !== undefined && this.#leaf!.compareAt(this.#index, this.#start) < 0) return this.#lose()
    this.#limitLeaf()
    return true
  }

  next(): boolean {
    if (this.#fresh) return this.#seekFrom(this.#start)
    if (this.#leaf === null) return false
    this.#index++
    return this.#index < this.#limit || this.#enterNext()
  }

  close(): void {
    this.#leaf = null
    this.#fresh = false
    this.#release?.()
    this.#release = null
  }

  #seekFrom(key: Uint8Array | undefined): boolean {
    this.#descend(key, false)
    this.#index = key === undefined ? 0 : this.#leaf!.lowerBound(key)
    this.#limitLeaf()
    return this.#index < this.#limit || this.#enterNext()
  }

  /** Goes on in the next leaf, unless this one ended at the bounds. */
  #enterNext(): boolean {
    if (this.#limit < this.#leaf!.count || !this.#climb(1)) return this.#lose()
    this.#limitLeaf()
    return this.#limit > 0 || this.#lose()
  }

  /** To the leaf that holds `key`; undefined = the last or the first of all. */
  #descend(key: Uint8Array | undefined, last: boolean): void {
    assert(this.#release !== null, 'A cursor was used after its close')
    this.#fresh = false
    this.#path.length = 0
    this.#turns.length = 0
    let node = this.#root
    while (node instanceof Inner) {
      const turn: number = key !== undefined ? node.childOf(key) : last ? node.children.length - 1 : 0
      this.#path.push(node)
      this.#turns.push(turn)
      node = node.children[turn]!
    }
    this.#leaf = node
  }

  /** To the neighbouring leaf: its first entry going up, its last going down. False where there is none. */
  #climb(step: 1 | -1): boolean {
    let depth = this.#path.length - 1
    while (depth >= 0) {
      const turn = this.#turns[depth]! + step
      if (turn >= 0 && turn < this.#path[depth]!.children.length) break
      depth--
    }
    if (depth < 0) return false
    this.#path.length = depth + 1
    this.#turns.length = depth + 1
    this.#turns[depth]! += step
    let node = this.#path[depth]!.children[this.#turns[depth]!]!
    while (node instanceof Inner) {
      const turn: number = step === 1 ? 0 : node.children.length - 1
      this.#path.push(node)
      this.#turns.push(turn)
      node = node.children[turn]!
    }
    this.#leaf = node
    this.#index = step === 1 ? 0 : node.count - 1
    return node.count > 0
  }

  #limitLeaf(): void {
    const leaf = this.#leaf!
    const end = this.#end
    const open = end === undefined || leaf.count === 0 || leaf.compareAt(leaf.count - 1, end) < 0
    this.#limit = open ? leaf.count : leaf.lowerBound(end)
  }

  #lose(): boolean {
    this.#leaf = null
    return false
  }
}
