/** Fields as both layers write them: big endian, into a buffer that grows. Each layer adds its own kinds. */
export class ByteFieldWriter {
  at = 0
  protected buffer: Buffer

  constructor(bytes = 256) {
    this.buffer = Buffer.allocUnsafe(bytes)
  }

  /** A copy of what was written: it may be kept. */
  bytes(): Uint8Array {
    return new Uint8Array(this.buffer.subarray(0, this.at))
  }

  uint8(value: number): void {
    this.reserve(1)
    this.at = this.buffer.writeUInt8(value, this.at)
  }

  uint32(value: number): void {
    this.reserve(4)
    this.at = this.buffer.writeUInt32BE(value, this.at)
  }

  float64(value: number): void {
    this.reserve(8)
    this.at = this.buffer.writeDoubleBE(value, this.at)
  }

  /** `length u32 | UTF-8`. */
  longText(text: string): void {
    const bytes = Buffer.byteLength(text)
    this.uint32(bytes)
    this.reserve(bytes)
    this.at += this.buffer.write(text, this.at)
  }

  raw(bytes: Uint8Array): void {
    this.reserve(bytes.length)
    this.buffer.set(bytes, this.at)
    this.at += bytes.length
  }

  protected reserve(bytes: number): void {
    if (this.at + bytes <= this.buffer.length) return
    const grown = Buffer.allocUnsafe(Math.max(this.buffer.length * 2, this.at + bytes))
    this.buffer.copy(grown, 0, 0, this.at)
    this.buffer = grown
  }
}

/**
 * Reads fields of bytes that anybody may have sent. What is not there or not allowed sets {@link bad} and gives a
 * harmless value: the caller looks once, at the end.
 */
export class ByteFieldReader {
  bad = false
  at: number
  readonly end: number
  protected readonly buffer: Buffer

  constructor(buffer: Buffer, at = 0, end = buffer.length) {
    this.buffer = buffer
    this.at = at
    this.end = end
  }

  /** Nothing, once something was bad. */
  get left(): number {
    return this.bad ? 0 : this.end - this.at
  }

  uint8(): number {
    return this.take(1) ? this.buffer.readUInt8(this.at - 1) : 0
  }

  uint32(): number {
    return this.take(4) ? this.buffer.readUInt32BE(this.at - 4) : 0
  }

  float64(): number {
    return this.take(8) ? this.buffer.readDoubleBE(this.at - 8) : 0
  }

  longText(): string {
    const bytes = this.uint32()
    return this.take(bytes) ? this.buffer.toString('utf8', this.at - bytes, this.at) : ''
  }

  /** Goes behind the next bytes; false, and bad, where there are not so many. */
  protected take(bytes: number): boolean {
    if (this.bad || this.at + bytes > this.end) {
      this.bad = true
      return false
    }
    this.at += bytes
    return true
  }
}
