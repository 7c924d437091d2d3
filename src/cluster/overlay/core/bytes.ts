import { isUtf8 } from 'node:buffer'
import { ByteFieldReader, ByteFieldWriter } from '../../fields.ts'

/** The fields of the overlay. Values are our own. */
export class FieldWriter extends ByteFieldWriter {
  /** Up to 2^53 - 1, seven bits a byte, the lowest first. */
  varint(value: number): void {
    this.reserve(8)
    let rest = value
    while (rest >= 128) {
      this.buffer[this.at++] = (rest % 128) + 128
      rest = Math.floor(rest / 128)
    }
    this.buffer[this.at++] = rest
  }

  text(text: string): void {
    const length = Buffer.byteLength(text)
    this.varint(length)
    this.reserve(length)
    this.at += this.buffer.write(text, this.at)
  }

  blob(bytes: Uint8Array): void {
    this.varint(bytes.length)
    this.raw(bytes)
  }

  /** Room for a length that is known only afterwards: see {@link patch}. */
  hole(): number {
    this.uint32(0)
    return this.at - 4
  }

  /** Fills a hole with the number of bytes behind it. */
  patch(hole: number): void {
    this.buffer.writeUInt32BE(this.at - hole - 4, hole)
  }
}

/** The reverse. */
export class FieldReader extends ByteFieldReader {
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
    if (length < min || !this.take(length)) {
      this.bad = true
      return ''
    }
    const bytes = this.buffer.subarray(this.at - length, this.at)
    if (!isUtf8(bytes)) this.bad = true
    return bytes.toString('utf8')
  }

  /** A copy, which may be kept. */
  blob(max: number): Uint8Array {
    const length = this.varint(max)
    if (!this.take(length)) return new Uint8Array(0)
    return new Uint8Array(this.buffer.subarray(this.at - length, this.at))
  }

  /** The fields of the next `length` bytes, and goes behind them. */
  part(length: number): FieldReader {
    if (!this.take(length)) return new FieldReader(this.buffer, 0, 0)
    return new FieldReader(this.buffer, this.at - length, this.at)
  }
}
