import { Buffer } from 'node:buffer'

/**
 * The little of the protobuf wire format that a link needs, so that the envelope of a frame costs no object tree.
 * Source: protobuf.dev/programming-guides/encoding. The contract is proto/flockmq/link.proto.
 */

export const VARINT = 0
export const FIXED64 = 1
export const LENGTH = 2
const FIXED32 = 5

/** Walks the fields of one message. Nothing throws: {@link ok} is false when the bytes are not a message. */
export class FieldReader {
  ok = true
  field = 0
  wireType = 0
  /** Of a varint or fixed64, below 2^53. */
  number = 0
  /** Of a field with a length: a view. */
  bytes: Buffer = EMPTY
  readonly #source: Buffer
  #at = 0

  constructor(source: Buffer) {
    this.#source = source
  }

  /** False at the end, and where the bytes make no sense. */
  next(): boolean {
    if (!this.ok || this.#at >= this.#source.length) return false
    const tag = this.#varint()
    this.field = Math.floor(tag / 8)
    this.wireType = tag % 8
    if (this.wireType === VARINT) this.number = this.#varint()
    else if (this.wireType === FIXED64) this.number = this.#fixed64()
    else if (this.wireType === LENGTH) this.bytes = this.#take(this.#varint())
    else if (this.wireType === FIXED32) this.#take(4)
    else this.ok = false
    if (this.field === 0) this.ok = false
    return this.ok
  }

  #varint(): number {
    let value = 0
    let scale = 1
    for (let i = 0; i < 8; i++) {
      const byte = this.#source[this.#at++]
      if (byte === undefined) break
      value += (byte & 0x7f) * scale
      if (byte < 0x80) {
        if (value > Number.MAX_SAFE_INTEGER) break
        return value
      }
      scale *= 128
    }
    this.ok = false
    return 0
  }

  #fixed64(): number {
    const at = this.#at
    this.#at += 8
    if (this.#at <= this.#source.length) {
      const high = this.#source.readUInt32LE(at + 4)
      if (high < 0x200000) return high * 0x1_0000_0000 + this.#source.readUInt32LE(at)
    }
    this.ok = false
    return 0
  }

  #take(length: number): Buffer {
    const start = this.#at
    this.#at += length
    if (this.#at <= this.#source.length) return this.#source.subarray(start, this.#at)
    this.ok = false
    return EMPTY
  }
}

const EMPTY = Buffer.alloc(0)

/** Writes a small message; fields with their zero value are left out, as proto3 does. */
export class FieldWriter {
  readonly #parts: Buffer[] = []

  varint(field: number, value: number): this {
    if (value === 0) return this
    this.#parts.push(varintBytes(field * 8 + VARINT), varintBytes(value))
    return this
  }

  bytes(field: number, value: Uint8Array): this {
    if (value.length === 0) return this
    return this.message(field, value)
  }

  text(field: number, value: string): this {
    return this.bytes(field, Buffer.from(value))
  }

  /** A message is written even when it is empty: it says which one of several it is. */
  message(field: number, value: Uint8Array): this {
    this.#parts.push(varintBytes(field * 8 + LENGTH), varintBytes(value.length), Buffer.from(value))
    return this
  }

  finish(): Buffer {
    return Buffer.concat(this.#parts)
  }
}

function varintBytes(value: number): Buffer {
  const bytes: number[] = []
  let rest = value
  while (rest >= 128) {
    bytes.push((rest % 128) | 0x80)
    rest = Math.floor(rest / 128)
  }
  bytes.push(rest)
  return Buffer.from(bytes)
}
