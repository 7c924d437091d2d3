// @ts-check
import { parentPort, workerData } from 'node:worker_threads'
import binding from 'rocksdb/binding.js'
import { StorageWorker } from '../disk/storage-worker.js'
import { Lander } from './lander.js'
import { OWN_FAMILY } from './layout.js'

/** @typedef {import('../disk/storage-worker.js').Setup & { handle: bigint, state: Int32Array, families: string[] }} Setup */

/**
 * The storage worker of RocksDB: it shares the database of the thread that opened it, by its handle.
 * @param {Setup} setup
 */
function landerOf({ handle, state, families }) {
  const database = binding.db_init(handle)
  const columns = /** @type {import('rocksdb/binding.js').Columns} */ (binding.db_open(database, {}, () => {}))
  /** @param {string} name */
  const column = (name) => /** @type {import('rocksdb/binding.js').Column} */ (columns[name])
  return new Lander(database, { own: column(OWN_FAMILY), families: families.map(column) }, state)
}

if (parentPort !== null) new StorageWorker(parentPort, landerOf(workerData), workerData)
