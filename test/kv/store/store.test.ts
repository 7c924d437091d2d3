import { describe, expect, test } from 'vitest'
import { silentLogger } from '../../../src/base/logging.ts'
import type { MetricLabels } from '../../../src/base/metrics.ts'
import type { BatchAnswer } from '../../../src/kv/client/transport.ts'
import { type Batch, type Engine, FAMILIES, type Family } from '../../../src/kv/engine/engine.ts'
import { MemoryEngine } from '../../../src/kv/engine/memory/engine.ts'
import type { StoreLimits } from '../../../src/kv/store/limits.ts'
import { Store, type StoreOptions } from '../../../src/kv/store/store.ts'
import { World } from '../../sim/world.ts'
import { bytes, Toy, type ToyCommand, ToyObserver, type ToyResponse } from '../toy.ts'

/** Index of the entry with which the first leader begins. */
const BEFORE = 2

type Mode = Partial<StoreOptions> & { disk?: 'memory' | 'simulated'; splits?: string[]; world?: World; toy?: Toy }

function setup({
  disk = 'memory',
  splits = ['kh', 'kp'],
  world = new World({ seed: 1 }),
  toy = new Toy(),
  ...options
}: Mode = {}) {
  const process = world.process('s1')
  const simulated = process.disk('db')
  const engine = options.engine ?? (disk === 'memory' ? new MemoryEngine() : simulated)
  const store = new Store({
    ...{ engine, clock: world.clock, random: world.random, storeId: 's1', log: silentLogger, defer: world.defer },
    ...options,
  })
  const observer = new ToyObserver()
  const client = store.serve(toy, observer, { initialSplits: splits.map(bytes), clientLimits: { deadlineMs: 5_000 } })
  const append = (key: string, word: string, expiresMs?: number) => {
    const command: ToyCommand = { type: 'append', key, word, ...(expiresMs === undefined ? {} : { expiresMs }) }
    return client.mutate(bytes(`k${key}`), command)
  }
  const read = (key: string) => client.query(bytes(`k${key}`), { key })
  const code = (promise: Promise<unknown>) =>
    promise.then(
      () => 'ok',
      (error) => error.code as string,
    )
  return { world, engine, simulated, store, observer, client, toy, append, read, code }
}

/** An engine whose batches land one by one, when they are let go. */
class HeldEngine extends MemoryEngine {
  readonly held: (() => void)[] = []
  holds = false

  override write(batch: Batch): Promise<void> {
    if (!this.holds) return super.write(batch)
    return new Promise((resolve) => this.held.push(() => void super.write(batch).then(resolve)))
  }
}

describe('while a batch of a sole voter is under way', () => {
  test('a few commands gather; many are applied, land in order, and are answered in order', async () => {
    const engine = new HeldEngine()
    const sizes: number[] = []
    class Counting extends Toy {
      override mutate(...[commands, ...rest]: Parameters<Toy['mutate']>): ReturnType<Toy['mutate']> {
        sizes.push(commands.length)
        return super.mutate(commands, ...rest)
      }
    }
    const { world, append, read, observer } = setup({ engine, toy: new Counting(), splits: [] })
    await world.resolve(append('a', '0'))
    engine.holds = true
    const words = Array.from({ length: 700 }, (_, n) => String(n + 1))
    const answered: number[] = []
    const send = (from: number, to: number) => {
      for (let n = from; n < to; n++) void append('a', words[n]!).then((response) => answered.push(response!.length))
      return world.run(50)
    }
    await send(0, 1)
    await send(1, 200)
    expect(sizes).toEqual([1, 1])
    await send(200, 300)
    expect(sizes).toEqual([1, 1, 299])
    // Not a third one: what comes gathers again.
    await send(300, 700)
    expect(sizes).toEqual([1, 1, 299])
    expect([engine.held.length, answered.length]).toEqual([1, 0])
    expect(await world.resolve(read('a'))).toBe('0')
    for (const done of [1, 300, 700]) {
      engine.held.shift()!()
      await world.run(50)
      expect(answered.length).toBe(done)
      expect(engine.held.length).toBe(done < 700 ? 1 : 0)
      expect(await world.resolve(read('a'))).toBe(['0', ...words.slice(0, done)].join(' '))
    }
    expect(sizes).toEqual([1, 1, 299, 400])
    expect(answered).toEqual(words.map((word) => Number(word) + 1))
    expect(observer.state.get('ka')).toBe(['0', ...words].join(' '))
  })
})

