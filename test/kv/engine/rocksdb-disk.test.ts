import { randomBytes } from 'node:crypto'
import {
  copyFileSync,
  existsSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test, vi } from 'vitest'
import type { Clock } from '../../../src/base/clock.ts'
import { FORMAT_KEY } from '../../../src/kv/engine/disk/layout.js'
import type { Family, Write } from '../../../src/kv/engine/engine.ts'
import { closeDatabase, openDatabase } from '../../../src/kv/engine/rocksdb/database.ts'
import { RocksEngine } from '../../../src/kv/engine/rocksdb/engine.ts'
import { OWN_FAMILY, PENDING_KEY } from '../../../src/kv/engine/rocksdb/layout.js'
import { loadBinding } from '../../../src/kv/engine/rocksdb/platform.ts'
import { openOptions } from '../../../src/kv/engine/rocksdb/tuning.ts'
import { MEMORY, newFolder, SMALL } from './disk-engine.ts'

// Each engine is a thread and some files: 40 to 100 ms, more on a busy machine.
vi.setConfig({ testTimeout: 30_000 })

const bytes = (text: string) => new TextEncoder().encode(text)
const key = (n: number) => bytes(String(n).padStart(8, '0'))
const open = (path: string, acceptLoss = false) => RocksEngine.open({ path, tuning: SMALL, acceptLoss })

function put(engine: RocksEngine, n: number, size = 1_000, sync = true): Promise<void> {
  const write: Write = { type: 'put', key: key(n), value: new Uint8Array(size).fill(n) }
  return engine.write({ writes: [{ family: 'inbox', write }], sync })
}

function count(engine: RocksEngine, family: Family): number {
  const cursor = engine.cursor(family, {})
  let rows = 0
  while (cursor.next()) rows++
  cursor.close()
  return rows
}

function logs(path: string): string[] {
  const folder = join(path, 'rocksdb')
  return readdirSync(folder)
    .filter((name) => name.endsWith('.log'))
    .map((name) => join(folder, name))
}

/** A folder whose database holds 100 durable batches, closed; the log holds them all. */
async function filledFolder(): Promise<string> {
  const path = newFolder(MEMORY)
  const engine = await open(path)
  for (let n = 1; n <= 100; n++) await put(engine, n)
  await engine.close()
  return path
}

describe('a damaged log is named, never served', () => {
  const longest = (path: string) => logs(path).sort((a, b) => statSync(b).size - statSync(a).size)[0]!
  const damages: [string, (log: string) => void][] = [
    [
      'bytes flipped in the middle',
      (log) => {
        const data = readFileSync(log)
        for (let at = data.length / 2; at < data.length / 2 + 20; at++) data[Math.floor(at)]! ^= 0xff
        writeFileSync(log, data)
      },
    ],
    ['cut in the middle', (log) => truncateSync(log, Math.floor(statSync(log).size / 2))],
    ['gone', (log) => rmSync(log)],
  ]
  test.each(damages)('%s', async (_, damage) => {
    const path = await filledFolder()
    damage(longest(path))
    const refused = { code: 'STORAGE_FAILED', message: expect.stringMatching(/batch 100 was durable, but .* lost/) }
    await expect(open(path)).rejects.toMatchObject(refused)
    await expect(open(path)).rejects.toMatchObject(refused)
    const engine = await open(path, true)
    const rest = count(engine, 'inbox')
    expect(rest).toBeLessThan(100)
    expect(engine.lost).toBe(100 - rest)
    expect(engine.durable()).toBe(rest)
    await put(engine, 1_000)
    await engine.close()
    const next = await open(path)
    expect([next.lost, next.durable(), count(next, 'inbox')]).toEqual([0, rest + 1, rest + 1])
    await next.close()
  })
})

