import {
  AckView,
  checkTopicName,
  type Direction,
  decodePacket,
  encodePacket,
  FRAME_MORE,
  FRAME_READY,
  FrameReader,
  forwardProperties,
  type Packet,
  type ProtocolVersion,
  PublishOut,
  PublishView,
  parseAck,
  parsePublish,
  publishSize,
  writePublish,
} from '../../../src/mqtt/codec/index.ts'
import { bytes, type ValidFixture } from './bytes.ts'
import { INVALID_3, VALID_3 } from './fixtures-3.ts'
import { INVALID_5, VALID_5 } from './fixtures-5.ts'
import { encodeForwarded } from './peer.ts'

const FRAMES = [...VALID_3, ...VALID_5, ...INVALID_3, ...INVALID_5].map((row) => bytes(row.wire))
/** What may be well formed, by version and side: most of a stream, so that it gets past the first frame. */
const VALID_FRAMES = {
  old: { 'from-client': pool(VALID_3, 'from-client'), 'from-server': pool(VALID_3, 'from-server') },
  new: { 'from-client': pool(VALID_5, 'from-client'), 'from-server': pool(VALID_5, 'from-server') },
}

function pool(rows: readonly ValidFixture[], direction: Direction): Buffer[] {
  return rows.filter((row) => (row.from ?? 'from-client') === direction).map((row) => bytes(row.wire))
}

const LIMITS = [16, 200, 100_000]
/** Bytes that mean something somewhere: lengths, property identifiers, wildcards, parts of UTF-8. */
const TELLING = [0, 1, 2, 3, 4, 5, 8, 9, 0x0b, 0x11, 0x1f, 0x23, 0x26, 0x2b, 0x2f, 0x7f, 0x80, 0xbf, 0xc3, 0xed, 0xff]

export interface FuzzCounts {
  streams: number
  frames: number
  decoded: number
  refused: number
}

/** Feeds mutated streams to the codec, and throws where it breaks a promise. The same seed gives the same run. */
export class Fuzz {
  readonly counts: FuzzCounts = { streams: 0, frames: 0, decoded: 0, refused: 0 }
  readonly #publish = new PublishView()
  readonly #ack = new AckView()
  readonly #out = new PublishOut()
  readonly #memory = Buffer.alloc(4096)
  #state: number

  constructor(seed: number) {
    this.#state = seed
  }

