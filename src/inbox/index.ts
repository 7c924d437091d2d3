import type { Clock } from '../base/clock.ts'
import type { Logger } from '../base/logging.ts'
import type { RangeObserver } from '../kv/range/coprocessor.ts'
import { InboxClient, type OtherInboxes } from './client.ts'
import type { Inbox } from './contract.ts'
import type { InboxRanges } from './feed-host.ts'
import { InboxObserver } from './observer.ts'
import type { Command, Effect } from './store/command.ts'
import { commandBytesOf } from './store/command-bytes.ts'
import { type InboxCoprocessor, inboxCoprocessor } from './store/coprocessor.ts'

export type * from './contract.ts'
export type { InboxRanges } from './feed-host.ts'
export { type InboxCoprocessor, inboxCoprocessor } from './store/coprocessor.ts'
export { groupInbox, inboxStart } from './store/schema.ts'
export { type SubscriptionCheck, verifyInbox } from './store/verify.ts'

export interface InboxOptions {
  /** Opens the ranges of `inbox` in the node's store; the observer must hear of them before this returns. */
  serve: (
    coprocessor: InboxCoprocessor,
    observer: RangeObserver<Effect>,
    serving: { commandBytes: (command: Command) => number },
  ) => InboxRanges
  clock: Clock
  /** Runs a callback after what runs now: a turn of the loop. */
  defer: (callback: () => void) => void
  log: Logger
  /** Host id of this node. */
  node: string
  /** Absent: there are none, and never will be. */
  others?: OtherInboxes | undefined
}

/** The `inbox` service of one node: its ranges, its feeds, its client. */
export function createInbox(options: InboxOptions): Inbox {
  const { clock, defer, log, node, others } = options
  const observer = new InboxObserver(log, defer)
  const ranges = options.serve(inboxCoprocessor, observer, { commandBytes: commandBytesOf() })
  return new InboxClient({ ranges, observer, clock, defer, log, node, others })
}
