/**
 * Takes gRPC's length-prefixed messages out of the chunks of an HTTP/2 stream:
 * `compressed u8 (0) | length u32 BE | message`. A message that lies within a chunk is a view of it.
 * Source: github.com/grpc/grpc, doc/PROTOCOL-HTTP2.md.
 */
export class Deframer {
  readonly #bytesMax: number
  readonly #message: (bytes: Buffer) => void
  readonly #prefix = Buffer.alloc(PREFIX_BYTES)
  #prefixFilled = 0
  #whole: Buffer | null = null
  #filled = 0

  constructor(bytesMax: number, message: (bytes: Buffer) => void) {
    this.#bytesMax = bytesMax
    this.#message = message
  }

  /** True at the end of a message. */
  get complete(): boolean {
    return this.#prefixFilled === 0
  }

  /** False where it is no gRPC, compressed, or too large: nothing more may be pushed. */
  push(chunk: Buffer): boolean {
    let at = 0
    while (at < chunk.length) {
      if (this.#prefixFilled < PREFIX_BYTES) {
        this.#prefix[this.#prefixFilled++] = chunk[at++]!
        if (this.#prefixFilled < PREFIX_BYTES) continue
        if (this.#prefix[0] !== 0 || this.#prefix.readUInt32BE(1) > this.#bytesMax) return false
        if (this.#prefix.readUInt32BE(1) === 0) this.#finish(chunk.subarray(at, at))
        continue
      }
      at = this.#body(chunk, at)
    }
    return true
  }

  /** The offset behind what was taken. */
  #body(chunk: Buffer, at: number): number {
    const length = this.#prefix.readUInt32BE(1)
    const end = at + length
    if (this.#whole === null && end <= chunk.length) {
      this.#finish(chunk.subarray(at, end))
      return end
    }
    this.#whole ??= Buffer.allocUnsafeSlow(length)
    const copied = chunk.copy(this.#whole, this.#filled, at)
    this.#filled += copied
    if (this.#filled === length) this.#finish(this.#whole)
    return at + copied
  }

  #finish(message: Buffer): void {
    this.#prefixFilled = 0
    this.#whole = null
    this.#filled = 0
    this.#message(message)
  }
}

export const PREFIX_BYTES = 5

export function prefixOf(length: number): Buffer {
  const prefix = Buffer.allocUnsafe(PREFIX_BYTES)
  prefix[0] = 0
  prefix.writeUInt32BE(length, 1)
  return prefix
}
