import { expect, test, vi } from 'vitest'
import { type Random, seededRandom } from '../../../src/base/clock.ts'
import type { Cursor, Engine, Family, Write } from '../../../src/kv/engine/engine.ts'
import { CHUNK_BYTES } from '../../../src/kv/engine/lmdb/layout.js'
import { MemoryEngine } from '../../../src/kv/engine/memory/engine.ts'
import { engineContract } from './contract.ts'
import { OpeningEngine } from './disk-engine.ts'
import { oldCursors } from './old-cursors.ts'

// Each engine is a thread and some files: 40 to 100 ms.
vi.setConfig({ testTimeout: 60_000 })

engineContract('lmdb', () => new OpeningEngine('lmdb'))
oldCursors('lmdb', () => new OpeningEngine('lmdb'))

/** Parts of keys at and around the length at which they are cut: keys share up to three of them. */
const PARTS = [
  ...['', 'a', 'z'].map((text) => Buffer.from(text)),
  ...['a', 'b', 'z'].flatMap((char) => [-1, 0, 1].map((more) => Buffer.alloc(CHUNK_BYTES + more, char))),
  Buffer.alloc(CHUNK_BYTES, 0xff),
]

function longKey(random: Random): Buffer {
  return Buffer.concat(Array.from({ length: 1 + random.below(3) }, () => PARTS[random.below(PARTS.length)]!))
}

function someWrite(random: Random): { family: Family; write: Write } {
  const kind = random.below(20)
  const key = longKey(random)
  if (kind === 0) return { family: 'retain', write: { type: 'deleteRange', start: key, end: longKey(random) } }
  if (kind < 8) return { family: 'retain', write: { type: 'delete', key } }
  return { family: 'retain', write: { type: 'put', key, value: Buffer.from([random.below(256)]) } }
}

/** Short, for a readable difference. */
const nameOf = (key: Uint8Array) =>
  Buffer.from(key)
    .toString('latin1')
    .replace(/(.)\1{99,}/gs, (run, char) => `${char}*${run.length}`)

function rowsOf(cursor: Cursor): string[] {
  const rows: string[] = []
  while (cursor.next()) rows.push(`${nameOf(cursor.key)}=${cursor.value[0]}`)
  return rows
}

/** Where a cursor stands after each of some moves. */
function moves(cursor: Cursor, targets: readonly Uint8Array[]): string[] {
  const places: string[] = []
  const note = (valid: boolean) => places.push(valid ? `${nameOf(cursor.key)}=${cursor.value[0]}` : '-')
  for (const target of targets) {
    note(cursor.seek(target))
    note(cursor.next())
    note(cursor.seekBefore(target))
    note(cursor.next())
  }
  note(cursor.seekBefore())
  return places
}

test.each([1, 2, 3, 4])('keys that LMDB does not take are as any others, seed %i', async (seed) => {
  const random = seededRandom(seed)
  const engine: Engine = new OpeningEngine('lmdb')
  const model = new MemoryEngine()
  const old: { cursor: Cursor; rows: string[] }[] = []
  for (let round = 0; round < 40; round++) {
    const batch = { writes: Array.from({ length: random.below(12) }, () => someWrite(random)), sync: true }
    await Promise.all([engine.write(batch), model.write(batch)])
    const targets = Array.from({ length: 6 }, () => longKey(random))
    for (const key of targets) expect(engine.get('retain', key)?.[0]).toBe(model.get('retain', key)?.[0])
    const [start, end] = [0, 1].map(() => (random.below(3) === 0 ? undefined : longKey(random)))
    const [cursor, expected] = [engine, model].map((each) => each.cursor('retain', { start, end })) as [Cursor, Cursor]
    const wanted = moves(expected, targets)
    expect(moves(cursor, targets)).toEqual(wanted)
    for (const each of [cursor, expected]) each.close()
    if (round % 8 === 0) {
      old.push({ cursor: engine.cursor('retain', {}), rows: rowsOf(model.cursor('retain', {})) })
    }
  }
  for (const { cursor, rows } of old) expect(rowsOf(cursor)).toEqual(rows)
  // Nothing is left behind: neither rows nor ways to them.
  const all: Write = { type: 'deleteRange', start: new Uint8Array(0), end: Buffer.alloc(4 * CHUNK_BYTES, 0xff) }
  await engine.write({ writes: [{ family: 'retain', write: all }], sync: true })
  expect(engine.stats().bytes.retain).toBe(0)
  await engine.close()
})
