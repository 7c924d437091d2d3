import { describe, expect, test } from 'vitest'
import { seededRandom } from '../../src/base/clock.ts'
import { silentLogger } from '../../src/base/logging.ts'
import type { Message } from '../../src/base/message.ts'
import { topicMatches } from '../../src/base/topic.ts'
import { compareBytes } from '../../src/kv/engine/bytes.ts'
import { MemoryEngine } from '../../src/kv/engine/memory/engine.ts'
import { engineReader } from '../../src/kv/range/boundary.ts'
import { Store } from '../../src/kv/store/store.ts'
import { RetainClient } from '../../src/retain/client.ts'
import { createRetain, retainCoprocessor } from '../../src/retain/index.ts'
import { RetainObserver } from '../../src/retain/observer.ts'
import type { Usage } from '../../src/retain/store/books.ts'
import { commandBytes, type RetainCommand, type RetainResponse } from '../../src/retain/store/codec.ts'
import type { RetainAnswer, RetainQuery } from '../../src/retain/store/coprocessor.ts'
import { behindBooks, slotBytes, TOMBSTONE_MS, topicKey } from '../../src/retain/store/schema.ts'
import { chaosWorld } from '../sim/chaos.ts'
import { seeds } from '../sim/seeds.ts'
import { World } from '../sim/world.ts'
import { matchAll, message, NO_LIMITS, TENANT } from './harness.ts'

const key = (topic: string) => topicKey(TENANT, topic)
const TOPICS = 'abcdefgh'.split('').flatMap((name) => [name, `${name}/x`, `${name}/y/z`])

function openStore(world: World, engine: MemoryEngine, splits: string[]) {
  const store = new Store({
    ...{ engine, clock: world.clock, random: seededRandom(1), storeId: 's1', log: silentLogger, defer: world.defer },
    decodeAlways: true,
  })
  const retain = createRetain({
    serve: (coprocessor, observer, options) =>
      store.serve(coprocessor, observer, { ...options, initialSplits: splits.map(key) }),
  })
  return { store, retain: retain as RetainClient }
}

describe('on a store', () => {
  test('timed work is done by itself: expiry, and the books of both halves after a split', async () => {
    const world = new World({ seed: 1 })
    const { store, retain } = openStore(world, new MemoryEngine(), ['c', 'f'])
    for (const [i, topic] of TOPICS.entries()) {
      const changes = { timestamp: world.clock.now() * 1024, expirySeconds: i % 2 === 0 ? 100 : -1 }
      await world.resolve(retain.set(TENANT, message(topic, 'x', changes), NO_LIMITS))
    }
    expect(retain.stats().topics).toBe(24)
    const { bytes } = retain.stats()
    await world.resolve(store.split('retain', key('d')))
    await world.resolve(store.split('retain', key('g/x')))
    await world.runUntil(() => retain.stats().topics === 24 && retain.stats().bytes === bytes, 1_000)
    expect(store.ranges().length).toBe(5)
    await world.run(101_000)
    expect(retain.stats().topics).toBe(12)
    const { messages } = await world.resolve(matchAll(retain, '#', { messagesMax: 5 }))
    expect(messages.map(({ topic }) => topic)).toEqual(TOPICS.filter((_, i) => i % 2 === 1))
    expect(store.health()).toEqual([])
  })

  test('a restart goes on with what is on the engine', async () => {
    const world = new World({ seed: 1 })
    const engine = new MemoryEngine()
    const first = openStore(world, engine, ['c', 'f'])
    const stamped = { timestamp: world.clock.now() * 1024 }
    for (const topic of TOPICS) {
      await world.resolve(first.retain.set(TENANT, message(topic, 'x', { ...stamped, expirySeconds: 10 }), NO_LIMITS))
    }
    await world.resolve(first.store.close())
    const { retain } = openStore(world, engine, [])
    expect(retain.stats().topics).toBe(24)
    const limits = { topicsMax: 8, bytesMax: Infinity }
    await world.run(20_000)
    expect(retain.stats()).toEqual({ topics: 0, bytes: 0 })
    expect(await world.resolve(retain.set(TENANT, message('a', 'x', stamped), limits))).toBe('stored')
  })

  test('large messages of one turn are not one entry', async () => {
    const world = new World({ seed: 1 })
    const { store, retain } = openStore(world, new MemoryEngine(), [])
    const payload = Buffer.alloc(1024 * 1024)
    await world.resolve(Promise.all(TOPICS.map((topic) => retain.set(TENANT, message(topic, payload), NO_LIMITS))))
    expect(store.ranges()[0]!.index).toBeGreaterThanOrEqual(6)
  })
})

