import type { Batch, Engine } from '../../src/kv/engine/engine.ts'

/** Answers when a batch can be read, and syncs it behind the caller's back: what an acknowledgement must not do. */
export class HastyDisk implements Engine {
  readonly persistent = true
  readonly #disk: Engine

  constructor(disk: Engine) {
    this.#disk = disk
  }

  write({ writes }: Batch): Promise<void> {
    const landed = this.#disk.write({ writes, sync: false })
    void this.#disk.write({ writes: [], sync: true })
    return landed
  }

  get: Engine['get'] = (family, key) => this.#disk.get(family, key)
  cursor: Engine['cursor'] = (family, bounds) => this.#disk.cursor(family, bounds)
  durable: Engine['durable'] = () => this.#disk.durable()
  stats: Engine['stats'] = () => this.#disk.stats()
  close: Engine['close'] = () => this.#disk.close()
}
