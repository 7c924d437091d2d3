/**
 * Packets as bytes. Integers are big-endian.
 *
 * ```
 * packet   version u8 = 1 | cluster name | cluster id, may be empty | sender | life u64 | message *
 * name     length u8 <= 64 | printable ASCII
 * message  type u8 | length u16 | body
 * record   id name | incarnation u48 | life u64 | address name | metadata
 * metadata length u16 <= 512 | (key, value) *, each: length u16 | UTF-8
 * ```
 * A packet holds as many messages as fit (a compound of memberlist). Bodies may be longer than this version knows, and
 * types may be unknown: both are skipped, so that versions mix while a cluster is upgraded.
 *
 * The same packet travels in one UDP datagram or in one TCP frame. Decoding never throws and allocates in proportion to
 * the bytes.
 */

import { assert } from '../../../base/assert.ts'
import type { HostId } from '../../../base/ids.ts'
import { FieldReader, FieldWriter } from './bytes.ts'
import { type Address, type ClusterId, type HostRecord, type HostState, INCARNATION_MAX } from './host.ts'
import { type Header, KNOWN_MAX, MESSAGE_BYTES_MAX, type Message, type Packet } from './message.ts'

export const WIRE_VERSION = 1
/** Of one TCP frame: 1,024 hosts with the largest records fit. */
export const FRAME_BYTES_MAX = 1_048_576
/** Before the body: type and length. */
export const MESSAGE_OVERHEAD_BYTES = 3

const TYPE = {
  ping: 1,
  'ping-req': 2,
  ack: 3,
  nack: 4,
  alive: 5,
  suspect: 6,
  dead: 7,
  left: 8,
  'push-pull': 9,
  state: 10,
  hello: 11,
  payload: 12,
} as const satisfies Record<Message['type'], number>

const STATES: readonly HostState[] = ['alive', 'suspect', 'dead', 'left']

/** Why bytes are no packet. */
export type WireFault = 'oversized' | 'version' | 'malformed'

export function encodeHeader(header: Header): Uint8Array {
  const writer = new FieldWriter()
  writer.uint8(WIRE_VERSION)
  writer.name(header.clusterName)
  writer.name(header.clusterId)
  writer.name(header.sender)
  writer.uint64(header.life)
  return writer.bytes()
}

/** One message with its type and length: it is encoded once, however often it is gossiped. */
export function encodeMessage(message: Message): Uint8Array {
  const writer = new FieldWriter(message.type === 'payload' ? message.bytes.length + MESSAGE_OVERHEAD_BYTES : 128)
  writer.uint8(TYPE[message.type])
  writer.uint16(0)
  writeBody(writer, message)
  const length = writer.at - MESSAGE_OVERHEAD_BYTES
  assert(length <= MESSAGE_BYTES_MAX, 'A message must fit into 65,535 bytes')
  writer.patch16(1, length)
  return writer.bytes()
}

/** Puts a packet together. The host may keep and change the bytes. */
export function joinPacket(header: Uint8Array, messages: readonly Uint8Array[]): Uint8Array {
  let length = header.length
  for (const message of messages) length += message.length
  const bytes = new Uint8Array(length)
  bytes.set(header)
  let at = header.length
  for (const message of messages) {
    bytes.set(message, at)
    at += message.length
  }
  return bytes
}

export function decodePacket(bytes: Uint8Array, bytesMax: number): Packet | WireFault {
  if (bytes.length > bytesMax) return 'oversized'
  if (bytes.length > 0 && bytes[0] !== WIRE_VERSION) return 'version'
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const reader = new FieldReader(buffer)
  reader.uint8()
  const packet: Packet = {
    clusterName: reader.name(1),
    clusterId: reader.name(0) as ClusterId | '',
    sender: reader.name(1) as HostId,
    life: reader.uint64(),
    messages: [],
    unknown: 0,
  }
  while (!reader.bad && reader.left > 0) {
    const type = reader.uint8()
    const length = reader.uint16()
    if (reader.bad || length > reader.left) return 'malformed'
    const body = new FieldReader(buffer, reader.at, reader.at + length)
    const message = readBody(type, body)
    if (body.bad) return 'malformed'
    if (message === null) packet.unknown++
    else packet.messages.push(message)
    reader.at += length
  }
  return reader.bad ? 'malformed' : packet
}