describe('under chaos', () => {
  test.each(seeds(12))('what was answered is there, and the books are exact, seed %i', async (seed) => {
    const observer = new RetainObserver()
    const chaos = chaosWorld<RetainCommand, RetainResponse, RetainQuery, RetainAnswer, Usage>({
      seed,
      coprocessor: retainCoprocessor,
      makeObserver: () => observer,
      splits: [key('c'), key('f')],
      commandBytes,
      ...{ crashMs: 600, splitMs: 500, hangMs: 2_000 },
    })
    const { world } = chaos
    const retain = new RetainClient(chaos.client, observer)
    /** By topic, in the order of the calls; each is later than the one before. */
    const asked = new Map<string, { message: Message; answered: boolean }[]>(TOPICS.map((topic) => [topic, []]))
    let open = 0
    let timestamp = world.clock.now() * 1024
    const set = () => {
      const topic = TOPICS[world.random.below(TOPICS.length)]!
      const payload = world.random.below(4) === 0 ? '' : `v${++timestamp}`
      const entry = { message: message(topic, payload, { timestamp: ++timestamp }), answered: false }
      asked.get(topic)!.push(entry)
      open++
      retain.set(TENANT, entry.message, NO_LIMITS).then(
        () => {
          entry.answered = true
          open--
        },
        () => open--,
      )
    }
    const pages: Promise<void>[] = []
    const read = () => {
      const filter = ['#', '+/x', 'b/#', '+/+/z'][world.random.below(4)]!
      pages.push(
        matchAll(retain, filter, { messagesMax: 3 }).then(
          ({ messages }) => {
            const keys = messages.map(({ topic }) => key(topic))
            const sorted = keys.every((each, i) => i === 0 || compareBytes(keys[i - 1]!, each) < 0)
            const matching = messages.every(({ topic }) => topicMatches(filter, topic))
            if (!sorted || !matching) world.fail(new Error(`Wrong pages of ${filter}`))
          },
          () => {},
        ),
      )
    }
    for (let round = 0; round < 60; round++) {
      for (let burst = world.random.below(10); burst > 0; burst--) set()
      if (round % 4 === 0) read()
      await world.run(world.random.float() * 80)
    }
    chaos.calm()
    await world.runUntil(() => open === 0, 120_000)
    await world.resolve(Promise.all(pages), 120_000)
    await world.run(5_000)
    expect(chaos.health()).toEqual([])
    const { messages } = await world.resolve(matchAll(retain, '#'), 60_000)
    for (const topic of TOPICS) {
      const shown = messages.find((each) => each.topic === topic)
      const calls = asked.get(topic)!
      const last = calls.findLastIndex(({ answered }) => answered)
      // Calls of one key are applied in their order: the last answered one, or one after it that got no answer.
      const possible = calls.slice(Math.max(0, last)).map((call) => call.message.payload.toString())
      if (last < 0) possible.push('')
      expect(possible).toContain(shown?.payload.toString() ?? '')
    }
    await world.run(TOMBSTONE_MS)
    const landed = engineReader(chaos.engine!, 'retain').cursor()
    const actual = { topics: 0, bytes: 0 }
    while (landed.next()) {
      if (behindBooks(landed.key) !== null) continue
      expect(landed.value[0], 'tombstones are gone').toBe(1)
      actual.topics++
      actual.bytes += slotBytes(landed.key, landed.value)
    }
    landed.close()
    expect(retain.stats()).toEqual(actual)
    expect(chaos.splits).toBeGreaterThan(0)
    expect(chaos.crashes).toBeGreaterThan(0)
  })
})
