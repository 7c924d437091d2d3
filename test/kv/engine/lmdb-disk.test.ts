import { cpSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test, vi } from 'vitest'
import type { Clock } from '../../../src/base/clock.ts'
import { FORMAT_KEY } from '../../../src/kv/engine/disk/layout.js'
import type { Cursor, Family, Write } from '../../../src/kv/engine/engine.ts'
import { LmdbEngine } from '../../../src/kv/engine/lmdb/engine.ts'
import { openEnvironment } from '../../../src/kv/engine/lmdb/environment.js'
import { MEMORY, newFolder } from './disk-engine.ts'

vi.setConfig({ testTimeout: 30_000 })

const MIB = 1024 * 1024
const bytes = (text: string) => new TextEncoder().encode(text)
const key = (n: number) => bytes(String(n).padStart(8, '0'))
const open = (path: string, acceptLoss = false) => LmdbEngine.open({ path, acceptLoss })
const dataOf = (path: string) => join(path, 'lmdb', 'data.mdb')

function put(engine: LmdbEngine, n: number, size = 1_000, family: Family = 'inbox'): Promise<void> {
  const write: Write = { type: 'put', key: key(n), value: new Uint8Array(size).fill(n) }
  return engine.write({ writes: [{ family, write }], sync: true })
}

function count(engine: LmdbEngine, family: Family): number {
  const cursor = engine.cursor(family, {})
  let rows = 0
  while (cursor.next()) rows++
  cursor.close()
  return rows
}

async function fill(path: string, from: number, to: number): Promise<void> {
  const engine = await open(path)
  for (let n = from; n <= to; n++) await put(engine, n)
  await engine.close()
}

describe('lost writes are named, never served', () => {
  test('a database of before', async () => {
    const path = newFolder(MEMORY)
    await fill(path, 1, 40)
    cpSync(join(path, 'lmdb'), join(path, 'copy'), { recursive: true })
    await fill(path, 41, 100)
    cpSync(join(path, 'copy'), join(path, 'lmdb'), { recursive: true })
    const refused = {
      code: 'STORAGE_FAILED',
      message: expect.stringMatching(/batch 100 was durable, but .* ends at batch 40/),
    }
    await expect(open(path)).rejects.toMatchObject(refused)
    await expect(open(path)).rejects.toMatchObject(refused)
    const engine = await open(path, true)
    expect([engine.lost, engine.durable(), count(engine, 'inbox')]).toEqual([60, 40, 40])
    await put(engine, 1_000)
    await engine.close()
    const next = await open(path)
    expect([next.lost, next.durable(), count(next, 'inbox')]).toEqual([0, 41, 41])
    await next.close()
  })

  test('no file', async () => {
    const path = newFolder(MEMORY)
    await fill(path, 1, 10)
    rmSync(dataOf(path))
    await expect(open(path)).rejects.toMatchObject({
      message: expect.stringMatching(/batch 10 was durable.* holds none/),
    })
  })

  test('a file that was cut', async () => {
    const path = newFolder(MEMORY)
    await fill(path, 1, 100)
    truncateSync(dataOf(path), statSync(dataOf(path)).size - 8_192)
    await expect(open(path)).rejects.toMatchObject({
      code: 'STORAGE_FAILED',
      message: expect.stringMatching(/data\.mdb" was cut: it has \d+ of \d+ bytes/),
    })
    await expect(open(path, true)).rejects.toMatchObject({ code: 'STORAGE_FAILED' })
  })

  test('damaged records', async () => {
    const path = newFolder(MEMORY)
    await fill(path, 1, 100)
    const data = readFileSync(dataOf(path))
    let found = 0
    for (let at = data.indexOf(key(50)); at >= 0; at = data.indexOf(key(50), at + 1)) {
      data[at + 8 + 500]! ^= 1
      found++
    }
    expect(found).toBeGreaterThan(0)
    writeFileSync(dataOf(path), data)
    const engine = await open(path)
    const damaged = { code: 'STORAGE_FAILED', message: expect.stringContaining('is damaged: its checksum differs') }
    expect(() => engine.get('inbox', key(50))).toThrow(expect.objectContaining(damaged))
    expect(engine.get('inbox', key(49))).toHaveLength(1_000)
    expect(() => count(engine, 'inbox')).toThrow(expect.objectContaining(damaged))
    await engine.close()
  })

  test('a newer format, which stays as it is', async () => {
    const path = newFolder(MEMORY)
    await fill(path, 1, 1)
    const { environment, own } = openEnvironment(join(path, 'lmdb'), { mapBytes: MIB, families: [] })
    own.putSync(FORMAT_KEY, Buffer.from([0, 0, 0, 9]))
    await environment.close()
    const refused = { code: 'STORAGE_FAILED', message: expect.stringContaining('format 9 is newer') }
    await expect(open(path)).rejects.toMatchObject(refused)
    await expect(open(path, true)).rejects.toMatchObject(refused)
  })
})

test('a large deleteRange is one step for readers, with what comes before and after it', async () => {
  const engine = await open(newFolder(MEMORY))
  const puts = Array.from({ length: 3_000 }, (_, n) => ({ type: 'put' as const, key: key(n), value: bytes('old') }))
  await engine.write({ writes: puts.map((write) => ({ family: 'inbox', write })), sync: true })
  const before = engine.cursor('inbox', {})
  const after: Write[] = [
    { type: 'put', key: bytes('00000001'), value: bytes('new') },
    { type: 'deleteRange', start: bytes('0'), end: bytes('1') },
    { type: 'put', key: bytes('00000002'), value: bytes('new') },
  ]
  const done = engine
    .write({ writes: after.map((write) => ({ family: 'inbox', write })), sync: true })
    .then(() => 'done')
  const seen = new Set<number>()
  while ((await Promise.race([done, new Promise((resolve) => setImmediate(resolve))])) !== 'done') {
    seen.add(count(engine, 'inbox'))
  }
  expect([...seen].filter((rows) => rows !== 3_000 && rows !== 1)).toEqual([])
  expect(count(engine, 'inbox')).toBe(1)
  let rows = 0
  while (before.next()) rows++
  expect(rows).toBe(3_000)
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
    const { data, index } = await engine.between(() => ({
      data: engine.cursor('inbox', {}),
      index: engine.get('meta', key(1)),
    }))
    const found = data.next() ? data.value : undefined
    expect(found).toEqual(index)
    data.close()
  }
  await writing
  await engine.close()
})

