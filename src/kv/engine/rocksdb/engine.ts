import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import type Binding from 'rocksdb/binding.js'
import type { Column, Columns, Database } from 'rocksdb/binding.js'
import { type Clock, systemClock } from '../../../base/clock.ts'
import { BrokerError } from '../../../base/errors.ts'
import type { HealthReason } from '../../../base/health.ts'
import {
  type Batch,
  type Bounds,
  type Cursor,
  type Engine,
  type EngineStats,
  FAMILIES,
  type Family,
} from '../engine.ts'
import { RocksCursor, readFailed } from './cursor.ts'
import { closeDatabase, openDatabase } from './database.ts'
import { DiskWatch } from './disk-watch.ts'
import { type Group, GroupPool } from './group.ts'
import { STATE_VERSION } from './layout.js'
import { loadBinding } from './platform.ts'
import { nameOf, ReadCache } from './read-cache.ts'
import { openOptions, type TuningOptions } from './tuning.ts'
import { Usage } from './usage.ts'
import { type Landed, type Opened, WorkerWriter, type Writer } from './writer.ts'

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
}

/** Bytes of one group; what comes beyond begins the next one. */
const GROUP_BYTES_MAX = 16 * 1024 * 1024
/** Default of the tuning option. */
const READ_CACHE_BYTES = 32 * 1024 * 1024
/** Longest sleep of a reader while a batch lands in steps; it looks again then. */
const STEP_WAIT_MS = 1_000

/**
 * The engine of a node with a disk: one RocksDB, a thread that writes, reads on the caller's thread.
 *
 * While a group of batches is on its way to the disk the next one gathers, so that a slow disk makes larger groups: one
 * atomic write and one fdatasync for each. A batch is readable only when it is as durable as it asked for. Callers bound
 * what they have under way; the engine takes it all.
 */
export class RocksEngine implements Engine {
  readonly persistent = true
  /** How many durable batches were lost before this start; 0 unless the loss was accepted. */
  readonly lost: number
  readonly #options: RocksOptions
  readonly #clock: Clock
  readonly #binding: typeof Binding
  readonly #database: Database
  readonly #columns: Columns
  readonly #writer: Writer
  readonly #shared: Int32Array
  readonly #watch: DiskWatch
  readonly #usage: Usage
  readonly #cache: ReadCache
  readonly #pool = new GroupPool()
  readonly #cursors = new Set<RocksCursor>()
  /** Gathering, the last one; those before it are full. */
  #queue: Group[] = []
  #underWay: Group | null = null
  #sentMs = 0
  #scheduled = false
  /** Waits for a moment without a group under way. */
  #calls: (() => void)[] = []
  #number: number
  #durable: number
  #batches = 0
  #syncs = 0
  #failure: Error | null = null
  #closing: Promise<void> | null = null
  /** The database is closed, or about to be: a read would end the process. */
  #released = false
  #idle: (() => void) | null = null

  private constructor(parts: Parts) {
    this.#options = parts.options
    this.#clock = parts.options.clock ?? systemClock
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
    this.#number = parts.opened.number
    this.#durable = parts.opened.number
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
        handle: binding.db_get_handle(database),
        state: shared,
        sidePath: join(path, 'durable'),
        acceptLoss,
      }
      try {
        let engine: RocksEngine | null = null
        const { writer, opened } = await WorkerWriter.open(setup, (error) => {
          if (engine !== null) engine.#fail(error)
        })
        const watch = new DiskWatch(path, options.clock ?? systemClock)
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
    const name = nameOf(key)
    const known = cache.find(name, key)
    if (known !== undefined) return known.value
    const value = this.#getStored(family, key)
    cache.keep(name, key, value)
    return value
  }