describe('the side file', () => {
  const tear = (path: string, at: number) => {
    const file = join(path, 'durable')
    const data = readFileSync(file)
    data[at]! ^= 0xff
    writeFileSync(file, data)
  }

  test.each([0, 512])('a torn slot at %i leaves the other one', async (at) => {
    const path = await filledFolder()
    tear(path, at)
    const engine = await open(path)
    expect(engine.durable()).toBe(100)
    await engine.close()
  })

  test('without a valid slot nobody knows what is lost', async () => {
    const path = await filledFolder()
    tear(path, 3)
    tear(path, 512 + 9)
    await expect(open(path)).rejects.toMatchObject({
      code: 'STORAGE_FAILED',
      message: expect.stringContaining('damaged'),
    })
    rmSync(join(path, 'durable'))
    await expect(open(path)).rejects.toMatchObject({ code: 'STORAGE_FAILED' })
    await (await open(path, true)).close()
    await (await open(path)).close()
  })

  test('follows while batches are written, without a close', async () => {
    const path = newFolder(MEMORY)
    const engine = await open(path)
    for (let n = 1; ; n++) {
      await put(engine, n)
      // The higher of both slots: a copy must not hold up what the engine writes.
      copyFileSync(join(path, 'durable'), join(path, 'copy'))
      const copy = readFileSync(join(path, 'copy'))
      const numbers = [0, 512].filter((at) => copy.length > at + 8).map((at) => Number(copy.readBigUInt64LE(at)))
      expect(Math.max(...numbers)).toBeLessThanOrEqual(n)
      if (Math.max(...numbers) > 10) break
    }
    await engine.close()
  })

  test('unsynced batches are durable once the engine is closed', async () => {
    const path = newFolder(MEMORY)
    const engine = await open(path)
    await put(engine, 1, 10, false)
    expect(engine.durable()).toBe(0)
    await engine.close()
    const next = await open(path)
    expect([next.durable(), count(next, 'inbox')]).toEqual([1, 1])
    await next.close()
  })
})

describe('what may not be opened', () => {
  test.runIf(existsSync('/dev/full'))('one whose side file cannot be written, until it can', async () => {
    const path = newFolder(MEMORY)
    symlinkSync('/dev/full', join(path, 'durable'))
    await expect(open(path)).rejects.toMatchObject({
      code: 'STORAGE_FAILED',
      message: expect.stringContaining('ENOSPC'),
    })
    rmSync(join(path, 'durable'))
    await (await open(path)).close()
  })

  test('a database that another engine has open', async () => {
    const path = newFolder(MEMORY)
    const engine = await open(path)
    await expect(open(path)).rejects.toMatchObject({ code: 'STORAGE_FAILED', message: expect.stringContaining('open') })
    await put(engine, 1)
    await engine.close()
  })

  test('one of a newer format, which stays as it is', async () => {
    const path = await filledFolder()
    await withDatabase(path, (binding, database, columns) => {
      const batch = binding.batch_init()
      binding.batch_put(batch, FORMAT_KEY, Buffer.from([0, 0, 0, 9]), { column: columns[OWN_FAMILY]! })
      binding.batch_write(database, batch, { sync: true })
    })
    const refused = { code: 'STORAGE_FAILED', message: expect.stringContaining('format 9 is newer') }
    await expect(open(path)).rejects.toMatchObject(refused)
    await expect(open(path, true)).rejects.toMatchObject(refused)
  })
})

