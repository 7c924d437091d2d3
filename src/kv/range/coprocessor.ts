import type { Bounds, Cursor, Write } from '../engine/engine.ts'

/** Services that keep state in ranges, each in a family of its own; `cluster` is the `meta` range. The order is on the wire. */
export const SERVICE_NAMES = ['dist', 'inbox', 'retain', 'cluster'] as const
export type ServiceName = (typeof SERVICE_NAMES)[number]

/**
 * A service's logic inside a range: deterministic, run on every replica for every committed entry.
 *
 * It reads through `reader` alone and changes nothing but by the writes it returns. Commands are checked before they
 * are proposed; a throw in {@link mutate} halts the range. One entry carries a batch of commands; responses come back
 * in their order.
 */
export interface Coprocessor<Command, Response, Query, Answer, Effect> {
  readonly service: ServiceName
  /** Version of this logic, named in every entry. */
  readonly version: number
  /** The log entry of a batch. What several commands share (a payload) is written once. */
  encode(commands: readonly Command[]): Uint8Array
  /** The reverse; throws BrokerError on damaged bytes. */
  decode(entry: Uint8Array): Command[]
  /** True for a command that takes space: refused while the disk is nearly full or behind. Absent = all do. */
  grows?(command: Command): boolean
  /** Where a cut near `key` may lie: the start of what must stay together. Absent = at any key. */
  cutNear?(key: Uint8Array): Uint8Array | null
  mutate(commands: readonly Command[], reader: Reader, context: MutateContext): Mutation<Response, Effect>
  /** Read only; pages by itself: an answer is bounded in bytes and carries where to go on. */
  query(query: Query, reader: Reader, context: QueryContext): Answer
  /**
   * What is due on the leader (expiry, wills), read from the time index: proposed like any other batch. It may come a
   * second time, from the next leader or before the first was applied, so {@link mutate} checks that it still is due. At
   * most `limit` commands; empty where nothing is due.
   */
  due(reader: Reader, nowMs: number, limit: number, boundary: Bounds): Command[]
  /**
   * What the range's own records need when the keys of `right` have become its own; deterministic, as {@link mutate}.
   * `boundary` is the new one. Absent = nothing.
   */
  merge?(reader: Reader, boundary: Bounds, right: Bounds): Write[]
  /** When {@link due} should next be asked, ms since 1970; null = not before the next mutation. */
  nextDueMs(reader: Reader, boundary: Bounds): number | null
}

/** The range's keys, and nothing outside its boundary; sees every earlier entry, landed or not. */
export interface Reader {
  get(key: Uint8Array): Uint8Array | undefined
  cursor(bounds?: Bounds): Cursor
}

export interface MutateContext {
  /** Time of the entry, ms since 1970: max(the leader's clock, the last entry's). The same on every replica. */
  nowMs: number
  /** Log index of the entry. */
  index: number
  boundary: Bounds
  /** Version of the logic that the entry names, at most {@link Coprocessor.version}; absent = that one. */
  logic?: number
}

export interface QueryContext {
  nowMs: number
  boundary: Bounds
}

export interface Mutation<Response, Effect> {
  writes: Write[]
  /** One for each command, in order. */
  responses: Response[]
  /** What the node's host is told once the entry is applied: see {@link RangeObserver}. */
  effects: Effect[]
}

/**
 * The node's side of a service: keeps derived state in memory (the route trie, who waits for which inbox) and performs
 * effects. Called in log order, after the writes are visible to readers and before the command is answered.
 */
export interface RangeObserver<Effect> {
  /** A replica opened here (start, split child, snapshot): read what is needed, in slices if it is much. */
  opened(range: RangeDescriptor, reader: Reader): void
  applied(range: RangeDescriptor, applied: Applied<Effect>): void
  /**
   * `parent` ended at `child.start`; both are in their new form. Derived state need not change. A service without this
   * is told `opened(child)`.
   */
  split?(parent: RangeDescriptor, child: RangeDescriptor, reader: Reader): void
  /**
   * `left` goes on with the keys of `right`, which is no more; `reader` is the left one's. Derived state need not change.
   * A service without this is told `closed(right)`, then `opened(left)` again.
   */
  merged?(left: RangeDescriptor, right: RangeDescriptor, reader: Reader): void
  /** The replica moved away or was closed. */
  closed(range: RangeDescriptor): void
}

export interface Applied<Effect> {
  index: number
  nowMs: number
  writes: readonly Write[]
  effects: readonly Effect[]
  /** True where this replica led when the entry was applied: effects that act on the world run there alone. */
  leader: boolean
  reader: Reader
}

/** Generation of a range's boundary (`version`) and of its replicas (`confVersion`). */
export interface Epoch {
  version: number
  confVersion: number
}

export interface Replica {
  store: string
  /** Never used twice in a range. */
  replica: number
  role: 'voter' | 'learner'
}

export interface RangeDescriptor {
  id: string
  service: ServiceName
  epoch: Epoch
  /** Inclusive; undefined = from the first key. */
  start?: Uint8Array | undefined
  /** Exclusive; undefined = to the last key. */
  end?: Uint8Array | undefined
  replicas: readonly Replica[]
}
