/** A frame on TCP: length u32, big-endian, and so many bytes. */

/** Before the bytes. */
const LENGTH_BYTES = 4

export function frameOf(bytes: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafe(LENGTH_BYTES + bytes.length)
  frame.writeUInt32BE(bytes.length)
  frame.set(bytes, LENGTH_BYTES)
  return frame
}

/** Collects one frame. Memory grows with what came, not with what was announced, however small the pieces are. */
export class FrameReader {
  readonly #bytesMax: number
  #buffer = Buffer.allocUnsafe(1_024)
  #at = 0

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  get heldBytes(): number {
    return this.#buffer.length
  }

  /** Null: not all of it came yet. What follows the frame is ignored. */
  push(chunk: Buffer): Buffer | 'oversized' | null {
    this.#append(chunk)
    if (this.#at < LENGTH_BYTES) return null
    const end = LENGTH_BYTES + this.#buffer.readUInt32BE(0)
    if (end > LENGTH_BYTES + this.#bytesMax) return 'oversized'
    return this.#at < end ? null : this.#buffer.subarray(LENGTH_BYTES, end)
  }

  #append(chunk: Buffer): void {
    if (this.#at + chunk.length > this.#buffer.length) {
      const grown = Buffer.allocUnsafe(Math.max(this.#buffer.length * 2, this.#at + chunk.length))
      this.#buffer.copy(grown, 0, 0, this.#at)
      this.#buffer = grown
    }
    chunk.copy(this.#buffer, this.#at)
    this.#at += chunk.length
  }
}