describe.each(['memory', 'simulated'] as const)('store on the %s engine', (disk) => {
  test('applies commands in the order of the calls, and reads what was acknowledged', async () => {
    const { world, append, read, observer } = setup({ disk })
    const lengths = await world.resolve(Promise.all(['x', 'y', 'z'].map((word) => append('a', word))))
    expect(lengths.map((each) => each?.length)).toEqual([1, 2, 3])
    expect(await world.resolve(read('a'))).toBe('x y z')
    expect(await world.resolve(read('q'))).toBeNull()
    expect(observer.state.get('ka')).toBe('x y z')
  })

  test('a clock that is set back delays timed work by a minute at most', async () => {
    const { world, append, read } = setup({ disk })
    const dueMs = world.clock.now() + 30_000
    world.jumpWallClock(3_600_000)
    await world.resolve(append('b', 'x'))
    await world.resolve(append('a', 'x', dueMs))
    world.jumpWallClock(-3_600_000)
    await world.run(91_000)
    expect(await world.resolve(read('a'))).toBeNull()
  })

  test('all ranges of a turn share one batch', async () => {
    const { world, engine, append, store } = setup({ disk })
    await world.resolve(append('a', 'start'))
    const before = engine.stats().batches
    const appends = [append('a', 'x'), append('i', 'x'), append('z', 'x'), append('a', 'y')]
    await world.resolve(Promise.all(appends))
    expect(engine.stats().batches).toBe(before + 1)
    // The state that a range begins with, and what its leader begins with, count too.
    expect(store.ranges().map((each) => each.index - BEFORE)).toEqual([2, 1, 1])
  })

  test('a restart goes on with what is on the engine', async () => {
    const { world, engine, store, append, observer } = setup({ disk })
    await world.resolve(append('a', 'x'))
    await world.resolve(append('z', 'y'))
    await world.resolve(store.split('inbox', bytes('kc')))
    // The new range's leader begins.
    await world.run(10)
    const shape = (each: Store) =>
      each.ranges().map(({ descriptor, index, hash, streams }) => ({ descriptor, index, hash, streams }))
    const before = shape(store)
    await world.resolve(store.close())
    expect(observer.log.filter((each) => each.startsWith('closed'))).toHaveLength(4)
    const again = setup({ engine, world, splits: ['ignored'] })
    const byId = (all: ReturnType<typeof shape>) => all.toSorted((a, b) => (a.descriptor.id < b.descriptor.id ? -1 : 1))
    expect(byId(shape(again.store))).toEqual(byId(before))
    expect(again.observer.state.get('kz')).toBe('y')
    expect((await world.resolve(again.append('a', 'z')))?.length).toBe(2)
  })

  test('the observer is told when the write is readable, before the answer', async () => {
    const { world, client, observer } = setup({ disk })
    const answered: boolean[] = []
    client.mutateWith(bytes('ka'), { type: 'append', key: 'a', word: 'x' }, () =>
      answered.push(observer.log.includes('a x')),
    )
    await world.runUntil(() => answered.length > 0)
    expect(answered).toEqual([true])
  })

  test('a split moves no data, and both sides go on', async () => {
    const { world, store, append, read, observer, client } = setup({ disk, splits: [] })
    await world.resolve(Promise.all([append('a', 'x'), append('z', 'x')]))
    const late = append('z', 'y')
    await world.resolve(store.split('inbox', bytes('km')))
    expect((await world.resolve(late))?.length).toBe(2)
    expect((await world.resolve(append('a', 'y')))?.length).toBe(2)
    expect(await world.resolve(read('z'))).toBe('x y')
    expect(store.ranges().map(({ descriptor }) => descriptor.epoch.version)).toEqual([2, 2])
    expect(client.locate(bytes('kz')).id).not.toBe(client.locate(bytes('ka')).id)
    expect(observer.log.filter((each) => each.startsWith('opened'))).toHaveLength(2)
    await expect(world.resolve(store.split('inbox', bytes('km')))).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
    await expect(world.resolve(store.split('dist', bytes('km')))).rejects.toMatchObject({ code: 'RANGE_NOT_FOUND' })
  })

  test('timed work is done once, when it is due, also after a restart', async () => {
    const { world, store, engine, append, read, observer } = setup({ disk })
    const startMs = world.clock.now()
    await world.resolve(Promise.all([append('a', 'x', startMs + 5_000), append('z', 'x', startMs + 9_000)]))
    await world.run(4_000)
    expect(await world.resolve(read('a'))).toBe('x')
    await world.run(1_100)
    expect(await world.resolve(read('a'))).toBeNull()
    expect(observer.state.has('ka')).toBe(false)
    await world.resolve(store.close())
    await world.run(10_000)
    const again = setup({ engine, world })
    await world.run(100)
    expect(await world.resolve(again.read('z'))).toBeNull()
    const indexes = again.store.ranges().map((each) => each.index)
    await world.run(60_000)
    expect(again.store.ranges().map((each) => each.index)).toEqual(indexes)
  })
})

