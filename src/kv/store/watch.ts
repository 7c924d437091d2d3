import type { BrokerError } from '../../base/errors.ts'
import type { Entry } from '../raft/index.ts'
import type { RangeDescriptor, Reader } from '../range/coprocessor.ts'
import type { MergeState } from '../range/merge.ts'
import type { Group } from './group.ts'

/** A replica of a served range, as those see it who give out or hold leases by what its group says: see `kv/lease`. */
export interface WatchedReplica {
  readonly id: string
  readonly group: Group
  readonly range: {
    /** As shown. */
    readonly descriptor: RangeDescriptor
    /** As applied. */
    readonly latest: RangeDescriptor
    readonly halted: string | null
    readonly reader: Reader
    readonly merge: MergeState
    readonly applied: { readonly index: number }
  }
  /**
   * Of a leader: asks a majority whether it still is. True: one says so by a heartbeat that was sent after this call. It
   * may be told before this returns.
   */
  confirm(done: (leads: boolean) => void): void
}

/** The answer to commands that are committed, and shown. One of the two is called, once. */
export interface HeldAnswer {
  release(): void
  /** Whoever asked sends it again: what it asked for must be such that a second time does no harm. */
  giveUp(error: BrokerError): void
}

/** Hears of one replica what its group says, in that order, and before any later message is read. */
export interface ReplicaWatcher {
  /** Who leads may have changed, or the leader is established by now: see the group. */
  ledBy(): void
  /** The group handed the entry out as committed; no message that tells so has left. */
  committed?(entry: Entry): void
  /** `child` is a range of its own from here on, and its replica here is watched. Before {@link applied}. */
  split?(child: RangeDescriptor): void
  /** `right` is a part of this range from here on; its replica here was closed. Before {@link applied}. */
  merged?(right: RangeDescriptor): void
  /** All up to `index` is shown to the service's observer. */
  applied(index: number): void
  /** Says when the answer to the commands of entry `index` may go out. Absent = at once. */
  answers?(index: number, held: HeldAnswer): void
  /** The replica is not served any more. */
  closed(): void
}

/** Called for each replica of a service that is served from now on. */
export type WatchReplicas = (replica: WatchedReplica) => ReplicaWatcher

/** `wake`: it has something to say to its group. */
export function watched({ id, group, range }: Omit<WatchedReplica, 'confirm'>, wake: () => void): WatchedReplica {
  const confirm: WatchedReplica['confirm'] = (done) => {
    if (!group.leads) return done(false)
    if (group.sole && group.established) return done(true)
    group.ask({ type: 'read' }, ({ type }) => done(type === 'granted' && group.leads))
    wake()
  }
  return { id, group, range, confirm }
}
