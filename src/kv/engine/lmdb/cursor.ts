import type { Transaction } from 'lmdb'
import { assert } from '../../../base/assert.ts'
import { compareBytes, earlierEnd, laterStart } from '../bytes.ts'
import { readFailed } from '../disk/failures.ts'
import type { Bounds, Cursor } from '../engine.ts'
import type { Tree, Walk } from './tree.js'

const NOTHING = new Uint8Array(0)

/** Walks one state of a family: that of a read transaction, which cursors of the same moment share. */
export class LmdbCursor implements Cursor {
  readonly #tree: Tree
  readonly #state: Transaction
  readonly #bounds: Bounds
  readonly #released: (cursor: LmdbCursor) => void
  #walk: Walk | null = null
  #row: { key: Uint8Array; value: Uint8Array } | null = null
  #isFresh = true
  #closed = false

  /** Takes the state over: its close lets go of it. */
  constructor(tree: Tree, state: Transaction, bounds: Bounds, released: (cursor: LmdbCursor) => void) {
    this.#tree = tree
    this.#state = state
    this.#bounds = bounds
    this.#released = released
  }

  get valid(): boolean {
    return this.#row !== null
  }

  get key(): Uint8Array {
    return this.#row?.key ?? NOTHING
  }

  get value(): Uint8Array {
    return this.#row?.value ?? NOTHING
  }

  seek(key: Uint8Array): boolean {
    assert(!this.#closed, 'A cursor was used after its close')
    this.#isFresh = false
    return this.#seek(laterStart(this.#bounds.start, key)!)
  }

  seekBefore(key?: Uint8Array): boolean {
    assert(!this.#closed, 'A cursor was used after its close')
    this.#isFresh = false
    const { start, end } = this.#bounds
    const last = this.#read(() => this.#tree.lastBefore(earlierEnd(end, key), this.#state))
    if (last === null || (start !== undefined && compareBytes(last, start) < 0)) return this.#lose()
    return this.#seek(last)
  }

  next(): boolean {
    assert(!this.#closed, 'A cursor was used after its close')
    if (this.#isFresh) return this.seek(NOTHING)
    return this.#step()
  }

  close(): void {
    if (this.#closed) return
    this.#lose()
    this.#closed = true
    this.#state.done()
    this.#released(this)
  }

  #seek(start: Uint8Array): boolean {
    this.#walk?.close()
    this.#walk = this.#read(() => this.#tree.walk({ start, end: this.#bounds.end }, { state: this.#state }))
    return this.#step()
  }

  #step(): boolean {
    const walk = this.#walk
    if (walk === null) return false
    this.#row = this.#read(() => walk.next())
    return this.#row === null ? this.#lose() : true
  }

  #lose(): boolean {
    this.#walk?.close()
    this.#walk = null
    this.#row = null
    return false
  }

  #read<Result>(read: () => Result): Result {
    try {
      return read()
    } catch (cause) {
      throw readFailed(cause)
    }
  }
}
