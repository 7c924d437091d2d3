/**
 * What a connection has to say, gathered over a turn of the event loop and written with one call.
 *
 * Hot path: one write a message costs 29 times as much as one write a turn, and a fresh buffer a message costs a
 * garbage collection every few milliseconds (bench: `pairs`, `fan-out`). So bytes are appended to pooled slabs; a slab
 * goes back to the pool when the kernel took it at once. A lone packet that is shared by many subscribers is not even
 * copied.
 */
import type { FlushQueue } from './flush-queue.ts'

/** The part of a transport that output needs. */
export interface Sink {
  /** Hands bytes over; they are not changed until `unsentBytes` is 0. */
  write(buffer: Buffer): boolean
  /** Bytes that the kernel has not taken yet. */
  readonly writableBytes: number
}

const SMALL_BYTES = 4096
const LARGE_BYTES = 65536
const POOL_MAX = 256

/** Slabs of one size. */
class SlabPool {
  readonly bytes: number
  #free: Buffer[] = []

  constructor(bytes: number) {
    this.bytes = bytes
  }

  take(): Buffer {
    return this.#free.pop() ?? Buffer.allocUnsafeSlow(this.bytes)
  }

  give(slab: Buffer): void {
    if (this.#free.length < POOL_MAX) this.#free.push(slab)
  }
}

const small = new SlabPool(SMALL_BYTES)
const large = new SlabPool(LARGE_BYTES)

export class Output {
  /** The slab under way; write between {@link reserve}'s offset and what was asked for. */
  buffer: Buffer | null = null
  /** Bytes the transport still holds, as of the last flush or drain. */
  unsentBytes = 0
  /** Bytes gathered here since the last flush. */
  pendingBytes = 0
  /** Called after a flush or a drain: set while something waits for room. */
  onRoom: (() => void) | null = null
  readonly #sink: Sink
  readonly #queue: FlushQueue
  /** True while it stands in the flush queue: the queue's own mark. */
  queued = false
  #length = 0
  #shared: Buffer | null = null
  #full: Buffer[] | null = null
  #closed = false

  constructor(sink: Sink, queue: FlushQueue) {
    this.#sink = sink
    this.#queue = queue
  }

  /** Bytes that wait, here and in the transport: what the slow-consumer bound looks at. */
  get waitingBytes(): number {
    return this.unsentBytes + this.pendingBytes
  }

  /**
   * True where `size` more bytes would be over `max`. Only what the transport could not send counts as slow: bytes that
   * wait for the end of the turn are written first, and a client that has taken everything gets any one packet.
   */
  isFull(size: number, max: number): boolean {
    if (this.unsentBytes + this.pendingBytes + size <= max) return false
    if (this.#closed) return true
    this.flush()
    this.unsentBytes = this.#sink.writableBytes
    return this.unsentBytes > 0 && this.unsentBytes + this.pendingBytes + size > max
  }

  /** Copies `source[start, end)`. */
  append(source: Buffer, start: number, end: number): void {
    const size = end - start
    const at = this.reserve(size)
    // Copying by a loop beats the native call below some 24 bytes.
    if (size < 24) {
      const target = this.buffer!
      for (let i = 0; i < size; i++) target[at + i] = source[start + i]!
    } else source.copy(this.buffer!, at, start, end)
  }

  /** Takes an encoded packet that never changes again; kept without a copy while it is the only one of the turn. */
  appendShared(packet: Buffer): void {
    if (this.pendingBytes !== 0 || this.#closed) return this.append(packet, 0, packet.length)
    this.#shared = packet
    this.#note(packet.length)
  }

  /** Makes room for `size` bytes in {@link buffer} and returns their offset. They must be written at once. */
  reserve(size: number): number {
    if (this.#shared !== null) this.#unshare()
    if (this.buffer === null || this.#length + size > this.buffer.length) this.#grow(size)
    const at = this.#length
    this.#length = at + size
    this.#note(size)
    return at
  }

  /** Gives back the end of the last reservation that was not needed. */
  shrink(bytes: number): void {
    this.#length -= bytes
    this.pendingBytes -= bytes
    this.#queue.pendingBytes -= bytes
  }

  /** Writes what was gathered. Called by the flush queue, or before the connection ends. */
  flush(): void {
    if (this.pendingBytes === 0) return
    this.#queue.pendingBytes -= this.pendingBytes
    this.pendingBytes = 0
    if (this.#closed) return this.#drop()
    this.#write()
    if (this.onRoom !== null) this.onRoom()
  }

  /** The transport drained. */
  drained(): void {
    this.unsentBytes = this.#sink.writableBytes
    if (this.onRoom !== null) this.onRoom()
  }

  /** Nothing is written from here on; what waits is dropped. */
  close(): void {
    this.#closed = true
    this.onRoom = null
    this.#queue.pendingBytes -= this.pendingBytes
    this.pendingBytes = 0
    this.#drop()
  }

  #write(): void {
    const sink = this.#sink
    if (this.#shared !== null) {
      sink.write(this.#shared)
      this.#shared = null
      this.unsentBytes = sink.writableBytes
      return
    }
    if (this.#full !== null) {
      for (const slab of this.#full) sink.write(slab)
      this.#full = null
    }
    const slab = this.buffer!
    sink.write(this.#length === slab.length ? slab : slab.subarray(0, this.#length))
    this.unsentBytes = sink.writableBytes
    this.buffer = null
    this.#length = 0
    // The kernel holds a copy: the slab is free. Otherwise the transport owns it until it is sent.
    if (this.unsentBytes === 0) release(slab)
  }

  #note(size: number): void {
    this.pendingBytes += size
    this.#queue.pendingBytes += size
    if (!this.queued) this.#queue.add(this)
  }

  #unshare(): void {
    const packet = this.#shared!
    this.#shared = null
    if (this.buffer === null || packet.length > this.buffer.length) this.#grow(packet.length)
    packet.copy(this.buffer!, this.#length)
    this.#length += packet.length
  }

  #grow(size: number): void {
    const old = this.buffer
    if (old === null) {
      this.buffer = pick(size)
      this.#length = 0
      return
    }
    if (old.length === SMALL_BYTES && this.#length + size <= LARGE_BYTES) {
      this.buffer = large.take()
      old.copy(this.buffer, 0, 0, this.#length)
      small.give(old)
      return
    }
    if (this.#length > 0) (this.#full ??= []).push(old.subarray(0, this.#length))
    this.buffer = pick(Math.max(size, SMALL_BYTES + 1))
    this.#length = 0
  }

  #drop(): void {
    if (this.buffer !== null) release(this.buffer)
    this.buffer = null
    this.#length = 0
    this.#shared = null
    this.#full = null
  }
}

function pick(size: number): Buffer {
  if (size <= SMALL_BYTES) return small.take()
  return size <= LARGE_BYTES ? large.take() : Buffer.allocUnsafeSlow(size)
}

function release(slab: Buffer): void {
  if (slab.length === SMALL_BYTES) small.give(slab)
  else if (slab.length === LARGE_BYTES) large.give(slab)
}
