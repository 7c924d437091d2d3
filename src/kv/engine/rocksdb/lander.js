// @ts-check
import binding from 'rocksdb/binding.js'
import {
  BATCH_HEADER_BYTES,
  DELETE,
  DELETE_RANGE,
  encodeNumber,
  NUMBER_KEY,
  OWN_PLACE,
  PUT,
  readWrite,
  viewOf,
  WRITE_HEADER_BYTES,
  writesOf,
} from '../disk/layout.js'
import { PENDING_KEY, STATE_VERSION } from './layout.js'

/**
 * A deleteRange over at most so many keys becomes deletes in the same atomic write. Beyond, it is a range tombstone: a
 * scan costs about 3 us a key, and each tombstone a little of every later read.
 */
const POINT_DELETES_MAX = 1_000

/** @typedef {import('../disk/layout.js').Write} Write */
/** @typedef {import('rocksdb/binding.js').Database} Database */
/** @typedef {import('rocksdb/binding.js').Column} Column */

/**
 * Writes groups of batches into RocksDB: one atomic write, and one fdatasync, for all batches of a group.
 *
 * The binding has no deleteRange within a batch. A batch with a large one lands in several steps: it is written down
 * whole as pending, executed step by step while readers wait, and the last step takes the record away. A crash in
 * between is made good by {@link resume}. The steps need no sync of their own: the log keeps a prefix of what was
 * written, and the record came first.
 */
export class Lander {
  #database
  #families
  #own
  #state
  /** One for ever: a fresh one for each write cost twice the memory. */
  #batch = binding.batch_init()
  syncs = 0

  /**
   * @param {Database} database
   * @param {{ own: Column, families: readonly Column[] }} columns
   * @param {Int32Array} state shared with readers
   */
  constructor(database, columns, state) {
    this.#database = database
    this.#own = { column: columns.own }
    this.#families = columns.families.map((column) => ({ column }))
    this.#state = state
  }

  /**
   * Blocks until the group is landed, and with `sync` durable.
   * @param {Uint8Array} group
   * @param {number} first number of its first batch
   * @param {boolean} sync
   */
  land(group, first, sync) {
    const view = viewOf(group)
    let number = first
    let unlanded = 0
    for (let at = 0; at < group.length; number++) {
      const end = at + view.getUint32(at, true)
      const ranges = view.getUint32(at + 4, true) > 0 ? this.#expand(group, at, end) : NO_RANGES
      if (ranges === null) {
        this.#landPending(group.subarray(at, end), number, sync)
        unlanded = end
      } else this.#append(group, at, end, { ranges, unlanded })
      at = end
    }
    if (unlanded < group.length) this.#write(number - 1, sync)
  }

  /** Executes a batch that a crash left pending. */
  resume() {
    const pending = this.getOwn(PENDING_KEY)
    if (pending === undefined) return
    this.#execute(pending)
    this.sync()
  }

  /** Makes what has landed durable: a write of nothing new. */
  sync() {
    binding.batch_del(this.#batch, PENDING_KEY, this.#own)
    this.#commit(true)
  }

  /** @param {Uint8Array} key */
  getOwn(key) {
    return binding.db_get_many_sync(this.#database, [key], { ...this.#own, valueEncoding: 'buffer' })[0]
  }

  /**
   * @param {Uint8Array} key
   * @param {Uint8Array} value
   */
  putOwn(key, value) {
    binding.batch_put(this.#batch, key, value, this.#own)
    this.#commit(true)
  }

  /**
   * The keys that each deleteRange of a batch meets in the database; null where one meets too many.
   * @param {Uint8Array} group
   * @param {number} from
   * @param {number} to
   * @returns {Uint8Array[][] | null}
   */
  #expand(group, from, to) {
    const ranges = []
    for (const write of writesOf(group, from + BATCH_HEADER_BYTES, to)) {
      if (write.type !== DELETE_RANGE) continue
      const keys = this.#keysIn(write)
      if (keys.length > POINT_DELETES_MAX) return null
      ranges.push(keys)
    }
    return ranges
  }

  /**
   * @param {Write} range
   * @returns {Uint8Array[]} at most one more than {@link POINT_DELETES_MAX}
   */
  #keysIn({ family, key, value }) {
    if (Buffer.compare(key, value) >= 0) return []
    const iterator = binding.iterator_init(this.#database, {
      column: this.#columnOf(family).column,
      keyEncoding: 'buffer',
      valueEncoding: 'buffer',
      values: false,
      gte: key,
      lt: value,
    })
    try {
      return binding.iterator_nextv_sync(iterator, POINT_DELETES_MAX + 1).rows.filter((_, i) => i % 2 === 0)
    } finally {
      binding.iterator_close(iterator)
    }
  }

