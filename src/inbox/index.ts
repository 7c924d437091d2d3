import type { Clock } from '../base/clock.ts'
import type { Logger } from '../base/logging.ts'
import type { RangeObserver } from '../kv/range/coprocessor.ts'
import type { WatchReplicas } from '../kv/store/watch.ts'
import { InboxClient, type OtherInboxes } from './client.ts'
import type { Inbox } from './contract.ts'
import type { InboxRanges } from './feed-host.ts'
import type { Incarnations, LeasePorts } from './leases/contract.ts'
import { NodeLeases } from './leases/node-leases.ts'
import { InboxObserver } from './observer.ts'
import type { Command, Effect } from './store/command.ts'
import { commandBytesOf } from './store/command-bytes.ts'
import { type InboxCoprocessor, inboxCoprocessor } from './store/coprocessor.ts'

export type * from './contract.ts'
export type { InboxRanges } from './feed-host.ts'
export type { Incarnations, LeasePorts } from './leases/contract.ts'
export { type InboxCoprocessor, inboxCoprocessor } from './store/coprocessor.ts'
export { groupInbox, inboxStart } from './store/schema.ts'
export { type SubscriptionCheck, verifyInbox } from './store/verify.ts'

export interface InboxOptions {
  /** Opens the ranges of `inbox` in the node's store; the observer must hear of them before this returns. */
  serve: (
    coprocessor: InboxCoprocessor,
    observer: RangeObserver<Effect>,
    serving: { commandBytes: (command: Command) => number; watch: WatchReplicas },
  ) => InboxRanges
  clock: Clock
  /** Runs a callback after what runs now: a turn of the loop. */
  defer: (callback: () => void) => void
  log: Logger
  /** Host id of this node. */
  node: string
  /** Absent: there are none, and never will be. */
  others?: OtherInboxes | undefined
  incarnations: Incarnations
  /** Default: nobody else is, nor ever was. */
  leases?: LeasePorts | undefined
}

const ALONE: LeasePorts = { landscape: () => [], send: () => {}, attach: () => {}, lonely: () => true }

/** The `inbox` service of one node: its ranges, its feeds, its client. */
export function createInbox(options: InboxOptions): Inbox {
  const { clock, defer, log, node, incarnations, others, leases: ports = ALONE } = options
  const observer = new InboxObserver(log, defer)
  const leases = new NodeLeases({
    ...{ node, incarnations, clock, defer, log, ports },
    nodeGone: (gone, incarnation) => client.nodeGone(gone, incarnation),
  })
  const { watch } = leases.leaders
  const ranges = options.serve(inboxCoprocessor, observer, { commandBytes: commandBytesOf(), watch })
  const client: InboxClient = new InboxClient({ ranges, observer, clock, defer, log, node, others, leases })
  leases.front.renew = (incarnation) => client.renewed(incarnation)
  return client
}
