import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { compareBytes } from '../../../src/kv/engine/bytes.ts'
import type { Bounds, Cursor, Engine, Family, Write } from '../../../src/kv/engine/engine.ts'

const bytes = (text: string) => new TextEncoder().encode(text)
const text = (data: Uint8Array | undefined) => (data === undefined ? undefined : new TextDecoder().decode(data))

/** What every engine promises: run it on each one. `open` gives a new, empty engine. */
export function engineContract(name: string, open: () => Engine): void {
  const put = (key: string, value: string): Write => ({ type: 'put', key: bytes(key), value: bytes(value) })
  const del = (key: string): Write => ({ type: 'delete', key: bytes(key) })
  const delRange = (start: string, end: string): Write => ({
    type: 'deleteRange',
    start: bytes(start),
    end: bytes(end),
  })
  const write = (engine: Engine, writes: Write[], family: Family = 'dist', sync = true) =>
    engine.write({ writes: writes.map((each) => ({ family, write: each })), sync })
  const range = (start?: string, end?: string): Bounds => ({
    start: start === undefined ? undefined : bytes(start),
    end: end === undefined ? undefined : bytes(end),
  })
  const walk = (cursor: Cursor) => {
    const seen: string[] = []
    while (cursor.next()) seen.push(`${text(cursor.key)}=${text(cursor.value)}`)
    cursor.close()
    return seen
  }

  describe(`engine contract: ${name}`, () => {
    test('gives back what was put, and nothing else', async () => {
      const engine = open()
      await write(engine, [put('a', '1'), put('', 'empty key'), put('b', '')])
      expect(text(engine.get('dist', bytes('a')))).toBe('1')
      expect(text(engine.get('dist', bytes('')))).toBe('empty key')
      expect(engine.get('dist', bytes('b'))).toHaveLength(0)
      expect(engine.get('dist', bytes('aa'))).toBeUndefined()
      expect(engine.get('inbox', bytes('a'))).toBeUndefined()
      await engine.close()
    })

    test('a batch applies its writes in their order', async () => {
      const engine = open()
      await write(engine, [put('a', '1'), put('a', '2'), del('a'), put('b', '1'), delRange('a', 'c'), put('b', '2')])
      expect(walk(engine.cursor('dist', {}))).toEqual(['b=2'])
      await engine.close()
    })

    test('a range deletion takes the start and leaves the end', async () => {
      const engine = open()
      await write(
        engine,
        ['a', 'b', 'bb', 'c', 'd'].map((key) => put(key, '')),
      )
      await write(engine, [delRange('b', 'c'), delRange('d', 'd'), delRange('e', 'a')])
      expect(walk(engine.cursor('dist', {}))).toEqual(['a=', 'c=', 'd='])
      await engine.close()
    })

    test('keys are ordered as unsigned bytes, a prefix first', async () => {
      const engine = open()
      const keys = [[255], [0], [], [127], [128], [0, 0], [127, 255], [255, 0]].map((key) => Uint8Array.from(key))
      await engine.write({
        writes: keys.map((key) => ({ family: 'meta', write: { type: 'put', key, value: key } })),
        sync: true,
      })
      const cursor = engine.cursor('meta', {})
      const seen: number[][] = []
      while (cursor.next()) seen.push([...cursor.key])
      cursor.close()
      expect(seen).toEqual([[], [0], [0, 0], [127], [127, 255], [128], [255], [255, 0]])
      await engine.close()
    })

    test('a cursor stays within its bounds, in both directions', async () => {
      const engine = open()
      await write(
        engine,
        ['a', 'b', 'c', 'd', 'e'].map((key) => put(key, key)),
      )
      const cursor = engine.cursor('dist', range('b', 'd'))
      expect(cursor.valid).toBe(false)
      expect([cursor.seek(bytes('a')), text(cursor.key)]).toEqual([true, 'b'])
      expect([cursor.next(), text(cursor.key), cursor.next(), cursor.valid]).toEqual([true, 'c', false, false])
      expect(cursor.next()).toBe(false)
      expect([cursor.seekBefore(), text(cursor.key)]).toEqual([true, 'c'])
      expect([cursor.seekBefore(bytes('z')), text(cursor.key)]).toEqual([true, 'c'])
      expect([cursor.seekBefore(bytes('c')), text(cursor.key), cursor.next(), text(cursor.key)]).toEqual([
        ...[true, 'b', true, 'c'],
      ])
      expect(cursor.seekBefore(bytes('b'))).toBe(false)
      expect(cursor.seek(bytes('d'))).toBe(false)
      expect([cursor.seek(bytes('bb')), text(cursor.key), text(cursor.value)]).toEqual([true, 'c', 'c'])
      cursor.close()
      expect(walk(engine.cursor('dist', range('x', 'b')))).toEqual([])
      expect(walk(engine.cursor('dist', range(undefined, 'b')))).toEqual(['a=a'])
      expect(walk(engine.cursor('dist', range('e')))).toEqual(['e=e'])
      await engine.close()
    })

    test('a cursor sees the state of the moment it was opened', async () => {
      const engine = open()
      for (let i = 0; i < 300; i++) await write(engine, [put(`k${String(i).padStart(3, '0')}`, `${i}`)])
      const cursor = engine.cursor('dist', {})
      await write(engine, [delRange('k100', 'k200'), put('k000', 'new'), put('k0000', 'new'), del('k299')])
      const seen = walk(cursor)
      expect(seen).toHaveLength(300)
      expect(seen[0]).toBe('k000=0')
      expect(walk(engine.cursor('dist', {}))).toHaveLength(200)
      await engine.close()
    })

    test('what was read never changes', async () => {
      const engine = open()
      await write(engine, [put('a', 'first')])
      const value = engine.get('dist', bytes('a'))
      for (let i = 0; i < 500; i++) await write(engine, [put('a', `later${i}`), put(`b${i}`, 'x'.repeat(i))])
      expect(text(value)).toBe('first')
      await engine.close()
    })

    test('batches are numbered, and an unsynced one is durable with the next synced one', async () => {
      const engine = open()
      expect(engine.durable()).toBe(0)
      await write(engine, [put('a', '1')], 'dist', false)
      expect(text(engine.get('dist', bytes('a')))).toBe('1')
      await write(engine, [put('b', '1')], 'inbox', true)
      expect(engine.durable()).toBe(2)
      expect(engine.stats().batches).toBe(2)
      await engine.close()
    })

    test('writes resolve in the order of the calls', async () => {
      const engine = open()
      const order: number[] = []
      const calls = [0, 1, 2, 3].map((i) =>
        write(engine, [put('a', `${i}`)], 'dist', i % 2 === 0).then(() => order.push(i)),
      )
      await Promise.all(calls)
      expect(order).toEqual([0, 1, 2, 3])
      expect(text(engine.get('dist', bytes('a')))).toBe('3')
      await engine.close()
    })

    test('stats count the bytes of keys and values', async () => {
      const engine = open()
      await write(engine, [put('key', 'value'), put('big', 'x'.repeat(5_000)), put('key', 'v')])
      expect(engine.stats().bytes.dist).toBe(3 + 1 + 3 + 5_000)
      await write(engine, [del('big')])
      expect(engine.stats().bytes.dist).toBe(4)
      await engine.close()
    })

    test('close waits for writes under way, is idempotent, and later writes are refused', async () => {
      const engine = open()
      let landed = false
      const under = write(engine, [put('a', '1')]).then(() => (landed = true))
      await engine.close()
      expect(landed).toBe(true)
      await under
      await engine.close()
      await expect(write(engine, [put('b', '1')])).rejects.toMatchObject({ code: 'CLOSED' })
    })

    test('does as a sorted list does, for any batches', async () => {
      const key = fc.array(fc.integer({ min: 0, max: 3 }), { maxLength: 4 }).map((each) => Uint8Array.from(each))
      const value = fc.integer({ min: 0, max: 1_500 }).map((length) => new Uint8Array(length).fill(length))
      const one: fc.Arbitrary<Write> = fc.oneof(
        { weight: 6, arbitrary: fc.record({ type: fc.constant('put' as const), key, value }) },
        { weight: 3, arbitrary: fc.record({ type: fc.constant('delete' as const), key }) },
        { weight: 1, arbitrary: fc.record({ type: fc.constant('deleteRange' as const), start: key, end: key }) },
      )
      const steps = fc.array(fc.array(one, { maxLength: 40 }), { maxLength: 20 })
      await fc.assert(
        fc.asyncProperty(steps, fc.array(key, { maxLength: 10 }), async (batches, probes) => {
          const engine = open()
          const model = new ListModel()
          for (const batch of batches) {
            await write(engine, batch)
            for (const each of batch) model.apply(each)
            compare(engine, model, probes)
          }
          await engine.close()
        }),
        { numRuns: 60 },
      )
    })
  })
}

