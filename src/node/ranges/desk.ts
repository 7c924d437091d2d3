import type { Clock } from '../../base/clock.ts'
import type { Logger } from '../../base/logging.ts'
import type { ClusterNode } from '../cluster/cluster-node.ts'
import { ByHand } from './by-hand.ts'
import { Departure } from './departure.ts'
import { Gather } from './gather.ts'
import { Names } from './names.ts'
import type { RangeNode } from './range-node.ts'
import type { Desk } from './routes.ts'
import { Steering } from './steering.ts'

export interface DeskOptions {
  clock: Clock
  log: Logger
  /** This node is no part of the cluster any more: it stops for ever. */
  depart(): void
}

/** The operator's side of the ranges, on one node. */
export function openDesk(cluster: ClusterNode, ranges: RangeNode, { clock, log, depart }: DeskOptions): Desk {
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
  const byHand = new ByHand({
    ...{ control: cluster.control, gather, names, store: ranges.store, self: cluster.underlay.self.id, clock, log },
    cutNear: ({ service }, key) => ranges.cutNear(service, key),
    middleOf: (range) => ranges.middleOf(range),
    hold: (range) => ranges.keeper.hold(range),
  })
  const departure = new Departure({
    ...{ meta: ranges.metaRanges, self: cluster.underlay.self.id, names, clock, log, depart },
    state: () => ranges.meta.state,
    landscape: () => ranges.keeper.landscape(null),
    rules: () => ranges.rules(),
    held: () => ranges.store.ranges().length,
    leadsMeta: () => ranges.store.ranges().some(({ descriptor, leads }) => leads && descriptor.service === 'cluster'),
  })
  return { gather, steering, byHand, departure, names }
}
