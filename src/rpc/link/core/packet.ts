import type { Buffer } from 'node:buffer'
import type { LinkKind } from '../../contract.ts'
import { FIXED64, FieldReader, FieldWriter, LENGTH, VARINT } from './protobuf.ts'

/** What one message of the gRPC stream is: `flockmq.link.v1.Packet` of proto/flockmq/link.proto. */
export type Packet = FramePacket | HelloPacket | ChallengePacket | SealedTerms | RefusalPacket

/** A numbered body, or (number 0) an acknowledgement alone. */
export interface FramePacket {
  type: 'frame'
  number: number
  /** Highest number that was received in order. */
  ack: number
  /** Body bytes since the session's start that the receiver of this packet may send. */
  credit: number
  /** Asks for an acknowledgement at once. */
  ping: boolean
  /** A view of the packet. */
  body: Buffer
}

/** The initiator, before it knows to whom it talks. */
export interface HelloPacket {
  type: 'hello'
  version: number
  cluster: string
  node: string
  incarnation: number
  /** The node that the initiator wants: addresses are used again. */
  target: string
  kind: LinkKind
  nonce: Buffer
}

export interface ChallengePacket {
  type: 'challenge'
  node: string
  incarnation: number
  nonce: Buffer
}

/** The terms that one side offers, and its proof over hello, challenge and terms. */
export interface SealedTerms {
  type: 'proof' | 'welcome'
  terms: Buffer
  proof: Buffer
}

export interface Terms {
  /** Random; the same over all connections of a session. */
  session: number
  /** Last number received. */
  seen: number
  /** As {@link FramePacket.credit}. */
  credit: number
  /** Initiator: this session was welcomed before. Acceptor: it is known here, or new on both sides. */
  established: boolean
}

/** Words on the wire: never renamed. */
export type RefusalReason = 'version' | 'wrong-cluster' | 'wrong-node' | 'not-authenticated' | 'stale' | 'busy'

export interface RefusalPacket {
  type: 'refusal'
  reason: string
}

export const LINK_VERSION = 1
/** Bytes of a frame packet before its body. */
export const FRAME_HEADER_BYTES = 34
export const NONCE_BYTES = 16
const BODY_FIELD = 5
const PING_BIT = 1
const NAME_BYTES_MAX = 255
const KINDS: readonly LinkKind[] = ['raft', 'deliveries', 'bulk']

/**
 * Writes the header of a frame whose body follows it at once. Lengths take their full width, so that a frame that is
 * sent again gets new acknowledgements in place:
 * `09 number | 11 ack | 19 credit | 20 flags | 2a length (4 bytes) | body`, numbers fixed64.
 */
export function stampFrame(
  target: Buffer,
  at: number,
  frame: { number: number; ack: number; credit: number; ping: boolean; bodyBytes: number },
): void {
  target[at] = 0x09
  writeFixed64(target, at + 1, frame.number)
  target[at + 9] = 0x11
  writeFixed64(target, at + 10, frame.ack)
  target[at + 18] = 0x19
  writeFixed64(target, at + 19, frame.credit)
  target[at + 27] = 0x20
  target[at + 28] = frame.ping ? PING_BIT : 0
  target[at + 29] = BODY_FIELD * 8 + LENGTH
  const length = frame.bodyBytes
  target[at + 30] = (length & 0x7f) | 0x80
  target[at + 31] = ((length >>> 7) & 0x7f) | 0x80
  target[at + 32] = ((length >>> 14) & 0x7f) | 0x80
  target[at + 33] = (length >>> 21) & 0x7f
}

function writeFixed64(target: Buffer, at: number, value: number): void {
  target.writeUInt32LE(value % 0x1_0000_0000, at)
  target.writeUInt32LE(Math.floor(value / 0x1_0000_0000), at + 4)
}

export function encodeHello(hello: Omit<HelloPacket, 'type'>): Buffer {
  const message = new FieldWriter()
    .varint(1, hello.version)
    .text(2, hello.cluster)
    .text(3, hello.node)
    .varint(4, hello.incarnation)
    .text(5, hello.target)
    .varint(6, KINDS.indexOf(hello.kind) + 1)
    .bytes(7, hello.nonce)
  return new FieldWriter().message(6, message.finish()).finish()
}

