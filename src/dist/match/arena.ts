/**
 * Where the tries live: records of 32-bit numbers in chunks, found by a hash index that is chained through them.
 *
 * A million routes are a few hundred typed arrays: nothing for the garbage collector to walk. Nothing is ever copied
 * to grow, and the index grows and shrinks by one bucket at a time, so that no single change is slow.
 *
 * Hot: every match is some ten reads of these (bench/micro/match.ts).
 */
const CHUNK_BITS = 15
const CHUNK_RECORDS = 1 << CHUNK_BITS
const CHUNK_MASK = CHUNK_RECORDS - 1

/** Records of `stride` numbers. An id is never 0, so that 0 means none; ids of freed records are given again. */
export class Records {
  readonly stride: number
  #chunks: Int32Array[] = []
  /** Ids from here on were never given. */
  #fresh = 1
  /** First of the freed records, chained by their first number. */
  #free = 0
  #count = 0

  constructor(stride: number) {
    this.stride = stride
  }

  get count(): number {
    return this.#count
  }

  /** Above every id in use. */
  get limit(): number {
    return this.#fresh
  }

  get bytes(): number {
    return this.#chunks.length * CHUNK_RECORDS * this.stride * 4
  }

  /** A record of zeros. */
  alloc(): number {
    this.#count++
    const id = this.#free
    if (id !== 0) {
      this.#free = this.get(id, 0)
      this.set(id, 0, 0)
      return id
    }
    const fresh = this.#fresh++
    const chunk = fresh >>> CHUNK_BITS
    if (chunk === this.#chunks.length) this.#chunks.push(new Int32Array(CHUNK_RECORDS * this.stride))
    return fresh
  }

  free(id: number): void {
    this.#count--
    if (this.#count === 0 && this.#chunks.length > 1) {
      this.#chunks = []
      this.#fresh = 1
      this.#free = 0
      return
    }
    const chunk = this.#chunks[id >>> CHUNK_BITS]!
    const at = (id & CHUNK_MASK) * this.stride
    chunk.fill(0, at, at + this.stride)
    chunk[at] = this.#free
    this.#free = id
  }

  get(id: number, field: number): number {
    return this.#chunks[id >>> CHUNK_BITS]![(id & CHUNK_MASK) * this.stride + field]!
  }

  set(id: number, field: number, value: number): void {
    this.#chunks[id >>> CHUNK_BITS]![(id & CHUNK_MASK) * this.stride + field] = value
  }
}

const BUCKETS_MIN = 16
/** Buckets for each record: longer chains cost more than four bytes. */
const BUCKETS_PER_RECORD = 2

/**
 * A set of records, found by hash: chains through one field of the records themselves.
 *
 * The user walks a chain from {@link head} and compares for itself. Buckets grow and shrink one by one.
 * Source: Litwin, "Linear hashing: a new tool for file and table addressing", 1980.
 */
export class HashIndex {
  readonly #records: Records
  readonly #chain: number
  readonly #hashOf: (id: number) => number
  readonly #heads: Int32Array[] = [new Int32Array(CHUNK_RECORDS)]
  #buckets = BUCKETS_MIN
  /** Smallest 2^n - 1 that covers every bucket. */
  #mask = BUCKETS_MIN - 1
  #count = 0

  /** @param chain the field that holds the next record of the bucket */
  constructor(records: Records, chain: number, hashOf: (id: number) => number) {
    this.#records = records
    this.#chain = chain
    this.#hashOf = hashOf
  }

  get bytes(): number {
    return this.#heads.length * CHUNK_RECORDS * 4
  }

  /** The first record of the chain for `hash`; 0 = none. */
  head(hash: number): number {
    let bucket = hash & this.#mask
    if (bucket >= this.#buckets) bucket &= this.#mask >>> 1
    return this.#heads[bucket >>> CHUNK_BITS]![bucket & CHUNK_MASK]!
  }

  insert(hash: number, id: number): void {
    this.#count++
    while (this.#buckets < this.#count * BUCKETS_PER_RECORD) this.#split()
    const bucket = this.#bucket(hash)
    this.#records.set(id, this.#chain, this.#headAt(bucket))
    this.#setHead(bucket, id)
  }

  remove(hash: number, id: number): void {
    const bucket = this.#bucket(hash)
    const next = this.#records.get(id, this.#chain)
    let at = this.#headAt(bucket)
    if (at === id) this.#setHead(bucket, next)
    else {
      while (this.#records.get(at, this.#chain) !== id) at = this.#records.get(at, this.#chain)
      this.#records.set(at, this.#chain, next)
    }
    this.#count--
    const wanted = Math.max(BUCKETS_MIN, this.#count * BUCKETS_PER_RECORD * 2)
    for (let i = 0; i < 2 * BUCKETS_PER_RECORD && this.#buckets > wanted; i++) this.#merge()
  }

  /** Gives the new last bucket its share of the bucket that it splits from. */
  #split(): void {
    const added = this.#buckets++
    if (added > this.#mask) this.#mask = this.#mask * 2 + 1
    if (added >>> CHUNK_BITS === this.#heads.length) this.#heads.push(new Int32Array(CHUNK_RECORDS))
    const from = added & (this.#mask >>> 1)
    let kept = 0
    let moved = 0
    for (let id = this.#headAt(from); id !== 0; ) {
      const next = this.#records.get(id, this.#chain)
      if ((this.#hashOf(id) & this.#mask) === added) {
        this.#records.set(id, this.#chain, moved)
        moved = id
      } else {
        this.#records.set(id, this.#chain, kept)
        kept = id
      }
      id = next
    }
    this.#setHead(from, kept)
    this.#setHead(added, moved)
  }

  /** The reverse of {@link #split}. */
  #merge(): void {
    const removed = --this.#buckets
    const into = removed & (this.#mask >>> 1)
    for (let id = this.#headAt(removed); id !== 0; ) {
      const next = this.#records.get(id, this.#chain)
      this.#records.set(id, this.#chain, this.#headAt(into))
      this.#setHead(into, id)
      id = next
    }
    this.#setHead(removed, 0)
    if (removed === (this.#mask + 1) >>> 1) this.#mask >>>= 1
    if ((removed & CHUNK_MASK) === 0 && this.#heads.length > 1) this.#heads.pop()
  }

  #bucket(hash: number): number {
    const bucket = hash & this.#mask
    return bucket < this.#buckets ? bucket : bucket & (this.#mask >>> 1)
  }

  #headAt(bucket: number): number {
    return this.#heads[bucket >>> CHUNK_BITS]![bucket & CHUNK_MASK]!
  }

  #setHead(bucket: number, id: number): void {
    this.#heads[bucket >>> CHUNK_BITS]![bucket & CHUNK_MASK] = id
  }
}

/** Spreads two numbers over 32 bits. Source: Appleby, MurmurHash3 (32-bit mix and finalizer), public domain. */
export function mix(a: number, b: number): number {
  let h = Math.imul(a, 0xcc9e2d51)
  h = Math.imul((h << 15) | (h >>> 17), 0x1b873593) ^ b
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return h ^ (h >>> 16)
}
