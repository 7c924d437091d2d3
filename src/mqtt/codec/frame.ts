/**
 * Cuts a byte stream into MQTT frames.
 *
 * Hot path: every byte of every connection passes here. A frame that lies whole in a chunk is presented as offsets
 * into that chunk: nothing is copied and nothing allocated (10 ns a frame, bench/micro/codec.ts). Only the cut frame at
 * the end of a chunk is copied, so that the chunk's memory may be used again.
 *
 * Memory: the copy grows with the bytes that have arrived, never with the length that was announced.
 *
 * Source: MQTT 5.0 section 2.1.
 */

export const FRAME_MORE = 0
export const FRAME_READY = 1
/** The remaining length is longer than four bytes. */
export const FRAME_MALFORMED = 2
export const FRAME_TOO_LARGE = 3
export type FrameStatus = typeof FRAME_MORE | typeof FRAME_READY | typeof FRAME_MALFORMED | typeof FRAME_TOO_LARGE

const NOTHING = Buffer.alloc(0)
/** A packet type, and a remaining length of at most four bytes. */
const HEADER_BYTES_MAX = 5
/** The first size of the copy of a cut frame. */
const CARRY_BYTES_MIN = 256

export class FrameReader {
  /** Valid after {@link FRAME_READY}, until the next call. Where the frame is: a chunk, or a buffer of its own. */
  buffer: Buffer = NOTHING
  /** First byte of the frame: type << 4 | flags. Valid after {@link FRAME_TOO_LARGE} as well. */
  first = 0
  /** Offset of the first byte. */
  start = 0
  /** Offset after the fixed header. */
  body = 0
  /** Offset after the frame. */
  end = 0

  #packetBytesMax: number
  #chunk: Buffer = NOTHING
  #at = 0
  /** The beginning of a frame whose end has not arrived. Handed over with the frame, never written again. */
  #carry: Buffer = NOTHING
  #carried = 0
  #failure: typeof FRAME_MALFORMED | typeof FRAME_TOO_LARGE | 0 = 0

  /** @param packetBytesMax the largest whole packet that is accepted, fixed header included */
  constructor(packetBytesMax: number) {
    this.#packetBytesMax = packetBytesMax
  }

  /** Applies from the next frame header on. */
  setPacketBytesMax(packetBytesMax: number): void {
    this.#packetBytesMax = packetBytesMax
  }

  /** Bytes of memory held between turns: the cut frame's copy, and what was pushed and not taken yet. */
  get bufferedBytes(): number {
    return this.#carry.length + this.#chunk.length - this.#at
  }

  /** True while pushed bytes have not been looked at: call {@link next} again, or {@link retain}. */
  pending(): boolean {
    return this.#at < this.#chunk.length
  }

