import type { RangeObserver } from '../kv/range/coprocessor.ts'
import { RetainClient, type RetainRanges } from './client.ts'
import type { Retain } from './contract.ts'
import { RetainObserver } from './observer.ts'
import type { Usage } from './store/books.ts'
import { commandBytes, type RetainCommand } from './store/codec.ts'
import { type RetainCoprocessor, retainCoprocessor } from './store/coprocessor.ts'

export type { RetainRanges } from './client.ts'
export type * from './contract.ts'
export { type RetainCoprocessor, retainCoprocessor } from './store/coprocessor.ts'
export { verifyRetain } from './store/verify.ts'

export interface RetainOptions {
  /** Opens the ranges of `retain` in the node's store; queues and batches are bounded by `commandBytes`. */
  serve: (
    coprocessor: RetainCoprocessor,
    observer: RangeObserver<Usage>,
    options: { commandBytes: (command: RetainCommand) => number },
  ) => RetainRanges
}

/** The `retain` service of one node: its ranges and its client. */
export function createRetain(options: RetainOptions): Retain {
  const observer = new RetainObserver()
  return new RetainClient(options.serve(retainCoprocessor, observer, { commandBytes }), observer)
}
