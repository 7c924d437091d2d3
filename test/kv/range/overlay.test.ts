import { describe, expect, test } from 'vitest'
import { seededRandom } from '../../../src/base/clock.ts'
import type { Cursor, Write } from '../../../src/kv/engine/engine.ts'
import { MemoryEngine } from '../../../src/kv/engine/memory/engine.ts'
import { BoundedReader, engineReader, writeWithin } from '../../../src/kv/range/boundary.ts'
import { Overlay } from '../../../src/kv/range/overlay.ts'
import { bytes, collidingKeys, text } from '../toy.ts'

const KEYS = 'abcdefghijklmnop'.split('')

function list(cursor: Cursor): string {
  let seen = ''
  while (cursor.next()) seen += `${text(cursor.key)}${text(cursor.value)} `
  cursor.close()
  return seen
}

describe('overlay', () => {
  test('tells apart two keys of one hash', () => {
    const [first, second] = collidingKeys()
    const overlay = new Overlay(engineReader(new MemoryEngine(), 'inbox'))
    overlay.add(1, [{ type: 'put', key: first, value: bytes('1') }])
    expect(overlay.get(second)).toBeUndefined()
    overlay.add(2, [{ type: 'put', key: second, value: bytes('2') }])
    const cursor = overlay.cursor()
    overlay.add(3, [{ type: 'put', key: first, value: bytes('3') }])
    expect([overlay.get(first), overlay.get(second)]).toEqual([bytes('3'), bytes('2')])
    expect(list(cursor)).toBe(`${text(second)}2 ${text(first)}1 `)
    overlay.add(4, [{ type: 'delete', key: second }])
    expect([overlay.get(first), overlay.get(second)]).toEqual([bytes('3'), undefined])
  })

  test.each([1, 2, 3, 4, 5])('shows landed and pending writes as one, seed %i', (seed) => {
    const random = seededRandom(seed)
    const key = () => KEYS[random.below(KEYS.length)]!
    const below = new MemoryEngine()
    const overlay = new Overlay(engineReader(below, 'inbox'))
    const model = new MemoryEngine()
    const pending: Write[][] = []
    let index = 0
    let landed = 0
    for (let step = 0; step < 400; step++) {
      const writes = Array.from({ length: random.below(5) }, (_, i): Write => {
        const kind = random.below(8)
        if (kind < 4) return { type: 'put', key: bytes(key()), value: bytes(`${step}.${i}`) }
        if (kind < 7) return { type: 'delete', key: bytes(key()) }
        const [start, end] = [key(), key()].sort()
        return { type: 'deleteRange', start: bytes(start!), end: bytes(end!) }
      })
      overlay.add(++index, writes)
      pending.push(writes)
      model.land({ writes: writes.map((write) => ({ family: 'inbox', write })), sync: true })
      if (random.below(3) === 0) {
        for (let count = random.below(pending.length + 1); count > 0; count--) {
          const batch = pending.shift()!
          below.land({ writes: batch.map((write) => ({ family: 'inbox', write })), sync: true })
          landed++
        }
        overlay.landed(landed)
      }
      for (const each of KEYS) expect(overlay.get(bytes(each))).toEqual(model.get('inbox', bytes(each)))
      const bounds = { start: bytes(key()), end: random.below(2) === 0 ? bytes(key()) : undefined }
      expect(list(overlay.cursor(bounds))).toBe(list(model.cursor('inbox', bounds)))
      const ours = overlay.cursor(bounds)
      const theirs = model.cursor('inbox', bounds)
      for (let move = 0; move < 6; move++) {
        const to = bytes(key())
        const kind = random.below(4)
        const moved = (cursor: Cursor) =>
          kind === 0
            ? cursor.seek(to)
            : kind === 1
              ? cursor.seekBefore(to)
              : kind === 2
                ? cursor.seekBefore()
                : cursor.next()
        expect(moved(ours)).toBe(moved(theirs))
        expect(ours.valid).toBe(theirs.valid)
        if (ours.valid) expect([text(ours.key), text(ours.value)]).toEqual([text(theirs.key), text(theirs.value)])
      }
      ours.close()
      theirs.close()
    }
  })

  test('a cursor keeps its state while later entries come', () => {
    const overlay = new Overlay(engineReader(new MemoryEngine(), 'inbox'))
    overlay.add(1, [{ type: 'put', key: bytes('a'), value: bytes('1') }])
    const cursor = overlay.cursor()
    overlay.add(2, [{ type: 'put', key: bytes('b'), value: bytes('2') }])
    expect(list(cursor)).toBe('a1 ')
    expect(list(overlay.cursor())).toBe('a1 b2 ')
  })
})

describe('boundary', () => {
  test('shows nothing outside', () => {
    const engine = new MemoryEngine()
    const put = (key: string) => ({
      family: 'inbox' as const,
      write: { type: 'put' as const, key: bytes(key), value: bytes('') },
    })
    engine.land({ writes: ['a', 'b', 'c', 'd'].map(put), sync: true })
    const reader = new BoundedReader(engineReader(engine, 'inbox'), { start: bytes('b'), end: bytes('d') })
    expect([reader.get(bytes('a')), reader.get(bytes('d'))]).toEqual([undefined, undefined])
    expect(reader.get(bytes('b'))).toHaveLength(0)
    expect(list(reader.cursor())).toBe('b c ')
    expect(list(reader.cursor({ start: bytes('a'), end: bytes('c') }))).toBe('b ')
    expect(list(reader.cursor({ start: bytes('c'), end: bytes('z') }))).toBe('c ')
  })

  test('knows writes that leave it', () => {
    const bounds = { start: bytes('b'), end: bytes('d') }
    const del = (key: string): Write => ({ type: 'delete', key: bytes(key) })
    const range = (start: string, end: string): Write => ({ type: 'deleteRange', start: bytes(start), end: bytes(end) })
    expect(['a', 'b', 'cz', 'd'].map((key) => writeWithin(del(key), bounds))).toEqual([false, true, true, false])
    expect(writeWithin(range('b', 'd'), bounds)).toBe(true)
    expect(writeWithin(range('a', 'c'), bounds)).toBe(false)
    expect(writeWithin(range('c', 'dd'), bounds)).toBe(false)
    expect(writeWithin(range('a', 'z'), {})).toBe(true)
  })
})
