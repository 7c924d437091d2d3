import type { Codec, SendResult } from '../contract.ts'
import { FrameWriter, type LinkMeters, type OutFrame } from '../link/core/index.ts'
import { headerBytes, type MessageType, TYPE, writeHeader } from './message.ts'

export interface OutletOptions {
  frameBytesMax: number
  bufferBytesMax: number
  /** Header included. */
  messageBytesMax: number
  meters: LinkMeters
  /** Monotonic milliseconds. */
  nowMs: () => number
  /** Calls `flush` of the outlet at the end of this turn. */
  schedule: (outlet: Outlet) => void
  /** Takes a finished frame. */
  push: (frame: OutFrame) => void
  /** Bytes that wait for the peer's acknowledgement. */
  bufferedBytes: () => number
}

/**
 * The way out of one end of a link: writes messages into the frame of this turn, which leaves when it is full, and at
 * the end of the turn.
 *
 * Hot: see frame-writer.ts.
 */
export class Outlet {
  readonly #options: OutletOptions
  readonly #writer: FrameWriter
  #scheduled = false

  constructor(options: OutletOptions) {
    this.#options = options
    this.#writer = new FrameWriter(options.frameBytesMax)
  }

  /** Bytes that wait, those of the open frame included. */
  get bufferedBytes(): number {
    return this.#options.bufferedBytes() + this.#writer.openBytes
  }

  /** False from half the bound on: for those who can wait. */
  get roomy(): boolean {
    return this.bufferedBytes * 2 <= this.#options.bufferBytesMax
  }

  /** A message with a payload. */
  write<Value>(type: MessageType, head: Head, codec: Codec<Value>, value: Value): SendResult {
    const { frameBytesMax, bufferBytesMax, messageBytesMax, meters, nowMs } = this.#options
    const length = codec.bytes(value)
    const size = headerBytes(type) + length
    if (size > messageBytesMax) return 'too-large'
    if (this.bufferedBytes + size > bufferBytesMax) {
      meters.messagesRefused++
      return 'buffer-full'
    }
    if (size > frameBytesMax) {
      this.#writeLarge(type, head, size, codec, value)
      return 'accepted'
    }
    const writer = this.#writer
    if (!writer.fits(size)) this.flush()
    const at = writer.reserve(size)
    const { slab } = writer
    const { channel, id, extra } = head
    codec.write(slab, writeHeader(slab, at, { type, channel, length, id, extra }), value)
    writer.commit(size, writer.openBytes === 0 ? nowMs() : 0)
    this.#schedule()
    return 'accepted'
  }

  /** A message without a payload. It is small, and taken although the buffer be full. */
  signal(type: MessageType, id: number, extra: number): void {
    const size = headerBytes(type)
    const writer = this.#writer
    if (!writer.fits(size)) this.flush()
    const at = writer.reserve(size)
    writeHeader(writer.slab, at, { type, channel: 0, length: 0, id, extra })
    writer.commit(size, this.#options.nowMs())
    this.#schedule()
  }

  flush(): void {
    this.#scheduled = false
    const frame = this.#writer.seal()
    if (frame !== null) this.#push(frame)
  }

  /** What the open frame holds, which goes nowhere any more. */
  discard(): OutFrame | null {
    return this.#writer.seal()
  }

  #schedule(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    this.#options.schedule(this)
  }

  #push(frame: OutFrame): void {
    const { meters } = this.#options
    meters.messagesSent += frame.messages
    meters.batchMessages.observe(frame.messages)
    this.#options.push(frame)
  }

  /** Each part fills a frame: what waits behind a large message on another kind of link is not delayed by it. */
  #writeLarge<Value>(type: MessageType, head: Head, size: number, codec: Codec<Value>, value: Value): void {
    const { frameBytesMax, nowMs } = this.#options
    const { channel, id, extra } = head
    const whole = scratchOf(size)
    const header = headerBytes(type)
    codec.write(whole, writeHeader(whole, 0, { type, channel, length: size - header, id, extra }), value)
    this.flush()
    const writer = this.#writer
    const room = frameBytesMax - headerBytes(TYPE.part)
    const queuedMs = nowMs()
    for (let from = 0; from < size; from += room) {
      const length = Math.min(room, size - from)
      const partBytes = headerBytes(TYPE.part) + length
      const at = writer.reserve(partBytes)
      const payloadAt = writeHeader(writer.slab, at, { type: TYPE.part, channel, length, id: 0, extra: size })
      whole.copy(writer.slab, payloadAt, from, from + length)
      writer.commit(partBytes, queuedMs)
      this.flush()
    }
  }
}

const SCRATCH_BYTES = 1024 * 1024
let scratch: Buffer | null = null

/** Where a large message is written before it is cut into parts: one for all, as nothing of it outlives the cutting. */
function scratchOf(size: number): Buffer {
  if (size > SCRATCH_BYTES) return Buffer.allocUnsafeSlow(size)
  scratch ??= Buffer.allocUnsafeSlow(SCRATCH_BYTES)
  return scratch
}

/** The same object may be used for many messages. */
export interface Head {
  channel: number
  id: number
  extra: number
}
