import type { Message, ReplicaId } from '../raft/index.ts'
import type { RangeDescriptor, ServiceName } from '../range/coprocessor.ts'
import type { SnapshotMessage } from '../snapshot/index.ts'

/** What stores say to each other. Each may be lost, late, or come twice. */
export type Packet =
  | { type: 'raft'; range: string; message: Message }
  /** There is no such replica here: whose is it? Or it is here, and nobody talks to it. */
  | { type: 'stranger'; range: string; replica: ReplicaId }
  /** The answer, of who knows the range. */
  | { type: 'introduction'; descriptor: RangeDescriptor }
  /** That replica was removed from the group, for ever. */
  | { type: 'gone'; range: string; replica: ReplicaId }
  /** That range is a part of another one since that one's `version`. */
  | { type: 'merged'; range: string; into: string; version: number }
  | MergeAsk
  | MergeAnswer
  /** What the sender, who leads, has come to: its rolling hash after that entry. */
  | { type: 'audit'; range: string; index: number; hash: number }
  /** That replica of the sender's must be replaced: it is halted, or was given up. */
  | { type: 'damaged'; range: string; replica: ReplicaId }
  /** In order, or the stream is given up. `toSender`: to the store whose stream it is. */
  | { type: 'snapshot'; service: ServiceName; toSender: boolean; message: SnapshotMessage }

/** From the leader of the left range of a merge to the one of the right range: freeze, or thaw; again until it is answered. */
export interface MergeAsk {
  type: 'merge-ask'
  /** The right one. */
  range: string
  left: string
  /** Of the right one: the attempt is about no other generation. */
  version: number
  /** Where both have their replicas. */
  stores: readonly string[]
  thaw: boolean
}

export interface MergeAnswer {
  type: 'merge-answer'
  /** The left one. */
  range: string
  right: string
  version: number
  /**
   * `frozen`: since the entry at `index`, which all its replicas have on disk. `thawed`: this attempt can freeze it no
   * more. `refused`: `reason`.
   */
  state: 'frozen' | 'thawed' | 'refused'
  descriptor: RangeDescriptor | null
  index: number
  term: number
  reason: string
}

/** Whether a batch will be wanted for it. */
export function bringsEntries(packet: Packet): boolean {
  return packet.type === 'raft' && packet.message.type === 'append' && packet.message.entries.length > 0
}
