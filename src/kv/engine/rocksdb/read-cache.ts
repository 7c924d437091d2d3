import { equalKeys, hashOfKey, within } from '../bytes.ts'
import type { Batch, Family, Write } from '../engine.ts'

// Hot: RocksDB answers a get in 7 to 12 us, this in 0.3; each write of a cached family costs 0.3 (bench/micro/rocksdb.ts).

/** Parts of the bytes. A log is written, and read only after a restart. */
const SHARES: [Family, number][] = [
  ['inbox', 0.5],
  ['retain', 0.25],
  ['dist', 0.15],
  ['meta', 0.1],
]
/** Bytes of an entry beside its name and value, about. */
const ENTRY_BYTES = 320
/** Places for what is under way. */
const TOUCHED = 16_384
/** Entries older than so many deleteRanges are looked up again. */
const RANGES_MAX = 64
/** A value that is a smaller part of its memory is copied, so that it does not hold on to the rest. */
const SPARE_BYTES_MAX = 1024

interface Entry {
  readonly key: Uint8Array
  /** Undefined: there is no such key. */
  value: Uint8Array | undefined
  /** Number of the last deleteRange that it is known to have survived. */
  range: number
  /** A batch that changes it is under way: to what. */
  changing: boolean
  next: Uint8Array | undefined
  /** As counted. */
  bytes: number
}

/** Bounded memory of what was read lately, missing keys too, of all families but the log's. */
export class ReadCache {
  readonly #families = new Map<Family, FamilyCache>()

  constructor(bytesMax: number) {
    for (const [family, share] of SHARES) this.#families.set(family, new FamilyCache(bytesMax * share))
  }

  /** The cache of a family; undefined where it has none. */
  of(family: Family): FamilyCache | undefined {
    return this.#families.get(family)
  }

  /** These batches are about to land: until they have, nobody knows which value of their keys a read finds. */
  begin(batches: readonly Batch[]): void {
    for (const { writes } of batches) {
      for (const { family, write } of writes) this.#families.get(family)?.begin(write)
    }
  }

  /** What has begun is landed. */
  landed(): void {
    for (const family of this.#families.values()) family.landed()
  }
}

/**
 * Two generations: what is asked for again moves to the young one; when that is full, the old one goes.
 *
 * Keys are found by a hash of theirs, without a string; where two have the same one, one of them is read again. Entries
 * change in place: a map whose entries come and go leaves tables to the old generation of the heap, and what those still
 * point to is copied by the garbage collector for nothing.
 */
export class FamilyCache {
  readonly #bytesMax: number
  #young = new Map<number, Entry>()
  #old = new Map<number, Entry>()
  #youngBytes = 0
  /** The last deleteRanges; the newest at the end has the number {@link #range}. */
  #ranges: { start: Uint8Array; end: Uint8Array }[] = []
  #range = 0
  /** Entries that change with the batches under way. */
  #changing: Entry[] = []
  /** Among the writes under way: their order matters then, and nothing of them is kept. */
  #changingRanges: { start: Uint8Array; end: Uint8Array }[] = []
  /** By hash of a key: {@link #turn} where a write under way may be to it. */
  readonly #touched = new Uint32Array(TOUCHED)
  #turn = 1

  /** `bytesMax` is for both generations. */
  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  get size(): number {
    return this.#young.size + this.#old.size
  }

  /** What is known of a key; undefined = nothing. */
  find(key: Uint8Array): { readonly value: Uint8Array | undefined } | undefined {
    const hash = hashOfKey(key)
    const entry = this.#get(hash, key)
    if (entry === undefined || entry.changing) return undefined
    if (entry.range === this.#range) return entry
    const newer = this.#range - entry.range
    if (newer <= this.#ranges.length && !this.#ranges.slice(-newer).some((range) => within(key, range))) {
      entry.range = this.#range
      return entry
    }
    this.#forget(hash, entry)
    return undefined
  }

  /** What a read has found, unless it may change at this very moment. */
  keep(key: Uint8Array, value: Uint8Array | undefined): void {
    const hash = hashOfKey(key)
    if (this.#touched[hash % TOUCHED] === this.#turn) return
    if (!this.#changingRanges.some((range) => within(key, range))) this.#add(hash, key, value)
  }

  begin(write: Write): void {
    if (write.type === 'deleteRange') {
      this.#changingRanges.push(write)
      this.#ranges.push(write)
      this.#range++
      if (this.#ranges.length > RANGES_MAX) this.#ranges.shift()
      return
    }
    const { key } = write
    const hash = hashOfKey(key)
    this.#touched[hash % TOUCHED] = this.#turn
    const entry = this.#get(hash, key)
    if (entry === undefined) return
    if (!entry.changing) this.#changing.push(entry)
    entry.changing = true
    entry.next = write.type === 'put' ? write.value : undefined
  }

  landed(): void {
    const certain = this.#changingRanges.length === 0
    for (const entry of this.#changing) {
      if (certain) {
        entry.value = entry.next === undefined ? undefined : owned(entry.next)
        entry.range = this.#range
        entry.changing = false
        this.#count(entry)
      } else this.#forget(hashOfKey(entry.key), entry)
      entry.next = undefined
    }
    this.#changing.length = 0
    this.#changingRanges.length = 0
    this.#turn = this.#turn === 0xffff_ffff ? 1 : this.#turn + 1
  }

  #get(hash: number, key: Uint8Array): Entry | undefined {
    const young = this.#young.get(hash)
    if (young !== undefined) return equalKeys(young.key, key) ? young : undefined
    const entry = this.#old.get(hash)
    if (entry === undefined || !equalKeys(entry.key, key)) return undefined
    this.#old.delete(hash)
    entry.bytes = 0
    this.#young.set(hash, entry)
    this.#count(entry)
    return entry
  }

  #add(hash: number, key: Uint8Array, value: Uint8Array | undefined): void {
    const known = this.#get(hash, key)
    const kept = value === undefined ? undefined : owned(value)
    if (known !== undefined) {
      known.value = kept
      known.range = this.#range
      this.#count(known)
      return
    }
    this.#old.delete(hash)
    const state = { range: this.#range, changing: false, next: undefined, bytes: 0 }
    const entry: Entry = { key: owned(key), value: kept, ...state }
    this.#young.set(hash, entry)
    this.#count(entry)
  }

  /** Counts what an entry takes by now; the old generation goes when the young one is full. */
  #count(entry: Entry): void {
    const bytes = ENTRY_BYTES + entry.key.length + (entry.value?.length ?? 0)
    if (bytes <= entry.bytes) return
    this.#youngBytes += bytes - entry.bytes
    entry.bytes = bytes
    if (this.#youngBytes < this.#bytesMax / 2) return
    this.#old = this.#young
    this.#young = new Map()
    this.#youngBytes = 0
  }

  #forget(hash: number, entry: Entry): void {
    if (this.#young.get(hash) === entry) {
      this.#young.delete(hash)
      this.#youngBytes -= entry.bytes
    } else if (this.#old.get(hash) === entry) this.#old.delete(hash)
  }
}

/** Bytes that hold on to no more memory than they need. */
function owned(bytes: Uint8Array): Uint8Array {
  return bytes.buffer.byteLength - bytes.length > SPARE_BYTES_MAX ? new Uint8Array(bytes) : bytes
}
