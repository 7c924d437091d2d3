import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test, vi } from 'vitest'
import { isReference, referenceTo } from '../../../src/kv/engine/disk/shared.ts'
import type { Family, Write } from '../../../src/kv/engine/engine.ts'
import { RocksEngine, type RocksOptions } from '../../../src/kv/engine/rocksdb/engine.ts'
import { MEMORY, newFolder, SMALL } from './disk-engine.ts'

vi.setConfig({ testTimeout: 30_000 })

const text = (value: string) => Buffer.from(value)
const key = (n: number) => text(`k${String(n).padStart(5, '0')}`)

function put(key: Uint8Array, value: Uint8Array, family: Family = 'inbox'): { family: Family; write: Write } {
  return { family, write: { type: 'put', key, value } }
}

function toMany(count: number, value: Uint8Array, from = 0) {
  return Array.from({ length: count }, (_, i) => put(key(from + i), value))
}

async function open(path: string, options: Partial<RocksOptions> = {}): Promise<RocksEngine> {
  return RocksEngine.open({ path, tuning: SMALL, ...options })
}

/** How often a text is in the write-ahead logs. */
function inLog(path: string, what: string): number {
  const folder = join(path, 'rocksdb')
  const logs = readdirSync(folder).filter((name) => name.endsWith('.log'))
  return logs.reduce((sum, name) => sum + readFileSync(join(folder, name), 'latin1').split(what).length - 1, 0)
}

function valuesOf(engine: RocksEngine, family: Family = 'inbox'): Uint8Array[] {
  const cursor = engine.cursor(family, {})
  const values: Uint8Array[] = []
  while (cursor.next()) values.push(Buffer.from(cursor.value))
  cursor.close()
  return values
}

test('a value of many keys is written once, read from each, and again after a restart', async () => {
  const path = newFolder(MEMORY)
  const value = text(`shared ${'x'.repeat(1_000)}`)
  let engine = await open(path)
  const unlike = text(`shared ${'y'.repeat(1_000)}`)
  await engine.write({ writes: [...toMany(100, value), put(text('z'), unlike)], sync: true })
  expect(inLog(path, 'shared x')).toBe(1)
  expect(engine.shared().bytes).toBe(value.length)
  const all = [...Array.from({ length: 100 }, () => value), unlike]
  for (let life = 0; life < 2; life++) {
    expect(engine.get('inbox', key(42))).toEqual(value)
    expect(valuesOf(engine)).toEqual(all)
    await engine.close()
    engine = await open(path)
  }
  // The next shared value does not take the place of the first.
  const second = text(`second ${'x'.repeat(1_000)}`)
  await engine.write({ writes: toMany(100, second, 100), sync: true })
  expect([engine.get('inbox', key(0)), engine.get('inbox', key(100))]).toEqual([value, second])
  await engine.close()
})

test('few keys, short values and equal bytes of two arrays are written out', async () => {
  const path = newFolder(MEMORY)
  const engine = await open(path)
  const long = 'x'.repeat(1_000)
  await engine.write({ writes: [...toMany(7, text(long)), ...toMany(50, text('short'), 100)], sync: true })
  await engine.write({ writes: Array.from({ length: 20 }, (_, i) => put(key(200 + i), text(long))), sync: true })
  expect(engine.shared().bytes).toBe(0)
  expect(valuesOf(engine)).toHaveLength(77)
  await engine.close()
})

test('a value that looks like a reference stays a value', async () => {
  const path = newFolder(MEMORY)
  const engine = await open(path)
  const value = referenceTo(7, 1_000, 2)
  expect(isReference(value)).toBe(true)
  await engine.write({ writes: [put(key(1), value)], sync: true })
  expect(engine.get('inbox', key(1))).toEqual(value)
  expect(valuesOf(engine)).toEqual([Buffer.from(value)])
  await engine.close()
})

test('what no key refers to is swept up; what one does refer to stays', async () => {
  const path = newFolder(MEMORY)
  let engine = await open(path, { sharedSlackBytes: 50_000 })
  const filled = (n: number) => text(`value ${n} `.padEnd(1_000, '.'))
  const deletesOf = (from: number, count: number) => ({
    writes: Array.from({ length: count }, (_, i) => ({
      family: 'inbox' as const,
      write: { type: 'delete' as const, key: key(from + i) },
    })),
    sync: false,
  })
  // Of every third value one key stays; the others are deleted, and a cursor still sees value 1.
  for (let n = 0; n < 40; n++) await engine.write({ writes: toMany(10, filled(n), n * 10), sync: false })
  const cursor = engine.cursor('inbox', {})
  cursor.seek(key(10))
  for (let n = 0; n < 40; n++) await engine.write(deletesOf(n * 10, n % 3 === 0 ? 9 : 10))
  for (let n = 40; n < 60; n++) await engine.write({ writes: toMany(10, filled(n), n * 10), sync: false })
  expect(engine.shared().sweeping).toBe(true)
  await new Promise((resolve) => setTimeout(resolve, 200))
  expect(cursor.next() && Buffer.from(cursor.value)).toEqual(filled(1))
  cursor.close()
  await vi.waitFor(() => expect(engine.shared().sweeping).toBe(false))
  const used = [...Array.from({ length: 14 }, (_, i) => i * 3), ...Array.from({ length: 20 }, (_, i) => 40 + i)]
  expect(engine.shared().bytes).toBe(used.length * 1_000)
  for (let life = 0; life < 2; life++) {
    for (const n of used) expect(engine.get('inbox', key(n * 10 + 9))).toEqual(filled(n))
    expect(valuesOf(engine)).toHaveLength(14 + 200)
    await engine.close()
    engine = await open(path)
  }
  await vi.waitFor(() => expect(engine.shared()).toEqual({ bytes: used.length * 1_000, sweeping: false }))
  await engine.close()
})

test('a start finds what the process before had left', async () => {
  const path = newFolder(MEMORY)
  let engine = await open(path)
  const writes = (n: number) => toMany(10, text(`${n}`.padEnd(1_000, '.')), 0)
  for (let n = 0; n < 60; n++) await engine.write({ writes: writes(n), sync: false })
  expect(engine.shared()).toEqual({ bytes: 60_000, sweeping: false })
  await engine.close()
  engine = await open(path, { sharedSlackBytes: 50_000 })
  await vi.waitFor(() => expect(engine.shared()).toEqual({ bytes: 1_000, sweeping: false }))
  expect(engine.get('inbox', key(3))).toEqual(text('59'.padEnd(1_000, '.')))
  await engine.close()
})