function compare(engine: Engine, model: ListModel, probes: Uint8Array[]): void {
  const all = engine.cursor('dist', {})
  for (const [key, value] of model.entries) {
    expect(all.next()).toBe(true)
    expect(compareBytes(all.key, key)).toBe(0)
    expect(all.value).toHaveLength(value.length)
  }
  expect(all.next()).toBe(false)
  for (const probe of probes) {
    expect(engine.get('dist', probe)?.length).toBe(model.get(probe)?.length)
    const after = model.entries.find(([key]) => compareBytes(key, probe) >= 0)
    const before = model.entries.findLast(([key]) => compareBytes(key, probe) < 0)
    expect(all.seek(probe)).toBe(after !== undefined)
    if (after !== undefined) expect([...all.key]).toEqual([...after[0]])
    expect(all.seekBefore(probe)).toBe(before !== undefined)
    if (before !== undefined) expect([...all.key]).toEqual([...before[0]])
  }
  all.close()
}

/** The plainest ordered map. */
class ListModel {
  entries: [Uint8Array, Uint8Array][] = []

  get(key: Uint8Array): Uint8Array | undefined {
    return this.entries.find(([each]) => compareBytes(each, key) === 0)?.[1]
  }

  apply(write: Write): void {
    if (write.type === 'deleteRange') {
      const { start, end } = write
      this.entries = this.entries.filter(([key]) => compareBytes(key, start) < 0 || compareBytes(key, end) >= 0)
      return
    }
    this.entries = this.entries.filter(([key]) => compareBytes(key, write.key) !== 0)
    if (write.type === 'put') this.entries.push([write.key, write.value])
    this.entries.sort(([a], [b]) => compareBytes(a, b))
  }
}