  /**
   * @param {Uint8Array} group
   * @param {number} from
   * @param {number} to
   * @param {{ ranges: Uint8Array[][], unlanded: number }} context `unlanded`: where in the group begins what is in the
   *   batch and not in the database
   */
  #append(group, from, to, { ranges, unlanded }) {
    const view = viewOf(group)
    let range = 0
    for (let at = from + BATCH_HEADER_BYTES; at < to; ) {
      const { type, family, key, value } = readWrite(group, view, at)
      const column = this.#columnOf(family)
      if (type === PUT) binding.batch_put(this.#batch, key, value, column)
      else if (type === DELETE) binding.batch_del(this.#batch, key, column)
      else {
        for (const met of /** @type {Uint8Array[]} */ (ranges[range++])) binding.batch_del(this.#batch, met, column)
        for (const put of earlierPuts(group, unlanded, at, { family, key, value })) {
          binding.batch_del(this.#batch, put, column)
        }
      }
      at += WRITE_HEADER_BYTES + key.length + value.length
    }
  }

  /**
   * The batches before it in the group land in the same write as its record.
   * @param {Uint8Array} batch
   * @param {number} number
   * @param {boolean} sync
   */
  #landPending(batch, number, sync) {
    binding.batch_put(this.#batch, PENDING_KEY, batch, this.#own)
    this.#write(number, sync)
    this.#execute(batch)
  }

  /** @param {Uint8Array} batch */
  #execute(batch) {
    Atomics.add(this.#state, STATE_VERSION, 1)
    try {
      for (const { type, family, key, value } of writesOf(batch, BATCH_HEADER_BYTES, batch.length)) {
        const column = this.#columnOf(family)
        if (type === PUT) binding.batch_put(this.#batch, key, value, column)
        else if (type === DELETE) binding.batch_del(this.#batch, key, column)
        else if (Buffer.compare(key, value) < 0) {
          this.#commit(false)
          binding.db_clear(this.#database, { ...column, gte: key, lt: value })
        }
      }
      binding.batch_del(this.#batch, PENDING_KEY, this.#own)
      this.#commit(false)
    } finally {
      Atomics.add(this.#state, STATE_VERSION, 1)
      Atomics.notify(this.#state, STATE_VERSION)
    }
  }

  /**
   * @param {number} number of the last batch in it
   * @param {boolean} sync
   */
  #write(number, sync) {
    binding.batch_put(this.#batch, NUMBER_KEY, encodeNumber(number), this.#own)
    this.#commit(sync)
  }

  /** The thread that opened the database closes it. */
  close() {}

  /** @param {boolean} sync */
  #commit(sync) {
    binding.batch_write(this.#database, this.#batch, { sync })
    binding.batch_clear(this.#batch)
    if (sync) this.syncs++
  }

  /**
   * @param {number} family
   * @returns {{ column: Column }}
   */
  #columnOf(family) {
    return family === OWN_PLACE ? this.#own : /** @type {{ column: Column }} */ (this.#families[family])
  }
}

/** @type {Uint8Array[][]} */
const NO_RANGES = []

/**
 * Keys within a range that earlier writes of the same group put.
 * @param {Uint8Array} group
 * @param {number} from where a batch begins
 * @param {number} to where the range's own write begins
 * @param {Pick<Write, 'family' | 'key' | 'value'>} range
 */
function* earlierPuts(group, from, to, range) {
  const view = viewOf(group)
  for (let at = from; at < to; ) {
    const end = Math.min(to, at + view.getUint32(at, true))
    for (const { type, family, key } of writesOf(group, at + BATCH_HEADER_BYTES, end)) {
      if (type !== PUT || family !== range.family) continue
      if (Buffer.compare(key, range.key) >= 0 && Buffer.compare(key, range.value) < 0) yield key
    }
    at = end
  }
}
