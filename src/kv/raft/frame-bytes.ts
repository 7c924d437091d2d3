import { Buffer } from 'node:buffer'
import { assert } from '../../base/assert.ts'
import { BrokerError } from '../../base/errors.ts'

const BEGIN_BYTES = 1024
/** Most bytes of an integer below 2^53. */
const VARINT_BYTES_MAX = 8
const decoder = new TextDecoder('utf-8', { fatal: true })

/** Builds a frame in one buffer that grows by doubling. Plain loops: every message between stores passes here. */
export class FrameBytes {
  readonly #beginBytes: number
  #bytes: Buffer
  length = 0

  constructor(beginBytes = BEGIN_BYTES) {
    this.#beginBytes = beginBytes
    this.#bytes = Buffer.allocUnsafe(beginBytes)
  }

  u8(value: number): void {
    this.#reserve(1)
    this.#bytes[this.length++] = value
  }

  /** An integer in [0, 2^53): seven bits a byte, the lowest first. */
  varint(value: number): void {
    assert(Number.isSafeInteger(value) && value >= 0, `A frame holds no ${value}`)
    this.#reserve(VARINT_BYTES_MAX)
    let rest = value
    while (rest >= 128) {
      this.#bytes[this.length++] = (rest % 128) | 128
      rest = rest > 0x7fffffff ? Math.floor(rest / 128) : rest >>> 7
    }
    this.#bytes[this.length++] = rest
  }

  /** With its length in front. */
  data(value: Uint8Array): void {
    this.varint(value.length)
    this.#reserve(value.length)
    this.#bytes.set(value, this.length)
    this.length += value.length
  }

  /** With its length in front. */
  text(value: string): void {
    const bytes = Buffer.byteLength(value)
    this.varint(bytes)
    this.#reserve(bytes)
    this.length += this.#bytes.write(value, this.length, bytes)
  }

  /** What was written; the next frame begins in a new buffer. */
  take(): Uint8Array {
    const taken = this.#bytes.subarray(0, this.length)
    this.#bytes = Buffer.allocUnsafe(this.#beginBytes)
    this.length = 0
    return taken
  }

  #reserve(bytes: number): void {
    if (this.length + bytes <= this.#bytes.length) return
    const grown = Buffer.allocUnsafe(Math.max(this.#bytes.length * 2, this.length + bytes))
    grown.set(this.#bytes.subarray(0, this.length))
    this.#bytes = grown
  }
}

/** The reverse of {@link FrameBytes}: views into the frame, and a BrokerError where it is malformed. */
export class FrameCursor {
  readonly #bytes: Uint8Array
  readonly #what: string
  #at = 0

  /** @param what it is, for errors: "a frame of raft messages" */
  constructor(bytes: Uint8Array, what: string) {
    this.#bytes = bytes
    this.#what = what
  }

  get done(): boolean {
    return this.#at === this.#bytes.length
  }

  u8(): number {
    const value = this.#bytes[this.#at++]
    if (value === undefined) throw this.malformed('it ends too early')
    return value
  }

  varint(): number {
    const first = this.u8()
    if (first < 128) return first
    let value = first & 127
    let scale = 128
    for (let at = 1; at < VARINT_BYTES_MAX; at++) {
      const byte = this.u8()
      value += (byte & 127) * scale
      if (byte < 128) {
        if (!Number.isSafeInteger(value)) break
        return value
      }
      scale *= 128
    }
    throw this.malformed('a number is too large')
  }

  /** At least 1. */
  positive(): number {
    const value = this.varint()
    if (value === 0) throw this.malformed('a number is 0 that must not be')
    return value
  }

  flag(): boolean {
    const value = this.u8()
    if (value > 1) throw this.malformed(`${value} is neither yes nor no`)
    return value === 1
  }

  data(): Uint8Array {
    const end = this.varint() + this.#at
    if (end > this.#bytes.length) throw this.malformed('it ends too early')
    const value = this.#bytes.subarray(this.#at, end)
    this.#at = end
    return value
  }

  text(lengthMax: number): string {
    const bytes = this.data()
    if (bytes.length === 0 || bytes.length > lengthMax) throw this.malformed(`a name has ${bytes.length} bytes`)
    for (let at = 0; at < bytes.length; at++) if (bytes[at]! > 127) return this.#utf8(bytes)
    return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1')
  }

  malformed(why: string, cause?: unknown): BrokerError {
    return new BrokerError('INVALID_ARGUMENT', `Cannot read ${this.#what} at byte ${this.#at}: ${why}`, {
      cause,
    })
  }

  #utf8(bytes: Uint8Array): string {
    try {
      return decoder.decode(bytes)
    } catch (cause) {
      throw this.malformed('a name is not UTF-8', cause)
    }
  }
}
