import type { RangeDescriptor } from '../range/coprocessor.ts'

/**
 * How a service reaches its ranges, wherever they are.
 *
 * Commands of one turn travel in one batch a range, in a numbered stream (node incarnation, range): the range stores
 * the last number applied and refuses a gap, so a retry is never applied twice and never overtakes. Redirects, epoch
 * changes and splits are handled here; a caller sees an answer, or a BrokerError after the deadline.
 */
export interface RangeClient<Command, Response, Query, Answer> {
  /** Runs `command` on the range that holds `key`. Commands of one key are applied in the order of the calls. */
  mutate(key: Uint8Array, command: Command, options?: CallOptions): Promise<Response>
  /**
   * As {@link mutate} without a promise for each command: `done` is called once, in the order of application, with `tag`:
   * so that one function may serve many commands.
   */
  mutateWith(key: Uint8Array, command: Command, done: Done<Response>, options?: CallOptions, tag?: number): void
  /** Reads from the range that holds `key`. */
  query(key: Uint8Array, query: Query, options?: QueryOptions): Promise<Answer>
  /** The range that holds `key` now, by the landscape: a hint. For services that walk range by range. */
  locate(key: Uint8Array): RangeDescriptor
  /** The store that is believed to lead the range that holds `key`: a hint. '' where none is known. */
  leader(key: Uint8Array): string
  /** Stops taking calls; those under way end with CLOSED. */
  close(): Promise<void>
}

/** `error` is null on success. Called outside of the range's loop, never twice. */
export type Done<Response> = (error: Error | null, response: Response | null, tag: number) => void

export interface CallOptions {
  /** Milliseconds until a call without quorum fails. Default 10,000. */
  deadlineMs?: number
}

export interface QueryOptions extends CallOptions {
  /** True (default): sees everything acknowledged before the call. False: the local replica, maybe behind. */
  linearizable?: boolean
}
