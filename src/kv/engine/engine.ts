/**
 * The storage that ranges stand on: ordered keys in column families, atomic numbered batches.
 *
 * Reads are synchronous and see every landed batch. Writes are grouped: many batches share one fdatasync.
 * Keys and values are owned by the engine once written: the caller never changes them afterwards, and never changes
 * what it read.
 */
export interface Engine {
  /** False: nothing survives the process, so a store need not write what only a restart would read. */
  readonly persistent: boolean
  /** The value of `key`, or undefined. */
  get(family: Family, key: Uint8Array): Uint8Array | undefined
  /** Opens a cursor over [start, end); it sees the state of the moment it was opened. Close it. */
  cursor(family: Family, bounds: Bounds): Cursor
  /**
   * Lands all writes of the batch or none, in the order of the calls; they are readable when it resolves, and durable
   * as {@link Batch.sync} says. A rejection means that the disk failed: the engine takes no further batch.
   */
  write(batch: Batch): Promise<void>
  /** Number of the last durable batch; 0 before the first. */
  durable(): number
  /** Bytes and counts for metrics and for refusal by free space. */
  stats(): EngineStats
  /** Waits for writes under way, then releases everything. Idempotent. */
  close(): Promise<void>
}

/** Column families: fixed, few. */
export type Family = 'raft' | 'meta' | 'dist' | 'inbox' | 'retain' | 'cluster'
export const FAMILIES: readonly Family[] = ['raft', 'meta', 'dist', 'inbox', 'retain', 'cluster']

/** Start inclusive, end exclusive; undefined is open. */
export interface Bounds {
  start?: Uint8Array | undefined
  end?: Uint8Array | undefined
}

/** Positions in key order. `key` and `value` are valid while `valid` is true, until the next move. */
export interface Cursor {
  readonly valid: boolean
  readonly key: Uint8Array
  readonly value: Uint8Array
  /** To the first key >= `key` within the bounds. A new cursor stands before the first: seek or next first. */
  seek(key: Uint8Array): boolean
  /** To the last key < `key` within the bounds; undefined = the last of all. */
  seekBefore(key?: Uint8Array): boolean
  next(): boolean
  close(): void
}

export type Write =
  | { type: 'put'; key: Uint8Array; value: Uint8Array }
  | { type: 'delete'; key: Uint8Array }
  | { type: 'deleteRange'; start: Uint8Array; end: Uint8Array }

export interface Batch {
  writes: { family: Family; write: Write }[]
  /** True: resolves only after fdatasync. False: resolves once readable; durable with the next synced batch. */
  sync: boolean
}

export interface EngineStats {
  /** Approximate bytes of keys and values by family. */
  bytes: Record<Family, number>
  /** Free bytes of the disk; Infinity in memory. */
  freeBytes: number
  /** Size of the disk; absent in memory. */
  diskBytes?: number
  batches: number
  syncs: number
  /** What the disk is behind with; absent in memory. */
  pressure?: EnginePressure
}

/** Signs that writes come faster than the disk takes them: a store answers OVERLOADED before the engine stalls. */
export interface EnginePressure {
  /** Files that wait for compaction, of the family that has most: RocksDB slows writes down at 20, stops them at 36. */
  level0Files: number
  /** Their bytes, all families. */
  level0Bytes: number
  /** The engine slows writes down or has stopped them. */
  stalled: boolean
  /** How long the oldest write has been under way, in milliseconds. */
  oldestWriteMs: number
}
