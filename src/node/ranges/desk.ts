import type { Clock } from '../../base/clock.ts'
import type { ClusterNode } from '../cluster/cluster-node.ts'
import { Gather } from './gather.ts'
import { Names } from './names.ts'
import type { RangeNode } from './range-node.ts'
import type { Desk } from './routes.ts'
import { Steering } from './steering.ts'

/** The operator's side of the ranges, on one node. */
export function openDesk(cluster: ClusterNode, ranges: RangeNode, clock: Clock): Desk {
  const members = () => cluster.roster.list().members
  const names = new Names(members)
  const gather = new Gather({
    ...{ control: cluster.control, members, names, clock },
    ranges: () => ranges.store.ranges(),
    heard: () => ranges.tidings.ranges(),
    landscape: () => ranges.keeper.landscape(null),
    rules: () => ranges.rules(),
  })
  const steering = new Steering({
    ...{ meta: ranges.metaRanges, replication: ranges.replication, names },
    state: () => ranges.meta.state,
    rules: () => ranges.rules(),
    landscape: () => ranges.keeper.landscape(null),
    now: () => clock.now(),
  })
  return { gather, steering }
}