describe('a large deleteRange', () => {
  const LARGE = 3_000
  const range = (start: string, end: string): Write => ({ type: 'deleteRange', start: bytes(start), end: bytes(end) })

  async function filled(path: string): Promise<RocksEngine> {
    const engine = await open(path)
    const writes = Array.from({ length: LARGE }, (_, n) => ({
      family: 'inbox' as const,
      write: { type: 'put' as const, key: key(n), value: bytes('old') },
    }))
    await engine.write({ writes, sync: true })
    return engine
  }

  test('is one step for readers, with what comes before and after it in its batch and in its group', async () => {
    const engine = await filled(newFolder(MEMORY))
    const before = engine.cursor('inbox', {})
    const large = (['00000001', '00000002'] as const).map((text, i): { family: Family; write: Write } => ({
      family: 'inbox',
      write: { type: 'put', key: bytes(text), value: bytes(`new ${i}`) },
    }))
    const calls = [
      put(engine, LARGE),
      engine.write({ writes: [large[0]!, { family: 'inbox', write: range('0', '1') }, large[1]!], sync: true }),
      engine.write({
        writes: [{ family: 'retain', write: { type: 'put', key: key(1), value: bytes('x') } }],
        sync: false,
      }),
    ]
    const done = Promise.all(calls).then(() => 'done')
    const seen = new Set<number>()
    while ((await Promise.race([done, new Promise((resolve) => setImmediate(resolve))])) !== 'done') {
      seen.add(count(engine, 'inbox'))
    }
    seen.add(count(engine, 'inbox'))
    for (const rows of seen) expect([LARGE, LARGE + 1, 1]).toContain(rows)
    expect(engine.get('inbox', key(2))).toEqual(Buffer.from('new 1'))
    expect(engine.get('inbox', key(1))).toBeUndefined()
    expect(count(engine, 'retain')).toBe(1)
    let rows = 0
    while (before.next()) rows++
    expect(rows).toBe(LARGE)
    await engine.close()
  })

  test('is never seen half done, however long it takes', async () => {
    const engine = await filled(newFolder(MEMORY))
    const mark = (text: string): { family: Family; write: Write } => ({
      family: 'retain',
      write: { type: 'put', key: bytes(text), value: bytes('x') },
    })
    const ranges = Array.from({ length: 200 }, () => ({ family: 'inbox' as const, write: range('0', '1') }))
    const done = engine.write({ writes: [mark('first'), ...ranges, mark('last')], sync: true })
    await new Promise((resolve) => process.nextTick(resolve))
    // The worker lands it while this thread reads without a pause.
    const endMs = performance.now() + 10_000
    while (engine.get('retain', bytes('first')) === undefined) expect(performance.now()).toBeLessThan(endMs)
    expect(engine.get('retain', bytes('last'))).toBeDefined()
    expect(count(engine, 'inbox')).toBe(0)
    await done
    await engine.close()
  })

  test('that a crash left pending is executed at the next start', async () => {
    const path = newFolder(MEMORY)
    let record: Uint8Array | undefined
    const engine = await filled(path)
    await engine.close()
    // The record of a batch with a deleteRange and a put, made by the code that the engine uses.
    const { Group } = await import('../../../src/kv/engine/disk/group.ts')
    const group = new Group(new ArrayBuffer(64))
    const after: Write = { type: 'put', key: bytes('00000005'), value: bytes('after') }
    group.add({
      writes: [
        { family: 'inbox', write: range('0', '1') },
        { family: 'inbox', write: after },
      ],
      sync: true,
    })
    record = group.bytes.slice(0, group.used)
    await withDatabase(path, (binding, database, columns) => {
      const batch = binding.batch_init()
      binding.batch_put(batch, PENDING_KEY, record!, { column: columns[OWN_FAMILY]! })
      binding.batch_write(database, batch, { sync: true })
    })
    const next = await open(path)
    expect([count(next, 'inbox'), next.get('inbox', bytes('00000005'))]).toEqual([1, Buffer.from('after')])
    await next.close()
    await withDatabase(path, (binding, database, columns) => {
      const options = { column: columns[OWN_FAMILY]!, valueEncoding: 'buffer' } as const
      expect(binding.db_get_many_sync(database, [PENDING_KEY], options)).toEqual([undefined])
    })
  })

  test('an empty or reversed one beside it does nothing', async () => {
    const engine = await filled(newFolder(MEMORY))
    const writes = [range('2', '1'), range('1', '1'), range('00001000', '1')]
    await engine.write({ writes: writes.map((write) => ({ family: 'inbox', write })), sync: true })
    expect(count(engine, 'inbox')).toBe(1_000)
    await engine.close()
  })
})

test('the log is bounded although one family alone is written', async () => {
  const path = newFolder(MEMORY)
  const engine = await open(path)
  const bound = 4 * SMALL.memtableBytes
  let most = 0
  for (let n = 0; n < 80; n++) {
    await put(engine, n, 2 ** 20, false)
    most = Math.max(
      most,
      logs(path).reduce((sum, log) => sum + (statSync(log, { throwIfNoEntry: false })?.size ?? 0), 0),
    )
  }
  // What is written while a flush runs comes on top.
  expect(most).toBeLessThan(1.5 * bound)
  await engine.close()
})

