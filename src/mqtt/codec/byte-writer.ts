import { assert } from '../../base/assert.ts'
import { VARINT_MAX, varintSize, writeVarint } from './varint.ts'

/** Writes the fields of one packet into a buffer that grows. Values come from the broker, and are asserted. */
export class ByteWriter {
  at = 0
  #buffer: Buffer = Buffer.allocUnsafe(128)

  /** What was written; a view. */
  bytes(): Buffer {
    return this.#buffer.subarray(0, this.at)
  }

  byte(value: number): void {
    this.#reserve(1)
    this.#buffer[this.at++] = value
  }

  uint16(value: number): void {
    this.#reserve(2)
    this.at = this.#buffer.writeUInt16BE(value, this.at)
  }

  uint32(value: number): void {
    this.#reserve(4)
    this.at = this.#buffer.writeUInt32BE(value, this.at)
  }

  varint(value: number): void {
    assert(value >= 0 && value <= VARINT_MAX, 'A variable byte integer must fit into four bytes')
    this.#reserve(4)
    this.at = writeVarint(this.#buffer, this.at, value)
  }

  string(text: string): void {
    const length = Buffer.byteLength(text)
    assert(length <= 0xffff, 'A string must fit into 65,535 bytes')
    this.uint16(length)
    this.#reserve(length)
    this.at += this.#buffer.write(text, this.at)
  }

  binary(bytes: Uint8Array): void {
    assert(bytes.length <= 0xffff, 'Binary data must fit into 65,535 bytes')
    this.uint16(bytes.length)
    this.raw(bytes)
  }

  raw(bytes: Uint8Array): void {
    this.#reserve(bytes.length)
    this.#buffer.set(bytes, this.at)
    this.at += bytes.length
  }

  /** Puts `value` before what stands at `offset`: a length that is known only afterwards. */
  insertVarint(offset: number, value: number): void {
    assert(value <= VARINT_MAX, 'A length must fit into four bytes')
    const size = varintSize(value)
    this.#reserve(size)
    this.#buffer.copyWithin(offset + size, offset, this.at)
    writeVarint(this.#buffer, offset, value)
    this.at += size
  }

  #reserve(count: number): void {
    if (this.at + count <= this.#buffer.length) return
    const grown = Buffer.allocUnsafe(Math.max(this.at + count, this.#buffer.length * 2))
    this.#buffer.copy(grown, 0, 0, this.at)
    this.#buffer = grown
  }
}
