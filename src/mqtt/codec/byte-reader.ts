import { REASON } from './reason.ts'
import { decodeUtf8 } from './utf8.ts'
import { readVarint, varintSize } from './varint.ts'

/**
 * Reads the fields of one packet, and remembers the first failure instead of throwing.
 *
 * After a failure every read returns an empty value and nothing is left, so that loops end and one check at the end of
 * a packet is enough. Strings and bytes are copies.
 */
export class ByteReader {
  readonly buffer: Buffer
  at: number
  end: number
  /** 0, or the reason code of the first failure. */
  failure = 0
  message = ''

  constructor(buffer: Buffer, start: number, end: number) {
    this.buffer = buffer
    this.at = start
    this.end = end
  }

  get left(): number {
    return this.end - this.at
  }

  fail(reasonCode: number, message: string): void {
    if (this.failure === 0) {
      this.failure = reasonCode
      this.message = message
    }
    this.at = this.end
  }

  malformed(message: string): void {
    this.fail(REASON.MALFORMED_PACKET, message)
  }

  byte(field: string): number {
    return this.#has(1, field) ? this.buffer[this.at++]! : 0
  }

  uint16(field: string): number {
    if (!this.#has(2, field)) return 0
    this.at += 2
    return this.buffer.readUInt16BE(this.at - 2)
  }

  uint32(field: string): number {
    if (!this.#has(4, field)) return 0
    this.at += 4
    return this.buffer.readUInt32BE(this.at - 4)
  }

  varint(field: string): number {
    const value = readVarint(this.buffer, this.at, this.end)
    if (value < 0) {
      this.malformed(`${field} is no variable byte integer`)
      return 0
    }
    this.at += varintSize(value)
    return value
  }

  string(field: string): string {
    const length = this.uint16(field)
    if (!this.#has(length, field)) return ''
    const text = decodeUtf8(this.buffer, this.at, this.at + length)
    if (text === null) {
      this.malformed(`${field} is not well-formed UTF-8, or contains U+0000`) // [MQTT-1.5.4-1] [MQTT-1.5.4-2]
      return ''
    }
    this.at += length
    return text
  }

  binary(field: string): Buffer {
    const length = this.uint16(field)
    return this.#has(length, field) ? this.take(length) : Buffer.alloc(0)
  }

  /** The next `length` bytes, which must be there. */
  take(length: number): Buffer {
    this.at += length
    return Buffer.from(this.buffer.subarray(this.at - length, this.at))
  }

  /** [MQTT-2.2.1-3] */
  packetId(): number {
    const id = this.uint16('packet identifier')
    if (id === 0 && this.failure === 0) this.fail(REASON.PROTOCOL_ERROR, 'packet identifier is 0')
    return id
  }

  #has(count: number, field: string): boolean {
    if (this.failure !== 0) return false
    if (this.at + count <= this.end) return true
    this.malformed(`packet ends inside ${field}`)
    return false
  }
}
