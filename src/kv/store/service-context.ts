import type { Random } from '../../base/clock.ts'
import type { BrokerError } from '../../base/errors.ts'
import type { Logger } from '../../base/logging.ts'
import type { Engine } from '../engine/engine.ts'
import type { RaftLimits, ReplicaId } from '../raft/index.ts'
import type { RangeDescriptor } from '../range/coprocessor.ts'
import type { AnswerCodec, StreamLimits } from '../range/streams.ts'
import type { FamilyWrite } from '../snapshot/index.ts'
import type { RangeHost } from './host.ts'
import type { Hosted } from './hosted.ts'
import type { StoreLimits } from './limits.ts'
import type { MergingHost } from './merge.ts'
import type { Packet } from './packet.ts'
import type { WatchReplicas } from './watch.ts'

/** What a service's ranges need of their store. */
export interface ServiceContext {
  engine: Engine
  storeId: string
  limits: StoreLimits
  streamLimits: Partial<StreamLimits>
  raftLimits: Partial<RaftLimits>
  codec: AnswerCodec | null
  log: Logger
  /** The disk has lost writes that were acknowledged: only who is alone may go on with what is left. */
  lossy: boolean
  decodeAlways: boolean
  random: Random
  now(): number
  /** Monotonic ms. */
  monotonic(): number
  send(store: string, packet: Packet): void
  /** The leader at `host` wants a replica to have its state. */
  requestSnapshot(host: RangeHost<never, never, never, never, never>, to: ReplicaId, store: string): void
  cancelSnapshots(host: Hosted, reason: string): void
  /** Keys of ranges that are being installed on this store. */
  arriving(): Iterable<RangeDescriptor>
  /** For the next batch, after everything else. */
  writeLast(writes: readonly FamilyWrite[]): void
  /** Hears of each replica that is served. */
  watch: WatchReplicas | undefined
  /** The range may have a merge to bring to its end. */
  merging(host: MergingHost): void
  /** This range has something to do. */
  wake(host: Hosted): void
  /** Commands have come for this range. */
  arrived(host: Hosted): void
  schedule(callback: () => void): void
  /** Why this store takes nothing any more; null while it does. */
  refusal(): BrokerError | null
  /** Why it takes nothing that needs space. */
  pressure(): BrokerError | null
}
