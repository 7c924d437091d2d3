import type { Engine } from '../../../src/kv/engine/engine.ts'
import type { Ready, Status } from '../../../src/kv/raft/index.ts'
import { Group } from '../../../src/kv/store/group.ts'
import { RangeLog } from '../../../src/kv/store/range-log.ts'

/** Sees what the replicas of one store take from their Raft machines. */
export interface ReadyWatcher {
  /** `before` and `after` taking it; the store has done nothing of it yet. */
  ready(range: string, group: Group, ready: Ready, before: Status, after: Status): void
}

const watchers = new WeakMap<Engine, ReadyWatcher>()
const owners = new WeakMap<RangeLog, { range: string; watcher: ReadyWatcher }>()

/** Tells `watcher` of all groups that live on `engine`; those of other engines are left alone. */
export function watchReadys(engine: Engine, watcher: ReadyWatcher): void {
  watchers.set(engine, watcher)
}

function adopt(log: RangeLog, engine: Engine, range: string): void {
  const watcher = watchers.get(engine)
  if (watcher !== undefined) owners.set(log, { range, watcher })
}

const { open, begin } = RangeLog
RangeLog.open = (engine, range) => {
  const log = open.call(RangeLog, engine, range)
  if (log !== null) adopt(log, engine, range)
  return log
}
RangeLog.begin = (engine, range, index, term) => {
  const begun = begin.call(RangeLog, engine, range, index, term)
  adopt(begun.log, engine, range)
  return begun
}

const { take } = Group.prototype
Group.prototype.take = function (this: Group, writes): Ready {
  const owner = owners.get(this.log)
  if (owner === undefined) return take.call(this, writes)
  const before = this.status()
  const ready = take.call(this, writes)
  owner.watcher.ready(owner.range, this, ready, before, this.status())
  return ready
}
