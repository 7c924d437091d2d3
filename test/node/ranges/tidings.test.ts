import { expect, test } from 'vitest'
import { seededRandom } from '../../../src/base/clock.ts'
import type { HostId } from '../../../src/base/ids.ts'
import type { KeyEntry, KeyEvent, Keys } from '../../../src/cluster/overlay/index.ts'
import type { RangeDescriptor } from '../../../src/kv/range/coprocessor.ts'
import {
  decodeRangeTiding,
  decodeStoreTiding,
  encodeRangeTiding,
  encodeStoreTiding,
  type RangeTiding,
} from '../../../src/node/ranges/tiding.ts'
import { Tidings } from '../../../src/node/ranges/tidings.ts'
import { World } from '../../sim/world.ts'

const descriptor = (id: string, confVersion = 1): RangeDescriptor => ({
  ...{ id, service: 'inbox', epoch: { version: 2, confVersion }, start: Uint8Array.of(97), end: undefined },
  replicas: [
    { store: 'h1', replica: 1, role: 'voter' },
    { store: 'h2', replica: 4, role: 'learner' },
  ],
})

const tiding = (id: string, rest: Partial<RangeTiding> = {}): RangeTiding => ({
  ...{ descriptor: descriptor(id), term: 3, sizeBytes: 10_000_000_000, writeLoad: 12, queryLoad: 0 },
  ...{ splitHint: null, middleKey: Uint8Array.of(109), lag: { h2: 7 }, busy: true },
  ...rest,
})

/** The keys of all hosts in one place, as if each word reached everybody at once. */
function board() {
  const entries = new Map<string, KeyEntry>()
  const watchers: { prefix: string; watcher: (event: KeyEvent) => void }[] = []
  const tell = (event: KeyEvent) => {
    for (const { prefix, watcher } of watchers) if (event.key.startsWith(prefix)) watcher(event)
  }
  const keysOf = (host: string): Keys => ({
    set: (key, value) => {
      const entry = { host: host as HostId, key, value }
      entries.set(`${host}/${key}`, entry)
      tell({ type: 'set', ...entry })
    },
    delete: (key) => {
      entries.delete(`${host}/${key}`)
      tell({ type: 'deleted', host: host as HostId, key })
    },
    get: (owner, key) => entries.get(`${owner}/${key}`)?.value ?? null,
    entries: (prefix) => [...entries.values()].filter(({ key }) => key.startsWith(prefix)),
    watch: (prefix, watcher) => {
      watchers.push({ prefix, watcher })
      return () => {}
    },
  })
  return { keysOf, count: () => entries.size }
}

test('what is told is read as it was said', () => {
  expect(decodeRangeTiding(encodeRangeTiding(tiding('r1')))).toEqual(tiding('r1'))
  const store = { freeBytes: 2 ** 40, full: true, draining: false }
  expect(decodeStoreTiding(encodeStoreTiding(store))).toEqual(store)
})

test('bytes of anybody are no tidings, and throw nothing', () => {
  const random = seededRandom(5)
  const [range, store] = [
    encodeRangeTiding(tiding('r1')),
    encodeStoreTiding({ freeBytes: 1, full: false, draining: true }),
  ]
  for (const whole of [range, store]) {
    for (let i = 0; i < 2_000; i++) {
      const bytes = new Uint8Array(whole.subarray(0, random.below(whole.length + 1)))
      for (let n = random.below(4); n > 0 && bytes.length > 0; n--)
        bytes[random.below(bytes.length)] = random.below(256)
      decodeRangeTiding(bytes)
      decodeStoreTiding(bytes)
    }
  }
  expect(decodeRangeTiding(new Uint8Array(0))).toBeNull()
  const newer = new Uint8Array(range)
  newer[0] = 99
  expect(decodeRangeTiding(newer)).toBeNull()
})

test('of two that say they lead, the later term counts; who leads no more says nothing', async () => {
  const world = new World({ seed: 1 })
  const { keysOf } = board()
  const [first, second] = [new Tidings(keysOf('h1'), world.clock), new Tidings(keysOf('h2'), world.clock)]
  first.tell([tiding('r1', { term: 3 })])
  expect(second.landscape('inbox').map(({ epoch }) => epoch.confVersion)).toEqual([1])
  expect(second.landscape('dist')).toEqual([])
  second.tell([tiding('r1', { term: 4, descriptor: descriptor('r1', 2) })])
  expect(first.ranges().map(({ leader, term }) => [leader, term])).toEqual([['h2', 4]])
  expect(first.landscape('inbox')[0]!.epoch.confVersion).toBe(2)
  first.tell([])
  second.tell([])
  expect(first.ranges()).toEqual([])
})

test('how long a range has been as it is counts from its last change, and its leader from its election', async () => {
  const world = new World({ seed: 1 })
  const tidings = new Tidings(board().keysOf('h1'), world.clock)
  const ages = () => tidings.ranges().map(({ changedForMs, ledForMs }) => [changedForMs, ledForMs].map(Math.round))
  tidings.tell([tiding('r1')])
  ages()
  await world.run(5_000)
  expect(ages()).toEqual([[5_000, 5_000]])
  tidings.tell([tiding('r1', { descriptor: descriptor('r1', 2) })])
  ages()
  await world.run(1_000)
  expect(ages()).toEqual([[1_000, 6_000]])
})

test('what decides about replicas is told at once, figures now and then', async () => {
  const world = new World({ seed: 1 })
  const { keysOf } = board()
  const tidings = new Tidings(keysOf('h1'), world.clock)
  let told = 0
  tidings.watch(() => told++)
  const tell = (rest: Partial<RangeTiding>) => {
    const before = told
    tidings.tell([tiding('r1', rest)])
    return told - before
  }
  expect(tell({})).toBe(1)
  expect(tell({ writeLoad: 5_000, sizeBytes: 1 })).toBe(0)
  expect(tell({ lag: { h2: 5_000 } })).toBe(1)
  expect(tell({ lag: { h2: 6_000 } })).toBe(0)
  expect(tell({ lag: { h2: 6_000 }, busy: false })).toBe(1)
  await world.run(11_000)
  expect(tell({ lag: { h2: 6_000 }, busy: false, writeLoad: 13 })).toBe(0)
  expect(tell({ lag: { h2: 6_000 }, busy: false, writeLoad: 5_000 })).toBe(1)
})
