import { afterEach, describe, expect, test, vi } from 'vitest'
import { SimulatedEngine } from '../../src/kv/engine/memory/simulated.ts'
import { Streams } from '../../src/kv/range/streams.ts'
import { type ChaosOptions, type ChaosWorld, chaosWorld } from '../sim/chaos.ts'
import { seeds } from '../sim/seeds.ts'
import { bytes, Toy, type ToyCommand, type ToyEffect, ToyObserver, type ToyQuery, type ToyResponse } from './toy.ts'

const KEYS = ['a', 'c', 'e', 'g', 'i', 'k', 'm', 'o', 'q', 's', 'u', 'w', 'y']
type Chaos = ChaosWorld<ToyCommand, ToyResponse, ToyQuery, string | null, ToyEffect>
type Options = Partial<ChaosOptions<ToyCommand, ToyResponse, ToyQuery, string | null, ToyEffect>>

interface Issued {
  key: string
  word: string
  /** Position that the answer gave; null = an error came, the word may be there or not. */
  position: number | null
  done: number
}

/** Appends from many turns under chaos; then checks what every key holds against what was asked and answered. */
async function run(seed: number, options: Options = {}, count = 400): Promise<{ chaos: Chaos; errors: number }> {
  const observer = new ToyObserver()
  const chaos: Chaos = chaosWorld<ToyCommand, ToyResponse, ToyQuery, string | null, ToyEffect>({
    seed,
    coprocessor: () => new Toy(),
    makeObserver: () => observer,
    splits: [bytes('kg'), bytes('kp')],
    ...{ crashMs: 500, splitMs: 400, hangMs: 1_500 },
    ...options,
  })
  const { world, client } = chaos
  const issued: Issued[] = []
  let open = 0
  let doubled = 0
  const issue = () => {
    const key = KEYS[world.random.below(KEYS.length)]!
    const entry: Issued = { key, word: `w${issued.length}`, position: null, done: 0 }
    issued.push(entry)
    open++
    client.mutateWith(bytes(`k${key}`), { type: 'append', key, word: entry.word }, (error, response) => {
      if (++entry.done > 1) doubled++
      open--
      if (error === null) entry.position = response!.length
    })
  }
  const acknowledged = (key: string) => issued.filter((each) => each.key === key && each.position !== null)
  const reads: Promise<void>[] = []
  const read = () => {
    const key = KEYS[world.random.below(KEYS.length)]!
    const before = acknowledged(key).map(({ word }) => word)
    reads.push(
      client.query(bytes(`k${key}`), { key }).then(
        (value) => {
          const words = (value ?? '').split(' ')
          for (const word of before) if (!words.includes(word)) world.fail(new Error(`A read misses ${word} of ${key}`))
        },
        () => {},
      ),
    )
  }
  while (issued.length < count) {
    for (let burst = world.random.below(12); burst > 0; burst--) issue()
    if (world.random.below(3) === 0) read()
    await world.run(world.random.float() * 80)
  }
  chaos.calm()
  await world.runUntil(() => open === 0, 120_000)
  await world.resolve(Promise.all(reads), 120_000)
  // A command that was given up may still be on its way.
  await world.run(5_000)
  expect(doubled).toBe(0)
  expect(chaos.health()).toEqual([])
  for (const key of KEYS) {
    const value = (await world.resolve(client.query(bytes(`k${key}`), { key }))) ?? ''
    const words = value === '' ? [] : value.split(' ')
    const asked = issued.filter((each) => each.key === key).map((each) => each.word)
    expect(new Set(words).size, `a word of ${key} is there twice: ${value}`).toBe(words.length)
    const order = words.map((word) => asked.indexOf(word))
    expect(order, `words of ${key} are out of order`).toEqual(order.toSorted((a, b) => a - b))
    for (const { word, position } of acknowledged(key)) {
      expect(words.indexOf(word) + 1, `${word} of ${key} was acknowledged`).toBe(position)
    }
    expect(observer.state.get(`k${key}`) ?? '').toBe(value)
  }
  return { chaos, errors: issued.filter((each) => each.position === null).length }
}

