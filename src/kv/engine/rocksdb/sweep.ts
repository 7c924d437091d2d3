import type Binding from 'rocksdb/binding.js'
import type { Column, Database } from 'rocksdb/binding.js'
import type { Clock } from '../../../base/clock.ts'
import {
  idOfReference,
  isReference,
  prefixEnd,
  SHARED_PREFIX,
  sharedBytesOf,
  sharedIdOf,
  sharedPlaceOf,
} from '../disk/shared.ts'

export interface SweepSource {
  binding: typeof Binding
  database: Database
  own: Column
  /** Of a family, by place. */
  column(place: number): Column
  /** Deletes own keys; resolves when that has landed. */
  remove(keys: readonly Uint8Array[]): Promise<void>
  /** Marks the cursors that are open now; true once all marked ones are closed. */
  openCursors(): () => boolean
  clock: Clock
}

/** Bytes of shared values beyond twice those that were in use, at which it begins. */
const SLACK_BYTES = 64 * 1024 * 1024
/** Rest between two slices, and how long one takes at most, in milliseconds: a tenth of a core, for minutes. */
const REST_MS = 20
const SLICE_MS = 2
const ROWS = 256
const READ_BYTES_MAX = 256 * 1024
/** Ids of a page of marks. */
const PAGE_IDS = 65_536

type Phase = 'count' | 'idle' | 'mark' | 'wait' | 'remove'

/**
 * Takes away shared values to which no key refers any more: marks what is referred to, family by family, then deletes
 * the rest, in slices between which everything goes on.
 *
 * Only values that had landed when it began are judged. References to those come to no new keys, so that none is
 * missed; and what a cursor may still see is deleted when that cursor is closed. A crash leaves work for the next time.
 */
export class SharedSweep {
  readonly #source: SweepSource
  readonly #slackBytes: number
  readonly #places = new Set<number>()
  #phase: Phase = 'count'
  /** Of all shared values, once they are counted, and of those in use after the last sweep. */
  #bytes = 0
  #usedBytes = 0
  #landedId: number
  #lastId: number
  /** Where the next slice goes on. */
  #from: Uint8Array = SHARED_PREFIX
  #countTo: number
  #judgedTo = 0
  #left: number[] = []
  #marks = new Map<number, Uint8Array>()
  #cursorsClosed: () => boolean = () => true
  #stopTimer: (() => void) | null = null
  #stopped = false

