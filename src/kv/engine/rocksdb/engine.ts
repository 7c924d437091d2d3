import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import type Binding from 'rocksdb/binding.js'
import type { Column, Columns, Database } from 'rocksdb/binding.js'
import { type Clock, systemClock } from '../../../base/clock.ts'
import { BrokerError } from '../../../base/errors.ts'
import type { HealthReason } from '../../../base/health.ts'
import { GroupCommit } from '../disk/commit.ts'
import { DiskWatch } from '../disk/disk-watch.ts'
import { openFailed, readFailed } from '../disk/failures.ts'
import { isReference, sharedKeyOf } from '../disk/shared.ts'
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
import { RocksCursor } from './cursor.ts'
import { closeDatabase, openDatabase } from './database.ts'
import { OWN_FAMILY, STATE_VERSION } from './layout.js'
import { type FamilyFiles, Manifest } from './manifest.ts'
import { loadBinding } from './platform.ts'
import { FamilyCache, ReadCache } from './read-cache.ts'
import { SharedSweep } from './sweep.ts'
import { openOptions, type TuningOptions } from './tuning.ts'
import { Usage } from './usage.ts'

export interface RocksOptions {
  /** Folder of the database and its side file; made where it is missing. One process at a time. */
  path: string
  tuning?: TuningOptions
  /** Opens a database that has lost durable batches all the same: see {@link RocksEngine.lost}. Default false. */
  acceptLoss?: boolean
  /** The disk failed: what is on it is unknown, so the process must end. Called once. */
  fatal?: (error: Error) => void
  /** A write that takes longer is reported by {@link RocksEngine.health}. Default 10,000 ms. */
  hangMs?: number
  clock?: Clock
  /** Unused bytes of shared values at which they are swept up. Default 64 MiB. */
  sharedSlackBytes?: number
}

/** Default of the tuning option. */
const READ_CACHE_BYTES = 32 * 1024 * 1024
/** Values that several keys share, kept for the next of the keys. */
const SHARED_CACHE_BYTES = 4 * 1024 * 1024
/** Longest sleep of a reader while a batch lands in steps; it looks again then. */
const STEP_WAIT_MS = 1_000

/**
 * The engine of a node with a disk: one RocksDB, a thread that writes, reads on the caller's thread.
 */
export class RocksEngine implements Engine {
  readonly persistent = true
  /** How many durable batches were lost before this start; 0 unless the loss was accepted. */
  readonly lost: number
  readonly #binding: typeof Binding
  readonly #database: Database
  readonly #columns: Columns
  readonly #writer: Writer
  readonly #shared: Int32Array
  readonly #watch: DiskWatch<Record<string, FamilyFiles>>
  readonly #usage: Usage
  readonly #cache: ReadCache
  readonly #commit: GroupCommit
  /** Values that several keys share, read lately: they never change. */
  readonly #sharedValues = new FamilyCache(SHARED_CACHE_BYTES)
  readonly #sweep: SharedSweep
  readonly #cursors = new Set<RocksCursor>()
  #closing: Promise<void> | null = null
  /** The database is closed, or about to be: a read would end the process. */
  #released = false

