import { BrokerError } from '../../../base/errors.ts'
import {
  type Batch,
  type Bounds,
  type Cursor,
  type Engine,
  type EngineStats,
  FAMILIES,
  type Family,
} from '../engine.ts'
import { type Snapshot, Tree } from './tree.ts'

/** One state of all families, for ever unchanged; taking one costs nothing. */
export type Image = Record<Family, Snapshot>

/**
 * The engine of a node without a disk: one {@link Tree} a family. A batch is landed, and as durable as it gets, by the
 * time `write` returns; nothing survives the process.
 */
export class MemoryEngine implements Engine {
  readonly persistent = false
  readonly #trees: Record<Family, Tree>
  #batches = 0
  #closed = false

  constructor(from?: Image) {
    this.#trees = byFamily((family) => new Tree(from?.[family]))
  }

  get(family: Family, key: Uint8Array): Uint8Array | undefined {
    return this.#trees[family].get(key)
  }

  cursor(family: Family, bounds: Bounds): Cursor {
    return this.#trees[family].cursor(bounds)
  }

  write(batch: Batch): Promise<void> {
    if (this.#closed) return Promise.reject(new BrokerError('CLOSED', 'Cannot write a batch: the engine is closed'))
    this.land(batch)
    return LANDED
  }

  /** As {@link write}, for a caller that knows that this engine is never late. */
  land(batch: Batch): void {
    for (const { family, write } of batch.writes) {
      const tree = this.#trees[family]
      if (write.type === 'put') tree.put(write.key, write.value)
      else if (write.type === 'delete') tree.delete(write.key)
      else tree.deleteRange(write.start, write.end)
    }
    this.#batches++
  }

  durable(): number {
    return this.#batches
  }

  image(): Image {
    return byFamily((family) => this.#trees[family].snapshot())
  }

  stats(): EngineStats {
    return {
      bytes: byFamily((family) => this.#trees[family].bytes),
      freeBytes: Number.POSITIVE_INFINITY,
      batches: this.#batches,
      syncs: 0,
    }
  }

  async close(): Promise<void> {
    this.#closed = true
  }
}

const LANDED = Promise.resolve()

function byFamily<T>(make: (family: Family) => T): Record<Family, T> {
  const record = {} as Record<Family, T>
  for (const family of FAMILIES) record[family] = make(family)
  return record
}