test('what lands together is seen together: between() opens cursors of one state', async () => {
  const engine = await open(newFolder(MEMORY))
  const both = (n: number) =>
    engine.write({
      writes: (['inbox', 'meta'] as const).map((family) => ({
        family,
        write: { type: 'put', key: key(1), value: key(n) },
      })),
      sync: n % 2 === 0,
    })
  const writing = Promise.all(
    Array.from({ length: 300 }, (_, n) => new Promise((resolve) => setImmediate(resolve)).then(() => both(n))),
  )
  for (let round = 0; round < 50; round++) {
    const { data, index, number } = await engine.between(() => ({
      data: engine.cursor('inbox', {}),
      index: engine.get('meta', key(1)),
      number: engine.landed(),
    }))
    const found = data.next() ? data.value : undefined
    expect(found).toEqual(index)
    expect(number).toBeGreaterThanOrEqual(engine.durable() - 300)
    data.close()
  }
  await writing
  await engine.close()
})

test('a write that hangs is reported, and no more once it is done', async () => {
  let nowMs = 0
  const clock: Clock = { now: () => nowMs, monotonic: () => nowMs, after: () => () => {} }
  const engine = await RocksEngine.open({ path: newFolder(MEMORY), tuning: SMALL, clock })
  const write = put(engine, 1)
  await new Promise((resolve) => process.nextTick(resolve))
  nowMs = 9_000
  expect(engine.health()).toEqual([])
  nowMs = 12_000
  expect(engine.health()).toEqual([{ part: 'disk', message: expect.stringContaining('12 s') }])
  expect(engine.stats().pressure?.oldestWriteMs).toBe(12_000)
  await write
  expect(engine.health()).toEqual([])
  await engine.close()
})

test('stats count what is in memory only', async () => {
  const engine = await open(newFolder(MEMORY))
  for (let n = 0; n < 100; n++) await put(engine, n, 500, false)
  expect(engine.stats().bytes.inbox).toBe(100 * 508)
  await engine.close()
  await expect(put(engine, 1)).rejects.toMatchObject({ code: 'CLOSED' })
  expect(() => engine.get('raft', key(1))).toThrow(expect.objectContaining({ code: 'CLOSED' }))
  expect(() => engine.cursor('inbox', {})).toThrow(expect.objectContaining({ code: 'CLOSED' }))
})

test('what follows from the last write before a close may still read', async () => {
  const engine = await open(newFolder(MEMORY))
  const write = put(engine, 1).then(() => count(engine, 'inbox'))
  const closed = engine.close()
  expect(await write).toBe(1)
  await closed
})

test('stats follow the files of each family', async () => {
  const engine = await open(newFolder(MEMORY))
  // Random, since lower levels are compressed.
  for (let n = 0; n < 12; n++) {
    const write: Write = { type: 'put', key: key(n), value: randomBytes(2 ** 20) }
    await engine.write({ writes: [{ family: 'inbox', write }], sync: false })
  }
  await expect.poll(() => engine.stats().bytes.inbox, { timeout: 10_000 }).toBeGreaterThan(8 * 2 ** 20)
  const { bytes, freeBytes, diskBytes, pressure } = engine.stats()
  expect(bytes.inbox).toBeLessThan(16 * 2 ** 20)
  expect([bytes.raft, bytes.dist]).toEqual([0, 0])
  expect(freeBytes).toBeGreaterThan(0)
  expect(freeBytes).toBeLessThan(diskBytes!)
  expect(diskBytes).toBeLessThan(Number.POSITIVE_INFINITY)
  expect(pressure).toMatchObject({ stalled: false, oldestWriteMs: 0 })
  await engine.close()
})

type Native = Awaited<ReturnType<typeof openDatabase>>

/** Opens what an engine has closed, below it. */
async function withDatabase(
  path: string,
  work: (
    binding: Awaited<ReturnType<typeof loadBinding>>,
    database: Native['database'],
    columns: Native['columns'],
  ) => void,
): Promise<void> {
  const binding = await loadBinding()
  const { database, columns } = await openDatabase(binding, join(path, 'rocksdb'), openOptions(SMALL))
  work(binding, database, columns)
  await closeDatabase(binding, database)
}
