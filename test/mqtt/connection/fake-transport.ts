import { ok } from 'node:assert/strict'
import {
  decodePacket,
  FRAME_READY,
  FrameReader,
  type Packet,
  type ProtocolVersion,
} from '../../../src/mqtt/codec/index.ts'
import type { Transport } from '../../../src/mqtt/listener/index.ts'

/** What all sockets read into: whoever keeps bytes of it without a copy finds them overwritten. */
const shared = Buffer.alloc(1 << 20)

interface Unsent {
  buffer: Buffer
  /** The bytes as they were handed over. */
  copy: Buffer
}

/**
 * A client's end and its socket in memory. It keeps what the broker wrote and, while it is `stuck`, the very buffers:
 * bytes that change before they are sent fail the test.
 */
export class FakeTransport implements Transport {
  onData: (buffer: Buffer) => void = () => {}
  onClose: (error: Error | null) => void = () => {}
  onDrain: () => void = () => {}
  /** True: the client reads nothing. */
  stuck = false
  paused = false
  ended = false
  closed = false
  /** Times the broker stopped reading. */
  pauses = 0
  version: ProtocolVersion = 5
  /** Largest backlog of the socket so far. */
  unsentBytesMax = 0
  #unsent: Unsent[] = []
  #unsentBytes = 0
  #unread: Buffer[] = []
  #received: Buffer[] = []
  readonly #reader = new FrameReader(Number.POSITIVE_INFINITY)

  // --- the broker's side

  write(buffer: Buffer): boolean {
    if (this.ended || this.closed) return false
    if (!this.stuck) this.#received.push(Buffer.from(buffer))
    else {
      this.#unsent.push({ buffer, copy: Buffer.from(buffer) })
      this.#unsentBytes += buffer.length
      this.unsentBytesMax = Math.max(this.unsentBytesMax, this.#unsentBytes)
    }
    return this.#unsentBytes === 0
  }

  get writableBytes(): number {
    return this.#unsentBytes
  }

  pause(): void {
    if (!this.paused) this.pauses++
    this.paused = true
  }

  resume(): void {
    this.paused = false
    setImmediate(() => this.#feed())
  }

  end(buffer?: Buffer): void {
    if (this.ended || this.closed) return
    if (buffer !== undefined) this.write(buffer)
    this.ended = true
    this.onData = () => {}
    setImmediate(() => this.close())
  }

  destroy(): void {
    this.ended = true
    setImmediate(() => this.close())
  }

  setNoDelay(): void {}

  // --- the client's side

  /** Sends bytes: at once where the broker reads, else when it reads again. */
  send(bytes: Uint8Array): void {
    this.#unread.push(Buffer.from(bytes))
    this.#feed()
  }

  /** Bytes the broker has not taken. */
  get unreadBytes(): number {
    return this.#unread.reduce((sum, { length }) => sum + length, 0)
  }

  /** Reads again after `stuck`. `quiet`: the backlog was so small that the socket does not tell. */
  drain(quiet = false): void {
    this.stuck = false
    for (const { buffer, copy } of this.#unsent) {
      ok(buffer.equals(copy), 'bytes changed while the transport held them')
      this.#received.push(copy)
    }
    this.#unsent = []
    this.#unsentBytes = 0
    if (!quiet) this.onDrain()
  }

  /** The connection is gone: closed by the client, or by the network. */
  close(error: Error | null = null): void {
    if (this.closed) return
    this.closed = true
    this.ended = true
    const { onClose } = this
    this.onData = () => {}
    this.onDrain = () => {}
    this.onClose = () => {}
    onClose(error)
  }

  /** Packets that arrived since the last call. */
  take(): Packet[] {
    const packets: Packet[] = []
    this.#reader.push(Buffer.concat(this.#received.splice(0)))
    while (this.#reader.next() === FRAME_READY) {
      const { buffer, first, body, end } = this.#reader
      const packet = decodePacket(buffer, first, body, end, this.version, 'from-server')
      if (packet.type === 'error') throw new Error(packet.message)
      packets.push(packet)
    }
    return packets
  }

  #feed(): void {
    while (!this.paused && !this.closed) {
      const next = this.#unread.shift()
      if (next === undefined) return
      for (let at = 0; at < next.length; at += shared.length) {
        const size = next.copy(shared, 0, at)
        this.onData(shared.subarray(0, size))
        shared.fill(0xa5, 0, size)
      }
    }
  }
}
