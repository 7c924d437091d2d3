import { BrokerError } from '../../base/errors.ts'

const encoder = new TextEncoder()
const decoder = new TextDecoder('utf-8', { fatal: true })

/** Of a text whose length is one byte. */
const LOOP_LENGTH_MAX = 48

/** Builds the bytes of entries and of the range's own records. Grows by doubling. */
export class ByteWriter {
  #bytes: Uint8Array
  #length = 0

  constructor(capacity = 128) {
    this.#bytes = new Uint8Array(capacity)
  }

  u8(value: number): void {
    this.#reserve(1)
    this.#bytes[this.#length++] = value
  }

  /** An integer in [0, 2^53): seven bits a byte, the lowest first. */
  varint(value: number): void {
    this.#reserve(8)
    let rest = value
    while (rest >= 128) {
      this.#bytes[this.#length++] = (rest % 128) | 128
      rest = Math.floor(rest / 128)
    }
    this.#bytes[this.#length++] = rest
  }

  /** With its length in front. */
  bytes(value: Uint8Array): void {
    this.varint(value.length)
    this.#reserve(value.length)
    this.#bytes.set(value, this.#length)
    this.#length += value.length
  }

  text(value: string): void {
    if (value.length > LOOP_LENGTH_MAX || !this.#ascii(value)) this.bytes(encoder.encode(value))
  }

  finish(): Uint8Array {
    return this.#bytes.subarray(0, this.#length)
  }

  /** Short names are written by a loop, which is faster; false, and nothing written, where a character needs more. */
  #ascii(value: string): boolean {
    const begin = this.#length
    this.#reserve(1 + value.length)
    this.#bytes[this.#length++] = value.length
    for (let i = 0; i < value.length; i++) {
      const code = value.charCodeAt(i)
      if (code > 127) {
        this.#length = begin
        return false
      }
      this.#bytes[this.#length++] = code
    }
    return true
  }

  #reserve(length: number): void {
    if (this.#length + length <= this.#bytes.length) return
    const grown = new Uint8Array(Math.max(this.#bytes.length * 2, this.#length + length))
    grown.set(this.#bytes)
    this.#bytes = grown
  }
}

/** The reverse of {@link ByteWriter}; damaged bytes give a BrokerError. Views, no copies. */
export class ByteReader {
  readonly #bytes: Uint8Array
  #at = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  get done(): boolean {
    return this.#at === this.#bytes.length
  }

  u8(): number {
    const value = this.#bytes[this.#at++]
    if (value === undefined) throw damaged()
    return value
  }

  varint(): number {
    let value = 0
    let scale = 1
    for (let i = 0; i < 8; i++) {
      const byte = this.u8()
      value += (byte & 127) * scale
      if (byte < 128) {
        if (!Number.isSafeInteger(value)) throw damaged()
        return value
      }
      scale *= 128
    }
    throw damaged()
  }

  bytes(): Uint8Array {
    const length = this.varint()
    const end = this.#at + length
    if (end > this.#bytes.length) throw damaged()
    const value = this.#bytes.subarray(this.#at, end)
    this.#at = end
    return value
  }

  text(): string {
    try {
      return decoder.decode(this.bytes())
    } catch (cause) {
      throw damaged(cause)
    }
  }

  /** Throws where bytes are left. */
  end(): void {
    if (this.#at !== this.#bytes.length) throw damaged()
  }
}

function damaged(cause?: unknown): BrokerError {
  return new BrokerError('STORAGE_FAILED', 'Cannot read an entry or a record of a range: its bytes are damaged', {
    cause,
  })
}
