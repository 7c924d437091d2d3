import { within } from '../bytes.ts'
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
/** Entries older than so many deleteRanges are looked up again. */
const RANGES_MAX = 64
/** A value that is a smaller part of its memory is copied, so that it does not hold on to the rest. */
const SPARE_BYTES_MAX = 1024

interface Entry {
  /** Undefined: there is no such key. */
  value: Uint8Array | undefined
  /** Number of the last deleteRange that it is known to have survived. */
  range: number
}

interface Change {
  value: Uint8Array | undefined
  /** It was read lately: keep it when it has landed. */
  wanted: boolean
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

/** Two generations: what is asked for again moves to the young one; when that is full, the old one goes. */
export class FamilyCache {
  readonly #bytesMax: number
  #young = new Map<string, Entry>()
  #old = new Map<string, Entry>()
  #youngBytes = 0
  /** The last deleteRanges; the newest at the end has the number {@link #range}. */
  #ranges: { start: Uint8Array; end: Uint8Array }[] = []
  #range = 0
  readonly #changes = new Map<string, Change>()
  /** Among the writes under way: their order matters then, and nothing of them is kept. */
  #changingRanges: { start: Uint8Array; end: Uint8Array }[] = []

  /** `bytesMax` is for both generations. */
  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  get size(): number {
    return this.#young.size + this.#old.size
  }

  /** What is known of a key; undefined = nothing. */
  find(name: string, key: Uint8Array): Entry | undefined {
    const entry = this.#young.get(name) ?? this.#promote(name)
    if (entry === undefined || entry.range === this.#range) return entry
    const newer = this.#range - entry.range
    if (newer <= this.#ranges.length && !this.#ranges.slice(-newer).some((range) => within(key, range))) {
      entry.range = this.#range
      return entry
    }
    this.#forget(name)
    return undefined
  }

  /** What a read has found, unless it may change at this very moment. */
  keep(name: string, key: Uint8Array, value: Uint8Array | undefined): void {
    const change = this.#changes.get(name)
    if (change !== undefined) change.wanted = true
    else if (!this.#changingRanges.some((range) => within(key, range))) this.#add(name, value)
  }

  begin(write: Write): void {
    if (write.type === 'deleteRange') {
      this.#changingRanges.push(write)
      this.#ranges.push(write)
      this.#range++
      if (this.#ranges.length > RANGES_MAX) this.#ranges.shift()
      return
    }
    const name = nameOf(write.key)
    const known = this.#forget(name)
    const before = this.#changes.get(name)
    const value = write.type === 'put' ? write.value : undefined
    if (before === undefined) this.#changes.set(name, { value, wanted: known })
    else before.value = value
  }

  landed(): void {
    if (this.#changingRanges.length === 0) {
      for (const [name, { value, wanted }] of this.#changes) if (wanted) this.#add(name, value)
    }
    this.#changes.clear()
    this.#changingRanges.length = 0
  }

  #promote(name: string): Entry | undefined {
    const entry = this.#old.get(name)
    if (entry === undefined) return undefined
    this.#old.delete(name)
    this.#insert(name, entry)
    return entry
  }

  #add(name: string, value: Uint8Array | undefined): void {
    const spare = value === undefined ? 0 : value.buffer.byteLength - value.length
    this.#insert(name, { value: spare > SPARE_BYTES_MAX ? value!.slice() : value, range: this.#range })
  }

  #insert(name: string, entry: Entry): void {
    this.#young.set(name, entry)
    this.#youngBytes += bytesOf(name, entry)
    if (this.#youngBytes < this.#bytesMax / 2) return
    this.#old = this.#young
    this.#young = new Map()
    this.#youngBytes = 0
  }

  /** Returns whether it was known. */
  #forget(name: string): boolean {
    const young = this.#young.get(name)
    if (young === undefined) return this.#old.delete(name)
    this.#young.delete(name)
    this.#youngBytes -= bytesOf(name, young)
    return true
  }
}

function bytesOf(name: string, { value }: Entry): number {
  return ENTRY_BYTES + name.length + (value?.length ?? 0)
}

/** The key as a string of its bytes. */
export function nameOf(key: Uint8Array): string {
  return Buffer.prototype.latin1Slice.call(key, 0, key.length)
}
