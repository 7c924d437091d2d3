import { compareBytes, earlierEnd, equalKeys, hashOfKey, laterStart, within } from '../engine/bytes.ts'
import type { Bounds, Cursor, Write } from '../engine/engine.ts'
import type { Reader } from './coprocessor.ts'

interface Pending {
  readonly key: Uint8Array
  /** Null where the key is deleted. */
  readonly value: Uint8Array | null
  /** Another key of the same hash. */
  readonly next: Pending | null
}

/**
 * A reader that shows, over what has landed in the engine, the writes of earlier entries that have not.
 *
 * The usual turn applies one entry and lands it: then nothing is ever indexed here, and reads go straight through.
 */
export class Overlay implements Reader {
  readonly #below: Reader
  /** Writes by entry, oldest first. */
  #entries: { index: number; writes: readonly Write[] }[] = []
  /** How many of the entries are in the index. */
  #indexed = 0
  /** By hash of the key. */
  #pending = new Map<number, Pending>()
  #deleted: { start: Uint8Array; end: Uint8Array }[] = []
  /** The pending keys in order, until the next change; cursors keep theirs. */
  #sorted: readonly Pending[] | null = null

  constructor(below: Reader) {
    this.#below = below
  }

  add(index: number, writes: readonly Write[]): void {
    if (writes.length > 0) this.#entries.push({ index, writes })
  }

