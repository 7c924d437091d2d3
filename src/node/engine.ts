import { join } from 'node:path'
import type { Engine } from '../kv/engine/engine.ts'
import { MemoryEngine } from '../kv/engine/memory/engine.ts'
import type { Config } from './config/index.ts'
import type { NodeContext } from './contract.ts'

/** Where a node keeps its state on disk. */
export function storePath(dataPath: string): string {
  return join(dataPath, 'store')
}

/** Opens what the node keeps its state in. Rejects with one sentence where that must not be served. */
export async function openEngine(options: Config['store'], context: NodeContext): Promise<Engine> {
  if (options.engine === 'memory') return new MemoryEngine()
  // Loaded only where it is used: the binary does not run on every machine.
  const { RocksEngine } = await import('../kv/engine/rocksdb/engine.ts')
  const engine = await RocksEngine.open({
    path: storePath(context.dataPath),
    tuning: { cacheBytes: options.cacheBytes, memtableBytes: options.memtableBytes },
    acceptLoss: options.acceptLoss,
    hangMs: options.hangMs,
    fatal: (error) => endAfterDiskFailure(error, context),
  })
  if (engine.lost > 0)
    context.log.warn({ batches: engine.lost }, 'The disk lost durable writes, and store.acceptLoss is set')
  return engine
}

/** A failed write or sync is never tried again: what is on disk is unknown, so nothing may be acknowledged any more. */
export function endAfterDiskFailure(error: Error, context: NodeContext): void {
  context.log.error({ err: error }, 'The disk failed: the process ends, since it cannot know what is stored')
  process.exit(1)
}
