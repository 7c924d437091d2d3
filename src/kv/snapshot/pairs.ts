import { FrameBytes } from '../raft/frame-bytes.ts'
import type { SnapshotLimits } from './contract.ts'

/**
 * Keys and values as one run of bytes, cut anywhere:
 *
 *     of u8 | key length varint | value length varint | key | value
 */
export interface Pair {
  /** A key of the service's family, or a record of the range in family `meta`. */
  of: 'data' | 'record'
  key: Uint8Array
  value: Uint8Array
}

const OF = ['data', 'record'] as const

/** Cuts pairs into chunks that are full, but for the last. */
export class Packer {
  readonly #next: () => Pair | null
  readonly #chunkBytes: number
  #parts: readonly Uint8Array[] = []
  #part = 0
  #at = 0

  /** @param next the next pair, valid until the one after it is asked for */
  constructor(next: () => Pair | null, chunkBytes: number) {
    this.#next = next
    this.#chunkBytes = chunkBytes
  }

  /** Null where nothing is left. */
  chunk(): Uint8Array | null {
    const chunk = new Uint8Array(this.#chunkBytes)
    let filled = 0
    while (filled < chunk.length && this.#hasPart()) {
      const part = this.#parts[this.#part]!
      const count = Math.min(chunk.length - filled, part.length - this.#at)
      chunk.set(part.subarray(this.#at, this.#at + count), filled)
      filled += count
      this.#at += count
    }
    return filled === 0 ? null : chunk.subarray(0, filled)
  }

  #hasPart(): boolean {
    for (;;) {
      const part = this.#parts[this.#part]
      if (part !== undefined && this.#at < part.length) return true
      this.#at = 0
      if (part !== undefined) this.#part++
      else {
        const pair = this.#next()
        if (pair === null) return false
        this.#parts = [headOf(pair), pair.key, pair.value]
        this.#part = 0
      }
    }
  }
}

/** The reverse: pairs from chunks, or why there are none. What lies within one chunk is a view of it. */
export class Unpacker {
  readonly #limits: SnapshotLimits
  /** Which field of the head comes next, and what there is of it. */
  #field = 0
  #value = 0
  #scale = 1
  #of: Pair['of'] = 'data'
  #keyBytes = 0
  /** A pair that a chunk has only begun. */
  #body: Uint8Array | null = null
  #bodyAt = 0

  constructor(limits: SnapshotLimits) {
    this.#limits = limits
  }

  /** Nothing has begun and not ended. */
  get whole(): boolean {
    return this.#field === 0 && this.#body === null
  }

  /** Gives what is wrong with the bytes; null where they are well. */
  push(bytes: Uint8Array, take: (pair: Pair) => void): string | null {
    for (let at = 0; at < bytes.length; ) {
      if (this.#body !== null) at += this.#fill(this.#body, bytes.subarray(at), take)
      else {
        const valueBytes = this.#head(bytes[at++]!)
        if (typeof valueBytes === 'string') return valueBytes
        if (valueBytes !== null) at = this.#begin(valueBytes, bytes, at, take)
      }
    }
    return null
  }

  /** Takes one byte of the head. The value's length when the head is whole, else null, or what is wrong. */
  #head(byte: number): number | string | null {
    if (this.#field === 0) {
      const of = OF[byte]
      if (of === undefined) return `a pair is of ${byte}, which is not known here`
      this.#of = of
      this.#field = 1
      return null
    }
    this.#value += (byte & 127) * this.#scale
    this.#scale *= 128
    const { keyBytesMax, valueBytesMax } = this.#limits
    const max = this.#field === 1 ? keyBytesMax : valueBytesMax
    if (this.#value > max || this.#scale > 2 ** 42) return `a key or a value is longer than ${max} bytes`
    if (byte >= 128) return null
    const value = this.#value
    this.#value = 0
    this.#scale = 1
    this.#field = this.#field === 1 ? 2 : 0
    if (this.#field === 0) return value
    this.#keyBytes = value
    return null
  }

  #begin(valueBytes: number, bytes: Uint8Array, at: number, take: (pair: Pair) => void): number {
    const total = this.#keyBytes + valueBytes
    if (at + total > bytes.length) {
      this.#body = new Uint8Array(total)
      this.#bodyAt = 0
      return at
    }
    take(this.#pairOf(bytes.subarray(at, at + total)))
    return at + total
  }

  #fill(body: Uint8Array, bytes: Uint8Array, take: (pair: Pair) => void): number {
    const count = Math.min(body.length - this.#bodyAt, bytes.length)
    body.set(bytes.subarray(0, count), this.#bodyAt)
    this.#bodyAt += count
    if (this.#bodyAt === body.length) {
      this.#body = null
      take(this.#pairOf(body))
    }
    return count
  }

  #pairOf(body: Uint8Array): Pair {
    return { of: this.#of, key: body.subarray(0, this.#keyBytes), value: body.subarray(this.#keyBytes) }
  }
}

function headOf({ of, key, value }: Pair): Uint8Array {
  const bytes = new FrameBytes(32)
  bytes.u8(OF.indexOf(of))
  bytes.varint(key.length)
  bytes.varint(value.length)
  return bytes.take()
}
