// @ts-check
import { CHUNK_BYTES, decodeNode, encodeNode, endOf, placeOf, prefixBytes, ROOT, seal, unseal } from './layout.js'

/** @typedef {import('lmdb').Database<Buffer, Buffer>} Database */
/** @typedef {import('lmdb').Transaction | undefined} State undefined: the newest, or that of the write under way */
/** @typedef {{ start?: Uint8Array | undefined, end?: Uint8Array | undefined }} Bounds */

const NOTHING = new Uint8Array(0)

/** One family: keys of any length, as drawn in `layout.js`. */
export class Tree {
  #database

  /** @param {Database} database */
  constructor(database) {
    this.#database = database
  }

  /**
   * @param {Uint8Array} key
   * @param {State} [state]
   */
  get(key, state) {
    const way = this.#follow(key, state)
    return way.rest.length < CHUNK_BYTES ? this.#read(placeOf(way.node, way.rest), state) : undefined
  }

  /**
   * Within a write.
   * @param {Uint8Array} key
   * @param {Uint8Array} value
   * @param {() => number} newNode
   */
  put(key, value, newNode) {
    let { node, rest } = this.#follow(key, undefined)
    while (rest.length >= CHUNK_BYTES) {
      const next = newNode()
      this.#write(placeOf(node, rest.subarray(0, CHUNK_BYTES)), encodeNode(next))
      node = next
      rest = rest.subarray(CHUNK_BYTES)
    }
    this.#write(placeOf(node, rest), value)
  }

  /**
   * Within a write.
   * @param {Uint8Array} key
   */
  delete(key) {
    const { node, rest, steps } = this.#follow(key, undefined)
    if (rest.length >= CHUNK_BYTES) return
    this.#database.removeSync(placeOf(node, rest))
    // A node that has become empty goes, and with it the way to it.
    let empty = node
    for (const step of steps.reverse()) {
      if (this.#hasKeys(empty)) return
      this.#database.removeSync(placeOf(step.node, step.chunk))
      empty = step.node
    }
  }

  /**
   * From the first key >= `from` on; close it.
   * @param {Bounds} bounds
   * @param {{ state?: State, values?: boolean }} [options] without values they are empty
   */
  walk(bounds, { state, values = true } = {}) {
    return new Walk(this, this.#database, { bounds, state, values })
  }

  /**
   * The last key before `key`; undefined = the last of all.
   * @param {Uint8Array | undefined} key
   * @param {State} state
   * @returns {Uint8Array | null}
   */
  lastBefore(key, state) {
    if (key === undefined) return this.#lastOf(ROOT, NOTHING, state)
    const { node, rest, steps } = this.#follow(key, state)
    const ways = [...steps, { node, chunk: rest.subarray(0, CHUNK_BYTES) }]
    for (let depth = ways.length - 1; depth >= 0; depth--) {
      const { node: at, chunk } = /** @type {{ node: number, chunk: Uint8Array }} */ (ways[depth])
      const row = this.#backward(at, { start: placeOf(at, chunk), exclusiveStart: true }, state)
      const prefix = key.subarray(0, depth * CHUNK_BYTES)
      if (row !== null) return this.#lastBelow(row, prefix, state)
    }
    return null
  }

  /**
   * The node that the first bytes of a rest lead to; null where none does.
   * @param {number} node
   * @param {Uint8Array} rest at least CHUNK_BYTES
   * @param {State} state
   */
  child(node, rest, state) {
    const bytes = this.#read(placeOf(node, rest.subarray(0, CHUNK_BYTES)), state)
    return bytes === undefined ? null : decodeNode(bytes)
  }

  /**
   * Goes down as far as there is a way.
   * @param {Uint8Array} key
   * @param {State} state
   */
  #follow(key, state) {
    let node = ROOT
    let rest = key
    /** @type {{ node: number, chunk: Uint8Array }[]} */
    const steps = []
    while (rest.length >= CHUNK_BYTES) {
      const child = this.child(node, rest, state)
      if (child === null) break
      steps.push({ node, chunk: rest.subarray(0, CHUNK_BYTES) })
      node = child
      rest = rest.subarray(CHUNK_BYTES)
    }
    return { node, rest, steps }
  }

  /**
   * @param {number} node
   * @param {Uint8Array} prefix
   * @param {State} state
   */
  #lastOf(node, prefix, state) {
    const row = this.#backward(node, { start: endOf(node), exclusiveStart: true }, state)
    return row === null ? null : this.#lastBelow(row, prefix, state)
  }

