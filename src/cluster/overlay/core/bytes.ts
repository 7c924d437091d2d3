import { isUtf8 } from 'node:buffer'

/** Writes fields into a buffer that grows. Values are our own. */
export class FieldWriter {
  at = 0
  #buffer = Buffer.allocUnsafe(256)

  /** A copy of what was written: it may be kept. */
  bytes(): Uint8Array {
    return new Uint8Array(this.#buffer.subarray(0, this.at))
  }

  uint8(value: number): void {
    this.#reserve(1)
    this.at = this.#buffer.writeUInt8(value, this.at)
  }

  uint32(value: number): void {
    this.#reserve(4)
    this.at = this.#buffer.writeUInt32BE(value, this.at)
  }

  /** Up to 2^53 - 1, seven bits a byte, the lowest first. */
  varint(value: number): void {
    this.#reserve(8)
    let rest = value
    while (rest >= 128) {
      this.#buffer[this.at++] = (rest % 128) + 128
      rest = Math.floor(rest / 128)
    }
    this.#buffer[this.at++] = rest
  }

  text(text: string): void {
    const length = Buffer.byteLength(text)
    this.varint(length)
    this.#reserve(length)
    this.at += this.#buffer.write(text, this.at)
  }

  blob(bytes: Uint8Array): void {
    this.varint(bytes.length)
    this.#reserve(bytes.length)
    this.#buffer.set(bytes, this.at)
    this.at += bytes.length
  }

  /** Room for a length that is known only afterwards: see {@link patch}. */
  hole(): number {
    this.uint32(0)
    return this.at - 4
  }

  /** Fills a hole with the number of bytes behind it. */
  patch(hole: number): void {
    this.#buffer.writeUInt32BE(this.at - hole - 4, hole)
  }

  #reserve(bytes: number): void {
    if (this.at + bytes <= this.#buffer.length) return
    const grown = Buffer.allocUnsafe(Math.max(this.#buffer.length * 2, this.at + bytes))
    this.#buffer.copy(grown, 0, 0, this.at)
    this.#buffer = grown
  }
}

/**
 * Reads fields of bytes that anybody may have sent. What is not there or not allowed sets {@link bad} and gives a
 * harmless value: the caller looks once, at the end.
 */
export class FieldReader {
  bad = false
  at: number
  readonly end: number
  readonly #buffer: Buffer

  constructor(buffer: Buffer, at = 0, end = buffer.length) {
    this.#buffer = buffer
    this.at = at
    this.end = end
  }

  get left(): number {
    return this.bad ? 0 : this.end - this.at
  }

  uint8(): number {
    return this.#take(1) ? this.#buffer.readUInt8(this.at - 1) : 0
  }

  uint32(): number {
    return this.#take(4) ? this.#buffer.readUInt32BE(this.at - 4) : 0
  }

  /** Bad above `max`, which is at most 2^53 - 1. */
  varint(max = Number.MAX_SAFE_INTEGER): number {
    let value = 0
    for (let factor = 1; factor <= 2 ** 49; factor *= 128) {
      const byte = this.uint8()
      value += (byte & 127) * factor
      if (byte < 128) {
        if (value > max) this.bad = true
        return this.bad ? 0 : value
      }
    }
    this.bad = true
    return 0
  }

  /** UTF-8 of `min` to `max` bytes. */
  text(min: number, max: number): string {
    const length = this.varint(max)
    if (length < min || !this.#take(length)) {
      this.bad = true
      return ''
    }
    const bytes = this.#buffer.subarray(this.at - length, this.at)
    if (!isUtf8(bytes)) this.bad = true
    return bytes.toString('utf8')
  }

  /** A copy, which may be kept. */
  blob(max: number): Uint8Array {
    const length = this.varint(max)
    if (!this.#take(length)) return new Uint8Array(0)
    return new Uint8Array(this.#buffer.subarray(this.at - length, this.at))
  }

  /** The fields of the next `length` bytes, and goes behind them. */
  part(length: number): FieldReader {
    if (!this.#take(length)) return new FieldReader(this.#buffer, 0, 0)
    return new FieldReader(this.#buffer, this.at - length, this.at)
  }

  #take(bytes: number): boolean {
    if (this.bad || this.at + bytes > this.end) {
      this.bad = true
      return false
    }
    this.at += bytes
    return true
  }
}