  /**
   * Adds bytes of the stream. The reader borrows `chunk` until `next` has returned {@link FRAME_MORE} or `retain` was
   * called. To push while bytes are pending is allowed, and costs a copy of both.
   */
  push(chunk: Buffer): void {
    if (this.#failure !== 0) return
    this.#chunk = this.pending() ? Buffer.concat([this.#chunk.subarray(this.#at), chunk]) : chunk
    this.#at = 0
  }

  /** Copies what is pending, so that the chunk's memory may be used again while frames are still to be read. */
  retain(): void {
    if (!this.pending()) return
    this.#chunk = Buffer.from(this.#chunk.subarray(this.#at))
    this.#at = 0
  }

  /** Puts the frame that was just presented back: the next call of {@link next} gives it again. */
  unread(): void {
    if (this.buffer === this.#chunk) {
      this.#at = this.start
      return
    }
    this.#chunk = Buffer.concat([this.buffer.subarray(this.start, this.end), this.#chunk.subarray(this.#at)])
    this.#at = 0
  }

  /** Finds the next frame. A failure is final: the stream has lost its framing. */
  next(): FrameStatus {
    if (this.#failure !== 0) return this.#failure
    if (this.#carried > 0) return this.#complete()
    const chunk = this.#chunk
    const start = this.#at
    const limit = chunk.length
    if (limit - start < 2) return this.#keepTail(CARRY_BYTES_MIN)
    let length = chunk[start + 1]!
    let body = start + 2
    if (length >= 0x80) {
      body = lengthEnd(chunk, start, limit)
      if (body === 0) return this.#keepTail(CARRY_BYTES_MIN)
      if (body < 0) return this.#fail(FRAME_MALFORMED, chunk[start]!)
      length = lengthValue(chunk, start + 1, body)
    }
    const end = body + length
    if (end - start > this.#packetBytesMax) return this.#fail(FRAME_TOO_LARGE, chunk[start]!)
    if (end > limit) return this.#keepTail(end - start)
    this.#at = end
    return this.#present(chunk, start, body, end)
  }

  #present(buffer: Buffer, start: number, body: number, end: number): FrameStatus {
    this.buffer = buffer
    this.first = buffer[start]!
    this.start = start
    this.body = body
    this.end = end
    return FRAME_READY
  }

  #fail(failure: typeof FRAME_MALFORMED | typeof FRAME_TOO_LARGE, first: number): FrameStatus {
    this.first = first
    this.#failure = failure
    this.#release()
    return failure
  }

  /** Goes on with the frame that was cut by the end of an earlier chunk. */
  #complete(): FrameStatus {
    let body = lengthEnd(this.#carry, 0, this.#carried)
    while (body === 0 && this.pending()) {
      this.#take(1, CARRY_BYTES_MIN)
      body = lengthEnd(this.#carry, 0, this.#carried)
    }
    if (body < 0) return this.#fail(FRAME_MALFORMED, this.#carry[0]!)
    if (body === 0) return this.#more()
    const end = body + lengthValue(this.#carry, 1, body)
    if (end > this.#packetBytesMax) return this.#fail(FRAME_TOO_LARGE, this.#carry[0]!)
    this.#take(Math.min(end - this.#carried, this.#chunk.length - this.#at), end)
    if (this.#carried < end) return this.#more()
    const frame = this.#carry
    this.#carry = NOTHING
    this.#carried = 0
    return this.#present(frame, 0, body, end)
  }

  #keepTail(frameBytes: number): FrameStatus {
    if (this.pending()) this.#take(this.#chunk.length - this.#at, frameBytes)
    return this.#more()
  }

  /** Moves `count` bytes from the chunk to the carry, which doubles when it must grow, up to the frame's size. */
  #take(count: number, frameBytes: number): void {
    const needed = this.#carried + count
    if (needed > this.#carry.length) {
      const wanted = Math.min(frameBytes, Math.max(CARRY_BYTES_MIN, this.#carry.length * 2))
      const grown = Buffer.allocUnsafe(Math.max(needed, wanted))
      this.#carry.copy(grown, 0, 0, this.#carried)
      this.#carry = grown
    }
    this.#chunk.copy(this.#carry, this.#carried, this.#at, this.#at + count)
    this.#carried = needed
    this.#at += count
  }

  /** Lets go of the chunk, so that an idle connection pins no memory. */
  #more(): FrameStatus {
    this.buffer = NOTHING
    this.#chunk = NOTHING
    this.#at = 0
    return FRAME_MORE
  }

  #release(): void {
    this.#more()
    this.#carry = NOTHING
    this.#carried = 0
  }
}

/** Offset after the remaining length of the frame at `start`; 0 when more bytes are needed, -1 when malformed. */
function lengthEnd(bytes: Uint8Array, start: number, limit: number): number {
  const last = start + HEADER_BYTES_MAX
  for (let i = start + 1; i < last; i++) {
    if (i >= limit) return 0
    if (bytes[i]! < 0x80) return i + 1
  }
  return -1
}

/** The remaining length in [start, end). */
function lengthValue(bytes: Uint8Array, start: number, end: number): number {
  let value = 0
  for (let i = end - 1; i >= start; i--) value = (value << 7) | (bytes[i]! & 0x7f)
  return value
}

/**
 * True when the remaining length was sent in its shortest form, which MQTT 5.0 demands [MQTT-1.5.5-1] and 3.x does not.
 * A longer form ends in a zero byte; so does an empty packet, whose length byte follows the first byte directly.
 */
export function isMinimalLength(buffer: Uint8Array, first: number, body: number, end: number): boolean {
  return buffer[body - 1] !== 0 || (body === end && buffer[body - 2] === first)
}