test('what is free in the file counts as free space, and is written again', async () => {
  const path = newFolder(MEMORY)
  let stopLook = () => {}
  let look: (() => void) | null = null
  const clock: Clock = {
    now: () => 0,
    monotonic: () => 0,
    after: (_ms, callback) => {
      look = callback
      return stopLook
    },
  }
  const engine = await LmdbEngine.open({ path, clock })
  stopLook = () => (look = null)
  const seen = async () => {
    const before = look
    before?.()
    await expect.poll(() => look !== before).toBe(true)
    return engine.stats()
  }
  for (let n = 0; n < 40; n++) await put(engine, n, MIB)
  const full = await seen()
  expect(full.bytes.inbox).toBeGreaterThan(40 * MIB)
  const all: Write = { type: 'deleteRange', start: key(0), end: key(99) }
  await engine.write({ writes: [{ family: 'inbox', write: all }], sync: true })
  const size = statSync(dataOf(path)).size
  const empty = await seen()
  expect(empty.freeBytes - full.freeBytes).toBeGreaterThan(30 * MIB)
  expect(empty.bytes.inbox).toBe(0)
  for (let n = 0; n < 30; n++) await put(engine, n, MIB)
  expect(statSync(dataOf(path)).size).toBeLessThan(1.2 * size)
  await engine.close()
})

test('a write that hangs is reported, and no more once it is done', async () => {
  let nowMs = 0
  const clock: Clock = { now: () => nowMs, monotonic: () => nowMs, after: () => () => {} }
  const engine = await LmdbEngine.open({ path: newFolder(MEMORY), clock })
  const write = put(engine, 1)
  await new Promise((resolve) => process.nextTick(resolve))
  nowMs = 12_000
  expect(engine.health()).toEqual([{ part: 'disk', message: expect.stringContaining('12 s') }])
  expect(engine.stats().pressure?.oldestWriteMs).toBe(12_000)
  await write
  expect(engine.health()).toEqual([])
  await engine.close()
  expect(() => engine.get('raft', key(1))).toThrow(expect.objectContaining({ code: 'CLOSED' }))
  expect(() => engine.cursor('inbox', {})).toThrow(expect.objectContaining({ code: 'CLOSED' }))
})

test('it outgrows the address space that it began with, also while old states are read', async () => {
  const engine = await LmdbEngine.open({ path: newFolder(MEMORY), mapBytes: MIB })
  const old: Cursor[] = []
  for (let n = 0; n < 100; n++) {
    await put(engine, n, 200_000)
    if (n % 20 === 19) old.push(engine.cursor('inbox', {}))
    expect(engine.get('inbox', key(n >> 1))?.[0]).toBe(n >> 1)
  }
  for (const [i, cursor] of old.entries()) {
    let rows = 0
    while (cursor.next()) expect(cursor.value[100]).toBe(rows++)
    expect(rows).toBe(20 * (i + 1))
  }
  await engine.close()
})

test('more states than LMDB has readers for at first are read at once', async () => {
  const engine = await open(newFolder(MEMORY))
  const cursors = []
  for (let n = 0; n < 300; n++) {
    await put(engine, n, 10)
    cursors.push(engine.cursor('inbox', {}))
  }
  for (const [n, cursor] of cursors.entries()) {
    let rows = 0
    while (cursor.next()) rows++
    expect(rows).toBe(n + 1)
  }
  await engine.close()
})
