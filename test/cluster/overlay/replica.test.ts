import { describe, expect, test } from 'vitest'
import { seededRandom } from '../../../src/base/clock.ts'
import type { HostId } from '../../../src/base/ids.ts'
import type { Entry } from '../../../src/cluster/overlay/core/entries.ts'
import type { Delta } from '../../../src/cluster/overlay/core/message.ts'
import {
  HOST_BYTES_MAX,
  TOMBSTONES_MAX,
  VALUE_BYTES_MAX,
  VERSION_LEAP_MAX,
} from '../../../src/cluster/overlay/core/options.ts'
import { OwnEntries } from '../../../src/cluster/overlay/core/own-entries.ts'
import { makeDelta, markOf, Replica, type Source } from '../../../src/cluster/overlay/core/replica.ts'
import { seeds } from '../../sim/seeds.ts'
import { bytes, text } from './sim-overlay.ts'

const OWNER = 'h1' as HostId
const KEEP_MS = 1_000

function owner(): OwnEntries {
  return new OwnEntries(OWNER, 7, KEEP_MS)
}

function copy(): Replica {
  return new Replica(OWNER, 7)
}

/** Sends what is lacking, at most so many bytes of it. */
function pull(to: Replica, from: Source, bytesMax = 1e9): ReturnType<Replica['apply']> | null {
  const delta = makeDelta(from, to.position, bytesMax)
  return delta === null ? null : to.apply(delta)
}

function content(source: Source): string[] {
  return [...source.entries.values()]
    .filter((entry) => entry.value !== null)
    .map(line)
    .sort()
}

function line(entry: Entry): string {
  return `${entry.key}=${entry.value === null ? '-' : text(entry.value)}`
}

function delta(part: Partial<Delta>): Delta {
  const { to = 0, last = to } = part
  return { type: 'delta', host: OWNER, life: 7, from: 0, to, last, forgotten: 0, entries: [], ...part }
}

const entry = (key: string, version: number, value = `${version}`): Entry => ({ key, version, value: bytes(value) })

describe('what an owner writes', () => {
  test('each write has its version, and what changes nothing is none', () => {
    const own = owner()
    own.write('ka', bytes('1'), 0)
    own.write('kb', bytes('2'), 0)
    expect(own.write('kb', bytes('2'), 0)).toBeNull()
    expect(own.write('kc', null, 0)).toBeNull()
    own.write('ka', null, 0)
    expect(own.write('ka', null, 0)).toBeNull()
    expect([...own.entries.values()].map(line)).toEqual(['kb=2', 'ka=-'])
    expect(own.entries.version).toBe(3)
  })

  test('deletions are forgotten after their time, which is a write', () => {
    const own = owner()
    own.write('ka', bytes('1'), 0)
    own.write('ka', null, 10)
    own.write('kb', bytes('1'), 20)
    own.tick(KEEP_MS + 9)
    expect(own.entries.size).toBe(2)
    expect(own.deadlineMs()).toBe(KEEP_MS + 10)
    own.tick(KEEP_MS + 10)
    expect([own.entries.size, own.entries.forgotten, own.entries.version]).toEqual([1, 2, 4])
    expect(own.deadlineMs()).toBe(Number.POSITIVE_INFINITY)
  })

  test('a key that is set again keeps its new value when its deletion is forgotten', () => {
    const own = owner()
    own.write('ka', bytes('1'), 0)
    own.write('ka', null, 0)
    own.write('ka', bytes('2'), 0)
    own.tick(KEEP_MS)
    expect(content(own)).toEqual(['ka=2'])
  })

  test('the oldest deletion is given up at the limit', () => {
    const own = owner()
    for (let i = 0; i <= TOMBSTONES_MAX; i++) {
      own.write(`k${i}`, bytes('1'), 0)
      own.write(`k${i}`, null, 0)
    }
    expect(own.entries.size).toBe(TOMBSTONES_MAX)
    expect(own.entries.forgotten).toBe(2)
  })

  test('bytes are counted, and full is full', () => {
    const own = owner()
    const value = new Uint8Array(VALUE_BYTES_MAX)
    let keys = 0
    while (!own.isFull(`k${keys}`, value)) own.write(`k${keys++}`, value, 0)
    expect(own.entries.bytes).toBeLessThanOrEqual(HOST_BYTES_MAX)
    expect(own.entries.bytes).toBeGreaterThan(HOST_BYTES_MAX - VALUE_BYTES_MAX - 64)
    expect(own.isFull('k0', value)).toBe(false)
    expect(() => own.write('kx', value, 0)).toThrow('limits')
  })

  test('who claims a later version is overruled, and everybody reads all anew', () => {
    const own = owner()
    own.write('ka', bytes('1'), 0)
    const fooled = copy()
    fooled.apply(delta({ to: 100, entries: [entry('kx', 99)] }))
    expect(own.refute(fooled.entries.version)).toBe(true)
    expect(own.entries.version).toBe(101)
    expect(pull(fooled, own)).toHaveLength(2)
    expect(content(fooled)).toEqual(['ka=1'])
    own.write('kb', bytes('1'), 0)
    pull(fooled, own)
    expect(content(fooled)).toEqual(['ka=1', 'kb=1'])
  })

  test('a claim that nobody believes is not answered', () => {
    const own = owner()
    expect(own.refute(0)).toBe(false)
    expect(own.refute(VERSION_LEAP_MAX + 1)).toBe(false)
    expect(own.refute(VERSION_LEAP_MAX)).toBe(true)
    expect(copy().apply(delta({ to: VERSION_LEAP_MAX + 1 }))).toBe('refused')
  })
})

