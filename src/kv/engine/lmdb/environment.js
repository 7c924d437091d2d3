// @ts-check
import { open } from 'lmdb'
import { OWN_FAMILY } from './layout.js'
import { Tree } from './tree.js'

/** Readers that may each see a state of their own, beside those that share one. */
const READERS_MAX = 4_096

/**
 * Opens the environment, or creates it. Threads of one process that open the same path share it.
 *
 * A commit waits for two syncs, of its pages and of the page that names them: without `overlappingSync`, which would
 * answer before. `mapBytes` is address space, not memory: much, so that it hardly ever grows while someone reads.
 * @param {string} path of the folder
 * @param {{ mapBytes: number, families: readonly string[] }} options
 */
export function openEnvironment(path, { mapBytes, families }) {
  const binary = /** @type {const} */ ({ keyEncoding: 'binary', encoding: 'binary', cache: false })
  const environment = open({
    ...{ path, noSubdir: false, mapSize: mapBytes, maxDbs: families.length + 2, maxReaders: READERS_MAX },
    ...{ overlappingSync: false, eventTurnBatching: false, ...binary },
  })
  const database = (/** @type {string} */ name) =>
    /** @type {import('lmdb').Database<Buffer, Buffer>} */ (environment.openDB({ name, ...binary }))
  const databases = families.map(database)
  return { environment, own: database(OWN_FAMILY), databases, trees: databases.map((each) => new Tree(each)) }
}
