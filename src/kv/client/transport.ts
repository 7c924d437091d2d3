import type { BrokerError } from '../../base/errors.ts'
import type { RangeDescriptor } from '../range/coprocessor.ts'
import type { Run } from '../range/entry.ts'
import type { LOST } from '../range/streams.ts'

/**
 * How a client's batches reach the stores: a direct call in the same process, a stream to another one.
 *
 * Any answer may be missing, late, or come twice: numbers and deadlines are the client's. An answer never comes before
 * the call returns.
 */
export interface RangeTransport<Command, Response, Query, Answer> {
  propose(store: string, batch: CommandBatch<Command>, answer: BatchAnswer<Response>): void
  query(store: string, request: QueryRequest<Query>, answer: QueryAnswer<Answer>): void
  /** Every range of the service as known here: a hint. */
  landscape(): readonly RangeDescriptor[]
  /** False: as far as is known here, no majority of the range's voters can be reached. A hint; default true. */
  reachesMajority?(range: RangeDescriptor): boolean
  /** Calls `flush` soon, when batches are best handed over: what one turn brings travels together. */
  schedule(flush: () => void): void
}

/** Hint of an OVERLOADED: the store takes what needs no space. */
export const GROWTH_REFUSED = { growth: 'refused' } as const

export interface CommandBatch<Command> {
  range: string
  /** The boundary's generation that the client routed by. */
  epochVersion: number
  run: Run
  /** One for each command. */
  keys: readonly Uint8Array[]
  commands: readonly Command[]
  /** Approximate size of the commands. */
  bytes: number
}

export interface QueryRequest<Query> {
  range: string
  epochVersion: number
  key: Uint8Array
  query: Query
  linearizable: boolean
}

/** `responses` has one for each command. */
export type BatchAnswer<Response> = (error: BrokerError | null, responses: readonly (Response | typeof LOST)[]) => void

export type QueryAnswer<Answer> = (error: BrokerError | null, answer: Answer | null) => void
