import { describe, expect, test, vi } from 'vitest'
import { seededRandom } from '../../../src/base/clock.ts'
import type { Family, Write } from '../../../src/kv/engine/engine.ts'
import { RocksEngine } from '../../../src/kv/engine/rocksdb/engine.ts'
import { FamilyCache } from '../../../src/kv/engine/rocksdb/read-cache.ts'
import { collidingKeys } from '../toy.ts'
import { MEMORY, newFolder, SMALL } from './disk-engine.ts'

vi.setConfig({ testTimeout: 30_000 })

const bytes = (text: string) => new TextEncoder().encode(text)
const put = (key: string, value: string): Write => ({ type: 'put', key: bytes(key), value: bytes(value) })
const deleteRange = (start: string, end: string): Write => ({
  type: 'deleteRange',
  start: bytes(start),
  end: bytes(end),
})

describe('the cache of a family', () => {
  const find = (cache: FamilyCache, key: string) => cache.find(bytes(key))
  const keep = (cache: FamilyCache, key: string, value?: string) =>
    cache.keep(bytes(key), value === undefined ? undefined : bytes(value))

  test('keeps what was read, also that there is nothing', () => {
    const cache = new FamilyCache(10_000)
    expect(find(cache, 'a')).toBeUndefined()
    keep(cache, 'a', '1')
    keep(cache, 'b')
    expect(find(cache, 'a')?.value).toEqual(bytes('1'))
    expect(find(cache, 'b')).toMatchObject({ value: undefined })
  })

  test('knows nothing of a key while it changes, then its new value if it had the old one', () => {
    const cache = new FamilyCache(10_000)
    keep(cache, 'a', '1')
    for (const write of [put('a', '2'), put('b', '2'), put('c', '2'), { type: 'delete', key: bytes('d') } as const]) {
      cache.begin(write)
    }
    for (const key of ['a', 'b', 'd']) expect(find(cache, key)).toBeUndefined()
    keep(cache, 'b', 'either')
    keep(cache, 'd', 'either')
    cache.landed()
    expect(find(cache, 'a')?.value).toEqual(bytes('2'))
    for (const key of ['b', 'c', 'd']) expect(find(cache, key)).toBeUndefined()
    keep(cache, 'd')
    expect(find(cache, 'd')).toMatchObject({ value: undefined })
    cache.begin({ type: 'delete', key: bytes('a') })
    cache.begin(put('d', '3'))
    cache.landed()
    expect([find(cache, 'a'), find(cache, 'd')].map((each) => each?.value)).toEqual([undefined, bytes('3')])
  })

  test('a deleteRange takes what lies in it, from its begin on, and nothing else', () => {
    const cache = new FamilyCache(100_000)
    for (const key of ['a', 'b', 'c']) keep(cache, key, '1')
    cache.begin(put('b', '2'))
    cache.begin(deleteRange('b', 'c'))
    for (const key of ['b', 'bb']) {
      keep(cache, key, 'old')
      expect(find(cache, key)).toBeUndefined()
    }
    cache.landed()
    expect(
      [find(cache, 'a'), find(cache, 'b'), find(cache, 'bb'), find(cache, 'c')].map((each) => each !== undefined),
    ).toEqual([true, false, false, true])
    for (let n = 0; n < 64; n++) {
      cache.begin(deleteRange('x', 'y'))
      cache.landed()
      expect(find(cache, 'a')).toBeDefined()
    }
    expect(find(cache, 'c')).toBeDefined()
    for (let n = 0; n < 65; n++) cache.begin(deleteRange('x', 'y'))
    expect(find(cache, 'c')).toBeUndefined()
  })

  test('is bounded, keeps what is used, and a key that changes often counts once', () => {
    const cache = new FamilyCache(100 * 1_024)
    for (let n = 0; n < 10_000; n++) {
      keep(cache, 'used', 'x')
      if (n % 50 === 0) expect(find(cache, 'used')).toBeDefined()
      keep(cache, `key ${n}`, 'x'.repeat(600))
    }
    expect(cache.size).toBeLessThanOrEqual(120)
    expect(cache.size).toBeGreaterThan(40)
    expect(find(cache, 'key 0')).toBeUndefined()
    keep(cache, 'still', 'x')
    for (let n = 0; n < 10_000; n++) {
      cache.begin(put('used', `${n}`))
      cache.landed()
    }
    expect(find(cache, 'still')).toBeDefined()
  })

  test('tells apart two keys of one hash: the later one is kept', () => {
    const cache = new FamilyCache(10_000)
    const [first, second] = collidingKeys().map(text) as [string, string]
    keep(cache, first, '1')
    expect(find(cache, second)).toBeUndefined()
    keep(cache, second, '2')
    expect([find(cache, first), find(cache, second)?.value]).toEqual([undefined, bytes('2')])
    cache.begin(put(first, '3'))
    cache.landed()
    expect([find(cache, first), find(cache, second)?.value]).toEqual([undefined, bytes('2')])
  })

  test('does not hold on to the memory that a value came in', () => {
    const cache = new FamilyCache(10_000)
    cache.keep(bytes('a'), new Uint8Array(100_000).subarray(0, 10))
    expect(find(cache, 'a')?.value?.buffer.byteLength).toBe(10)
  })
})

test.each([1, 2, 3])('reads are those of the database, whatever is under way, seed %i', async (seed) => {
  const random = seededRandom(seed)
  const engine = await RocksEngine.open({ path: newFolder(MEMORY), tuning: { ...SMALL, readCacheBytes: 20_000 } })
  const name = () => String(random.below(60)).padStart(2, '0')
  const landed = new Map<string, string>()
  const change = (n: number): Write => {
    const kind = random.below(12)
    if (kind === 0) return deleteRange(name(), name())
    return kind < 4 ? { type: 'delete', key: bytes(name()) } : put(name(), String(n))
  }
  for (let n = 0; n < 400; n++) {
    const writes = Array.from({ length: 1 + random.below(6) }, () => change(n))
    const done = engine.write({ writes: writes.map((write) => ({ family: 'inbox' as Family, write })), sync: false })
    const after = new Map(landed)
    for (const write of writes) apply(after, write)
    for (let turn = random.below(4); turn > 0; turn--) {
      await new Promise((resolve) => (random.below(2) === 0 ? process.nextTick(resolve) : setImmediate(resolve)))
      const key = name()
      const found = get(engine, key)
      expect([landed.get(key), after.get(key)]).toContain(found)
    }
    if (random.below(3) > 0) await done
    else await Promise.all([done, ...Array.from({ length: 3 }, () => engine.write({ writes: [], sync: false }))])
    landed.clear()
    for (const [key, value] of after) landed.set(key, value)
    for (let probe = 0; probe < 5; probe++) {
      const key = name()
      expect([key, get(engine, key)]).toEqual([key, landed.get(key)])
    }
  }
  await engine.close()
})

function apply(model: Map<string, string>, write: Write): void {
  if (write.type === 'put') model.set(text(write.key), text(write.value))
  else if (write.type === 'delete') model.delete(text(write.key))
  else for (const key of [...model.keys()]) if (key >= text(write.start) && key < text(write.end)) model.delete(key)
}

function get(engine: RocksEngine, key: string): string | undefined {
  const value = engine.get('inbox', bytes(key))
  return value === undefined ? undefined : text(value)
}

function text(data: Uint8Array): string {
  return new TextDecoder().decode(data)
}
