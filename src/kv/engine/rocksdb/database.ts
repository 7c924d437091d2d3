import type Binding from 'rocksdb/binding.js'
import type { Columns, Database, OpenOptions } from 'rocksdb/binding.js'

/** Opens the database at `path`, or creates it. Replays the log, which RocksDB cuts in silence where it is damaged. */
export function openDatabase(
  binding: typeof Binding,
  path: string,
  options: OpenOptions,
): Promise<{ database: Database; columns: Columns }> {
  return new Promise((resolve, reject) => {
    const database = binding.db_init(path)
    binding.db_open(database, options, (error, columns) => (error ? reject(error) : resolve({ database, columns })))
  })
}

/** Writes the log out, then lets go of the lock. No iterator and no other thread may use the database any more. */
export function closeDatabase(binding: typeof Binding, database: Database): Promise<void> {
  return new Promise((resolve, reject) => {
    binding.db_close(database, (error) => (error ? reject(error) : resolve()))
  })
}
