import {
  type DecodeError,
  type Direction,
  decodePacket,
  FRAME_READY,
  FrameReader,
  type Packet,
  type ProtocolVersion,
} from '../../../src/mqtt/codec/index.ts'

/** A packet on the wire, as a table row: see {@link bytes} for how `wire` is written. */
export interface Fixture {
  name: string
  version: ProtocolVersion
  /** Default: from the client. */
  from?: Direction
  wire: string
}

/** Decodes to `packet`; unless `oneWay`, encoding `packet` gives the same bytes. */
export interface ValidFixture extends Fixture {
  packet: Packet
  oneWay?: true
}

/** Is refused with `reason`; a CONNECT is answered in `connack` (default: not at all). */
export interface InvalidFixture extends Fixture {
  reason: number
  connack?: ProtocolVersion
}

/** Annotated bytes: hex pairs and "quoted ASCII"; `#` begins a comment. */
export function bytes(text: string): Buffer {
  const parts: Buffer[] = []
  for (const line of text.split('\n')) {
    for (const token of line.matchAll(/"[^"]*"|#.*|[^\s]+/g)) {
      const word = token[0]
      if (word.startsWith('#')) break
      if (word.startsWith('"')) parts.push(Buffer.from(word.slice(1, -1), 'ascii'))
      else if (/^([0-9a-f]{2})+$/i.test(word)) parts.push(Buffer.from(word, 'hex'))
      else throw new Error(`Not hex: ${word}`)
    }
  }
  return Buffer.concat(parts)
}

/** Decodes one whole frame. */
export function decodeFrame(frame: Buffer, version: ProtocolVersion, from: Direction): Packet | DecodeError {
  const reader = new FrameReader(300_000_000)
  reader.push(frame)
  if (reader.next() !== FRAME_READY) throw new Error('The bytes are no whole frame')
  if (reader.end !== frame.length) throw new Error('Bytes follow the frame')
  return decodePacket(reader.buffer, reader.first, reader.body, reader.end, version, from)
}
