import type { Batch } from '../../../src/kv/engine/engine.ts'
import { SimulatedEngine } from '../../../src/kv/engine/memory/simulated.ts'
import type { ConfState, Entry, HardState } from '../../../src/kv/raft/index.ts'
import { RaftLog } from '../../../src/kv/raft/log.ts'
import { Outbox } from '../../../src/kv/raft/outbox.ts'
import { Quorum } from '../../../src/kv/raft/quorum.ts'
import type { Run } from '../../../src/kv/range/entry.ts'
import { recordOf } from '../../../src/kv/range/schema.ts'
import { Streams } from '../../../src/kv/range/streams.ts'
import { SnapshotReceiver } from '../../../src/kv/snapshot/index.ts'
import { Group } from '../../../src/kv/store/group.ts'
import { RangeHost } from '../../../src/kv/store/host.ts'
import { RangeLog } from '../../../src/kv/store/range-log.ts'
import { Service } from '../../../src/kv/store/service.ts'
import { SERVICE } from './disk-view.ts'
import type { RunOptions } from './run.ts'

/** A mistake in the store that ships. `plant` makes it; what that returns takes it back. */
export interface Bug {
  plant(): () => void
  /** Where it is most often seen; else anywhere. */
  where?: RunOptions
}

/** Replaces a method of a class. */
function replace<Class extends object>(prototype: Class, name: keyof Class & string, value: unknown): () => void {
  const before = Object.getOwnPropertyDescriptor(prototype, name)!
  Object.defineProperty(prototype, name, { ...before, value })
  return () => Object.defineProperty(prototype, name, before)
}

/** Messages that should wait for the disk, and do not. */
function atOnce(type: string): () => void {
  const { promise } = Outbox.prototype
  return replace(Outbox.prototype, 'promise', function (this: Outbox, message: Parameters<typeof promise>[0]) {
    if (message.type === type) this.send(message)
    else promise.call(this, message)
  })
}

const MANY_SPLITS: RunOptions = {
  voters: 3,
  delayMsMax: 60,
  meanMs: { split: 700, crash: 2_500, transfer: 1_000, 'symmetric partition': 3_000 },
}
const MANY_CHANGES: RunOptions = {
  stores: 5,
  voters: 3,
  meanMs: { membership: 400, transfer: 1_500, crash: 4_000, 'symmetric partition': 5_000 },
}

/**
 * What each breaks must be seen: as a violation, or because the store itself finds that something cannot be. Those of the
 * library alone are in `test/kv/raft/bugs.test.ts`.
 */
export const BUGS: Record<string, Bug> = {
  'a vote is not written': {
    plant: () => {
      const { append } = RangeLog.prototype
      return replace(
        RangeLog.prototype,
        'append',
        function (this: RangeLog, entries: Entry[], state: HardState | null) {
          return append.call(this, entries, state === null ? null : { ...state, vote: null })
        },
      )
    },
  },
  'a vote is given before it is on disk': { plant: () => atOnce('vote-answer') },
  'appends are answered before they are on disk': { plant: () => atOnce('append-answer') },
  'batches are not synced': {
    plant: () => {
      const { write } = SimulatedEngine.prototype
      return replace(SimulatedEngine.prototype, 'write', function (this: SimulatedEngine, batch: Batch) {
        return write.call(this, { ...batch, sync: false })
      })
    },
    where: { voters: 3, meanMs: { crash: 1_000, 'power loss': 3_000 } },
  },
  'one of a group is a majority': {
    plant: () =>
      replace(Quorum.prototype, 'agreed', function (this: Quorum, numberOf: (id: number) => number) {
        return Math.max(...[1, 2, 3, 4, 5, 6, 7].map(numberOf))
      }),
    where: { voters: 3 },
  },
  'a follower applies what nobody has committed': {
    plant: () => {
      const { extend } = RaftLog.prototype
      return replace(RaftLog.prototype, 'extend', function (this: RaftLog, previous: number, entries: Entry[]) {
        const last = extend.call(this, previous, entries)
        this.commitTo(last)
        return last
      })
    },
    where: { voters: 3 },
  },
  'a leader reads without asking a majority': {
    plant: () => {
      const { read } = RangeHost.prototype
      type Host = RangeHost<never, unknown, never, unknown, unknown>
      return replace(RangeHost.prototype, 'read', function (this: Host, run: Parameters<typeof read>[0]) {
        return this.group.leads || read.call(this, run)
      })
    },
    where: {
      // Long after the others have left it, the leader has not missed them.
      ...{ stores: 3, voters: 3, electionTicks: 40, splits: [], clients: 4, delayMsMax: 20, durationMs: 15_000 },
      meanMs: { 'deserted leader': 2_000 },
    },
  },
  'the applied index goes apart from its data': {
    plant: () => {
      const { write } = SimulatedEngine.prototype
      return replace(SimulatedEngine.prototype, 'write', function (this: SimulatedEngine, { writes, sync }: Batch) {
        const data = writes.filter(({ family }) => family === SERVICE)
        const records = writes.filter(({ family }) => family !== SERVICE)
        void write.call(this, { writes: records, sync })
        return write.call(this, { writes: data, sync })
      })
    },
    where: { stores: 3, voters: 1, clients: 4, delayMsMax: 2, meanMs: { crash: 500, 'slow disk': 400 } },
  },
  'a snapshot comes without the marks of streams': {
    plant: () => {
      const { next } = SnapshotReceiver.prototype
      return replace(SnapshotReceiver.prototype, 'next', function (this: SnapshotReceiver, nowMs: number) {
        const batch = next.call(this, nowMs)
        if (batch === null) return null
        const writes = batch.writes.filter(
          ({ family, write }) => family !== 'meta' || write.type !== 'put' || recordOf(write.key, SERVICE).kind !== 's',
        )
        return { ...batch, writes }
      })
    },
    where: MANY_CHANGES,
  },
  'a split does not copy the marks of streams': {
    plant: () => replace(Streams.prototype, 'copyTo', () => {}),
    where: MANY_SPLITS,
  },
  'a repetition is applied again': {
    plant: () => {
      const { admit } = Streams.prototype
      return replace(Streams.prototype, 'admit', function (this: Streams, run: Run, ...rest: [number, never[]]) {
        const admission = admit.call(this, run, ...rest)
        return admission.error === null ? { ...admission, repeated: 0 } : admission
      })
    },
    where: { clientDatagrams: true, duplicatePercent: 8 },
  },
  'the number of a replica is used again': {
    plant: () => {
      const { configured } = Group.prototype
      return replace(Group.prototype, 'configured', function (this: Group, config: ConfState) {
        configured.call(this, config)
        const { voters, outgoing, learners, learnersNext } = config
        this.nextReplica = Math.max(...voters, ...outgoing, ...learners, ...learnersNext) + 1
      })
    },
    where: MANY_CHANGES,
  },
  'a replica that was removed stays': {
    plant: () => replace(Service.prototype, 'remove', () => {}),
    where: MANY_CHANGES,
  },
  'a log is cut off before what has landed': {
    plant: () =>
      replace(Group.prototype, 'neededFrom', function (this: Group) {
        return this.log.lastIndex()
      }),
    where: { voters: 3, logBytes: 1_000, meanMs: { crash: 1_500, 'slow disk': 1_500, 'hung disk': 2_000 } },
  },
}
