import { assert } from '../../base/assert.ts'
import { BrokerError } from '../../base/errors.ts'
import type { Engine, Write } from '../engine/engine.ts'
import {
  type ConfState,
  type Entry,
  entryBytes,
  type HardState,
  type LogStorage,
  type SnapshotMeta,
} from '../raft/index.ts'
import { afterPrefix } from '../range/schema.ts'
import {
  decodeLogEntry,
  decodeState,
  encodeLogEntry,
  encodeState,
  entryKey,
  indexOf,
  logPrefix,
  stateKey,
} from './raft-schema.ts'

/** Entries of others are read back from the disk; these many bytes of the newest ones need not be. */
const CACHE_BYTES_MAX = 4 * 1024 * 1024

interface TermRun {
  /** First index of the entries of `term`. */
  from: number
  term: number
}

/**
 * The log of one range: its entries in family `raft`, the newest ones in memory too.
 *
 *     append, compact -> writes for the store's batch;  the view in memory follows at once
 *
 * The disk never has more than this view shows but by the batch under way, and log and data go in one batch, so that
 * they cannot disagree after a crash.
 */
export class RangeLog implements LogStorage {
  readonly #engine: Engine
  readonly #range: string
  /** Everything up to here was compacted away. */
  #compacted: { index: number; term: number }
  #lastIndex: number
  /** By first index, ascending; the first one covers `#compacted.index`. */
  #terms: TermRun[]
  #bytes = 0
  /** Bytes of each entry kept, from the first. */
  #sizes: number[] = []
  #cache: Entry[] = []
  #cacheBytes = 0
  #state: HardState
  /** Where others may need entries again soon, they are kept in memory; else until they were read once, to be applied. */
  cached = false

  private constructor(engine: Engine, range: string, compacted: { index: number; term: number }, state: HardState) {
    this.#engine = engine
    this.#range = range
    this.#compacted = compacted
    this.#lastIndex = compacted.index
    this.#terms = [{ from: compacted.index, term: compacted.term }]
    this.#state = state
  }