  private constructor(parts: Parts) {
    this.#binding = parts.binding
    this.#database = parts.database
    this.#columns = parts.columns
    this.#writer = parts.writer
    this.#shared = parts.shared
    this.#watch = parts.watch
    const { binding, database, watch } = parts
    const cursor = (family: Family) => this.cursor(family, {})
    this.#usage = new Usage({ binding, database, watch, tuning: parts.options.tuning ?? {}, cursor })
    this.#cache = new ReadCache(parts.options.tuning?.readCacheBytes ?? READ_CACHE_BYTES)
    const { hangMs, fatal } = parts.options
    this.#commit = new GroupCommit({
      ...{
        writer: parts.writer,
        clock: parts.options.clock ?? systemClock,
        number: parts.opened.number,
        hangMs,
        fatal,
      },
      share: (place, bytes) => this.#sweep.add(place, bytes),
      begin: (batches) => this.#cache.begin(batches),
      landed: (group) => {
        this.#cache.landed()
        this.#usage.landed(group)
        if (group.sharedId > 0) this.#sweep.landed(group.sharedId)
      },
    })
    this.#sweep = new SharedSweep(
      {
        ...{ binding, database, own: this.#columns[OWN_FAMILY]!, clock: parts.options.clock ?? systemClock },
        column: (place) => this.#column(FAMILIES[place]!),
        remove: (keys) => this.#commit.removeOwn(keys),
        openCursors: () => this.#openCursors(),
      },
      parts.options.sharedSlackBytes,
    )
    this.lost = parts.opened.lost
  }

  /** Opens the database, or creates it. Rejects with STORAGE_FAILED, naming the reason, where it may not be served. */
  static async open(options: RocksOptions): Promise<RocksEngine> {
    const { path, tuning = {}, acceptLoss = false } = options
    const binding = await loadBinding()
    try {
      await mkdir(join(path, 'rocksdb'), { recursive: true })
      const { database, columns } = await openDatabase(binding, join(path, 'rocksdb'), openOptions(tuning))
      const shared = new Int32Array(new SharedArrayBuffer(4))
      const setup = {
        ...{ worker: new URL('./worker.js', import.meta.url), sidePath: join(path, 'durable'), acceptLoss },
        data: { handle: binding.db_get_handle(database), state: shared },
      }
      try {
        let engine: RocksEngine | null = null
        const { writer, opened } = await WorkerWriter.open(setup, (error) => {
          if (engine !== null) engine.#commit.fail(error)
        })
        const watch = watchFiles(path, options.clock ?? systemClock)
        await watch.start()
        engine = new RocksEngine({ options, binding, database, columns, writer, shared, watch, opened })
        return engine
      } catch (error) {
        await closeDatabase(binding, database)
        throw error
      }
    } catch (cause) {
      throw openFailed(path, cause as Error)
    }
  }

  get(family: Family, key: Uint8Array): Uint8Array | undefined {
    const cache = this.#cache.of(family)
    if (cache === undefined) return this.#getStored(family, key)
    const known = cache.find(key)
    if (known !== undefined) return known.value
    const value = this.#getStored(family, key)
    cache.keep(key, value)
    return value
  }

  cursor(family: Family, bounds: Bounds): Cursor {
    const source = {
      binding: this.#binding,
      database: this.#database,
      column: this.#column(family),
      resolve: this.#resolve,
    }
    const released = (cursor: RocksCursor) => void this.#cursors.delete(cursor)
    const cursor = this.#readWhole(() => new RocksCursor(source, bounds, released))
    this.#cursors.add(cursor)
    return cursor
  }

  write(batch: Batch): Promise<void> {
    return this.#commit.write(batch)
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

  /** Values that several keys share: bytes in the database, and whether those that are not needed are looked for. */
  shared(): { bytes: number; sweeping: boolean } {
    return { bytes: this.#sweep.bytes, sweeping: this.#sweep.running }
  }

  /** Number of the last batch that reads see. */
  landed(): number {
    return this.#commit.landed
  }

  /** A call costs up to 0.3 ms: not for every turn. */
  stats(): EngineStats {
    const bytes = {} as EngineStats['bytes']
    for (const family of FAMILIES) bytes[family] = this.#usage.bytes(family)
    const { freeBytes, diskBytes } = this.#watch
    const pressure = this.#usage.pressure(this.#commit.oldestWriteMs)
    return { bytes, freeBytes, diskBytes, ...this.#commit.counts, pressure }
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
    this.#sweep.stop()
    await this.#commit.close()
    this.#watch.stop()
    await this.#writer.close()
    this.#released = true
    for (const cursor of this.#cursors) cursor.close()
    await closeDatabase(this.#binding, this.#database)
  }

  #getStored(family: Family, key: Uint8Array): Uint8Array | undefined {
    const options = { column: this.#column(family), valueEncoding: 'buffer' } as const
    return this.#readWhole(() => {
      try {
        const stored = this.#binding.db_get_many_sync(this.#database, [key], options)[0]
        return stored === undefined ? undefined : this.#resolve(stored)
      } catch (cause) {
        throw readFailed(cause)
      }
    })
  }

  readonly #resolve = (stored: Uint8Array): Uint8Array => (isReference(stored) ? this.#getShared(stored) : stored)

  #getShared(reference: Uint8Array): Uint8Array {
    const key = sharedKeyOf(reference)
    const known = this.#sharedValues.find(key)?.value
    if (known !== undefined) return known
    const options = { column: this.#columns[OWN_FAMILY]!, valueEncoding: 'buffer' } as const
    const value = this.#binding.db_get_many_sync(this.#database, [key], options)[0]
    if (value === undefined) throw readFailed(new Error('a value that several keys share is missing'))
    this.#sharedValues.keep(key, value)
    return value
  }

  /** Tells whether the cursors that are open now are closed. */
  #openCursors(): () => boolean {
    const open = [...this.#cursors]
    return () => open.every((cursor) => !this.#cursors.has(cursor))
  }

  /** Reads when no batch lands in steps, and reads again where one did meanwhile. */
  #readWhole<Result>(read: () => Result): Result {
    if (this.#released) throw new BrokerError('CLOSED', 'Cannot read: the engine is closed')
    for (;;) {
      const version = Atomics.load(this.#shared, STATE_VERSION)
      if (version % 2 !== 0) {
        Atomics.wait(this.#shared, STATE_VERSION, version, STEP_WAIT_MS)
        continue
      }
      const result = read()
      if (Atomics.load(this.#shared, STATE_VERSION) === version) return result
      if (result instanceof RocksCursor) result.close()
    }
  }

  #column(family: Family): Column {
    return this.#columns[family]!
  }
}

interface Parts {
  options: RocksOptions
  binding: typeof Binding
  database: Database
  columns: Columns
  writer: Writer
  shared: Int32Array
  watch: DiskWatch<Record<string, FamilyFiles>>
  opened: Opened
}

function watchFiles(path: string, clock: Clock): DiskWatch<Record<string, FamilyFiles>> {
  const manifest = new Manifest(join(path, 'rocksdb'))
  const see = async () => {
    await manifest.refresh()
    return manifest.families() ?? {}
  }
  return new DiskWatch(path, clock, see, {})
}