  cursor(family: Family, bounds: Bounds): Cursor {
    const source = { binding: this.#binding, database: this.#database, column: this.#column(family) }
    const released = (cursor: RocksCursor) => void this.#cursors.delete(cursor)
    const cursor = this.#readWhole(() => new RocksCursor(source, bounds, released))
    this.#cursors.add(cursor)
    return cursor
  }

  write(batch: Batch): Promise<void> {
    if (this.#failure !== null) return Promise.reject(this.#failure)
    if (this.#closing !== null) return Promise.reject(new BrokerError('CLOSED', 'Cannot write: the engine is closed'))
    return new Promise((resolve, reject) => {
      let group = this.#queue.at(-1)
      if (group === undefined || group.used >= GROUP_BYTES_MAX) {
        group = this.#pool.take()
        this.#queue.push(group)
      }
      group.add(batch)
      group.waiters.push({ resolve, reject })
      this.#schedule()
    })
  }

  /**
   * Runs `work` when no batch is under way: all that it reads, and all cursors that it opens, belong to one state, that
   * of batch {@link landed}. It must not wait for anything.
   */
  between<Result>(work: () => Result): Promise<Result> {
    return new Promise((resolve, reject) => {
      const call = () => {
        try {
          resolve(work())
        } catch (error) {
          reject(error)
        }
      }
      if (this.#underWay === null) call()
      else this.#calls.push(call)
    })
  }

  durable(): number {
    return this.#durable
  }

  /** Number of the last batch that reads see. */
  landed(): number {
    return this.#number
  }

  /** A call costs up to 0.3 ms: not for every turn. */
  stats(): EngineStats {
    const bytes = {} as EngineStats['bytes']
    for (const family of FAMILIES) bytes[family] = this.#usage.bytes(family)
    const { freeBytes, diskBytes } = this.#watch
    const pressure = this.#usage.pressure(this.#oldestWriteMs())
    return { bytes, freeBytes, diskBytes, batches: this.#batches, syncs: this.#syncs, pressure }
  }

  /** What keeps writes from being done. */
  health(): HealthReason[] {
    if (this.#failure !== null) return [{ part: 'disk', message: this.#failure.message }]
    const { hangMs = 10_000 } = this.#options
    const waitMs = this.#oldestWriteMs()
    if (waitMs < hangMs) return []
    return [{ part: 'disk', message: `A write has been waiting for the disk for ${Math.round(waitMs / 1_000)} s` }]
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    if (this.#underWay !== null || this.#queue.length > 0) await new Promise<void>((resolve) => (this.#idle = resolve))
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
        return this.#binding.db_get_many_sync(this.#database, [key], options)[0]
      } catch (cause) {
        throw readFailed(cause)
      }
    })
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

  /** What one turn of the event loop writes, and all that follows at once from what has landed, becomes one group. */
  #schedule(): void {
    if (this.#scheduled || this.#underWay !== null) return
    this.#scheduled = true
    process.nextTick(() => this.#send())
  }

  #send(): void {
    this.#scheduled = false
    if (this.#underWay !== null) return
    const group = this.#queue.shift()
    if (group === undefined) {
      this.#idle?.()
      return
    }
    this.#underWay = group
    this.#sentMs = this.#clock.monotonic()
    this.#cache.begin(group.batches)
    this.#writer.land(group, this.#number + 1).then(
      (landed) => this.#landed(group, landed),
      (error: Error) => this.#fail(error),
    )
  }

  #landed(group: Group, { durable, syncs, buffer }: Landed): void {
    this.#underWay = null
    this.#number += group.batches.length
    this.#batches += group.batches.length
    this.#durable = durable
    this.#syncs = syncs
    this.#pool.giveBack(buffer)
    this.#cache.landed()
    this.#usage.landed(group)
    for (const call of this.#calls.splice(0)) call()
    for (const { resolve } of group.waiters) resolve()
    this.#schedule()
  }

  #fail(cause: Error): void {
    if (this.#failure !== null) return
    this.#failure = new BrokerError('STORAGE_FAILED', `Cannot write to the database: ${cause.message}`, { cause })
    const failed = [...(this.#underWay === null ? [] : [this.#underWay]), ...this.#queue.splice(0)]
    this.#underWay = null
    for (const call of this.#calls.splice(0)) call()
    for (const { waiters } of failed) for (const { reject } of waiters) reject(this.#failure)
    this.#idle?.()
    this.#options.fatal?.(this.#failure)
  }

  #oldestWriteMs(): number {
    return this.#underWay === null ? 0 : this.#clock.monotonic() - this.#sentMs
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
  watch: DiskWatch
  opened: Opened
}

function openFailed(path: string, cause: Error): BrokerError {
  const { code, message } = cause as Error & { code?: string }
  const reason = code === 'LEVEL_LOCKED' ? 'another process has it open' : message
  return new BrokerError('STORAGE_FAILED', `Cannot open the database in "${path}": ${reason}`, { cause })
}
