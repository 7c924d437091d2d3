import type { Clock, Random } from '../../base/clock.ts'
import type { Logger } from '../../base/logging.ts'
import type { ClientLimits } from '../client/routed-client.ts'
import type { Engine } from '../engine/engine.ts'
import type { RaftLimits } from '../raft/index.ts'
import type { StreamLimits } from '../range/streams.ts'
import type { StoreLimits } from './limits.ts'
import type { Packet } from './packet.ts'
import type { PressureLimits } from './pressure.ts'
import type { Beginning } from './stored.ts'
import type { WatchReplicas } from './watch.ts'

export interface StoreOptions {
  engine: Engine
  clock: Clock
  random: Random
  storeId: string
  log: Logger
  /** The disk has lost writes that were acknowledged: replicas of groups are given up, and made anew. Default false. */
  lossy?: boolean
  /** Runs a callback after what runs now: a turn of the loop. Default setImmediate. */
  defer?: (callback: () => void) => void
  /** The disk failed: what is on it is unknown, so the process must end. Default: the store refuses everything. */
  fatal?: (error: Error) => void
  /** Applies each entry as read back from its bytes: tests prove so that encode and decode are faithful. */
  decodeAlways?: boolean
  limits?: Partial<StoreLimits>
  streamLimits?: Partial<StreamLimits>
  pressureLimits?: Partial<PressureLimits>
  raftLimits?: Partial<RaftLimits>
  /** Takes packets for other stores; may lose, delay and repeat them. Default: there is no other store. */
  send?: (store: string, packets: readonly Packet[]) => void
  /** Of all snapshots that are sent. Default 64 MiB. */
  snapshotBytesPerSecond?: number
}

/** How a service's ranges are opened. */
export interface OpenOptions extends Partial<Beginning> {
  /** Hears of each replica that is served here. Default: nobody does. */
  watch?: WatchReplicas | undefined
}

export interface ServeOptions<Command> {
  /** Where a new service's key space is cut at once: n keys give n + 1 ranges. */
  initialSplits?: readonly Uint8Array[]
  /** Approximate size of a command, for limits. Default 64 bytes for each. */
  commandBytes?: (command: Command) => number
  clientLimits?: Partial<ClientLimits>
  /** See {@link OpenOptions.watch}. */
  watch?: WatchReplicas
}
