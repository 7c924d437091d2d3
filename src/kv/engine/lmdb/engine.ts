import { mkdir, statfs } from 'node:fs/promises'
import { join } from 'node:path'
import type { RootDatabase, Transaction } from 'lmdb'
import { type Clock, systemClock } from '../../../base/clock.ts'
import { BrokerError } from '../../../base/errors.ts'
import type { HealthReason } from '../../../base/health.ts'
import { GroupCommit } from '../disk/commit.ts'
import { countFirst } from '../disk/count.ts'
import { DiskWatch } from '../disk/disk-watch.ts'
import { openFailed, readFailed } from '../disk/failures.ts'
import { type Opened, WorkerWriter, type Writer } from '../disk/writer.ts'
import {
  type Batch,
  type Bounds,
  type Cursor,
  type Engine,
  type EngineStats,
  FAMILIES,
  type Family,
} from '../engine.ts'
import { LmdbCursor } from './cursor.ts'
import { refuseShortFile } from './length-file.js'
import { type Pages, readPages } from './pages.js'
import { loadEnvironment } from './platform.ts'
import type { Tree } from './tree.js'

export interface LmdbOptions {
  /** Folder of the database and its side file; made where it is missing. The caller keeps other processes out. */
  path: string
  /** Opens a database that has lost durable batches all the same: see {@link LmdbEngine.lost}. Default false. */
  acceptLoss?: boolean
  /** The disk failed: what is on it is unknown, so the process must end. Called once. */
  fatal?: (error: Error) => void
  /** A write that takes longer is reported by {@link LmdbEngine.health}. Default 10,000 ms. */
  hangMs?: number
  /** Address space that is set aside at first; it grows where it must. Default: the size of the disk, 1 to 16 GiB. */
  mapBytes?: number
  clock?: Clock
}

const PLACES = Object.fromEntries(FAMILIES.map((family, place) => [family, place])) as Record<Family, number>
/** Least and most address space that is set aside at first: emulators and some small machines have little of it. */
const MAP_BYTES_MIN = 1024 ** 3
const MAP_BYTES_MAX = 16 * 1024 ** 3

/**
 * The engine with a disk where RocksDB has no binary: one LMDB environment, a thread that writes, reads on the caller's
 * thread from the page cache.
 *
 * Every batch is durable when it is readable, also one that does not ask for it: LMDB without syncs could lose everything.
 */
export class LmdbEngine implements Engine {
  readonly persistent = true
  /** How many durable batches were lost before this start; 0 unless the loss was accepted. */
  readonly lost: number
  readonly #environment: RootDatabase
  readonly #trees: readonly Tree[]
  readonly #writer: Writer
  readonly #watch: DiskWatch<Pages>
  readonly #commit: GroupCommit
  readonly #cursors = new Set<LmdbCursor>()
  #closing: Promise<void> | null = null
  #released = false

  private constructor({ options, environment, trees, writer, watch, opened }: Parts) {
    this.#environment = environment
    this.#trees = trees
    this.#writer = writer
    this.#watch = watch
    const { hangMs, fatal, clock = systemClock } = options
    this.#commit = new GroupCommit({
      ...{ writer, clock, number: opened.number, hangMs, fatal },
      landed: () => environment.resetReadTxn(),
    })
    this.lost = opened.lost
  }

  /** Opens the database, or creates it. Rejects with STORAGE_FAILED, naming the reason, where it may not be served. */
  static async open(options: LmdbOptions): Promise<LmdbEngine> {
    const { acceptLoss = false, clock = systemClock } = options
    const openEnvironment = await loadEnvironment()
    try {
      const path = join(options.path, 'lmdb')
      await mkdir(path, { recursive: true })
      const mapBytes = options.mapBytes ?? (await defaultMapBytes(path))
      refuseShortFile(path)
      const { environment, databases, trees } = openEnvironment(path, { mapBytes, families: FAMILIES })
      try {
        let engine: LmdbEngine | null = null
        const setup = {
          ...{ worker: new URL('./worker.js', import.meta.url), sidePath: join(options.path, 'durable'), acceptLoss },
          data: { path, mapBytes },
        }
        const { writer, opened } = await WorkerWriter.open(setup, (error) => {
          if (engine !== null) engine.#commit.fail(error)
        })
        const see = () => readPages(environment, databases)
        const watch = new DiskWatch(options.path, clock, see, see())
        await watch.start()
        engine = new LmdbEngine({ options, environment, trees, writer, watch, opened })
        return engine
      } catch (error) {
        await environment.close()
        throw error
      }
    } catch (cause) {
      throw openFailed(options.path, cause as Error)
    }
  }

  get(family: Family, key: Uint8Array): Uint8Array | undefined {
    if (this.#released) throw new BrokerError('CLOSED', 'Cannot read: the engine is closed')
    try {
      return this.#treeOf(family).get(key)
    } catch (cause) {
      throw readFailed(cause)
    }
  }

  cursor(family: Family, bounds: Bounds): Cursor {
    if (this.#released) throw new BrokerError('CLOSED', 'Cannot read: the engine is closed')
    let state: Transaction
    try {
      state = this.#environment.useReadTransaction()
    } catch (cause) {
      throw readFailed(cause)
    }
    const cursor = new LmdbCursor(this.#treeOf(family), state, bounds, (closed) => void this.#cursors.delete(closed))
    this.#cursors.add(cursor)
    return cursor
  }

  write(batch: Batch): Promise<void> {
    return this.#commit.write(batch.sync ? batch : { writes: batch.writes, sync: true })
  }

  /**
   * Runs `work` when no batch is under way: all that it reads, and all cursors that it opens, belong to one state, that
   * of batch {@link landed}. It must not wait for anything.
   */
  between<Result>(work: () => Result): Promise<Result> {
    return this.#commit.between(work)
  }

  durable(): number {
    return this.#commit.durable
  }

  /** Number of the last batch that reads see. */
  landed(): number {
    return this.#commit.landed
  }

  /** Not for every turn. */
  stats(): EngineStats {
    const { freeBytes, diskBytes, seen } = this.#watch
    const bytes = {} as EngineStats['bytes']
    for (const family of FAMILIES) {
      const counted = countFirst(this.cursor(family, {}))
      bytes[family] = counted.all ? counted.bytes : Math.max(counted.bytes, seen.familyBytes[PLACES[family]]!)
    }
    const pressure = { level0Files: 0, level0Bytes: 0, stalled: false, oldestWriteMs: this.#commit.oldestWriteMs }
    // The file never gets shorter: what is free in it is written before it grows.
    return { bytes, freeBytes: freeBytes + seen.freeBytes, diskBytes, ...this.#commit.counts, pressure }
  }

  /** What keeps writes from being done. */
  health(): HealthReason[] {
    return this.#commit.health()
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    await this.#commit.close()
    this.#watch.stop()
    await this.#writer.close()
    this.#released = true
    for (const cursor of this.#cursors) cursor.close()
    // After a failed write nobody knows what state it is in: see `lander.js`.
    if (!this.#commit.failed) await this.#environment.close()
  }

  #treeOf(family: Family): Tree {
    return this.#trees[PLACES[family]]!
  }
}

async function defaultMapBytes(path: string): Promise<number> {
  const { blocks, bsize } = await statfs(path)
  return Math.min(MAP_BYTES_MAX, Math.max(MAP_BYTES_MIN, blocks * bsize))
}

interface Parts {
  options: LmdbOptions
  environment: RootDatabase
  trees: readonly Tree[]
  writer: Writer
  watch: DiskWatch<Pages>
  opened: Opened
}
