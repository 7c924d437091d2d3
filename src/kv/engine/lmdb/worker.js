// @ts-check
import { parentPort, workerData } from 'node:worker_threads'
import { StorageWorker } from '../disk/storage-worker.js'
import { openEnvironment } from './environment.js'
import { Lander } from './lander.js'

/** @typedef {import('../disk/storage-worker.js').Setup & { path: string, mapBytes: number, families: string[] }} Setup */

/**
 * The storage worker of LMDB: it shares the environment of the thread that opened it, by its path.
 * @param {Setup} setup
 */
function landerOf({ path, mapBytes, families }) {
  return new Lander(path, openEnvironment(path, { mapBytes, families }))
}

if (parentPort !== null) new StorageWorker(parentPort, landerOf(workerData), workerData)
