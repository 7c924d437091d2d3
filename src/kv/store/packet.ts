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
  /** In order, or the stream is given up. `toSender`: to the store whose stream it is. */
  | { type: 'snapshot'; service: ServiceName; toSender: boolean; message: SnapshotMessage }
