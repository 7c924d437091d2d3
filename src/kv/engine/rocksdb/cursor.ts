import type Binding from 'rocksdb/binding.js'
import type { Column, Database, IteratorOptions, NativeIterator } from 'rocksdb/binding.js'
import { assert } from '../../../base/assert.ts'
import { compareBytes, earlierEnd, laterStart } from '../bytes.ts'
import { readFailed } from '../disk/failures.ts'
import type { Bounds, Cursor } from '../engine.ts'

const NOTHING = new Uint8Array(0)
/** Rows read ahead: few at first, since most cursors look at few. */
const ROWS_FIRST = 2
const ROWS_MAX = 128
const READ_BYTES_MAX = 64 * 1024
/** Sorts behind all keys that are shorter. */
const LATE_KEY = new Uint8Array(1024).fill(0xff)

/** What a cursor needs of its engine. */
export interface CursorSource {
  binding: typeof Binding
  database: Database
  column: Column
  /** The value that a reference stands for; others as they are. */
  resolve(stored: Uint8Array): Uint8Array
}

/**
 * A RocksDB iterator, which is a snapshot: it pins the state of the moment it was made.
 *
 * An iterator of the binding walks in one direction only. The way back is looked up with a second one, made when it is
 * first asked for: it sees a later state, so that it gives hints only, and the first iterator decides.
 */
export class RocksCursor implements Cursor {
  readonly #source: CursorSource
  readonly #bounds: Bounds
  readonly #released: (cursor: RocksCursor) => void
  #iterator: NativeIterator | null
  #rows: Uint8Array[] = []
  /** Place of the current key in the rows; the value follows. */
  #at = 0
  #finished = false
  #rowsNext = ROWS_FIRST
  #state: 'fresh' | 'on' | 'off' | 'closed' = 'fresh'

  constructor(source: CursorSource, bounds: Bounds, released: (cursor: RocksCursor) => void) {
    this.#source = source
    this.#bounds = bounds
    this.#released = released
    this.#iterator = isEmpty(bounds) ? null : source.binding.iterator_init(source.database, optionsOf(source, bounds))
  }

  get valid(): boolean {
    return this.#state === 'on'
  }

  get key(): Uint8Array {
    return this.valid ? this.#rows[this.#at]! : NOTHING
  }

  get value(): Uint8Array {
    return this.valid ? this.#source.resolve(this.#rows[this.#at + 1]!) : NOTHING
  }

  seek(key: Uint8Array): boolean {
    assert(this.#state !== 'closed', 'A cursor was used after its close')
    return this.#seek(laterStart(this.#bounds.start, key)!)
  }

  seekBefore(key?: Uint8Array): boolean {
    assert(this.#state !== 'closed', 'A cursor was used after its close')
    const { start, end } = this.#bounds
    const before = earlierEnd(end, key)
    if (this.#iterator === null || (start !== undefined && before !== undefined && compareBytes(start, before) >= 0)) {
      return this.#lose()
    }
    if (before === undefined) {
      // Behind all keys: walk to the last one of those that are longer still, if there are any.
      return this.#seek(LATE_KEY) ? this.#walkTo(undefined) : this.#seekBefore(LATE_KEY)
    }
    return this.#seekBefore(before)
  }

  next(): boolean {
    assert(this.#state !== 'closed', 'A cursor was used after its close')
    if (this.#state === 'fresh') return this.#fill()
    if (this.#state === 'off') return false
    this.#at += 2
    return this.#at < this.#rows.length || this.#fill()
  }

  close(): void {
    if (this.#state === 'closed') return
    this.#state = 'closed'
    this.#rows = []
    if (this.#iterator !== null) this.#source.binding.iterator_close(this.#iterator)
    this.#iterator = null
    this.#released(this)
  }

  #seek(key: Uint8Array): boolean {
    if (this.#iterator === null) return this.#lose()
    this.#source.binding.iterator_seek(this.#iterator, key)
    this.#finished = false
    this.#rowsNext = ROWS_FIRST
    return this.#fill()
  }

  /** To the last key of this state before `key`. */
  #seekBefore(key: Uint8Array): boolean {
    const { binding, database, column } = this.#source
    const lower = this.#bounds.start === undefined ? {} : { start: this.#bounds.start }
    const backward = binding.iterator_init(database, { ...optionsOf({ column }, lower), reverse: true, values: false })
    try {
      binding.iterator_seek(backward, key)
      for (;;) {
        const { rows, finished } = binding.iterator_nextv_sync(backward, 1)
        const hint = rows[0]
        // Of keys written since nothing is here; keys deleted since are, between the hint and `key`.
        const from = hint ?? this.#bounds.start ?? NOTHING
        if (this.#seek(from) && compareBytes(this.key, key) < 0) return this.#walkTo(key)
        if (hint === undefined || finished) return this.#lose()
      }
    } catch (cause) {
      throw readFailed(cause)
    } finally {
      binding.iterator_close(backward)
    }
  }

  /** From a key before `key` on to the last one; undefined = to the last of all. */
  #walkTo(key: Uint8Array | undefined): boolean {
    let last: Uint8Array
    do last = this.key
    while (this.next() && (key === undefined || compareBytes(this.key, key) < 0))
    return this.#seek(last)
  }

  #fill(): boolean {
    if (this.#iterator === null || this.#finished) return this.#lose()
    try {
      const { rows, finished } = this.#source.binding.iterator_nextv_sync(this.#iterator, this.#rowsNext)
      this.#rows = rows
      this.#finished = finished
    } catch (cause) {
      throw readFailed(cause)
    }
    this.#rowsNext = Math.min(ROWS_MAX, this.#rowsNext * 4)
    this.#at = 0
    if (this.#rows.length === 0) return this.#lose()
    this.#state = 'on'
    return true
  }

  #lose(): boolean {
    this.#state = 'off'
    return false
  }
}

function optionsOf({ column }: { column: Column }, { start, end }: Bounds): IteratorOptions {
  const options: IteratorOptions = {
    ...{ column, keyEncoding: 'buffer', valueEncoding: 'buffer', fillCache: true },
    highWaterMarkBytes: READ_BYTES_MAX,
  }
  if (start !== undefined) options.gte = start
  if (end !== undefined) options.lt = end
  return options
}

function isEmpty({ start, end }: Bounds): boolean {
  if (end === undefined) return false
  return start === undefined ? end.length === 0 : compareBytes(start, end) >= 0
}
