import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import type { Batch, Bounds, Cursor, Engine, EngineStats, Family } from '../../../src/kv/engine/engine.ts'
import { LmdbEngine } from '../../../src/kv/engine/lmdb/engine.ts'
import { RocksEngine, type RocksOptions } from '../../../src/kv/engine/rocksdb/engine.ts'

/** Memory where the system has such a folder: what a test does not read back after a crash needs no disk. */
export const MEMORY = existsSync('/dev/shm') ? '/dev/shm' : tmpdir()

/** A new folder, removed after the test. */
export function newFolder(parent: string = tmpdir()): string {
  const folder = mkdtempSync(join(parent, 'flockmq-engine-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

export const SMALL = { memtableBytes: 2 ** 22, cacheBytes: 2 ** 20 }

/** An engine that is used at once and opens meanwhile: its first batch waits for that. */
export class OpeningEngine implements Engine {
  readonly persistent = true
  readonly #opening: Promise<RocksEngine | LmdbEngine>
  #engine: RocksEngine | LmdbEngine | null = null

  constructor(kind: 'rocksdb' | 'lmdb' = 'rocksdb', options: Partial<RocksOptions> = {}) {
    const path = newFolder(MEMORY)
    this.#opening =
      kind === 'lmdb' ? LmdbEngine.open({ path, ...options }) : RocksEngine.open({ path, tuning: SMALL, ...options })
    void this.#opening.then((engine) => (this.#engine = engine))
  }

  get(family: Family, key: Uint8Array): Uint8Array | undefined {
    return this.#engine?.get(family, key)
  }

  cursor(family: Family, bounds: Bounds): Cursor {
    return this.#engine!.cursor(family, bounds)
  }

  async write(batch: Batch): Promise<void> {
    const engine = this.#engine ?? (await this.#opening)
    await engine.write(batch)
  }

  durable(): number {
    return this.#engine?.durable() ?? 0
  }

  stats(): EngineStats {
    return this.#engine!.stats()
  }

  async close(): Promise<void> {
    await (await this.#opening).close()
  }
}
