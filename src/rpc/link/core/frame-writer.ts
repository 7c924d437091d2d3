import { Buffer } from 'node:buffer'
import { assert } from '../../../base/assert.ts'
import type { OutFrame } from './flow.ts'
import { FRAME_HEADER_BYTES } from './packet.ts'

/** One slab holds many small frames: a slab for each would pin 64 KiB for every few bytes that wait for their ack. */
const SLAB_BYTES = 256 * 1024

/**
 * The frame that is open in this turn: messages are written right where they will be sent from.
 *
 * Hot: one `reserve` and one `commit` for each message. Figures: bench/micro/rpc.ts.
 */
export class FrameWriter {
  /** Where to write what was reserved. */
  slab: Buffer = Buffer.alloc(0)
  readonly #bodyBytesMax: number
  #start = 0
  #at = 0
  #messages = 0
  #queuedMs = 0

  constructor(bodyBytesMax: number) {
    assert(bodyBytesMax + FRAME_HEADER_BYTES <= SLAB_BYTES, 'A frame fits in a slab')
    this.#bodyBytesMax = bodyBytesMax
  }

  /** Body bytes of the open frame. */
  get openBytes(): number {
    return this.#messages === 0 ? 0 : this.#at - this.#start - FRAME_HEADER_BYTES
  }

  /** True where the open frame has room for so many bytes more; an empty one takes up to the largest body. */
  fits(bytes: number): boolean {
    if (this.#messages === 0) return bytes <= this.#bodyBytesMax
    return this.openBytes + bytes <= this.#bodyBytesMax && this.#at + bytes <= this.slab.length
  }

  /** The offset in {@link slab} at which so many bytes go, which must fit. Nothing is in the frame before `commit`. */
  reserve(bytes: number): number {
    if (this.#messages === 0) this.#begin(bytes)
    return this.#at
  }

  /** What was reserved is written. `nowMs` counts for the first message of a frame. */
  commit(bytes: number, nowMs: number): void {
    if (this.#messages === 0) this.#queuedMs = nowMs
    this.#at += bytes
    this.#messages++
  }

  /** Closes the open frame; null where nothing is in it. */
  seal(): OutFrame | null {
    if (this.#messages === 0) return null
    const frame = {
      packet: this.slab.subarray(this.#start, this.#at),
      messages: this.#messages,
      queuedMs: this.#queuedMs,
    }
    this.#start = this.#at
    this.#messages = 0
    return frame
  }

  #begin(bytes: number): void {
    const room = this.slab.length - this.#start - FRAME_HEADER_BYTES
    // A frame that could hold only a few messages more is not begun in the rest of a slab.
    if (room < bytes || room < this.#bodyBytesMax / 8) {
      this.slab = Buffer.allocUnsafeSlow(SLAB_BYTES)
      this.#start = 0
    }
    this.#at = this.#start + FRAME_HEADER_BYTES
  }
}