  /**
   * @param {{ key: Uint8Array, child: number | null }} row
   * @param {Uint8Array} prefix
   * @param {State} state
   * @returns {Uint8Array | null}
   */
  #lastBelow({ key, child }, prefix, state) {
    const whole = prefix.length === 0 ? key : Buffer.concat([prefix, key])
    return child === null ? whole : this.#lastOf(child, whole, state)
  }

  /**
   * The last key of a node before a place.
   * @param {number} node
   * @param {import('lmdb').RangeOptions} from
   * @param {State} state
   */
  #backward(node, from, state) {
    const first = placeOf(node, NOTHING)
    const options = { ...from, ...optionsOf(state), reverse: true, limit: 1 }
    for (const place of this.#database.getKeys(options)) {
      if (place.length < first.length || first.compare(place, 0, first.length) !== 0) return null
      const key = place.subarray(first.length)
      return { key, child: key.length < CHUNK_BYTES ? null : this.child(node, key, state) }
    }
    return null
  }

  /** @param {number} node */
  #hasKeys(node) {
    for (const _ of this.#database.getKeys({ start: placeOf(node, NOTHING), end: endOf(node), limit: 1 })) return true
    return false
  }

  /**
   * @param {Buffer} place
   * @param {State} state
   */
  #read(place, state) {
    const bytes = this.#database.get(place, optionsOf(state))
    return bytes === undefined ? undefined : unseal(place, bytes)
  }

  /**
   * @param {Buffer} place
   * @param {Uint8Array} value
   */
  #write(place, value) {
    this.#database.putSync(place, seal(place, value))
  }
}

/** The keys of a tree in their order, in one state. */
export class Walk {
  #tree
  #database
  #bounds
  #state
  #values
  /** @type {{ rows: Iterator<Buffer | { key: Buffer, value: Buffer }>, node: number, prefix: Uint8Array }[]} */
  #frames = []

  /**
   * @param {Tree} tree
   * @param {Database} database
   * @param {{ bounds: Bounds, state: State, values: boolean }} options
   */
  constructor(tree, database, { bounds, state, values }) {
    this.#tree = tree
    this.#database = database
    this.#bounds = bounds
    this.#state = state
    this.#values = values
    this.#begin(bounds.start ?? NOTHING)
  }

  /** @returns {{ key: Uint8Array, value: Uint8Array } | null} */
  next() {
    for (let frame = this.#frames.at(-1); frame !== undefined; frame = this.#frames.at(-1)) {
      const { done, value: row } = frame.rows.next()
      if (done === true) {
        this.#frames.pop()
        continue
      }
      const place = row instanceof Uint8Array ? row : row.key
      const part = place.subarray(prefixBytes(frame.node))
      const key = frame.prefix.length === 0 ? part : Buffer.concat([frame.prefix, part])
      if (this.#bounds.end !== undefined && Buffer.compare(key, this.#bounds.end) >= 0) break
      if (part.length === CHUNK_BYTES) {
        this.#open(/** @type {number} */ (this.#tree.child(frame.node, part, this.#state)), key, NOTHING, false)
      } else return { key, value: row instanceof Uint8Array ? NOTHING : unseal(place, row.value) }
    }
    this.close()
    return null
  }

  /** Lets go of the state. */
  close() {
    for (const { rows } of this.#frames.splice(0)) rows.return?.()
  }

  /** @param {Uint8Array} start */
  #begin(start) {
    let node = ROOT
    let rest = start
    while (rest.length >= CHUNK_BYTES) {
      const child = this.#tree.child(node, rest, this.#state)
      const prefix = start.subarray(0, start.length - rest.length)
      this.#open(node, prefix, rest.subarray(0, CHUNK_BYTES), child !== null)
      if (child === null) return
      node = child
      rest = rest.subarray(CHUNK_BYTES)
    }
    this.#open(node, start.subarray(0, start.length - rest.length), rest, false)
  }

  /**
   * @param {number} node
   * @param {Uint8Array} prefix of all keys in the node
   * @param {Uint8Array} from
   * @param {boolean} exclusiveStart
   */
  #open(node, prefix, from, exclusiveStart) {
    const { end } = this.#bounds
    const isCut = node !== ROOT || end === undefined || end.length >= CHUNK_BYTES
    const range = {
      ...{ start: placeOf(node, from), end: isCut ? endOf(node) : placeOf(ROOT, end), exclusiveStart },
      ...optionsOf(this.#state),
    }
    const rows = this.#values ? this.#database.getRange(range) : this.#database.getKeys(range)
    this.#frames.push({ rows: rows[Symbol.iterator](), node, prefix })
  }
}

/** @param {State} state */
function optionsOf(state) {
  return state === undefined ? {} : { transaction: state }
}
