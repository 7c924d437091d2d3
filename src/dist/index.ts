import type { RangeObserver } from '../kv/range/coprocessor.ts'
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
    options: { commandBytes: (command: RouteCommand) => number },
  ) => RouteRanges
}

export interface DistService extends Dist {
  /** True when every route of the ranges that are open here can match; before, matches find what there is. */
  ready(): boolean
  /** Takes back what earlier runs of a node left behind; resolves with the number of routes. */
  fence(node: string, incarnation: number): Promise<number>
}

/** What a command costs beside its key and value: its route, objects, the place in the queue. */
const COMMAND_BYTES = 300

/** The `dist` service of one node: its ranges, its table, its client. */
export function createDist(options: DistOptions): DistService {
  const table = new RouteTable(options)
  const commandBytes = ({ key, value }: RouteCommand) => COMMAND_BYTES + key.length + value.length
  return new DistClient(options.serve(routeCoprocessor, table, { commandBytes }), table)
}
