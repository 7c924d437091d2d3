import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, onTestFinished, test, vi } from 'vitest'
import type { HostId } from '../../src/base/ids.ts'
import { silentLogger } from '../../src/base/logging.ts'
import { LmdbEngine } from '../../src/kv/engine/lmdb/engine.ts'
import { MemoryEngine } from '../../src/kv/engine/memory/engine.ts'
import { RocksEngine } from '../../src/kv/engine/rocksdb/engine.ts'
import type { Config } from '../../src/node/config/index.ts'
import { openEngine, storePath } from '../../src/node/engine.ts'

vi.setConfig({ testTimeout: 30_000 })
afterEach(() => vi.unstubAllGlobals())

const MIB = 1024 * 1024

function newFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'flockmq-choice-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  mkdirSync(storePath(folder))
  return folder
}

/** Opens as a node does, writes once and closes. Returns the class that it got, and what was logged. */
async function use(dataPath: string, engine: Config['store']['engine']) {
  const warnings: string[] = []
  const log = { ...silentLogger, warn: (_fields: object, message: string) => warnings.push(message) }
  const options = { engine, cacheBytes: 4 * MIB, memtableBytes: 4 * MIB, hangMs: 1_000, acceptLoss: false }
  const context = { log, hostId: 'h' as HostId, dataPath, version: '0' }
  const opened = await openEngine(options, context)
  const put = { type: 'put', key: Buffer.from('k'), value: Buffer.from('v') } as const
  await opened.write({ writes: [{ family: 'inbox', write: put }], sync: true })
  await opened.close()
  return { kind: opened.constructor, warnings }
}

test('a new folder gets RocksDB where its binary runs, and what was asked for', async () => {
  expect(await use(newFolder(), 'auto')).toEqual({ kind: RocksEngine, warnings: [] })
  expect(await use(newFolder(), 'rocksdb')).toEqual({ kind: RocksEngine, warnings: [] })
  expect(await use(newFolder(), 'lmdb')).toEqual({ kind: LmdbEngine, warnings: [] })
  expect(await use(newFolder(), 'memory')).toEqual({ kind: MemoryEngine, warnings: [] })
})

test('a new folder gets LMDB, and the log says why, where RocksDB has no binary', async () => {
  vi.stubGlobal('process', Object.create(process, { arch: { value: 'arm64' }, platform: { value: 'linux' } }))
  const folder = newFolder()
  expect(await use(folder, 'auto')).toEqual({ kind: LmdbEngine, warnings: ['The state is kept in LMDB'] })
  expect(await use(folder, 'auto')).toEqual({ kind: LmdbEngine, warnings: [] })
  await expect(use(newFolder(), 'rocksdb')).rejects.toMatchObject({
    code: 'STORAGE_FAILED',
    message: expect.stringContaining('no binary of it for linux-arm64'),
  })
})

test.each([
  ['rocksdb', 'lmdb', RocksEngine, 'RocksDB wrote it, and store.engine is "lmdb"; set it to "rocksdb"'],
  ['lmdb', 'rocksdb', LmdbEngine, 'LMDB wrote it, and store.engine is "rocksdb"; set it to "lmdb"'],
] as const)('a folder of %s stays with it: %s refuses it', async (first, second, kind, reason) => {
  const folder = newFolder()
  await use(folder, first)
  await expect(use(folder, second)).rejects.toMatchObject({
    code: 'STORAGE_FAILED',
    message: expect.stringContaining(reason),
  })
  expect(await use(folder, 'auto')).toEqual({ kind, warnings: [] })
})
