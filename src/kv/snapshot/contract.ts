import type { Family, Write } from '../engine/engine.ts'
import type { ReplicaId, SnapshotMeta } from '../raft/index.ts'
import type { RangeDescriptor } from '../range/coprocessor.ts'

/** Of one stream, by the sending store's number for it. Messages of a stream come in order, or the stream is given up. */
interface InStream {
  stream: number
}

/** What the whole stream is about. Nothing follows before there is credit. */
export interface SnapshotOffer extends InStream {
  type: 'offer'
  from: ReplicaId
  to: ReplicaId
  /** Of the leader that sends it. */
  term: number
  /** Exactly what the sender's cursors show. */
  snapshot: SnapshotMeta
  descriptor: RangeDescriptor
}

export interface SnapshotChunk extends InStream {
  type: 'chunk'
  /** From 1. */
  number: number
  bytes: Uint8Array
  /** Of the offer and of all bytes from the first chunk's to this one's end: of the chunk, its place, what is before. */
  checksum: number
}

export interface SnapshotEnd extends InStream {
  type: 'end'
  chunks: number
  /** It goes on from the last chunk's over `last`. */
  checksum: number
  /** The records that make the range valid: written in the last batch. */
  last: readonly { key: Uint8Array; value: Uint8Array }[]
}

/** The receiver may be sent chunks up to this number. */
export interface SnapshotCredit extends InStream {
  type: 'credit'
  upTo: number
}

export interface SnapshotDone extends InStream {
  type: 'done'
  /** `needless`: the receiver has what the snapshot stands for. */
  outcome: 'installed' | 'needless'
}

/** Either side gives up. The sender begins from the start, later. */
export interface SnapshotCancel extends InStream {
  type: 'cancel'
  reason: string
}

export type SnapshotMessage =
  | SnapshotOffer
  | SnapshotChunk
  | SnapshotEnd
  | SnapshotCredit
  | SnapshotDone
  | SnapshotCancel

/** Goes on with a CRC-32 over `bytes`; begins with 0. The host's, since the processor's is ten times as fast as ours. */
export type Checksum = (bytes: Uint8Array, before: number) => number

export interface FamilyWrite {
  family: Family
  write: Write
}

export interface SnapshotLimits {
  /** Of a chunk; it is cut there, also within a value. */
  chunkBytes: number
  /** Chunks granted to the sender that have not landed: what a receiver holds in memory is this many. */
  windowChunks: number
  keyBytesMax: number
  /** A value longer than a chunk is put together in memory. */
  valueBytesMax: number
  /** Of the last records together. */
  lastBytesMax: number
  /** Longest time without a word from the other side. */
  silenceMsMax: number
  /** Longest wait for the answer to an offer: who does not give one is probably away. */
  answerMsMax: number
}

export const SNAPSHOT_LIMITS: SnapshotLimits = {
  chunkBytes: 256 << 10,
  windowChunks: 8,
  keyBytesMax: 128 << 10,
  valueBytesMax: 64 << 20,
  lastBytesMax: 1 << 20,
  silenceMsMax: 30_000,
  answerMsMax: 5_000,
}