  /** The entries up to `index` are in the engine now. */
  landed(index: number): void {
    const kept = this.#entries.filter((entry) => entry.index > index)
    if (kept.length === this.#entries.length) return
    this.#entries = kept
    if (this.#indexed === 0) return
    this.#indexed = 0
    this.#pending = new Map()
    this.#deleted = []
    this.#sorted = null
  }

  get(key: Uint8Array): Uint8Array | undefined {
    if (this.#entries.length === 0) return this.#below.get(key)
    this.#index()
    const pending = this.#find(hashOfKey(key), key)
    if (pending !== null) return pending.value ?? undefined
    return this.#deleted.some((each) => within(key, each)) ? undefined : this.#below.get(key)
  }

  cursor(bounds: Bounds = {}): Cursor {
    if (this.#entries.length === 0) return this.#below.cursor(bounds)
    this.#index()
    this.#sorted ??= this.#all().sort((a, b) => compareBytes(a.key, b.key))
    return new OverlayCursor(this.#below.cursor(bounds), this.#sorted, this.#deleted.slice(), bounds)
  }

  #index(): void {
    if (this.#indexed === this.#entries.length) return
    this.#sorted = null
    for (; this.#indexed < this.#entries.length; this.#indexed++) {
      for (const write of this.#entries[this.#indexed]!.writes) this.#indexWrite(write)
    }
  }

  #indexWrite(write: Write): void {
    if (write.type === 'deleteRange') {
      this.#deleted.push({ start: write.start, end: write.end })
      const left = this.#all().filter(({ key }) => !within(key, write))
      this.#pending = new Map()
      for (const { key, value } of left) this.#put(key, value)
    } else this.#put(write.key, write.type === 'put' ? write.value : null)
  }

  #put(key: Uint8Array, value: Uint8Array | null): void {
    const hash = hashOfKey(key)
    // A new object: open cursors keep the old one.
    this.#pending.set(hash, { key, value, next: without(this.#pending.get(hash) ?? null, key) })
  }

  #find(hash: number, key: Uint8Array): Pending | null {
    let pending = this.#pending.get(hash) ?? null
    while (pending !== null && !equalKeys(pending.key, key)) pending = pending.next
    return pending
  }

  #all(): Pending[] {
    const all: Pending[] = []
    for (const first of this.#pending.values()) {
      for (let pending: Pending | null = first; pending !== null; pending = pending.next) all.push(pending)
    }
    return all
  }
}

function without(first: Pending | null, key: Uint8Array): Pending | null {
  if (first === null) return null
  if (equalKeys(first.key, key)) return first.next
  return { key: first.key, value: first.value, next: without(first.next, key) }
}

/** Merges the landed keys with the pending ones; a pending key hides a landed one. */
class OverlayCursor implements Cursor {
  readonly #below: Cursor
  readonly #pending: readonly Pending[]
  readonly #deleted: readonly { start: Uint8Array; end: Uint8Array }[]
  readonly #bounds: Bounds
  /** Index into the pending keys: the next one at or after the position. */
  #at = 0
  #state: 'fresh' | 'below' | 'pending' | 'lost' = 'fresh'

  constructor(
    below: Cursor,
    pending: readonly Pending[],
    deleted: readonly { start: Uint8Array; end: Uint8Array }[],
    bounds: Bounds,
  ) {
    this.#below = below
    this.#pending = pending
    this.#deleted = deleted
    this.#bounds = bounds
  }

  get valid(): boolean {
    return this.#state === 'below' || this.#state === 'pending'
  }

  get key(): Uint8Array {
    return this.#state === 'pending' ? this.#pending[this.#at]!.key : this.#below.key
  }

  get value(): Uint8Array {
    return this.#state === 'pending' ? this.#pending[this.#at]!.value! : this.#below.value
  }

  seek(key: Uint8Array): boolean {
    return this.#seekFrom(laterStart(this.#bounds.start, key))
  }

  next(): boolean {
    if (this.#state === 'fresh') return this.#seekFrom(this.#bounds.start)
    if (this.#state === 'lost') return false
    if (this.#state === 'pending') this.#at++
    else this.#below.next()
    return this.#settle()
  }

  seekBefore(key?: Uint8Array): boolean {
    let end = earlierEnd(this.#bounds.end, key)
    for (;;) {
      const at = (end === undefined ? this.#pending.length : this.#lowerBound(end)) - 1
      const pending = this.#pending[at]?.key
      const below = this.#below.seekBefore(end) ? this.#below.key : undefined
      const found = laterStart(pending, below)
      if (found === undefined || (this.#bounds.start !== undefined && compareBytes(found, this.#bounds.start) < 0)) {
        this.#state = 'lost'
        return false
      }
      if (found === pending ? this.#pending[at]!.value !== null : this.#deletionOf(found) === undefined) {
        return this.#seekFrom(found)
      }
      end = found
    }
  }

  close(): void {
    this.#below.close()
    this.#state = 'lost'
  }

  #seekFrom(key: Uint8Array | undefined): boolean {
    this.#at = key === undefined ? 0 : this.#lowerBound(key)
    if (key === undefined) this.#below.seek(new Uint8Array(0))
    else this.#below.seek(key)
    return this.#settle()
  }

  /** Stands on the least key of both sides that is not deleted. */
  #settle(): boolean {
    for (;;) {
      const pending = this.#pending[this.#at]
      const ahead =
        pending !== undefined && (this.#bounds.end === undefined || compareBytes(pending.key, this.#bounds.end) < 0)
      const order = !ahead ? 1 : !this.#below.valid ? -1 : compareBytes(pending.key, this.#below.key)
      if (ahead && order <= 0) {
        if (order === 0) this.#below.next()
        if (pending.value !== null) {
          this.#state = 'pending'
          return true
        }
        this.#at++
        continue
      }
      if (!this.#below.valid) {
        this.#state = 'lost'
        return false
      }
      const deletion = this.#deletionOf(this.#below.key)
      if (deletion === undefined) {
        this.#state = 'below'
        return true
      }
      this.#below.seek(deletion.end)
    }
  }

  #deletionOf(key: Uint8Array): { end: Uint8Array } | undefined {
    return this.#deleted.find((each) => within(key, each))
  }

  #lowerBound(key: Uint8Array): number {
    let low = 0
    let high = this.#pending.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (compareBytes(this.#pending[middle]!.key, key) < 0) low = middle + 1
      else high = middle
    }
    return low
  }
}
