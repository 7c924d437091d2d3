import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { BrokerError } from '../base/errors.ts'
import type { Engine } from '../kv/engine/engine.ts'
import { MemoryEngine } from '../kv/engine/memory/engine.ts'
import type { Config } from './config/index.ts'
import type { NodeContext } from './contract.ts'

type DiskEngine = 'rocksdb' | 'lmdb'

/** What an engine has written as soon as it was opened once, below the folder of the store. */
const TRACES: Record<DiskEngine, string> = { rocksdb: 'rocksdb/CURRENT', lmdb: 'lmdb/data.mdb' }
const NAMES: Record<DiskEngine, string> = { rocksdb: 'RocksDB', lmdb: 'LMDB' }

/** Where a node keeps its state on disk. */
export function storePath(dataPath: string): string {
  return join(dataPath, 'store')
}

/** Opens what the node keeps its state in. Rejects with one sentence where that must not be served. */
export async function openEngine(options: Config['store'], context: NodeContext): Promise<Engine> {
  if (options.engine === 'memory') return new MemoryEngine()
  const path = storePath(context.dataPath)
  const { acceptLoss, hangMs } = options
  const shared = { path, acceptLoss, hangMs, fatal: (error: Error) => endAfterDiskFailure(error, context) }
  const kind = await chooseEngine(options.engine, path, context)
  const engine = await (kind === 'rocksdb' ? openRocks(shared, options) : openLmdb(shared))
  if (engine.lost > 0)
    context.log.warn({ batches: engine.lost }, 'The disk lost durable writes, and store.acceptLoss is set')
  return engine
}

// Loaded only where they are used: neither binary runs on every machine.

async function openRocks<Shared extends { path: string }>(shared: Shared, options: Config['store']) {
  const { RocksEngine } = await import('../kv/engine/rocksdb/engine.ts')
  const { cacheBytes, memtableBytes } = options
  return await RocksEngine.open({ ...shared, tuning: { cacheBytes, memtableBytes } })
}

async function openLmdb<Shared extends { path: string }>(shared: Shared) {
  const { LmdbEngine } = await import('../kv/engine/lmdb/engine.ts')
  return await LmdbEngine.open(shared)
}

/** What a folder was written with; in a new one RocksDB where its binary runs, else LMDB. */
async function chooseEngine(wanted: 'auto' | DiskEngine, path: string, context: NodeContext): Promise<DiskEngine> {
  const written = (['rocksdb', 'lmdb'] as const).filter((kind) => existsSync(join(path, TRACES[kind])))
  const [found] = written
  if (written.length > 1) throw refusal(path, 'it holds a database of RocksDB and one of LMDB; move one away')
  if (found !== undefined && wanted !== 'auto' && wanted !== found) {
    const name = NAMES[found]
    throw refusal(
      path,
      `${name} wrote it, and store.engine is "${wanted}"; set it to "${found}", or give another folder`,
    )
  }
  if (found !== undefined) return found
  if (wanted !== 'auto') return wanted
  const { whyUnsupported } = await import('../kv/engine/rocksdb/platform.ts')
  const reason = await whyUnsupported()
  if (reason === null) return 'rocksdb'
  context.log.warn({ reason }, 'The state is kept in LMDB')
  return 'lmdb'
}

function refusal(path: string, reason: string): BrokerError {
  return new BrokerError('STORAGE_FAILED', `Cannot open the database in "${path}": ${reason}`)
}

/** A failed write or sync is never tried again: what is on disk is unknown, so nothing may be acknowledged any more. */
export function endAfterDiskFailure(error: Error, context: NodeContext): void {
  context.log.error({ err: error }, 'The disk failed: the process ends, since it cannot know what is stored')
  process.exit(1)
}