describe('what a copy takes', () => {
  test('only what adjoins what it has, and each thing once', () => {
    const replica = copy()
    expect(replica.apply(delta({ from: 3, to: 5, entries: [entry('ka', 4)] }))).toBe('gap')
    expect(replica.apply(delta({ to: 2, last: 5, entries: [entry('ka', 1), entry('kb', 2)] }))).toHaveLength(2)
    expect(replica.apply(delta({ to: 2, last: 5, entries: [entry('ka', 1), entry('kb', 2)] }))).toBe('stale')
    const overlapping = delta({ from: 1, to: 4, entries: [entry('kb', 2), entry('kc', 4)] })
    expect(replica.apply(overlapping)).toHaveLength(1)
    expect(content(replica)).toEqual(['ka=1', 'kb=2', 'kc=4'])
  })

  test('no more than an owner may have', () => {
    const value = 'x'.repeat(VALUE_BYTES_MAX)
    const entries = Array.from({ length: 70 }, (_, at) => entry(`k${at}`, at + 1, value))
    const replica = copy()
    expect(replica.apply(delta({ to: 70, entries }))).toBe('refused')
    expect(replica.entries.size).toBe(0)
  })

  test('who missed a forgotten deletion reads all anew, and shows it in one step', () => {
    const own = owner()
    for (const key of ['ka', 'kb', 'kc']) own.write(key, bytes('1'), 0)
    const replica = copy()
    pull(replica, own)
    own.write('kb', null, 0)
    own.write('kc', bytes('2'), 0)
    own.tick(KEEP_MS)
    // One entry at a time.
    expect(pull(replica, own, 20)).toEqual([])
    expect(content(replica)).toEqual(['ka=1', 'kb=1', 'kc=1'])
    const changes = pull(replica, own)
    expect(Array.isArray(changes) && changes.map((change) => change.key).sort()).toEqual(['kb', 'kc'])
    expect(content(replica)).toEqual(['ka=1', 'kc=2'])
    expect(replica.position).toEqual({ mark: markOf(OWNER, 7), version: 6, resetTo: 0 })
  })

  test('while it reads anew it does not listen to who misses the deletion itself', () => {
    const own = owner()
    for (const key of ['ka', 'kb', 'kc']) own.write(key, bytes('1'), 0)
    const [replica, old] = [copy(), copy()]
    pull(replica, own)
    own.write('kd', bytes('1'), 0)
    pull(old, own)
    own.write('kb', null, 0)
    own.tick(KEEP_MS)
    pull(replica, own, 20)
    expect(makeDelta(old, replica.position, 1e9)).toBeNull()
    expect(replica.apply(delta({ from: 0, to: 4, entries: [...old.entries.values()] }))).toBe('stale')
  })

  test('more is forgotten while it reads anew: where it is past that already, it goes on', () => {
    const own = owner()
    for (const key of ['ka', 'kb', 'kc']) own.write(key, bytes('1'), 0)
    const replica = copy()
    pull(replica, own)
    own.write('ka', null, 0)
    own.write('kd', bytes('1'), 500)
    own.write('kd', null, 500)
    for (const key of ['ke', 'kf']) own.write(key, bytes('1'), 500)
    own.tick(KEEP_MS)
    // Everything but the last entry.
    pull(replica, own, 80)
    const { version, resetTo } = replica.position
    own.tick(KEEP_MS + 500)
    expect([resetTo, own.entries.forgotten]).toEqual([4, 6])
    expect(version).toBeGreaterThanOrEqual(6)
    expect(Array.isArray(pull(replica, own))).toBe(true)
    expect(content(replica)).toEqual(content(own))
  })
})

/**
 * An owner that writes, deletes and forgets, and copies that read from it and from each other, in pieces, doubled, late.
 * Whatever a copy shows: of all that the owner last wrote at or before its version, nothing is missing, and nothing that
 * was deleted is there.
 */
test.each(seeds(150))('copies of copies of an owner, seed %i', (seed) => {
  const random = seededRandom(seed)
  const own = owner()
  const copies = Array.from({ length: 4 }, copy)
  const sources = [own, ...copies]
  const late: { to: Replica; delta: Delta }[] = []
  const written = new Map<string, { version: number; value: string | null }>()
  const check = (replica: Replica) => {
    for (const [key, { version, value }] of written) {
      if (version > replica.entries.version) continue
      const found = replica.entries.get(key)?.value ?? null
      expect(found === null ? null : text(found)).toBe(value)
    }
  }
  for (let step = 0; step < 400; step++) {
    const nowMs = step * 50
    const key = `k${random.below(10)}`
    if (random.below(3) === 0) {
      const value = random.below(3) === 0 ? null : `${step}`
      if (own.write(key, value === null ? null : bytes(value), nowMs) !== null)
        written.set(key, { version: own.entries.version, value })
    }
    if (random.below(4) === 0) own.tick(nowMs)
    const to = copies[random.below(copies.length)]!
    const from = sources[random.below(sources.length)]!
    const made = makeDelta(from, to.position, [20, 60, 200, 1e9][random.below(4)]!)
    if (made !== null) late.push({ to, delta: made })
    while (late.length > random.below(8)) {
      const [message] = late.splice(random.below(late.length), random.below(5) === 0 ? 0 : 1)
      if (message === undefined) break
      message.to.apply(message.delta)
      check(message.to)
    }
  }
  for (let round = 0; round < 5; round++) for (const replica of copies) pull(replica, own)
  for (const replica of copies) {
    expect([...replica.entries.values()].map(line)).toEqual([...own.entries.values()].map(line))
    expect(replica.entries.bytes).toBe(own.entries.bytes)
    expect(replica.entries.forgotten).toBe(own.entries.forgotten)
  }
})
