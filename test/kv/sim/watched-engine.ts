import type { Batch, Bounds, Cursor, Engine, EngineStats, Family } from '../../../src/kv/engine/engine.ts'

export interface EngineWatcher {
  /** Handed to the engine. */
  submitted(batch: Batch): void
  /** Readable; and, where it is synced, on disk with all before it. */
  landed(batch: Batch): void
}

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
    return this.#engine.stats()
  }

  close(): Promise<void> {
    return this.#engine.close()
  }
}
