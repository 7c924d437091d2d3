import { assert } from '../../../base/assert.ts'
import { ByteFieldReader, ByteFieldWriter } from '../../fields.ts'
import { isAddress, METADATA_BYTES_MAX, type Metadata } from './host.ts'

/** Names and ids on the wire: printable ASCII, so that a length in letters is a length in bytes. */
export const NAME_BYTES_MAX = 64

/** The fields of the underlay. Values are our own, and asserted. */
export class FieldWriter extends ByteFieldWriter {
  uint16(value: number): void {
    this.reserve(2)
    this.at = this.buffer.writeUInt16BE(value, this.at)
  }

  uint48(value: number): void {
    this.reserve(6)
    this.at = this.buffer.writeUIntBE(value, this.at, 6)
  }

  /** Up to 2^53 - 1. */
  uint64(value: number): void {
    this.uint32(Math.floor(value / 2 ** 32))
    this.uint32(value % 2 ** 32)
  }

  /** Of printable ASCII. */
  name(text: string): void {
    assert(text.length <= NAME_BYTES_MAX && isAscii(text), `A name on the wire must be ASCII, 64 letters: "${text}"`)
    this.uint8(text.length)
    this.reserve(text.length)
    this.at += this.buffer.write(text, this.at, 'latin1')
  }

  metadata(metadata: Metadata): void {
    const lengthAt = this.at
    this.uint16(0)
    for (const [key, value] of metadata) {
      this.#text(key)
      this.#text(value)
    }
    const length = this.at - lengthAt - 2
    assert(length <= METADATA_BYTES_MAX, `Metadata must fit into 512 bytes, and has ${length}`)
    this.patch16(lengthAt, length)
  }

  /** Writes over what stands at `offset`: a length that is known only afterwards. */
  patch16(offset: number, value: number): void {
    this.buffer.writeUInt16BE(value, offset)
  }

  #text(text: string): void {
    const length = Buffer.byteLength(text)
    this.uint16(length)
    this.reserve(length)
    this.at += this.buffer.write(text, this.at)
  }
}

/** The reverse. */
export class FieldReader extends ByteFieldReader {
  uint16(): number {
    return this.take(2) ? this.buffer.readUInt16BE(this.at - 2) : 0
  }

  uint48(): number {
    return this.take(6) ? this.buffer.readUIntBE(this.at - 6, 6) : 0
  }

  /** Bad above 2^53 - 1. */
  uint64(): number {
    const high = this.uint32()
    const low = this.uint32()
    if (high >= 2 ** 21) this.bad = true
    return this.bad ? 0 : high * 2 ** 32 + low
  }

  /** Printable ASCII, `min` to {@link NAME_BYTES_MAX} letters. */
  name(min: 0 | 1): string {
    const length = this.uint8()
    if (length < min || length > NAME_BYTES_MAX || !this.take(length)) {
      this.bad = true
      return ''
    }
    for (let at = this.at - length; at < this.at; at++) {
      const letter = this.buffer[at]!
      if (letter < 0x21 || letter > 0x7e) this.bad = true
    }
    return this.buffer.toString('latin1', this.at - length, this.at)
  }

  address(): string {
    const text = this.name(1)
    if (!this.bad && !isAddress(text)) this.bad = true
    return text
  }

  metadata(): Metadata {
    const length = this.uint16()
    const metadata = new Map<string, string>()
    if (length > METADATA_BYTES_MAX || length > this.left) {
      this.bad = true
      return metadata
    }
    const end = this.at + length
    while (this.at < end && !this.bad) metadata.set(this.#text(end), this.#text(end))
    return metadata
  }

  /** The rest; a copy, which may be kept. */
  rest(): Uint8Array {
    const bytes = new Uint8Array(this.buffer.subarray(this.at, this.end))
    this.at = this.end
    return bytes
  }

  #text(end: number): string {
    const length = this.uint16()
    if (this.at + length > end || !this.take(length)) {
      this.bad = true
      return ''
    }
    return this.buffer.toString('utf8', this.at - length, this.at)
  }
}

/** Letters 0x21 to 0x7e: no spaces. */
export function isAscii(text: string): boolean {
  return /^[!-~]*$/.test(text)
}
