import { describe, expect, test } from 'vitest'
import { seededRandom, systemClock } from '../../../src/base/clock.ts'
import { silentLogger } from '../../../src/base/logging.ts'
import { MemoryEngine } from '../../../src/kv/engine/memory/engine.ts'
import { Store, type StoreOptions } from '../../../src/kv/store/store.ts'
import { bytes, Toy, type ToyCommand, ToyObserver } from '../toy.ts'

function setup(options: Partial<StoreOptions> = {}, initialSplits = ['kh', 'kp']) {
  const engine = options.engine ?? new MemoryEngine()
  const store = new Store({
    ...{ engine, clock: systemClock, random: seededRandom(1), storeId: 's1', log: silentLogger },
    ...options,
  })
  const observer = new ToyObserver()
  const client = store.serve(new Toy(), observer, { initialSplits: initialSplits.map(bytes) })
  const append = (key: string, word: string) =>
    client.mutate(bytes(`k${key}`), { type: 'append', key, word } satisfies ToyCommand)
  const read = (key: string) => client.query(bytes(`k${key}`), { key })
  return { engine, store, observer, client, append, read }
}

describe('store', () => {
  test('applies commands in the order of the calls, and reads what was acknowledged', async () => {
    const { append, read, observer } = setup()
    const lengths = await Promise.all(['x', 'y', 'z'].map((word) => append('a', word)))
    expect(lengths.map((each) => each?.length)).toEqual([1, 2, 3])
    expect(await read('a')).toBe('x y z')
    expect(await read('q')).toBeNull()
    expect(observer.state.get('ka')).toBe('x y z')
  })

  test('all ranges of a turn share one batch', async () => {
    const { engine, append, store } = setup()
    await append('a', 'start')
    const before = engine.stats().batches
    await Promise.all([append('a', 'x'), append('i', 'x'), append('z', 'x'), append('a', 'y')])
    expect(engine.stats().batches).toBe(before + 1)
    expect(store.ranges().map((each) => each.index)).toEqual([2, 1, 1])
  })

  test('a restart goes on with what is on the engine', async () => {
    const { engine, store, append } = setup()
    await append('a', 'x')
    await append('z', 'y')
    const before = store.ranges().map(({ descriptor, index, hash }) => ({ descriptor, index, hash }))
    await store.close()
    const again = setup({ engine }, ['ignored'])
    expect(again.store.ranges().map(({ descriptor, index, hash }) => ({ descriptor, index, hash }))).toEqual(before)
    expect(again.observer.state.get('kz')).toBe('y')
    expect((await again.append('a', 'z'))?.length).toBe(2)
  })
})
