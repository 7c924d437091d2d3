import type { Clock } from '../base/clock.ts'
import type { RangeObserver } from '../kv/range/coprocessor.ts'
import type { ServeOptions } from '../kv/store/options.ts'
import { Certainty, type RouteLeases } from './certainty.ts'
import { DistClient, type RouteRanges } from './client.ts'
import type { Dist, RouteChange } from './contract.ts'
import { RouteTable, type RouteTableOptions } from './match/table.ts'
import type { RouteCommand } from './store/codec.ts'
import { type RouteCoprocessor, routeCoprocessor } from './store/coprocessor.ts'

export type { RouteRanges } from './client.ts'
export type * from './contract.ts'
export { type PickOptions, pickMember } from './group.ts'
export { type RouteCoprocessor, routeCoprocessor } from './store/coprocessor.ts'
export { findRoute, verifyDist } from './store/verify.ts'

export interface DistOptions extends RouteTableOptions {
  /** Opens the ranges of `dist` in the node's store; the observer must hear of them before this returns. */
  serve: (
    coprocessor: RouteCoprocessor,
    observer: RangeObserver<RouteChange>,
    options: ServeOptions<RouteCommand>,
  ) => RouteRanges
  /** Without: no other node has these ranges. */
  leased?: { leases: RouteLeases; clock: Clock }
}

export interface DistService extends Dist {
  /** True when every route of the ranges that are open here can match; before, matches find what there is. */
  ready(): boolean
  /** Takes back what earlier runs of a node left behind; resolves with the number of routes. */
  fence(node: string, incarnation: number): Promise<number>
}

/** What a command costs beside its key and value: its route, objects, the place in the queue. */
const COMMAND_BYTES = 300
/** An answer may wait for the leases of the leader before, 1.5 s: who asks again before that asks in vain. */
const ATTEMPT_MS = 2_000

/** The `dist` service of one node: its ranges, its table, its client. */
export function createDist(options: DistOptions): DistService {
  const table = new RouteTable(options)
  const commandBytes = ({ key, value }: RouteCommand) => COMMAND_BYTES + key.length + value.length
  const { serve, leased, defer } = options
  if (leased === undefined) return new DistClient(serve(routeCoprocessor, table, { commandBytes }), table, null)
  const certainty = new Certainty({ ...leased, defer, isLoaded: (range) => table.isLoaded(range) })
  const { watch } = leased.leases
  const ranges = serve(routeCoprocessor, table, { commandBytes, watch, clientLimits: { attemptMs: ATTEMPT_MS } })
  return new DistClient(ranges, table, certainty)
}