  /** The log that a range begins with: a state at `index`, and no entry. */
  static begin(engine: Engine, range: string, index: number, term: number): { log: RangeLog; writes: Write[] } {
    const state: HardState = { term, vote: null, commit: index }
    const log = new RangeLog(engine, range, { index, term }, state)
    return { log, writes: [log.#stateWrite()] }
  }

  /** The log as it is on disk; null where there is none. */
  static open(engine: Engine, range: string): RangeLog | null {
    const bytes = engine.get('raft', stateKey(range))
    if (bytes === undefined) return null
    const { hardState, compacted } = decodeState(bytes)
    const log = new RangeLog(engine, range, compacted, hardState)
    log.#load()
    return log
  }

  get hardState(): HardState {
    return this.#state
  }

  /** Of the entries kept. */
  get bytes(): number {
    return this.#bytes
  }

  /** What a replica could begin with that knows nothing: see {@link LogStorage.snapshot}. */
  snapshotMeta: () => SnapshotMeta | null = () => null

  firstIndex(): number {
    return this.#compacted.index + 1
  }

  lastIndex(): number {
    return this.#lastIndex
  }

  term(index: number): number | null {
    if (index < this.#compacted.index || index > this.#lastIndex) return null
    let at = this.#terms.length - 1
    while (this.#terms[at]!.from > index) at--
    return this.#terms[at]!.term
  }

  entries(lo: number, hi: number, bytesMax: number): Entry[] {
    assert(lo >= this.firstIndex() && hi <= this.#lastIndex + 1, `The log has no entries from ${lo} to ${hi}`)
    const first = this.#cache[0]?.index ?? this.#lastIndex + 1
    if (lo < first) return this.#fromDisk(lo, hi, bytesMax)
    const found = this.#fromCache(lo - first, hi - first, bytesMax)
    if (!this.cached) this.#forget(found.length + lo - first)
    return found
  }

  snapshot(): SnapshotMeta | null {
    return this.snapshotMeta()
  }

  /** Writes `entries`; what was from the first one's index on is replaced. */
  append(entries: readonly Entry[], hardState: HardState | null): Write[] {
    const writes: Write[] = []
    const first = entries[0]?.index
    if (first !== undefined && first <= this.#lastIndex) writes.push(...this.#truncate(first))
    for (const entry of entries) {
      assert(entry.index === this.#lastIndex + 1, `Entry ${entry.index} follows on ${this.#lastIndex}`)
      writes.push({ type: 'put', key: entryKey(this.#range, entry.index), value: encodeLogEntry(entry) })
      this.#push(entry.index, entry.term, entryBytes(entry))
      this.#remember(entry)
    }
    if (hardState !== null) {
      this.#state = hardState
      writes.push(this.#stateWrite())
    }
    return writes
  }

  /** Drops old entries up to `index` until `keptBytes` are left. */
  compact(index: number, keptBytes: number): Write[] {
    const writes: Write[] = []
    let to = this.#compacted.index
    let dropped = 0
    while (to < Math.min(index, this.#lastIndex) && this.#bytes > keptBytes) {
      writes.push({ type: 'delete', key: entryKey(this.#range, ++to) })
      this.#bytes -= this.#sizes[dropped++]!
    }
    if (writes.length === 0) return writes
    this.#sizes = this.#sizes.slice(dropped)
    this.#compactedTo(to)
    writes.push(this.#stateWrite())
    return writes
  }

  /** Forgets everything: the state is now the one at `index`. */
  restart(index: number, term: number, hardState: HardState): Write[] {
    const writes = this.#truncate(this.firstIndex())
    this.#compacted = { index, term }
    this.#lastIndex = index
    this.#terms = [{ from: index, term }]
    this.#state = hardState
    writes.push(this.#stateWrite())
    return writes
  }

  /** Everything that the disk has of this log. */
  remove(): Write[] {
    const prefix = logPrefix(this.#range)
    return [{ type: 'deleteRange', start: prefix, end: afterPrefix(prefix)! }]
  }

  #load(): void {
    const prefix = logPrefix(this.#range)
    const start = entryKey(this.#range, this.firstIndex())
    const cursor = this.#engine.cursor('raft', { start, end: afterPrefix(prefix) })
    while (cursor.next()) {
      const index = indexOf(cursor.key)
      if (index === null) break
      if (index !== this.#lastIndex + 1) {
        cursor.close()
        const message = `The log of range "${this.#range}" lacks entry ${this.#lastIndex + 1}: entry ${index} is there`
        throw new BrokerError('STORAGE_FAILED', message)
      }
      const entry = decodeLogEntry(index, cursor.value)
      this.#push(index, entry.term, entryBytes(entry))
    }
    cursor.close()
  }

  #push(index: number, term: number, bytes: number): void {
    this.#lastIndex = index
    this.#bytes += bytes
    this.#sizes.push(bytes)
    if (this.#terms.at(-1)!.term !== term) this.#terms.push({ from: index, term })
  }

  #truncate(from: number): Write[] {
    const writes: Write[] = []
    for (let index = from; index <= this.#lastIndex; index++) {
      writes.push({ type: 'delete', key: entryKey(this.#range, index) })
      this.#bytes -= this.#sizes.pop()!
    }
    this.#lastIndex = from - 1
    while (this.#terms.length > 1 && this.#terms.at(-1)!.from >= from) this.#terms.pop()
    while (this.#cache.length > 0 && this.#cache.at(-1)!.index >= from)
      this.#cacheBytes -= entryBytes(this.#cache.pop()!)
    return writes
  }

  #compactedTo(index: number): void {
    this.#compacted = { index, term: this.term(index)! }
    while (this.#terms.length > 1 && this.#terms[1]!.from <= index) this.#terms.shift()
    let gone = 0
    while (gone < this.#cache.length && this.#cache[gone]!.index <= index) gone++
    this.#forget(gone)
  }

  /** The first ones of those in memory. */
  #forget(count: number): void {
    if (count === 0) return
    for (let i = 0; i < count; i++) this.#cacheBytes -= entryBytes(this.#cache[i]!)
    this.#cache = this.#cache.slice(count)
  }

  #remember(entry: Entry): void {
    this.#cache.push(entry)
    this.#cacheBytes += entryBytes(entry)
    while (this.#cacheBytes > CACHE_BYTES_MAX && this.#cache.length > 1) {
      this.#cacheBytes -= entryBytes(this.#cache.shift()!)
    }
  }

  #fromCache(from: number, to: number, bytesMax: number): Entry[] {
    let bytes = 0
    let end = from
    while (end < to && (end === from || bytes + entryBytes(this.#cache[end]!) <= bytesMax)) {
      bytes += entryBytes(this.#cache[end++]!)
    }
    return this.#cache.slice(from, end)
  }

  #fromDisk(lo: number, hi: number, bytesMax: number): Entry[] {
    const entries: Entry[] = []
    let bytes = 0
    const cursor = this.#engine.cursor('raft', { start: entryKey(this.#range, lo), end: entryKey(this.#range, hi) })
    while (cursor.next()) {
      const entry = decodeLogEntry(indexOf(cursor.key)!, new Uint8Array(cursor.value))
      bytes += entryBytes(entry)
      if (entries.length > 0 && bytes > bytesMax) break
      entries.push(entry)
    }
    cursor.close()
    return entries
  }

  #stateWrite(): Write {
    const value = encodeState({ hardState: this.#state, compacted: this.#compacted })
    return { type: 'put', key: stateKey(this.#range), value }
  }
}

/** The configuration in which `replicas` are the group. */
export function configOf(replicas: readonly { replica: number; role: 'voter' | 'learner' }[]): ConfState {
  const ids = (role: string) => replicas.filter((each) => each.role === role).map((each) => each.replica)
  return { voters: ids('voter'), outgoing: [], learners: ids('learner'), learnersNext: [], autoLeave: false }
}
