import { unreachable } from '../../base/assert.ts'
import { FrameBytes, FrameCursor } from '../raft/frame-bytes.ts'
import { readSnapshot, writeSnapshot } from '../raft/wire.ts'
import { SERVICE_NAMES } from '../range/coprocessor.ts'
import { decodeDescriptor, encodeDescriptor } from '../range/schema.ts'
import type { Checksum, SnapshotEnd, SnapshotMessage, SnapshotOffer } from './contract.ts'

/**
 * One message of a stream:
 *
 *     version u8 | kind u8 | stream | by kind:
 *       1 offer    from to term, snapshot, descriptor
 *       2 chunk    number checksum bytes
 *       3 end      chunks checksum count { key value } ...
 *       4 credit   upTo
 *       5 done     needless?
 *       6 cancel   reason
 *
 * Numbers are varints; bytes, keys and values have their length in front. What is read points into the message.
 */
const VERSION = 1
const KINDS = { offer: 1, chunk: 2, end: 3, credit: 4, done: 5, cancel: 6 } as const
const SERVICES: readonly string[] = SERVICE_NAMES
const LAST_RECORDS_MAX = 16
const REASON_BYTES_MAX = 1024

export function encodeSnapshotMessage(message: SnapshotMessage): Uint8Array {
  const bytes = new FrameBytes(message.type === 'chunk' ? message.bytes.length + 64 : 256)
  bytes.u8(VERSION)
  bytes.u8(KINDS[message.type])
  bytes.varint(message.stream)
  writeBody(bytes, message)
  return bytes.take()
}

/** Throws a BrokerError where the bytes are malformed. */
export function decodeSnapshotMessage(frame: Uint8Array): SnapshotMessage {
  const cursor = new FrameCursor(frame, 'a message of a snapshot')
  const version = cursor.u8()
  if (version !== VERSION) throw cursor.malformed(`version ${version} is not known here`)
  const kind = cursor.u8()
  const message = readBody(cursor, kind, cursor.varint())
  if (!cursor.done) throw cursor.malformed('it does not end')
  return message
}

/** Of an offer, as it was written: what all other checksums of its stream go on from. */
export function checksumOfOffer(offer: SnapshotOffer, checksum: Checksum): number {
  return checksum(encodeSnapshotMessage(offer), 0)
}

export function checksumOfLast(last: SnapshotEnd['last'], before: number, checksum: Checksum): number {
  let sum = before
  for (const { key, value } of last) sum = checksum(value, checksum(key, sum))
  return sum
}

function writeBody(bytes: FrameBytes, message: SnapshotMessage): void {
  switch (message.type) {
    case 'offer':
      bytes.varint(message.from)
      bytes.varint(message.to)
      bytes.varint(message.term)
      writeSnapshot(bytes, message.snapshot)
      return bytes.data(encodeDescriptor(message.descriptor))
    case 'chunk':
      bytes.varint(message.number)
      bytes.varint(message.checksum)
      return bytes.data(message.bytes)
    case 'end':
      bytes.varint(message.chunks)
      bytes.varint(message.checksum)
      bytes.varint(message.last.length)
      for (const { key, value } of message.last) {
        bytes.data(key)
        bytes.data(value)
      }
      return
    case 'credit':
      return bytes.varint(message.upTo)
    case 'done':
      return bytes.u8(message.outcome === 'needless' ? 1 : 0)
    case 'cancel':
      return bytes.text(message.reason.slice(0, REASON_BYTES_MAX / 4) || '-')
    default:
      return unreachable(message)
  }
}

function readBody(cursor: FrameCursor, kind: number, stream: number): SnapshotMessage {
  switch (kind) {
    case KINDS.offer: {
      const ends = { from: cursor.positive(), to: cursor.positive(), term: cursor.varint() }
      const snapshot = readSnapshot(cursor)
      const descriptor = decodeDescriptor(cursor.data())
      const { id, service } = descriptor
      if (!SERVICES.includes(service)) throw cursor.malformed(`"${service}" is not a service`)
      if (id === '' || id.includes('\0')) throw cursor.malformed(`"${id}" is not the name of a range`)
      return { type: 'offer', stream, ...ends, snapshot, descriptor }
    }
    case KINDS.chunk: {
      const number = cursor.positive()
      const checksum = cursor.varint()
      return { type: 'chunk', stream, number, bytes: cursor.data(), checksum }
    }
    case KINDS.end: {
      const chunks = cursor.varint()
      const checksum = cursor.varint()
      const count = cursor.varint()
      if (count > LAST_RECORDS_MAX) throw cursor.malformed(`${count} records make a range`)
      const last = Array.from({ length: count }, () => ({ key: cursor.data(), value: cursor.data() }))
      return { type: 'end', stream, chunks, checksum, last }
    }
    case KINDS.credit:
      return { type: 'credit', stream, upTo: cursor.varint() }
    case KINDS.done:
      return { type: 'done', stream, outcome: cursor.flag() ? 'needless' : 'installed' }
    case KINDS.cancel:
      return { type: 'cancel', stream, reason: cursor.text(REASON_BYTES_MAX) }
    default:
      throw cursor.malformed(`${kind} is not a kind of message that is known here`)
  }
}
