import { BrokerError } from '../../base/errors.ts'
import { type Message, messageBytes, readMessage, writeMessage } from '../../base/message.ts'

/** Builds the bytes of records and entries. Grows by doubling; {@link finish} copies out exactly what was written. */
export class Writer {
  #bytes: Buffer
  #at = 0

  constructor(size = 256) {
    this.#bytes = Buffer.allocUnsafe(size)
  }

  /** Bytes written so far. */
  get length(): number {
    return this.#at
  }

  u8(value: number): void {
    this.#reserve(1)
    this.#bytes[this.#at++] = value
  }

  f64(value: number): void {
    this.#reserve(8)
    this.#at = this.#bytes.writeDoubleBE(value, this.#at)
  }

  /** An integer in [0, 2^53): seven bits a byte, the lowest first. */
  varint(value: number): void {
    this.#reserve(8)
    let rest = value
    while (rest >= 128) {
      this.#bytes[this.#at++] = (rest % 128) | 128
      rest = Math.floor(rest / 128)
    }
    this.#bytes[this.#at++] = rest
  }

  text(value: string): void {
    const length = Buffer.byteLength(value)
    this.varint(length)
    this.#reserve(length)
    this.#at += this.#bytes.write(value, this.#at)
  }

  bytes(value: Uint8Array): void {
    this.varint(value.length)
    this.#reserve(value.length)
    this.#bytes.set(value, this.#at)
    this.#at += value.length
  }

  message(value: Message): void {
    const length = messageBytes(value)
    this.varint(length)
    this.#reserve(length)
    this.#at = writeMessage(this.#bytes, this.#at, value)
  }

  finish(): Buffer {
    const result = Buffer.allocUnsafe(this.#at)
    this.#bytes.copy(result, 0, 0, this.#at)
    this.#at = 0
    return result
  }

  #reserve(length: number): void {
    if (this.#at + length <= this.#bytes.length) return
    const grown = Buffer.allocUnsafe(Math.max(this.#bytes.length * 2, this.#at + length))
    this.#bytes.copy(grown, 0, 0, this.#at)
    this.#bytes = grown
  }
}

/** The reverse of {@link Writer}; damaged bytes give STORAGE_FAILED. Byte strings and payloads are views. */
export class Reading {
  readonly #bytes: Buffer
  #at: number

  constructor(bytes: Uint8Array, at = 0) {
    this.#bytes = asBuffer(bytes)
    this.#at = at
  }

  get left(): number {
    return this.#bytes.length - this.#at
  }

  u8(): number {
    return this.#bytes[this.#take(1)]!
  }

  f64(): number {
    return this.#bytes.readDoubleBE(this.#take(8))
  }

  varint(): number {
    let value = 0
    for (let scale = 1; scale < 2 ** 53; scale *= 128) {
      const byte = this.u8()
      value += (byte & 127) * scale
      if (byte < 128) return value
    }
    throw damaged('a number is too long')
  }

  text(): string {
    const length = this.varint()
    const at = this.#take(length)
    return this.#bytes.toString('utf8', at, at + length)
  }

  bytes(): Buffer {
    const length = this.varint()
    const at = this.#take(length)
    return this.#bytes.subarray(at, at + length)
  }

  message(): Message {
    const length = this.varint()
    const at = this.#take(length)
    return readMessage(this.#bytes, at, at + length)
  }

  end(): void {
    if (this.left !== 0) throw damaged(`${this.left} bytes follow its end`)
  }

  #take(length: number): number {
    const at = this.#at
    if (at + length > this.#bytes.length) throw damaged('it is cut short')
    this.#at = at + length
    return at
  }
}

export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
}

export function damaged(reason: string): BrokerError {
  return new BrokerError('STORAGE_FAILED', `Cannot read a record of an inbox: ${reason}`)
}
