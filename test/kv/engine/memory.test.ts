import { describe, expect, test } from 'vitest'
import { seededRandom, systemClock } from '../../../src/base/clock.ts'
import { MemoryEngine } from '../../../src/kv/engine/memory/engine.ts'
import { SimulatedEngine } from '../../../src/kv/engine/memory/simulated.ts'
import { Tree } from '../../../src/kv/engine/memory/tree.ts'
import { engineContract } from './contract.ts'

engineContract('memory', () => new MemoryEngine())
engineContract(
  'simulated disk',
  () => new SimulatedEngine({ clock: systemClock, random: seededRandom(1), writeMsMax: 0 }),
)

const key = (n: number) => {
  const bytes = new Uint8Array(8)
  new DataView(bytes.buffer).setFloat64(0, n)
  return bytes
}

describe('tree', () => {
  test.each([1, 2, 3])('stays ordered and whole through growth and decay, seed %i', (seed) => {
    const random = seededRandom(seed)
    const tree = new Tree()
    const model = new Map<number, number>()
    for (let i = 0; i < 30_000; i++) {
      const n = random.below(20_000)
      const grows = i < 15_000
      if (random.below(10) < (grows ? 8 : 2)) {
        tree.put(key(n), key(i))
        model.set(n, i)
      } else if (random.below(50) === 0) {
        const to = n + random.below(500)
        tree.deleteRange(key(n), key(to))
        for (let each = n; each < to; each++) model.delete(each)
      } else expect(tree.delete(key(n))).toBe(model.delete(n))
    }
    expect(tree.count).toBe(model.size)
    expect(tree.bytes).toBe(model.size * 16)
    const cursor = tree.cursor({})
    for (const n of [...model.keys()].sort((a, b) => a - b)) {
      expect(cursor.next()).toBe(true)
      expect(cursor.key).toEqual(key(n))
      expect(cursor.value).toEqual(key(model.get(n)!))
    }
    expect(cursor.next()).toBe(false)
    for (let each = cursor.seekBefore(), left = model.size; each; each = cursor.seekBefore(cursor.key), left--) {
      expect(left).toBeGreaterThan(0)
    }
    tree.deleteRange(key(0), key(1e9))
    expect([tree.count, tree.bytes]).toEqual([0, 0])
  })

  test('many snapshots at once, each with its own state', () => {
    const random = seededRandom(7)
    const tree = new Tree()
    const kept: { cursor: ReturnType<Tree['cursor']>; state: string }[] = []
    const list = (cursor: ReturnType<Tree['cursor']>) => {
      let state = ''
      while (cursor.next()) state += `${cursor.key}=${cursor.value};`
      return state
    }
    for (let i = 0; i < 3_000; i++) {
      if (random.below(3) === 0) tree.delete(key(random.below(400)))
      else tree.put(key(random.below(400)), key(i))
      if (i % 100 !== 0) continue
      const reader = tree.cursor({})
      kept.push({ cursor: tree.cursor({}), state: list(reader) })
      reader.close()
      if (kept.length > 5) kept.splice(random.below(5), 1)[0]!.cursor.close()
    }
    for (const { cursor, state } of kept) expect(list(cursor)).toBe(state)
  })

  test('a long value is kept once, and not the buffer it came in', () => {
    const tree = new Tree()
    const packet = new Uint8Array(1_000_000)
    tree.put(key(1), packet.subarray(0, 2_000))
    expect(tree.get(key(1))!.buffer.byteLength).toBe(2_000)
    const whole = new Uint8Array(5_000)
    tree.put(key(2), whole)
    expect(tree.get(key(2))).toBe(whole)
  })
})

describe('simulated disk', () => {
  const put = (n: number, sync: boolean) => ({
    writes: [{ family: 'dist' as const, write: { type: 'put' as const, key: key(n), value: key(n) } }],
    sync,
  })
  const disk = () => new SimulatedEngine({ clock: systemClock, random: seededRandom(1), writeMsMax: 0 })
  const has = (engine: SimulatedEngine) => [1, 2, 3, 4].filter((n) => engine.get('dist', key(n)) !== undefined)

  test('a crash loses what was not synced', async () => {
    const engine = disk()
    await engine.write(put(1, true))
    await engine.write(put(2, false))
    expect(has(engine)).toEqual([1, 2])
    const next = engine.crash()
    expect(has(next)).toEqual([1])
    expect(next.durable()).toBe(1)
    expect(() => engine.get('dist', key(1))).toThrow('crashed')
  })

  test('batches under way may survive, in their order', async () => {
    const engine = disk()
    await engine.write(put(1, true))
    await engine.write(put(2, false))
    void engine.write(put(3, true))
    void engine.write(put(4, true))
    expect(engine.undurable).toBe(3)
    const next = engine.crash({ survivors: 2 })
    expect([has(next), next.durable()]).toEqual([[1, 2, 3], 3])
  })

  test('a damaged log loses durable batches, and the number shows it', async () => {
    const engine = disk()
    for (const n of [1, 2, 3]) await engine.write(put(n, true))
    const next = engine.crash({ tornDurable: 2 })
    expect([has(next), next.durable()]).toEqual([[1], 1])
  })

  test('a failed write fails the engine', async () => {
    const engine = disk()
    engine.failNext()
    await expect(engine.write(put(1, true))).rejects.toMatchObject({ code: 'STORAGE_FAILED' })
    await expect(engine.write(put(2, true))).rejects.toMatchObject({ code: 'STORAGE_FAILED' })
  })

  test('a hung disk answers after it resumes', async () => {
    const engine = disk()
    engine.hang()
    let done = false
    const write = engine.write(put(1, true)).then(() => (done = true))
    await new Promise((resolve) => systemClock.after(5, () => resolve(null)))
    expect([done, has(engine)]).toEqual([false, []])
    engine.resume()
    await write
    expect(has(engine)).toEqual([1])
  })
})
