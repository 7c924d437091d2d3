// @ts-check
import { statfsSync } from 'node:fs'
import {
  BATCH_HEADER_BYTES,
  DELETE,
  decodeNumber,
  encodeNumber,
  NUMBER_KEY,
  PUT,
  viewOf,
  writesOf,
} from '../disk/layout.js'
import { NODE_KEY } from './layout.js'
import { LengthFile } from './length-file.js'
import { readPages } from './pages.js'

/** Keys that a deleteRange takes at once. */
const DELETED_AT_ONCE = 1_000
const MIB = 1024 * 1024

/** @typedef {ReturnType<typeof import('./environment.js').openEnvironment>} Environment */

/**
 * Writes groups of batches into LMDB: one transaction for all batches of a group, durable when it is committed. Nothing
 * in it is ever done in part, a deleteRange of any size included, whose keys are deleted one by one.
 */
export class Lander {
  #environment
  #own
  #databases
  #trees
  #path
  #length
  #nextNode
  syncs = 0

  /**
   * @param {string} path
   * @param {Environment} environment
   */
  constructor(path, { environment, own, databases, trees }) {
    this.#path = path
    this.#length = new LengthFile(path)
    this.#environment = environment
    this.#own = own
    this.#databases = databases
    this.#trees = trees
    // 0 is the root.
    this.#nextNode = Math.max(1, decodeNumber(this.getOwn(NODE_KEY)))
  }

  /** @param {Uint8Array} key */
  getOwn(key) {
    return this.#own.get(Buffer.from(key))
  }

  /**
   * @param {Uint8Array} key
   * @param {Uint8Array} value
   */
  putOwn(key, value) {
    this.#commit(() => this.#putOwn(key, value))
  }

  /** A transaction leaves nothing half done. */
  resume() {}

  /** What has landed is durable. */
  sync() {}

  close() {
    this.#length.close()
    void this.#environment.close()
  }

  /**
   * Blocks until the group is landed and durable.
   * @param {Uint8Array} group
   * @param {number} first number of its first batch
   */
  land(group, first) {
    if (!this.#hasSpace(group.length)) throw new Error('no space left on device')
    const view = viewOf(group)
    this.#commit(() => {
      const node = this.#nextNode
      let number = first
      for (let at = 0; at < group.length; number++) {
        const end = at + view.getUint32(at, true)
        for (const write of writesOf(group, at + BATCH_HEADER_BYTES, end)) this.#apply(write)
        at = end
      }
      if (this.#nextNode !== node) this.#putOwn(NODE_KEY, encodeNumber(this.#nextNode))
      this.#putOwn(NUMBER_KEY, encodeNumber(number - 1))
    })
  }

  /**
   * LMDB 3.5.6 writes past the end of a text that it makes when a write is refused, after which the process may end
   * anywhere: it is not let come to that. A small write may rewrite many pages.
   * @param {number} bytes of the group
   */
  #hasSpace(bytes) {
    const needed = MIB + Math.min(64 * bytes, 16 * MIB + 4 * bytes)
    const { bavail, bsize } = statfsSync(this.#path)
    return bavail * bsize >= needed || readPages(this.#environment, this.#databases).freeBytes >= needed
  }

  /** @param {import('../disk/layout.js').Write} write */
  #apply({ type, family, key, value }) {
    const tree = /** @type {import('./tree.js').Tree} */ (this.#trees[family])
    if (type === PUT) tree.put(key, value, () => this.#nextNode++)
    else if (type === DELETE) tree.delete(key)
    else this.#deleteRange(tree, key, value)
  }

  /**
   * @param {import('./tree.js').Tree} tree
   * @param {Uint8Array} start
   * @param {Uint8Array} end
   */
  #deleteRange(tree, start, end) {
    if (Buffer.compare(start, end) >= 0) return
    let left = true
    while (left) {
      const keys = []
      const walk = tree.walk({ start, end }, { values: false })
      for (let row = walk.next(); row !== null && keys.length < DELETED_AT_ONCE; row = walk.next()) keys.push(row.key)
      walk.close()
      for (const key of keys) tree.delete(key)
      left = keys.length === DELETED_AT_ONCE
    }
  }

  /**
   * @param {Uint8Array} key
   * @param {Uint8Array} value
   */
  #putOwn(key, value) {
    this.#own.putSync(Buffer.from(key), Buffer.from(value))
  }

  /** @param {() => void} work */
  #commit(work) {
    this.#environment.transactionSync(work)
    this.#length.note()
    this.syncs++
  }
}
