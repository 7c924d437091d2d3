/** What is used of `@nxtedition/rocksdb` 12.2.12 (RocksDB 9.7): the functions below its classes. All but two block. */
declare module 'rocksdb/binding.js' {
  /** Pointers that belong to the native side. */
  export interface Database {
    readonly database: unique symbol
  }
  export interface Column {
    readonly column: unique symbol
  }
  export interface NativeBatch {
    readonly batch: unique symbol
  }
  export interface NativeIterator {
    readonly iterator: unique symbol
  }
  export type Columns = Record<string, Column>

  export interface ColumnOptions {
    /** Sets the shape of the tree too: see `tuning.ts`. */
    compaction: 'level' | 'universal'
    memtableMemoryBudget: number
    /** False: as the shape says, which is none for levels 0 and 1 and ZSTD below; true: with trained dictionaries. */
    compression: boolean
    cacheSize: number
    cacheIndexAndFilterBlocks: boolean
    blockSize: number
  }
  export interface OpenOptions extends ColumnOptions {
    createIfMissing: boolean
    walCompression: boolean
    /** Background threads. */
    parallelism: number
    columns: Record<string, ColumnOptions>
  }
  export interface IteratorOptions {
    column: Column
    /** Without these two the binding reads what is on the stack. */
    keyEncoding: 'buffer'
    valueEncoding: 'buffer'
    gte?: Uint8Array
    lt?: Uint8Array
    reverse?: boolean
    values?: boolean
    fillCache?: boolean
    highWaterMarkBytes?: number
  }

  const binding: {
    /** A new database at a path, or the one of another thread by its handle: that thread closes it. */
    db_init(pathOrHandle: string | bigint): Database
    db_get_handle(database: Database): bigint
    /** Calls back, unless the database is open already: then it answers at once. */
    db_open(
      database: Database,
      options: OpenOptions | Record<string, never>,
      done: (error: Error | null, columns: Columns) => void,
    ): Columns | undefined
    db_close(database: Database, done: (error: Error | null) => void): void
    db_get_many_sync(
      database: Database,
      keys: readonly Uint8Array[],
      options: { column: Column; valueEncoding: 'buffer' },
    ): (Uint8Array | undefined)[]
    /** Deletes [gte, lt) with one range tombstone, as a write of its own, not synced. */
    db_clear(database: Database, options: { column: Column; gte: Uint8Array; lt: Uint8Array }): void
    db_get_property(database: Database, name: string): string
    /** Stands on the first key, or with `reverse` on the last one. */
    iterator_init(database: Database, options: IteratorOptions): NativeIterator
    iterator_seek(iterator: NativeIterator, key: Uint8Array): void
    /** Up to `count` rows, key and value in turn. */
    iterator_nextv_sync(iterator: NativeIterator, count: number): { rows: Uint8Array[]; finished: boolean }
    iterator_close(iterator: NativeIterator): void
    batch_init(): NativeBatch
    batch_put(batch: NativeBatch, key: Uint8Array, value: Uint8Array, options: { column: Column }): void
    batch_del(batch: NativeBatch, key: Uint8Array, options: { column: Column }): void
    batch_clear(batch: NativeBatch): void
    /** Appends to the write-ahead log, with `sync` waits for fdatasync, then makes the batch readable. */
    batch_write(database: Database, batch: NativeBatch, options: { sync: boolean }): void
  }
  export default binding
}