describe('store', () => {
  test('the timer follows what comes to be due earlier', async () => {
    const { world, append, read } = setup()
    const startMs = world.clock.now()
    await world.resolve(append('a', 'x', startMs + 50_000))
    await world.resolve(append('z', 'x', startMs + 5_000))
    await world.run(5_100)
    expect(await world.resolve(read('z'))).toBeNull()
    expect(await world.resolve(read('a'))).toBe('x')
    await world.run(45_000)
    expect(await world.resolve(read('a'))).toBeNull()
  })

  test('a service that is due and has nothing to do is not asked in a circle', async () => {
    const toy = new Toy()
    let asked = 0
    toy.due = () => {
      asked++
      return []
    }
    const { world, append } = setup({ toy })
    await world.resolve(append('a', 'x', 1))
    await world.run(10_000)
    expect(asked).toBeGreaterThan(5)
    expect(asked).toBeLessThan(15)
  })

  test('a range that throws is halted and named; the others go on', async () => {
    const { world, store, client, append, read, code } = setup()
    await world.resolve(append('a', 'x'))
    expect(await world.resolve(code(client.mutate(bytes('ka'), { type: 'fail' })))).toBe('RANGE_HALTED')
    expect(await world.resolve(code(append('a', 'y')))).toBe('RANGE_HALTED')
    expect(store.health()).toMatchObject([{ part: 'range inbox-1', message: expect.stringContaining('poison') }])
    expect((await world.resolve(append('z', 'x')))?.length).toBe(1)
    expect(await world.resolve(code(read('a')))).toBe('RANGE_HALTED')
    const stale = client.query(bytes('ka'), { key: 'a' }, { linearizable: false })
    expect(await world.resolve(stale)).toBe('x')
  })

  /** A store that is reached without a client: nothing is sent again. */
  function bare(limits: Partial<StoreLimits>) {
    const world = new World({ seed: 1 })
    const disk = world.process('s1').disk('db')
    const store = new Store({
      ...{ engine: disk, clock: world.clock, random: world.random, storeId: 's1' },
      ...{ log: silentLogger, defer: world.defer, limits },
    })
    const transport = store.open(new Toy(), new ToyObserver())
    const results: string[] = []
    const answer: BatchAnswer<ToyResponse> = (error) => results.push(error?.code ?? 'ok')
    const propose = (first: number, count: number, bytesOfBatch = 10) =>
      transport.propose(
        's1',
        {
          ...{ range: 'inbox-1', epochVersion: 1, bytes: bytesOfBatch, keys: [] },
          run: { stream: 'c', previous: first - 1, first, count, answered: 0 },
          commands: Array.from({ length: count }, () => ({ type: 'append' as const, key: 'a', word: 'x' })),
        },
        answer,
      )
    return { world, disk, store, results, propose }
  }

  test('beyond the bound a batch is refused, and nothing of it applied', async () => {
    const { world, store, results, propose } = bare({ commandsMax: 3, bytesMax: 1_000 })
    expect(() => store.open(new Toy(), new ToyObserver())).toThrow('twice')
    propose(1, 2)
    propose(3, 2)
    propose(3, 1, 1_000)
    propose(3, 1)
    await world.runUntil(() => results.length === 4)
    expect(results.toSorted()).toEqual(['OVERLOADED', 'OVERLOADED', 'ok', 'ok'])
    propose(4, 3)
    await world.runUntil(() => results.length === 5)
    expect(results[4]).toBe('ok')
    expect(store.ranges()[0]).toMatchObject({ commands: 0, bytes: 0 })
  })

  test('an entry is bounded; what is left follows in the next turns', async () => {
    const { world, store, results, propose } = bare({ entryCommandsMax: 4 })
    for (let i = 0; i < 5; i++) propose(1 + i * 3, 3)
    await world.runUntil(() => results.length === 5, 1_000)
    expect(store.ranges()[0]!.index - BEFORE).toBe(5)
    for (let i = 0; i < 5; i++) propose(16 + i * 2, 2)
    await world.runUntil(() => results.length === 10, 1_000)
    expect(store.ranges()[0]!.index - BEFORE).toBe(8)
  })

  test('batches that waited behind a split are refused and no longer counted', async () => {
    const { world, store, results, propose } = bare({})
    propose(1, 1)
    await world.runUntil(() => results.length === 1)
    const split = store.split('inbox', bytes('km'))
    propose(2, 2)
    await world.resolve(split)
    await world.runUntil(() => results.length === 2)
    expect(results).toEqual(['ok', 'EPOCH_MISMATCH'])
    expect(store.ranges()[0]).toMatchObject({ commands: 0, bytes: 0 })
  })

  test('a failed write ends what is queued behind it', async () => {
    const { world, disk, results, propose } = bare({})
    propose(1, 1)
    world.step()
    propose(2, 1)
    disk.failNext()
    await world.runUntil(() => results.length === 2, 100)
    expect(results).toEqual(['STORAGE_FAILED', 'STORAGE_FAILED'])
  })

  /** Everything that an engine holds. */
  function recordsOf(engine: Engine, only: readonly Family[] = FAMILIES): Batch['writes'] {
    return only.flatMap((family) => {
      const found: Batch['writes'] = []
      const cursor = engine.cursor(family, {})
      while (cursor.next())
        found.push({ family, write: { type: 'put', key: cursor.key.slice(), value: cursor.value.slice() } })
      cursor.close()
      return found
    })
  }

  test('what is in the log and not in the data is applied at start, with the same outcome', async () => {
    const { world, engine, store, append } = setup({ splits: [] })
    await world.resolve(append('a', 'x'))
    const early = recordsOf(engine)
    await world.resolve(append('a', 'y'))
    await world.resolve(append('b', 'z'))
    const { index, hash } = store.ranges()[0]!
    // A disk that has the later log and the earlier data, as a replica has whose group went on.
    const left = new MemoryEngine()
    await left.write({ writes: [...early, ...recordsOf(engine, ['raft'])], sync: true })
    const again = setup({ engine: left, world: new World({ seed: 2 }) })
    expect(again.store.ranges()[0]!.index).toBe(index - 2)
    expect(await again.world.resolve(again.read('a'))).toBe('x y')
    expect(await again.world.resolve(again.read('b'))).toBe('z')
    expect(again.store.ranges()[0]).toMatchObject({ index: index + 1, hash })
    // Effects that nobody waits for may wait themselves.
    await again.world.run(30)
    const data = (each: Engine) => recordsOf(each, ['inbox'])
    expect(data(left)).toEqual(data(engine))
  })

  test('a folder of before there were logs is served on', async () => {
    const { world, engine, append } = setup()
    await world.resolve(append('a', 'x'))
    const left = new MemoryEngine()
    await left.write({ writes: recordsOf(engine, ['meta', 'inbox']), sync: true })
    const again = setup({ engine: left, world: new World({ seed: 2 }) })
    expect((await again.world.resolve(again.append('a', 'y')))?.length).toBe(2)
    expect(recordsOf(left, ['raft']).length).toBeGreaterThan(3)
  })

  test('the log is bounded, and can be read to its end after a restart', async () => {
    const { world, engine, store, append } = setup({ splits: [] })
    const word = 'w'.repeat(100_000)
    let most = 0
    for (let i = 0; i < 60; i++) {
      await world.resolve(append(`${i % 7}`, word))
      most = Math.max(most, store.ranges()[0]!.logBytes)
    }
    expect(most).toBeGreaterThan(1_900_000)
    expect(most).toBeLessThan(2_300_000)
    const { logBytes } = store.ranges()[0]!
    expect(engine.stats().bytes.raft).toBeLessThan(logBytes + 10_000)
    await world.resolve(store.close())
    const again = setup({ engine, world })
    expect(again.store.ranges()[0]!.logBytes).toBe(logBytes)
    expect((await world.resolve(again.append('0', 'x')))?.length).toBe(10)
  })

  test('batches of ranges that are alone are not spaced', async () => {
    const { world, append } = setup()
    for (let i = 0; i < 100; i++) await world.resolve(append('a', `${i}`))
    expect(world.elapsedMs).toBe(0)
  })

  test('while a batch is under way the next one gathers', async () => {
    const { world, engine, append, simulated } = setup({ disk: 'simulated' })
    await world.resolve(append('a', 'w'))
    const before = engine.stats().batches
    simulated.hang()
    const appends = [append('a', 'x')]
    await world.run(10)
    for (let i = 0; i < 10; i++) {
      appends.push(append('a', `${i}`))
      await world.run(10)
    }
    simulated.resume()
    await world.resolve(Promise.all(appends))
    expect(engine.stats().batches).toBe(before + 2)
  })

  test('a failed write stops the store, and says so', async () => {
    const failures: Error[] = []
    const { world, store, simulated, append, code } = setup({
      disk: 'simulated',
      fatal: (error) => failures.push(error),
    })
    await world.resolve(append('a', 'x'))
    simulated.failNext()
    const under = code(append('a', 'y'))
    expect(await world.resolve(under)).toBe('STORAGE_FAILED')
    expect(failures).toHaveLength(1)
    expect(await world.resolve(code(append('a', 'z')))).toBe('STORAGE_FAILED')
    expect(await world.resolve(code(store.split('inbox', bytes('kb'))))).toBe('STORAGE_FAILED')
    expect(store.health()[0]).toMatchObject({ part: 'store' })
    await world.resolve(store.close())
  })

  test('close ends what is queued, then refuses', async () => {
    const { world, store, client, append, code } = setup({ disk: 'simulated' })
    const under = code(append('a', 'x'))
    await world.run(0)
    await world.resolve(store.close())
    expect(await under).toBe('ok')
    expect(await world.resolve(code(append('a', 'y')))).toBe('CLOSED')
    expect(await world.resolve(code(client.query(bytes('ka'), { key: 'a' })))).toBe('CLOSED')
    await store.close()
  })

  test('entries are applied as read back from their bytes where that is asked for', async () => {
    const toy = new Toy()
    const { decode } = toy
    toy.decode = (entry) =>
      decode.call(toy, entry).map((each) => (each.type === 'append' ? { ...each, word: 'decoded' } : each))
    const held = setup({ toy })
    await held.world.resolve(held.append('a', 'x'))
    expect(await held.world.resolve(held.read('a'))).toBe('x')
    const decoded = setup({ toy, decodeAlways: true })
    await decoded.world.resolve(decoded.append('a', 'x'))
    expect(await decoded.world.resolve(decoded.read('a'))).toBe('decoded')
  })

  test('figures come from the engine and the ranges', async () => {
    const { world, store, append } = setup()
    await world.resolve(append('a', 'x'))
    const seen = new Map<string, number>()
    const add = (name: string, _help: string, value: number, labels?: MetricLabels) =>
      void seen.set(`${name} ${Object.values(labels ?? {})}`, value)
    store.collect({ counter: add, gauge: add, histogram: () => {} })
    expect(seen.get('flockmq_range_entries_total inbox-1')).toBe(BEFORE + 1)
    expect(seen.get('flockmq_store_bytes inbox')).toBe(3)
    expect(seen.get('flockmq_range_halted inbox-3')).toBe(0)
  })

  test('a query that throws is an error for its caller alone', async () => {
    const toy = new Toy()
    toy.query = () => {
      throw new Error('bad query')
    }
    const { world, read, append, code } = setup({ toy })
    expect(await world.resolve(code(read('a')))).toBe('INVALID_ARGUMENT')
    expect((await world.resolve(append('a', 'x')))?.length).toBe(1)
  })
})