export function encodeChallenge(challenge: Omit<ChallengePacket, 'type'>): Buffer {
  const message = new FieldWriter().text(1, challenge.node).varint(2, challenge.incarnation).bytes(3, challenge.nonce)
  return new FieldWriter().message(7, message.finish()).finish()
}

export function encodeTerms(terms: Terms): Buffer {
  return new FieldWriter()
    .varint(1, terms.session)
    .varint(2, terms.seen)
    .varint(3, terms.credit)
    .varint(4, terms.established ? 1 : 0)
    .finish()
}

export function encodeSealed(type: SealedTerms['type'], terms: Uint8Array, proof: Uint8Array): Buffer {
  const message = new FieldWriter().message(1, terms).bytes(2, proof)
  return new FieldWriter().message(type === 'proof' ? 8 : 9, message.finish()).finish()
}

export function encodeRefusal(reason: RefusalReason): Buffer {
  return new FieldWriter().message(10, new FieldWriter().text(1, reason).finish()).finish()
}

/** Null where the bytes are none. Views into `bytes`. */
export function decodePacket(bytes: Buffer): Packet | null {
  const reader = new FieldReader(bytes)
  const frame: FramePacket = { type: 'frame', number: 0, ack: 0, credit: 0, ping: false, body: bytes.subarray(0, 0) }
  let other: Packet | null = null
  while (reader.next()) {
    const { field, wireType } = reader
    if (wireType === FIXED64 && field === 1) frame.number = reader.number
    else if (wireType === FIXED64 && field === 2) frame.ack = reader.number
    else if (wireType === FIXED64 && field === 3) frame.credit = reader.number
    else if (wireType === VARINT && field === 4) frame.ping = reader.number % 2 === PING_BIT
    else if (wireType === LENGTH && field === BODY_FIELD) frame.body = reader.bytes
    else if (wireType === LENGTH && field >= 6 && field <= 10) {
      other = decodeHandshake(field, reader.bytes)
      if (other === null) return null
    }
  }
  return reader.ok ? (other ?? frame) : null
}

export function decodeTerms(bytes: Buffer): Terms | null {
  const fields = collect(bytes)
  if (fields === null) return null
  return {
    session: fields.number(1),
    seen: fields.number(2),
    credit: fields.number(3),
    established: fields.number(4) !== 0,
  }
}

function decodeHandshake(field: number, bytes: Buffer): Packet | null {
  const fields = collect(bytes)
  if (fields === null) return null
  switch (field) {
    case 6:
      return decodeHello(fields)
    case 7: {
      const challenge = { node: fields.text(1), incarnation: fields.number(2), nonce: fields.bytes(3) }
      return challenge.nonce.length === NONCE_BYTES ? { type: 'challenge', ...challenge } : null
    }
    case 8:
      return { type: 'proof', terms: fields.bytes(1), proof: fields.bytes(2) }
    case 9:
      return { type: 'welcome', terms: fields.bytes(1), proof: fields.bytes(2) }
    default:
      return { type: 'refusal', reason: fields.text(1) }
  }
}

function decodeHello(fields: Fields): HelloPacket | null {
  const kind = KINDS[fields.number(6) - 1]
  const nonce = fields.bytes(7)
  if (kind === undefined || nonce.length !== NONCE_BYTES) return null
  return {
    type: 'hello',
    version: fields.number(1),
    cluster: fields.text(2),
    node: fields.text(3),
    incarnation: fields.number(4),
    target: fields.text(5),
    kind,
    nonce,
  }
}

interface Fields {
  number(field: number): number
  bytes(field: number): Buffer
  /** Cut at the length that a name may have. */
  text(field: number): string
}

/** The fields of a small message; of a repeated one the last, as proto3 wants. */
function collect(source: Buffer): Fields | null {
  const numbers = new Map<number, number>()
  const views = new Map<number, Buffer>()
  const reader = new FieldReader(source)
  while (reader.next()) {
    if (reader.wireType === VARINT) numbers.set(reader.field, reader.number)
    else if (reader.wireType === LENGTH) views.set(reader.field, reader.bytes)
  }
  if (!reader.ok) return null
  const bytes = (field: number) => views.get(field) ?? source.subarray(0, 0)
  return {
    number: (field) => numbers.get(field) ?? 0,
    bytes,
    text: (field) => bytes(field).subarray(0, NAME_BYTES_MAX).toString(),
  }
}
