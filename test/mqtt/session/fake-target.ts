import { strictEqual } from 'node:assert'
import {
  decodePacket,
  FRAME_READY,
  FrameReader,
  type Packet,
  type ProtocolVersion,
  type Publish,
} from '../../../src/mqtt/codec/index.ts'
import type { PacketTarget } from '../../../src/mqtt/session/outbound.ts'

/** Takes packets as an output does, and hands them out as values. `sent` counts as gone once it was read. */
export class FakeTarget implements PacketTarget {
  buffer = Buffer.alloc(4096)
  onRoom: (() => void) | null = null
  /** Bytes that the client does not take: part of what `isFull` looks at. */
  unsentBytes = 0
  /** The largest packet so far. */
  packetBytesMax = 0
  readonly version: ProtocolVersion
  #length = 0

  constructor(version: ProtocolVersion) {
    this.version = version
  }

  reserve(size: number): number {
    const at = this.#length
    this.#length += size
    if (this.#length > this.buffer.length) {
      const grown = Buffer.alloc(Math.max(this.#length, this.buffer.length * 2))
      this.buffer.copy(grown)
      this.buffer = grown
    }
    return at
  }

  isFull(size: number, max: number): boolean {
    return this.unsentBytes > 0 && this.unsentBytes + this.#length + size > max
  }

  /** The client took everything. */
  drain(): void {
    this.unsentBytes = 0
    this.onRoom?.()
  }

  /** Packets since the last call. */
  take(): Packet[] {
    const packets: Packet[] = []
    const reader = new FrameReader(Number.POSITIVE_INFINITY)
    reader.push(Buffer.from(this.buffer.subarray(0, this.#length)))
    this.#length = 0
    while (reader.next() === FRAME_READY) {
      const packet = decodePacket(reader.buffer, reader.first, reader.body, reader.end, this.version, 'from-server')
      if (packet.type === 'error') throw new Error(packet.message)
      packets.push(packet)
      this.packetBytesMax = Math.max(this.packetBytesMax, reader.end - reader.start)
    }
    strictEqual(reader.bufferedBytes, 0)
    return packets
  }

  publishes(): Publish[] {
    return this.take().filter((packet) => packet.type === 'publish')
  }
}
