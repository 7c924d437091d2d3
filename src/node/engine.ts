import { closeSync, existsSync, fsyncSync, openSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { BrokerError } from '../base/errors.ts'
import { StateFile } from '../cluster/underlay/shell/state-file.ts'
import type { Engine } from '../kv/engine/engine.ts'
import { MemoryEngine } from '../kv/engine/memory/engine.ts'
import { aloneHere } from '../kv/store/stored.ts'
import type { Config } from './config/index.ts'
import { CLUSTER_FILE, type NodeContext } from './contract.ts'

type DiskEngine = 'rocksdb' | 'lmdb'

/** What an engine has written as soon as it was opened once, below the folder of the store. */
const TRACES: Record<DiskEngine, string> = { rocksdb: 'rocksdb/CURRENT', lmdb: 'lmdb/data.mdb' }
const NAMES: Record<DiskEngine, string> = { rocksdb: 'RocksDB', lmdb: 'LMDB' }

/** Where a node keeps its state on disk. */
export function storePath(dataPath: string): string {
  return join(dataPath, 'store')
}

/** An engine, and what is known of its disk. */
export interface OpenedEngine {
  engine: Engine
  /** The disk lost writes that were acknowledged. */
  lossy: boolean
  /** Nothing stands on the lost writes any more: what could not be trusted was given up, and that is on disk. */
  settled(): void
}

/** Said by engines where a disk has lost writes. */
const LOSS = '--accept-loss'
/** In the folder of the store while something may stand on lost writes: also after a crash in between. */
const LOSSY_FILE = 'lossy'

/**
 * As {@link openEngine}, for a node that serves. Where the disk lost writes, the replicas that other nodes can make anew
 * are given up. It refuses to start, unless the loss is accepted, where a range is on this node alone, and where the node
 * never had company: what the disk shows no more may be alone as well.
 */
export async function openServedEngine(options: Config['store'], context: NodeContext): Promise<OpenedEngine> {
  const path = storePath(context.dataPath)
  const mark = join(path, LOSSY_FILE)
  let refused: unknown = null
  if (!existsSync(mark)) {
    try {
      const engine = await openEngine(options, context)
      const lossy = 'lost' in engine && (engine.lost as number) > 0
      if (lossy) leaveMark(mark)
      return { engine, lossy, settled: () => rmSync(mark, { force: true }) }
    } catch (error) {
      const isLoss = error instanceof BrokerError && error.message.includes(LOSS)
      if (!isLoss || !hadCompany(context)) throw error
      refused = error
      leaveMark(mark)
    }
  }
  const engine = await openEngine({ ...options, acceptLoss: true }, context)
  const alone = aloneHere(engine, context.hostId)
  if (!options.acceptLoss && alone.length > 0) {
    await engine.close()
    throw refused ?? lossRefusal(path, alone)
  }
  return { engine, lossy: true, settled: () => rmSync(mark, { force: true }) }
}

/** Others were seen in this node's cluster. */
function hadCompany({ dataPath }: NodeContext): boolean {
  return new StateFile(join(dataPath, CLUSTER_FILE)).read()?.cluster?.lonely === false
}

function lossRefusal(path: string, alone: readonly string[]): BrokerError {
  const reason = `it has lost acknowledged writes, and no other node has ${alone.join(', ')}; ${LOSS} starts without them`
  return refusal(path, reason)
}

function leaveMark(mark: string): void {
  const file = openSync(mark, 'w', 0o600)
  fsyncSync(file)
  closeSync(file)
}

/** Opens what the node keeps its state in. Rejects with one sentence where that must not be served. */
export async function openEngine(options: Config['store'], context: NodeContext): Promise<Engine> {
  if (options.engine === 'memory') return new MemoryEngine()
  const path = storePath(context.dataPath)
  const { acceptLoss, hangMs } = options
  const shared = { path, acceptLoss, hangMs, fatal: (error: Error) => endAfterDiskFailure(error, context) }
  if (!acceptLoss && existsSync(join(path, LOSSY_FILE)))
    throw refusal(path, `it has lost acknowledged writes; ${LOSS} starts without them`)
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