  /** One stream; the message of what it throws holds the stream. */
  step(): void {
    const version = ([3, 4, 5, 5] as const)[this.#below(4)]!
    const direction: Direction = this.#below(4) === 0 ? 'from-server' : 'from-client'
    const wire = this.#stream(VALID_FRAMES[version === 5 ? 'new' : 'old'][direction])
    this.counts.streams++
    try {
      this.#feed(wire, version, direction)
    } catch (cause) {
      throw new Error(`version ${version} ${direction}: ${wire.toString('hex')}`, { cause })
    }
  }

  #feed(wire: Buffer, version: ProtocolVersion, direction: Direction): void {
    const limit = LIMITS[this.#below(LIMITS.length)]!
    const reader = new FrameReader(limit)
    let frames = 0
    for (let at = 0; at < wire.length; ) {
      const size = Math.min(wire.length - at, 1 + this.#below(this.#below(2) === 0 ? 8 : 2048), this.#memory.length)
      wire.copy(this.#memory, 0, at, at + size)
      at += size
      reader.push(this.#memory.subarray(0, size))
      let status = reader.next()
      for (; status === FRAME_READY; status = reader.next()) {
        check(frames++ <= wire.length, 'more frames than bytes')
        check(reader.end - reader.start <= limit, 'a frame above the limit')
        this.#decode(reader, version, direction)
        if (this.#below(8) === 0) reader.retain()
      }
      check(reader.bufferedBytes <= Math.max(256, 2 * limit), 'too much memory held')
      this.#memory.fill(0xee)
      if (status !== FRAME_MORE) return
    }
  }

  #decode(reader: FrameReader, version: ProtocolVersion, direction: Direction): void {
    const { buffer, first, start, body, end } = reader
    this.counts.frames++
    const packet = decodePacket(buffer, first, body, end, version, direction)
    const type = first >> 4
    const refused = packet.type === 'error' ? packet.reasonCode : 0
    if (type === 3) {
      const view = this.#publish
      let code = parsePublish(view, buffer, first, start, body, end, version, direction === 'from-server')
      if (code === 0 && view.topicStart < view.topicEnd) code = checkTopicName(buffer, view.topicStart, view.topicEnd)
      check(code === refused, `parsePublish says ${code}, decodePacket ${refused}`)
    } else if (type >= 4 && type <= 7) {
      const code = parseAck(this.#ack, buffer, first, body, end, version)
      check(code === refused, `parseAck says ${code}, decodePacket ${refused}`)
    }
    if (packet.type === 'error') {
      this.counts.refused++
      check(refused >= 0x80 && packet.message !== '', 'a refusal without a reason')
      return
    }
    this.counts.decoded++
    this.#roundTrip(packet, packet.type === 'connect' ? packet.version : version, direction)
    if (packet.type === 'publish') this.#forward(packet)
  }

  /** What was accepted can be written, and reads as the same. */
  #roundTrip(packet: Packet, version: ProtocolVersion, direction: Direction): void {
    const once = encodePacket(packet, version)
    const reader = new FrameReader(2 * once.length)
    reader.push(once)
    check(reader.next() === FRAME_READY, 'the encoder wrote no frame')
    const again = decodePacket(reader.buffer, reader.first, reader.body, reader.end, version, direction)
    if (again.type === 'error') throw new Error(`the encoder wrote what is refused: ${again.message}`)
    check(encodePacket(again, version).equals(once), 'a packet changed on its way')
  }

  /** A message that was accepted can be sent on. Its properties keep all that is not of one hop. */
  #forward(packet: Packet & { type: 'publish' }): void {
    const view = this.#publish
    const out = this.#out
    const forwarded = forwardProperties(view)
    check(forwarded.length === encodeForwarded(packet.properties).length, 'forwarded properties are incomplete')
    out.version = 5
    out.qos = view.qos
    out.packetId = view.packetId
    out.sendTopic = view.topicStart < view.topicEnd
    out.topicAlias = out.sendTopic ? 0 : 1
    out.messageExpirySeconds = view.messageExpirySeconds
    out.subscriptionIds = packet.properties.subscriptionIdentifiers ?? []
    out.setTopic(view.buffer, view.topicStart, view.topicEnd)
    out.setForwarded(forwarded)
    out.setPayload(view.buffer, view.payloadStart, view.end)
    const target = Buffer.allocUnsafe(publishSize(out))
    check(writePublish(target, 0, out) === target.length, 'publishSize is wrong')
    const reader = new FrameReader(target.length)
    reader.push(target)
    check(reader.next() === FRAME_READY, 'writePublish wrote no frame')
    const read = decodePacket(target, reader.first, reader.body, reader.end, 5, 'from-server')
    check(read.type === 'publish' && read.payload.equals(packet.payload), 'writePublish wrote what is refused')
  }

  /** One to four frames, most of them damaged in their bodies, some in their framing. */
  #stream(valid: readonly Buffer[]): Buffer {
    const frames: Buffer[] = []
    for (let count = 1 + this.#below(4); count > 0; count--) {
      const source = this.#below(5) === 0 ? FRAMES : valid
      const frame = source[this.#below(source.length)]!
      if (this.#below(5) === 0) frames.push(frame)
      else if (this.#below(4) === 0) frames.push(this.#mutate(frame))
      else
        frames.push(
          framed(frame[0]! ^ (this.#below(16) === 0 ? 1 << this.#below(8) : 0), this.#mutate(frame.subarray(2))),
        )
    }
    return Buffer.concat(frames)
  }

  #mutate(bytes: Buffer): Buffer {
    let mutant = Buffer.from(bytes)
    for (let count = 1 + this.#below(3); count > 0; count--) mutant = this.#mutateOnce(mutant)
    return mutant
  }

  #mutateOnce(bytes: Buffer): Buffer<ArrayBuffer> {
    const at = this.#below(bytes.length + 1)
    const rest = bytes.subarray(at)
    const telling = Buffer.from([TELLING[this.#below(TELLING.length)]!])
    switch (this.#below(7)) {
      case 0:
        return Buffer.concat([bytes.subarray(0, at), Buffer.from([this.#below(256)]), rest.subarray(1)])
      case 1:
        return Buffer.concat([bytes.subarray(0, at), telling, rest.subarray(1)])
      case 2:
        return Buffer.concat([bytes.subarray(0, at), telling, rest])
      case 3:
        return Buffer.concat([bytes.subarray(0, at), rest.subarray(1 + this.#below(4))])
      case 4:
        return Buffer.from(bytes.subarray(0, at))
      case 5:
        return Buffer.concat([bytes.subarray(0, at), rest.subarray(0, 1 + this.#below(12)), rest])
      default: {
        const other = FRAMES[this.#below(FRAMES.length)]!
        return Buffer.concat([bytes.subarray(0, at), other.subarray(this.#below(other.length))])
      }
    }
  }

  /** A whole number in [0, limit), by mulberry32. */
  #below(limit: number): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) % limit
  }
}

function framed(first: number, body: Buffer): Buffer {
  const length = body.length < 128 ? [body.length] : [(body.length & 0x7f) | 0x80, body.length >> 7]
  return Buffer.concat([Buffer.from([first, ...length]), body])
}

function check(condition: boolean, message: string): void {
  if (!condition) throw new Error(message)
}
