import { FrameBytes, FrameCursor } from '../raft/frame-bytes.ts'
import { FrameWriter, readFrame } from '../raft/index.ts'
import { type RangeDescriptor, SERVICE_NAMES } from '../range/coprocessor.ts'
import { decodeDescriptor, encodeDescriptor } from '../range/schema.ts'
import { decodeSnapshotMessage, encodeSnapshotMessage } from '../snapshot/index.ts'
import type { Packet } from '../store/packet.ts'
import { decodeAnswer, decodeAsk, encodeAnswer, encodeAsk } from './merge-codec.ts'

/**
 * What one store says to another in one turn:
 *
 *     version u8 | frame of raft messages, length in front | packet ...
 *     packet:  1 stranger      range replica
 *              2 introduction  descriptor
 *              3 gone          range replica
 *              4 snapshot      service, bits toSender; message
 *              5 merged        range, into, version
 *              6 merge ask     range, what is asked
 *              7 merge answer  range, what is answered
 *              8 audit         range index hash
 *              9 damaged       range replica
 */
const VERSION = 1
const KINDS = {
  stranger: 1,
  introduction: 2,
  gone: 3,
  snapshot: 4,
  merged: 5,
  'merge-ask': 6,
  'merge-answer': 7,
  audit: 8,
  damaged: 9,
} as const
const NAME_BYTES_MAX = 255
const NO_FRAME = new Uint8Array(0)

export function encodePackets(packets: readonly Packet[]): Uint8Array {
  const raft = new FrameWriter(Number.MAX_SAFE_INTEGER)
  for (const packet of packets) if (packet.type === 'raft') raft.add(packet.range, packet.message)
  const bytes = new FrameBytes()
  bytes.u8(VERSION)
  bytes.data(raft.empty ? NO_FRAME : raft.take())
  for (const packet of packets) if (packet.type !== 'raft') encodeOther(bytes, packet)
  return bytes.take()
}

/** All packets, those of raft first; BrokerError INVALID_ARGUMENT where they are malformed. */
export function decodePackets(frame: Uint8Array): Packet[] {
  const cursor = new FrameCursor(frame, 'packets of a store')
  const version = cursor.u8()
  if (version !== VERSION) throw cursor.malformed(`version ${version} is not known here`)
  const raft = cursor.data()
  const packets: Packet[] =
    raft.length === 0 ? [] : readFrame(raft).map(({ group, message }) => ({ type: 'raft', range: group, message }))
  while (!cursor.done) packets.push(decodeOther(cursor))
  return packets
}

function encodeOther(bytes: FrameBytes, packet: Exclude<Packet, { type: 'raft' }>): void {
  bytes.u8(KINDS[packet.type])
  if (packet.type === 'introduction') bytes.data(encodeDescriptor(packet.descriptor))
  else if (packet.type === 'snapshot') {
    bytes.u8((SERVICE_NAMES.indexOf(packet.service) << 1) | (packet.toSender ? 1 : 0))
    bytes.data(encodeSnapshotMessage(packet.message))
  } else {
    bytes.text(packet.range)
    if (packet.type === 'merge-ask') encodeAsk(bytes, packet)
    else if (packet.type === 'merge-answer') encodeAnswer(bytes, packet)
    else if (packet.type === 'merged') {
      bytes.text(packet.into)
      bytes.varint(packet.version)
    } else if (packet.type === 'audit') {
      bytes.varint(packet.index)
      bytes.varint(packet.hash)
    } else bytes.varint(packet.replica)
  }
}

function decodeOther(cursor: FrameCursor): Packet {
  const kind = cursor.u8()
  switch (kind) {
    case KINDS.stranger:
      return { type: 'stranger', range: cursor.text(NAME_BYTES_MAX), replica: cursor.positive() }
    case KINDS.gone:
      return { type: 'gone', range: cursor.text(NAME_BYTES_MAX), replica: cursor.positive() }
    case KINDS.merged: {
      const [range, into] = [cursor.text(NAME_BYTES_MAX), cursor.text(NAME_BYTES_MAX)]
      return { type: 'merged', range, into, version: cursor.positive() }
    }
    case KINDS['merge-ask']:
      return decodeAsk(cursor, cursor.text(NAME_BYTES_MAX))
    case KINDS['merge-answer']:
      return decodeAnswer(cursor, cursor.text(NAME_BYTES_MAX), readDescriptor)
    case KINDS.damaged:
      return { type: 'damaged', range: cursor.text(NAME_BYTES_MAX), replica: cursor.positive() }
    case KINDS.audit:
      return { type: 'audit', range: cursor.text(NAME_BYTES_MAX), index: cursor.positive(), hash: cursor.varint() }
    case KINDS.introduction:
      return { type: 'introduction', descriptor: readDescriptor(cursor) }
    case KINDS.snapshot: {
      const bits = cursor.u8()
      const service = SERVICE_NAMES[bits >> 1]
      if (service === undefined) throw cursor.malformed(`service ${bits >> 1} is not known here`)
      return { type: 'snapshot', service, toSender: (bits & 1) === 1, message: decodeSnapshotMessage(cursor.data()) }
    }
    default:
      throw cursor.malformed(`packet ${kind} is not known here`)
  }
}

/** Copied: a descriptor is kept for long, the frame is not. */
function readDescriptor(cursor: FrameCursor): RangeDescriptor {
  try {
    return decodeDescriptor(new Uint8Array(cursor.data()))
  } catch (cause) {
    throw cursor.malformed('a descriptor cannot be read', cause)
  }
}
