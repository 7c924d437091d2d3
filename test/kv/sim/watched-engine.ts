import type { Batch, Bounds, Cursor, Engine, EngineStats, Family } from '../../../src/kv/engine/engine.ts'

export interface EngineWatcher {
  /** Handed to the engine. */
  submitted(batch: Batch): void
  /** Readable; and, where it is synced, on disk with all before it. */
  landed(batch: Batch): void
  /** On the disk. */
  freeBytes(): number
}

/** Of a disk that is not behind: a store looks at its space only where it is told of both. */
const NO_PRESSURE = { level0Files: 0, level0Bytes: 0, stalled: false, oldestWriteMs: 0 }

/** A store's view of its disk, which tells what is written before the store hears that it is. */
export class WatchedEngine implements Engine {
  readonly persistent = true
  readonly #engine: Engine
  readonly #watcher: EngineWatcher

  constructor(engine: Engine, watcher: EngineWatcher) {
    this.#engine = engine
    this.#watcher = watcher
  }

  get(family: Family, key: Uint8Array): Uint8Array | undefined {
    return this.#engine.get(family, key)
  }

  cursor(family: Family, bounds: Bounds): Cursor {
    return this.#engine.cursor(family, bounds)
  }

  write(batch: Batch): Promise<void> {
    this.#watcher.submitted(batch)
    return this.#engine.write(batch).then(() => this.#watcher.landed(batch))
  }

  durable(): number {
    return this.#engine.durable()
  }

  stats(): EngineStats {
    return { ...this.#engine.stats(), freeBytes: this.#watcher.freeBytes(), pressure: NO_PRESSURE }
  }

  close(): Promise<void> {
    return this.#engine.close()
  }
}