function writeBody(writer: FieldWriter, message: Message): void {
  switch (message.type) {
    case 'ping':
      writer.uint32(message.seq)
      return writer.name(message.target)
    case 'ping-req':
      writer.uint32(message.seq)
      writer.name(message.target)
      return writer.name(message.address)
    case 'ack':
      writer.uint32(message.seq)
      return writer.name(message.id)
    case 'nack':
      return writer.uint32(message.seq)
    case 'alive':
      return writeRecord(writer, message.record)
    case 'suspect':
    case 'dead':
      writer.name(message.id)
      writer.uint48(message.incarnation)
      return writer.name(message.by)
    case 'left':
      writer.name(message.id)
      return writer.uint48(message.incarnation)
    case 'push-pull':
      return
    case 'state':
      writer.uint8(STATES.indexOf(message.state))
      writer.uint48(message.incarnation)
      writer.uint32(message.ageSeconds)
      return writeRecord(writer, message.record)
    case 'hello':
      writer.name(message.address)
      writer.uint32(message.seq)
      writer.uint32(message.echo)
      writer.name(message.supports)
      writer.uint16(message.expect)
      writer.uint16(message.sees)
      writer.uint32(message.digest)
      writer.uint48(message.formedAtMs)
      writer.uint8((message.fresh ? 1 : 0) | (message.asks ? 2 : 0))
      writer.uint8(message.known.length)
      for (const address of message.known) writer.name(address)
      return
    case 'payload':
      return writer.raw(message.bytes)
  }
}

/** Null for a type that this version does not know. */
function readBody(type: number, body: FieldReader): Message | null {
  switch (type) {
    case TYPE.ping:
      return { type: 'ping', seq: body.uint32(), target: body.name(0) as HostId | '' }
    case TYPE['ping-req']: {
      const seq = body.uint32()
      return { type: 'ping-req', seq, target: body.name(1) as HostId, address: body.address() as Address }
    }
    case TYPE.ack:
      return { type: 'ack', seq: body.uint32(), id: body.name(1) as HostId }
    case TYPE.nack:
      return { type: 'nack', seq: body.uint32() }
    case TYPE.alive:
      return { type: 'alive', record: readRecord(body) }
    case TYPE.suspect:
    case TYPE.dead: {
      const id = body.name(1) as HostId
      const incarnation = readIncarnation(body)
      return { type: type === TYPE.dead ? 'dead' : 'suspect', id, incarnation, by: body.name(1) as HostId }
    }
    case TYPE.left:
      return { type: 'left', id: body.name(1) as HostId, incarnation: readIncarnation(body) }
    case TYPE['push-pull']:
      return { type: 'push-pull' }
    case TYPE.state:
      return readState(body)
    case TYPE.hello:
      return readHello(body)
    case TYPE.payload:
      return { type: 'payload', bytes: body.rest() }
    default:
      return null
  }
}

function readState(body: FieldReader): Message {
  const state = STATES[body.uint8()]
  if (state === undefined) body.bad = true
  const incarnation = readIncarnation(body)
  const ageSeconds = body.uint32()
  const record = readRecord(body)
  // A state may be newer than what its host was heard to say, never older.
  if (incarnation < record.incarnation) body.bad = true
  return { type: 'state', state: state ?? 'alive', incarnation, ageSeconds, record }
}

function readHello(body: FieldReader): Message {
  const address = body.address() as Address
  const seq = body.uint32()
  const echo = body.uint32()
  const supports = body.name(0) as HostId | ''
  const expect = body.uint16()
  const sees = body.uint16()
  const digest = body.uint32()
  const formedAtMs = body.uint48()
  const flags = body.uint8()
  const count = body.uint8()
  if (count > KNOWN_MAX) body.bad = true
  const known: Address[] = []
  for (let i = 0; i < count && !body.bad; i++) known.push(body.address() as Address)
  const fresh = (flags & 1) !== 0
  const asks = (flags & 2) !== 0
  return { type: 'hello', address, seq, echo, supports, expect, sees, digest, formedAtMs, fresh, asks, known }
}

function writeRecord(writer: FieldWriter, record: HostRecord): void {
  writer.name(record.id)
  writer.uint48(record.incarnation)
  writer.uint64(record.life)
  writer.name(record.address)
  writer.metadata(record.metadata)
}

function readRecord(body: FieldReader): HostRecord {
  const id = body.name(1) as HostId
  const incarnation = readIncarnation(body)
  const life = body.uint64()
  return { id, incarnation, life, address: body.address() as Address, metadata: body.metadata() }
}

function readIncarnation(body: FieldReader): number {
  const incarnation = body.uint48()
  if (incarnation > INCARNATION_MAX) body.bad = true
  return incarnation
}