describe('commands under chaos', () => {
  afterEach(() => vi.restoreAllMocks())

  test.each([...seeds(25), 261])('each is applied once, in order, and answered truly, seed %i', async (seed) => {
    const { chaos, errors } = await run(seed)
    expect(errors).toBe(0)
    expect(chaos.store!.ranges().length).toBeGreaterThan(2)
    expect(chaos.crashes + chaos.splits).toBeGreaterThan(0)
  })

  test.each([...seeds(10), 64])('a call given up does not stop or double the others, seed %i', async (seed) => {
    await run(seed, { deadlineMs: 400 })
  })

  test('the chaos is one: everything happens', async () => {
    const { chaos } = await run(3, {}, 800)
    expect(chaos.crashes).toBeGreaterThan(0)
    expect(chaos.splits).toBeGreaterThan(2)
    for (const name of [
      'delay',
      'refuse',
      'loseRequest',
      'loseAnswer',
      'doubt',
      'repeat',
      'NOT_LEADER',
      'EPOCH_MISMATCH',
    ]) {
      expect(chaos.transport.counts[name] ?? 0, name).toBeGreaterThan(0)
    }
  })

  test('the same seed gives the same run', async () => {
    const first = await run(11)
    const second = await run(11)
    expect(second.chaos.transport.counts).toEqual(first.chaos.transport.counts)
    expect(second.chaos.store!.ranges()).toEqual(first.chaos.store!.ranges())
    expect(second.chaos.world.elapsedMs).toBe(first.chaos.world.elapsedMs)
  })
})

describe('what the chaos must catch', () => {
  afterEach(() => vi.restoreAllMocks())
  const caught = async (options: Options = {}) => {
    let failures = 0
    for (const seed of [1, 2, 3, 4, 5]) {
      const errors = await run(seed, options, 300).then(
        (result) => result.errors,
        () => 1,
      )
      if (errors > 0) failures++
    }
    return failures
  }

  test('repetitions that are applied again', async () => {
    const { admit } = Streams.prototype
    vi.spyOn(Streams.prototype, 'admit').mockImplementation(function (this: Streams, ...args) {
      const admission = admit.apply(this, args)
      return admission.error === null ? { repeated: 0, error: null } : admission
    })
    expect(await caught()).toBeGreaterThan(3)
  })

  test('gaps that are let through', async () => {
    const { admit } = Streams.prototype
    vi.spyOn(Streams.prototype, 'admit').mockImplementation(function (this: Streams, run, ...rest) {
      return admit.call(this, { ...run, previous: 0 }, ...rest)
    })
    expect(await caught()).toBeGreaterThan(3)
  })

  test('answers before the sync', async () => {
    const { write } = SimulatedEngine.prototype
    vi.spyOn(SimulatedEngine.prototype, 'write').mockImplementation(function (this: SimulatedEngine, batch) {
      return write.call(this, { ...batch, sync: false })
    })
    expect(await caught()).toBeGreaterThan(3)
  })

  test('answers that are not the first ones', async () => {
    vi.spyOn(Streams.prototype, 'recall').mockImplementation((_run, count) =>
      Array.from({ length: count }, () => ({ length: 1, nowMs: 0 })),
    )
    expect(await caught()).toBeGreaterThan(3)
  })

  test('logic that depends on more than entry and reader', async () => {
    let calls = 0
    class Moody extends Toy {
      override mutate(...args: Parameters<Toy['mutate']>) {
        const mutation = super.mutate(...args)
        return { ...mutation, responses: mutation.responses.map((each) => each && { ...each, length: ++calls }) }
      }
    }
    expect(await caught({ coprocessor: () => new Moody() })).toBe(5)
  })

  test('commands that do not survive their encoding', async () => {
    class Lossy extends Toy {
      override encode(commands: readonly ToyCommand[]) {
        return super.encode(
          commands.map((each) => (each.type === 'append' ? { ...each, word: each.word.slice(0, 2) } : each)),
        )
      }
    }
    expect(await caught({ coprocessor: () => new Lossy() })).toBe(5)
  })

  test('a split that does not copy the marks', async () => {
    vi.spyOn(Streams.prototype, 'copyTo').mockImplementation(() => {})
    expect(await caught({ splitMs: 150, splitsMax: 20 })).toBeGreaterThan(0)
  })
})
