import { describe, expect, test } from 'vitest'
import { seededRandom } from '../../src/base/clock.ts'
import { TimerHeap } from './timer-heap.ts'
import { World } from './world.ts'

describe('time', () => {
  test('timers ring in the order of their times, then of their setting', () => {
    const random = seededRandom(1)
    const heap = new TimerHeap()
    const expected: { atMs: number; order: number }[] = []
    for (let order = 0; order < 500; order++) {
      const atMs = random.below(50)
      const cancel = heap.add(atMs, () => {})
      if (random.below(4) === 0) cancel()
      else expected.push({ atMs, order })
    }
    expected.sort((a, b) => a.atMs - b.atMs || a.order - b.order)
    for (const each of expected) expect(heap.shift()).toMatchObject(each)
    expect(heap.shift()).toBeNull()
  })

  test('passes only where nothing else is left to do', async () => {
    const world = new World({ seed: 1 })
    const seen: string[] = []
    world.clock.after(10, () => seen.push(`timer ${world.elapsedMs}`))
    world.defer(() => {
      seen.push('turn')
      world.defer(() => seen.push(`next turn ${world.elapsedMs}`))
    })
    const startMs = world.clock.now()
    await world.run(20)
    expect(seen).toEqual(['turn', 'next turn 0', 'timer 10'])
    expect(world.clock.now() - startMs).toBe(20)
    world.jumpWallClock(-5_000)
    expect(world.clock.now() - startMs).toBe(-4_980)
    expect(world.clock.monotonic()).toBe(20)
  })

  test('runUntil says why it gave up', async () => {
    const world = new World({ seed: 1 })
    await expect(world.runUntil(() => false)).rejects.toThrow('nothing is left')
    const again = () => world.clock.after(10, again)
    again()
    await expect(world.runUntil(() => false, 100)).rejects.toThrow('after 100 simulated ms')
    world.fail(new Error('seen elsewhere'))
    await expect(world.runUntil(() => false)).rejects.toThrow('seen elsewhere')
  })
})

describe('processes', () => {
  test('a crash silences timers and turns; the next life has its own', async () => {
    const world = new World({ seed: 1 })
    const process = world.process('n1')
    const seen: string[] = []
    process.clock().after(10, () => seen.push('old timer'))
    process.defer()(() => seen.push('old turn'))
    process.crash()
    expect(process.alive).toBe(false)
    process.restart()
    process.clock().after(20, () => seen.push('new timer'))
    await world.run(30)
    expect(seen).toEqual(['new timer'])
  })

  test('disks keep what was synced', async () => {
    const world = new World({ seed: 1 })
    const process = world.process('n1')
    const key = Uint8Array.of(1)
    const put = (value: number, sync: boolean) =>
      process.disk('db').write({
        writes: [{ family: 'dist', write: { type: 'put', key, value: Uint8Array.of(value) } }],
        sync,
      })
    await world.resolve(put(1, true))
    await world.resolve(put(2, false))
    process.crash({ survivors: 0 })
    process.restart()
    expect(process.disk('db').get('dist', key)).toEqual(Uint8Array.of(1))
  })
})

describe('network', () => {
  const setup = (options = {}) => {
    const world = new World({ seed: 3, network: options })
    const heard: string[] = []
    for (const name of ['a', 'b'])
      world.network.attach(name, (from, message) => void heard.push(`${from}>${name} ${message}`))
    return { world, network: world.network, heard }
  }

  test('datagrams are lost, doubled and overtaken', async () => {
    const { world, network, heard } = setup({ lossPercent: 20, duplicatePercent: 20 })
    for (let i = 0; i < 200; i++) network.send('a', 'b', i)
    await world.run(100)
    const numbers = heard.map((each) => Number(each.split(' ')[1]))
    expect(new Set(numbers).size).toBeLessThan(190)
    expect(numbers.length).toBeGreaterThan(new Set(numbers).size)
    expect(numbers).not.toEqual(numbers.toSorted((x, y) => x - y))
  })

  test('a stream keeps its order', async () => {
    const { world, network, heard } = setup({ lossPercent: 50, duplicatePercent: 50 })
    for (let i = 0; i < 50; i++) network.stream('a', 'b', i)
    await world.run(100)
    expect(heard).toEqual(Array.from({ length: 50 }, (_, i) => `a>b ${i}`))
  })

  test('cuts are directed, and heal', async () => {
    const { world, network, heard } = setup()
    network.cut('a', 'b')
    network.send('a', 'b', 1)
    network.send('b', 'a', 2)
    await world.run(100)
    expect(heard).toEqual(['b>a 2'])
    network.partition(['a'], ['b'])
    network.stream('b', 'a', 3)
    await world.run(100)
    network.heal()
    network.send('a', 'b', 4)
    await world.run(100)
    expect(heard).toEqual(['b>a 2', 'a>b 4'])
  })

  test('an endpoint that came later gets nothing that was sent before', async () => {
    const { world, network, heard } = setup()
    network.send('a', 'b', 1)
    network.attach('b', (_from, message) => void heard.push(`new ${message}`))
    await world.run(100)
    expect(heard).toEqual([])
  })
})