  constructor(source: SweepSource, slackBytes = SLACK_BYTES) {
    this.#source = source
    this.#slackBytes = slackBytes
    this.#lastId = this.#findLastId()
    this.#landedId = this.#lastId
    this.#countTo = this.#lastId
    if (this.#lastId === 0) this.#phase = 'idle'
    else this.#later()
  }

  /** Bytes of shared values, also of those that a sweep would take away. */
  get bytes(): number {
    return this.#bytes
  }

  get running(): boolean {
    return this.#phase !== 'idle'
  }

  /** Id of a new value. */
  add(place: number, bytes: number): number {
    this.#places.add(place)
    this.#bytes += bytes
    return ++this.#lastId
  }

  /** What has been added so far up to `id` is in the database. */
  landed(id: number): void {
    this.#landedId = Math.max(this.#landedId, id)
    if (this.#phase === 'idle' && this.#bytes > this.#slackBytes + 2 * this.#usedBytes) this.#begin()
  }

  stop(): void {
    this.#stopped = true
    this.#stopTimer?.()
  }

  #begin(): void {
    this.#phase = 'mark'
    this.#judgedTo = this.#landedId
    this.#left = [...this.#places]
    this.#marks = new Map()
    this.#from = NOTHING
    this.#later()
  }

  #later(): void {
    if (!this.#stopped) this.#stopTimer ??= this.#source.clock.after(REST_MS, () => this.#slice())
  }

  #slice(): void {
    this.#stopTimer = null
    if (this.#stopped) return
    if (this.#phase === 'count') this.#count()
    else if (this.#phase === 'mark') this.#mark()
    else if (this.#phase === 'wait' && this.#cursorsClosed()) this.#phase = 'remove'
    if (this.#phase === 'remove') this.#remove()
    else if (this.#phase !== 'idle') this.#later()
  }

  #count(): void {
    const done = this.#walk(this.#source.own, { end: prefixEnd(), values: false }, (key) => {
      if (sharedIdOf(key) > this.#countTo) return false
      this.#bytes += sharedBytesOf(key)
      this.#places.add(sharedPlaceOf(key))
      return true
    })
    if (!done) return
    this.#phase = 'idle'
    this.landed(this.#landedId)
  }

  #mark(): void {
    const place = this.#left[0]
    if (place === undefined) {
      this.#cursorsClosed = this.#source.openCursors()
      this.#phase = 'wait'
      this.#from = SHARED_PREFIX
      this.#usedBytes = 0
      return
    }
    const done = this.#walk(this.#source.column(place), { values: true }, (_key, value) => {
      if (isReference(value)) this.#markId(idOfReference(value))
      return true
    })
    if (!done) return
    this.#left.shift()
    this.#from = NOTHING
  }

  #remove(): void {
    const keys: Uint8Array[] = []
    let bytes = 0
    const done = this.#walk(this.#source.own, { end: prefixEnd(), values: false }, (key) => {
      const id = sharedIdOf(key)
      if (id > this.#judgedTo) return false
      if (this.#isMarked(id)) this.#usedBytes += sharedBytesOf(key)
      else {
        keys.push(key)
        bytes += sharedBytesOf(key)
      }
      return true
    })
    const next = () => {
      this.#bytes -= bytes
      if (done) this.#phase = 'idle'
      else this.#later()
    }
    if (keys.length === 0) next()
    else this.#source.remove(keys).then(next, () => this.stop())
  }

  /** Visits keys from where the last slice ended, as long as a slice takes; true at the end, or where `visit` says false. */
  #walk(
    column: Column,
    { end, values }: { end?: Uint8Array; values: boolean },
    visit: (key: Uint8Array, value: Uint8Array) => boolean,
  ): boolean {
    const { binding, database, clock } = this.#source
    const until = clock.monotonic() + SLICE_MS
    const iterator = binding.iterator_init(database, {
      ...{ column, keyEncoding: 'buffer', valueEncoding: 'buffer', values, fillCache: false, gte: this.#from },
      ...(end === undefined ? {} : { lt: end }),
      highWaterMarkBytes: READ_BYTES_MAX,
    })
    try {
      for (;;) {
        const { rows, finished } = binding.iterator_nextv_sync(iterator, ROWS)
        for (let at = 0; at < rows.length; at += 2) if (!visit(rows[at]!, rows[at + 1]!)) return true
        const last = rows.at(-2)
        if (finished || last === undefined) return true
        this.#from = Buffer.concat([last, ZERO])
        if (clock.monotonic() >= until) return false
      }
    } finally {
      binding.iterator_close(iterator)
    }
  }

  #markId(id: number): void {
    if (id > this.#judgedTo) return
    const number = Math.floor(id / PAGE_IDS)
    let page = this.#marks.get(number)
    if (page === undefined) this.#marks.set(number, (page = new Uint8Array(PAGE_IDS / 8)))
    page[(id % PAGE_IDS) >> 3]! |= 1 << (id & 7)
  }

  #isMarked(id: number): boolean {
    const page = this.#marks.get(Math.floor(id / PAGE_IDS))
    return page !== undefined && (page[(id % PAGE_IDS) >> 3]! & (1 << (id & 7))) !== 0
  }

  #findLastId(): number {
    const { binding, database, own } = this.#source
    const iterator = binding.iterator_init(database, {
      ...{ column: own, keyEncoding: 'buffer', valueEncoding: 'buffer', values: false, reverse: true },
      ...{ gte: SHARED_PREFIX, lt: prefixEnd() },
    })
    try {
      const [key] = binding.iterator_nextv_sync(iterator, 1).rows
      return key === undefined ? 0 : sharedIdOf(key)
    } finally {
      binding.iterator_close(iterator)
    }
  }
}

const NOTHING = new Uint8Array(0)
const ZERO = new Uint8Array(1)
