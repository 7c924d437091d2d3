import { HybridClock, hlcToMs } from '../../../base/hlc.ts'
import type { HostId } from '../../../base/ids.ts'
import { hashBytes, hashText } from './hash.ts'
import { HINT_TTL_MS_MAX, HINTS_MAX } from './options.ts'

/** What some host last said under a key that all share. */
export interface Hint {
  readonly key: string
  /** Null: deleted. */
  readonly value: Uint8Array | null
  /** Hybrid logical clock of the writer. */
  readonly timestamp: number
  readonly by: HostId
  /** It is over so long after its timestamp; at most {@link HINT_TTL_MS_MAX}. */
  readonly ttlMs: number
}

interface Kept extends Hint {
  readonly bucket: number
  readonly sum: readonly [number, number]
}

export const BUCKETS = 256
const NEXT_OUT = 64

/** What a merge did. */
export type Merged = 'older' | 'ahead' | 'late' | { previous: Hint | undefined; evicted: Hint | null }

/**
 * A map that all hosts write: the later timestamp wins, then the greater host id, then the greater value, so that all
 * copies become equal whatever the order of news.
 *
 * Every hint expires, and a deletion is remembered for as long as the longest hint lives: what it deleted cannot come
 * back. At the limit those with the oldest timestamps make room, on every host the same.
 */
export class HintMap {
  readonly #hints = new Map<string, Kept>()
  readonly #clock = new HybridClock()
  readonly #driftMsMax: number
  /** Of each bucket, and over all: an exclusive or over the hashes of its hints. */
  readonly sums = new Uint32Array(BUCKETS)
  #sum: [number, number] = [0, 0]
  /** The oldest hints, the very oldest last; some may be gone since. Every other hint is newer than the first of them. */
  #nextOut: Kept[] = []

  constructor(driftMsMax: number) {
    this.#driftMsMax = driftMsMax
  }

  get size(): number {
    return this.#hints.size
  }

  get sum(): readonly [number, number] {
    return [this.#sum[0], this.#sum[1]]
  }

  /** Tombstones as well. */
  values(): IterableIterator<Hint> {
    return this.#hints.values()
  }

  get(key: string): Hint | undefined {
    return this.#hints.get(key)
  }

  /** Those of these buckets, by bucket. */
  ofBuckets(buckets: ReadonlySet<number>): Map<number, Hint[]> {
    const found = new Map<number, Hint[]>()
    for (const hint of this.#hints.values()) {
      if (!buckets.has(hint.bucket)) continue
      const others = found.get(hint.bucket)
      if (others === undefined) found.set(hint.bucket, [hint])
      else others.push(hint)
    }
    return found
  }

  /** A write of our own; null deletes. */
  write(key: string, value: Uint8Array | null, ttlMs: number, by: HostId, wallMs: number): Hint {
    return { key, value, timestamp: this.#clock.next(Math.floor(wallMs)), by, ttlMs }
  }

  merge(hint: Hint, wallMs: number): Merged {
    if (hlcToMs(hint.timestamp) > wallMs + this.#driftMsMax) return 'ahead'
    if (isOver(hint, wallMs)) return 'late'
    this.#clock.observe(hint.timestamp)
    const previous = this.#hints.get(hint.key)
    if (previous !== undefined && !isNewer(hint, previous)) return 'older'
    let evicted: Hint | null = null
    if (previous === undefined && this.#hints.size >= HINTS_MAX) {
      evicted = this.#oldest()
      if (!isNewer(hint, evicted)) return 'older'
      this.#remove(evicted.key)
    }
    if (previous !== undefined) this.#remove(hint.key)
    this.#add(hint)
    return { previous, evicted }
  }

  /** Drops what is over by now. */
  expire(wallMs: number): Hint[] {
    const over: Hint[] = []
    for (const hint of this.#hints.values()) if (isOver(hint, wallMs)) over.push(hint)
    for (const hint of over) this.#remove(hint.key)
    return over
  }

  /** Those that go next are kept at hand: a map that is full stays fast. */
  #oldest(): Hint {
    for (;;) {
      const oldest = this.#nextOut.at(-1)
      if (oldest === undefined) {
        const byAge = [...this.#hints.values()].sort((a, b) => (isNewer(a, b) ? -1 : 1))
        this.#nextOut = byAge.slice(-NEXT_OUT)
      } else if (this.#hints.get(oldest.key) === oldest) return oldest
      else this.#nextOut.pop()
    }
  }

  #add(hint: Hint): void {
    const head = hashText(`${hint.key} ${hint.timestamp} ${hint.by} ${hint.ttlMs} ${hint.value === null}`)
    const tail = hint.value === null ? head : hashBytes(hint.value)
    const sum = [head[0] ^ tail[1], head[1] ^ Math.imul(tail[0], 31)] as const
    const kept: Kept = { ...hint, bucket: bucketOf(hint.key), sum }
    this.#hints.set(hint.key, kept)
    this.#toggle(kept)
    const [newestOut] = this.#nextOut
    if (newestOut !== undefined && isNewer(newestOut, hint)) this.#nextOut = []
  }

  #remove(key: string): void {
    const kept = this.#hints.get(key)!
    this.#hints.delete(key)
    this.#toggle(kept)
  }

  #toggle(kept: Kept): void {
    this.sums[kept.bucket]! ^= kept.sum[0]
    this.#sum = [(this.#sum[0] ^ kept.sum[0]) >>> 0, (this.#sum[1] ^ kept.sum[1]) >>> 0]
  }
}

export function bucketOf(key: string): number {
  return hashText(key)[0] % BUCKETS
}

/** A total order of writes. */
export function isNewer(a: Hint, b: Hint): boolean {
  if (a.timestamp !== b.timestamp) return a.timestamp > b.timestamp
  if (a.by !== b.by) return a.by > b.by
  if (a.value === null || b.value === null) return b.value !== null
  const order = Buffer.compare(a.value, b.value)
  return order !== 0 ? order > 0 : a.ttlMs > b.ttlMs
}

function isOver(hint: Hint, wallMs: number): boolean {
  return hlcToMs(hint.timestamp) + hint.ttlMs <= wallMs
}

/** Tombstones live as long as what they deleted might. */
export const TOMBSTONE_TTL_MS = HINT_TTL_MS_MAX
