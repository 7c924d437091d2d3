import { describe, expect, test } from 'vitest'
import { type Random, seededRandom } from '../../../src/base/clock.ts'
import { BrokerError } from '../../../src/base/errors.ts'
import {
  checkCommand,
  META_LIMITS,
  type MetaChange,
  type MetaCommand,
  MetaObserver,
  type MetaState,
  MetaWatch,
  metaCoprocessor,
  type SettingChange,
} from '../../../src/kv/meta/index.ts'
import type { RangeDescriptor } from '../../../src/kv/range/coprocessor.ts'
import { seeds } from '../../sim/seeds.ts'
import { host, LocalMeta, START_MS } from './harness.ts'

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
const put = (name: string, value: string | null, expected: number | null = null, section = 'tenant/a') =>
  ({ section, name, value: value === null ? null : bytes(value), expected }) satisfies SettingChange
const set = (...changes: SettingChange[]) => ({ type: 'set', changes }) satisfies MetaCommand
const register = (name: string, incarnation: number, ...features: string[]) =>
  ({ type: 'register', host: host(name), incarnation, features }) satisfies MetaCommand

const EVERY: MetaCommand[] = [
  { type: 'found', id: 'c1', name: 'flöck', founder: host('n1'), services: ['dist', 'inbox'] },
  { type: 'assign', service: 'dist', store: host('n2'), expected: host('n1') },
  { type: 'assign', service: 'dist', store: host('n2'), expected: null },
  { type: 'created', service: 'dist', store: host('n2') },
  set(put('x', 'y', 0), put('z', null, 7), put('', '')),
  register('n1', 2 ** 52, 'a', 'b'),
  { type: 'fence', host: host('n1'), incarnation: 0 },
  { type: 'leave', host: host('n1'), leaving: true },
  { type: 'leave', host: host('n1'), leaving: false },
  { type: 'gone', host: host('n1') },
]

describe('entries', () => {
  test('every command is read as it was written', () => {
    expect(metaCoprocessor.decode(metaCoprocessor.encode(EVERY))).toEqual(EVERY)
    expect(metaCoprocessor.decode(metaCoprocessor.encode([]))).toEqual([])
  })

  test('an entry of today is read for ever', () => {
    const entry = '0102' + '00' + '0163' + '0166' + '026e31' + '0104' + '64697374' + '05' + '026e31' + '03'
    const commands = metaCoprocessor.decode(Buffer.from(entry, 'hex'))
    expect(commands).toEqual([
      { type: 'found', id: 'c', name: 'f', founder: 'n1', services: ['dist'] },
      { type: 'fence', host: 'n1', incarnation: 3 },
    ])
    expect(Buffer.from(metaCoprocessor.encode(commands)).toString('hex')).toBe(entry)
  })

  test('damaged bytes are an error with a code, wherever they are cut or changed', () => {
    const entry = metaCoprocessor.encode(EVERY)
    const random = seededRandom(1)
    const damaged = [
      ...Array.from(entry, (_, length) => entry.subarray(0, length)),
      Uint8Array.of(...entry, 0),
      Uint8Array.of(2, 0),
      Uint8Array.of(1, 1, 9),
    ]
    for (const each of damaged) expect(() => metaCoprocessor.decode(each)).toThrow(BrokerError)
    for (let i = 0; i < 500; i++) {
      const changed = entry.slice()
      changed[random.below(changed.length)] = random.below(256)
      try {
        metaCoprocessor.decode(changed)
      } catch (error) {
        expect(error).toBeInstanceOf(BrokerError)
      }
    }
  })

  test('only what takes space is refused while there is none', () => {
    expect(EVERY.map((command) => metaCoprocessor.grows!(command))).toEqual(EVERY.map(({ type }) => type === 'set'))
    expect(metaCoprocessor.grows!(set(put('x', null)))).toBe(false)
  })
})

describe('commands that must not be proposed', () => {
  const long = 'x'.repeat(META_LIMITS.nameBytesMax + 1)
  const many = (count: number) => Array.from({ length: count }, (_, i) => `f${i}`)
  const cases: [string, MetaCommand][] = [
    ['no name', { type: 'gone', host: host('') }],
    ['a zero byte', { type: 'fence', host: host('a\0b'), incarnation: 1 }],
    ['a long name', register(long, 1)],
    ['a long feature', register('n1', 1, long)],
    ['a bad service', { type: 'created', service: '', store: host('n1') }],
    ['a bad expectation', { type: 'assign', service: 'dist', store: host('n1'), expected: host('') }],
    ['a bad cluster', { type: 'found', id: '', name: 'x', founder: host('n1'), services: [] }],
    ['a broken incarnation', register('n1', 1.5)],
    ['a negative incarnation', { type: 'fence', host: host('n1'), incarnation: -1 }],
    ['too many features', register('n1', 1, ...many(META_LIMITS.featuresMax + 1))],
    ['no change', set()],
    ['too many changes', set(...many(META_LIMITS.changesMax + 1).map((name) => put(name, '')))],
    ['a setting twice', set(put('x', '1'), put('x', '2'))],
    ['a large value', set(put('x', 'y'.repeat(META_LIMITS.valueBytesMax + 1)))],
    ['a bad version', set(put('x', 'y', -1))],
    ['a bad section', set(put('x', 'y', 0, ''))],
  ]
  test.each(cases)('%s', (_, command) => {
    expect(() => checkCommand(command)).toThrow(/Cannot change the cluster's records/)
  })

  test('others may', () => {
    for (const command of EVERY) if (command.type !== 'set') expect(() => checkCommand(command)).not.toThrow()
    expect(() => checkCommand(set(put('x', 'y'.repeat(META_LIMITS.valueBytesMax), 3)))).not.toThrow()
  })
})

describe('founding', () => {
  test('happens once; nothing is accepted before', () => {
    const meta = new LocalMeta()
    expect(meta.one(set(put('x', 'y')))).toMatchObject({ type: 'refused', reason: 'not-founded', revision: 0 })
    meta.found('n1')
    expect(meta.observer.state.cluster).toEqual({ id: 'c1', name: 'flock', founder: 'n1', foundedMs: START_MS + 2 })
    const again = { type: 'found', id: 'c1', name: 'flock', founder: host('n1'), services: [] } as const
    expect(meta.one(again)).toEqual({ type: 'done', revision: 2 })
    const other = meta.one({ ...again, id: 'c2' })
    expect(other).toMatchObject({ type: 'refused', reason: 'founded' })
    expect(other).toHaveProperty('detail', 'this is cluster "flock" with id "c1", founded before')
    expect(meta.one({ ...again, founder: host('n2') })).toMatchObject({ reason: 'founded' })
  })

  test('one store creates the first range of a service, and no other ever', () => {
    const meta = new LocalMeta().found('n1', 'n2')
    const assign = (store: string, expected: string | null, service = 'dist') =>
      meta.one({ type: 'assign', service, store: host(store), expected: expected === null ? null : host(expected) })
    const created = (store: string) => meta.one({ type: 'created', service: 'dist', store: host(store) })
    expect(meta.observer.state.origins.get('dist')).toEqual({ service: 'dist', store: 'n1', created: false })
    expect(created('n2')).toMatchObject({ reason: 'assigned' })
    expect(assign('n2', 'n3')).toMatchObject({ reason: 'assigned' })
    expect(assign('n2', null)).toMatchObject({ reason: 'assigned' })
    expect(assign('n2', 'n1').type).toBe('done')
    expect(assign('n2', 'n1').type).toBe('done')
    expect(created('n1')).toMatchObject({ reason: 'assigned' })
    expect(created('n2').type).toBe('done')
    expect(created('n2').type).toBe('done')
    expect(assign('n1', 'n2')).toMatchObject({ reason: 'created' })
    // A service that came with a later version.
    expect(assign('n1', null, 'retain').type).toBe('done')
    meta.one({ type: 'gone', host: host('n2') })
    expect(assign('n2', 'n1', 'retain')).toMatchObject({ reason: 'gone' })
  })
})

describe('settings', () => {
  test('are compared and set, all of a command or none', () => {
    const meta = new LocalMeta().found('n1')
    expect(meta.one(set(put('x', '1', 0), put('y', '1')))).toEqual({ type: 'done', revision: 3 })
    expect(meta.one(set(put('x', '2', 0)))).toMatchObject({
      type: 'refused',
      reason: 'conflict',
      detail: 'setting "tenant/a/x" has version 3, not 0',
      current: { name: 'x', version: 3, value: bytes('1') },
    })
    expect(meta.one(set(put('y', '2', 3), put('x', '2', 9)))).toMatchObject({ reason: 'conflict' })
    expect(meta.observer.state.setting('tenant/a', 'y')).toMatchObject({ version: 3, value: bytes('1') })
    expect(meta.one(set(put('y', '2', 3), put('x', '2', 3)))).toEqual({ type: 'done', revision: 4 })
    expect(meta.one(set(put('q', '1', 4)))).toMatchObject({ reason: 'conflict', current: null })
    expect(meta.one(set(put('x', null, 4)))).toEqual({ type: 'done', revision: 5 })
    expect(meta.observer.state.setting('tenant/a', 'x')).toBeNull()
    expect(meta.query({ type: 'setting', section: 'tenant/a', name: 'x' })).toMatchObject({
      setting: null,
      revision: 5,
    })
    expect(meta.query({ type: 'setting', section: 'tenant/a', name: 'y' })).toMatchObject({ setting: { version: 4 } })
    // What removes nothing changes nothing.
    expect(meta.one(set(put('x', null)))).toEqual({ type: 'done', revision: 5 })
    meta.one(set(put('x', '1', null, 'once')))
    meta.one(set(put('x', null, null, 'once')))
    expect([...meta.observer.state.settings.keys()]).toEqual(['tenant/a'])
    // Sections do not run into each other.
    meta.one(set(put('b/x', '1', 0, 'a'), put('x', '2', 0, 'a/b')))
    expect(meta.observer.state.setting('a', 'b/x')!.value).toEqual(bytes('1'))
    expect(meta.observer.state.setting('a/b', 'x')!.value).toEqual(bytes('2'))
  })

  test('commands of one entry see each other', () => {
    const meta = new LocalMeta().found('n1')
    const [a, b, c] = meta.run(set(put('x', '1', 0)), set(put('x', '2', 0)), set(put('x', '3', 3)))
    expect(a).toEqual({ type: 'done', revision: 3 })
    expect(b).toMatchObject({ reason: 'conflict', current: { version: 3 } })
    expect(c).toEqual({ type: 'done', revision: 3 })
    expect(meta.observer.state.setting('tenant/a', 'x')!.value).toEqual(bytes('3'))
  })

  test('take no more room than there is; what shrinks is always let in', () => {
    const meta = new LocalMeta().found('n1')
    const large = 'v'.repeat(META_LIMITS.valueBytesMax)
    const count = Math.floor(META_LIMITS.settingsBytesMax / META_LIMITS.valueBytesMax) - 1
    const fill = (value: string | null) => {
      for (let from = 0; from < count; from += 50) {
        const names = Array.from({ length: Math.min(50, count - from) }, (_, i) => `k${from + i}`)
        expect(meta.one(set(...names.map((name) => put(name, value)))).type).toBe('done')
      }
    }
    fill(large)
    expect(meta.one(set(put('more', large)))).toMatchObject({ type: 'refused', reason: 'full' })
    expect(meta.one(set(put('less', 'x'))).type).toBe('done')
    expect(meta.one(set(put('more', large), put('k0', null))).type).toBe('done')
    fill(null)
    expect(meta.one(set(put('k1', large))).type).toBe('done')
  })
})

describe('members', () => {
  test('a new incarnation fences the one before it at once', () => {
    const meta = new LocalMeta().found('n1')
    const { state } = meta.observer
    expect(state.isFenced('n1', 1)).toBe(false)
    expect(meta.one(register('n1', 5)).type).toBe('done')
    expect([state.isFenced('n1', 1), state.isFenced('n1', 5)]).toEqual([true, false])
    expect(meta.one(register('n1', 4))).toMatchObject({ reason: 'superseded' })
    expect(meta.one(register('n1', 5))).toMatchObject({ type: 'done', revision: 3 })
  })

  test('a fenced incarnation never comes back, its host does', () => {
    const meta = new LocalMeta().found('n1')
    const { state } = meta.observer
    const fence = (name: string, incarnation: number) => meta.one({ type: 'fence', host: host(name), incarnation })
    expect(fence('n2', 1)).toMatchObject({ reason: 'unknown' })
    expect(fence('n1', 2)).toMatchObject({ reason: 'unknown' })
    expect(fence('n1', 1).type).toBe('done')
    expect(fence('n1', 1)).toEqual({ type: 'done', revision: 3 })
    expect(state.isFenced('n1', 1)).toBe(true)
    expect(meta.one(register('n1', 1))).toMatchObject({ reason: 'fenced' })
    expect(meta.one(register('n1', 2)).type).toBe('done')
    expect(state.isFenced('n1', 2)).toBe(false)
    // A fence that comes late is one of the past.
    expect(fence('n1', 1).type).toBe('done')
    expect(state.isFenced('n1', 2)).toBe(false)
  })

  test('who is decommissioned never comes back', () => {
    const meta = new LocalMeta().found('n1', 'n2')
    const { state } = meta.observer
    const leave = (name: string, leaving: boolean) => meta.one({ type: 'leave', host: host(name), leaving })
    expect(leave('n3', true)).toMatchObject({ reason: 'unknown' })
    leave('n2', true)
    expect(state.members.get('n2')!.leaving).toBe(true)
    // A restart does not change the mind.
    meta.one(register('n2', 2))
    expect(state.members.get('n2')!.leaving).toBe(true)
    leave('n2', false)
    expect(state.members.get('n2')!.leaving).toBe(false)
    leave('n2', true)
    expect(meta.one({ type: 'gone', host: host('n2') }).type).toBe('done')
    expect([state.members.has('n2'), state.isFenced('n2', 9)]).toEqual([false, true])
    expect(state.gone.get('n2')).toEqual({ host: 'n2', goneMs: meta.nowMs })
    expect(meta.one(register('n2', 9))).toMatchObject({ reason: 'gone' })
    expect(leave('n2', false)).toMatchObject({ reason: 'gone' })
    const { revision } = state
    expect(meta.one({ type: 'gone', host: host('n2') })).toEqual({ type: 'done', revision })
  })

  test('there are no more than the limit', () => {
    const meta = new LocalMeta().found('n1')
    meta.run(...Array.from({ length: META_LIMITS.membersMax - 1 }, (_, i) => register(`m${i}`, 1)))
    expect(meta.one(register('more', 1))).toMatchObject({ reason: 'full' })
    expect(meta.one(register('m5', 2)).type).toBe('done')
  })
})

describe('gates', () => {
  const gates = (meta: LocalMeta) => [...meta.observer.state.gates].sort()

  test('open when all members can do it, and whoever cannot is let in no more', () => {
    const meta = new LocalMeta().found()
    meta.one(register('n1', 1, 'a'))
    meta.one(register('n2', 1, 'a'))
    expect(gates(meta)).toEqual(['a'])
    meta.one(register('n1', 2, 'b', 'a', 'b'))
    expect(gates(meta)).toEqual(['a'])
    expect(meta.observer.state.isOpen('b')).toBe(false)
    meta.one(register('n2', 2, 'a', 'b', 'c'))
    expect(gates(meta)).toEqual(['a', 'b'])
    const refused = meta.one(register('n3', 1, 'a'))
    expect(refused).toMatchObject({ reason: 'lacks-gate' })
    expect(refused).toHaveProperty('detail', 'host "n3" cannot do what this cluster relies on: b; upgrade it')
    // Nor may a member go back.
    expect(meta.one(register('n1', 3, 'a'))).toMatchObject({ reason: 'lacks-gate' })
    expect(meta.observer.state.members.get('n1')!.incarnation).toBe(2)
  })

  test('do not open while they are held', () => {
    const meta = new LocalMeta().found()
    meta.one(set(put('hold', '', null, 'gate')))
    meta.one(register('n1', 1, 'a'))
    expect(gates(meta)).toEqual([])
    meta.one(set(put('hold', null, null, 'gate')))
    expect(gates(meta)).toEqual(['a'])
  })

  test('open when the last that could not is gone', () => {
    const meta = new LocalMeta().found()
    meta.run(register('n1', 1), register('n2', 1, 'a'))
    expect(gates(meta)).toEqual([])
    meta.one({ type: 'gone', host: host('n1') })
    expect(gates(meta)).toEqual(['a'])
  })

  test('open within the entry that makes it so', () => {
    const meta = new LocalMeta().found()
    expect(meta.run(register('n1', 1, 'a'), register('n2', 1)).map(({ type }) => type)).toEqual(['done', 'refused'])
  })
})

describe('those who watch', () => {
  test('are told what is, then each change once', () => {
    const meta = new LocalMeta().found('n1')
    const told: string[] = []
    const end = meta.observer.watch((change) => told.push(change.type))
    expect(told).toEqual(['cluster', 'origin', 'origin', 'member'])
    meta.one(set(put('x', '1'), put('y', '1')))
    meta.one(set(put('x', null)))
    expect(told.slice(4)).toEqual(['setting', 'setting', 'setting-removed'])
    end()
    meta.one(set(put('x', '2')))
    expect(told).toHaveLength(7)
  })

  test('a snapshot tells what differs', () => {
    const meta = new LocalMeta().found('n1')
    meta.one(set(put('x', '1'), put('y', '1')))
    const late = new MetaObserver()
    const descriptor = meta.descriptor as unknown as RangeDescriptor
    late.opened(descriptor, meta.reader)
    const told: MetaChange[] = []
    late.watch((change) => told.push(change))
    told.length = 0
    meta.one(set(put('x', null), put('y', '2')))
    meta.one({ type: 'leave', host: host('n1'), leaving: true })
    late.closed()
    late.opened(descriptor, meta.reader)
    expect(told.map(({ type }) => type)).toEqual(['setting-removed', 'setting', 'member'])
    // What was told as it happened is not told again.
    const live: MetaChange[] = []
    meta.observer.watch((change) => live.push(change))
    live.length = 0
    meta.one(register('n2', 1, 'a'))
    meta.one({ type: 'assign', service: 'retain', store: host('n2'), expected: null })
    expect(live).toHaveLength(2)
    meta.observer.opened(descriptor, meta.reader)
    expect(live).toHaveLength(2)
    late.opened(descriptor, meta.reader)
    expect(digest(late.state)).toEqual(digest(meta.observer.state))
  })

  test('from afar: page by page, until all pages are of one revision', () => {
    const meta = new LocalMeta().found('n1')
    for (let i = 0; i < 20; i++) meta.one(set(put(`k${i}`, 'v'.repeat(50_000))))
    const watch = new MetaWatch()
    const ask = () => watch.answered(meta.query(watch.next()))
    expect(ask()).toEqual([])
    expect(watch.busy).toBe(true)
    meta.one(set(put('k0', null)))
    expect(ask()).toEqual([])
    expect(watch.busy).toBe(false)
    const changes: MetaChange[] = []
    for (let asks = 1; changes.length === 0; asks++) {
      changes.push(...ask())
      expect(asks).toBeLessThan(8)
    }
    expect(changes).toHaveLength(19 + 4)
    expect(digest(watch.state)).toEqual(digest(meta.observer.state))
    expect(meta.query(watch.next())).toEqual({ type: 'same', revision: meta.observer.state.revision })
    expect(ask()).toEqual([])
  })

  test('a page holds one record at least, however small it is to be', () => {
    const meta = new LocalMeta().found('n1')
    const page = meta.query({ type: 'snapshot', from: null, bytesMax: 1, unless: null })
    expect(page).toMatchObject({ type: 'page', changes: [{ type: 'cluster' }] })
    expect(page).not.toMatchObject({ next: null })
  })

  test('an answer of a replica that is behind is nothing', () => {
    const meta = new LocalMeta().found('n1')
    const watch = new MetaWatch()
    const old = meta.query(watch.next())
    meta.one(set(put('x', '1')))
    expect(watch.answered(meta.query(watch.next()))).toHaveLength(5)
    expect(watch.answered(old)).toEqual([])
    expect(watch.state.setting('tenant/a', 'x')).not.toBeNull()
  })
})

describe('random histories', () => {
  for (const seed of seeds(10)) {
    test(`every memory of the records is the same, seed=${seed}`, () => {
      const random = seededRandom(seed)
      const meta = new LocalMeta()
      const watch = new MetaWatch()
      for (let step = 0; step < 80; step++) {
        const commands = Array.from({ length: 1 + random.below(3) }, () => anyCommand(random))
        meta.run(...commands)
        if (random.below(4) > 0) continue
        const fresh = new MetaObserver()
        fresh.opened(meta.descriptor as unknown as RangeDescriptor, meta.reader)
        expect(digest(fresh.state)).toEqual(digest(meta.observer.state))
        do watch.answered(meta.query({ ...watch.next(), bytesMax: 60 } as never))
        while (watch.busy)
        expect(digest(watch.state)).toEqual(digest(meta.observer.state))
        const { members, gates, gone } = meta.observer.state
        for (const { features } of members.values()) for (const gate of gates) expect(features).toContain(gate)
        for (const name of gone.keys()) expect(members.has(name)).toBe(false)
      }
    })
  }
})

/** What two memories must have in common, in any order. */
function digest(state: MetaState): string[] {
  return [
    `revision ${state.revision}`,
    ...state
      .changes()
      .map((change) => text(change))
      .sort(),
  ]
}

/** Whatever the order of the fields. */
function text(value: unknown): string {
  if (value instanceof Uint8Array) return Buffer.from(value).toString('latin1')
  if (typeof value !== 'object' || value === null) return String(value)
  const fields = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))
  return `{${fields.map(([name, field]) => `${name}: ${text(field)}`).join(', ')}}`
}

function anyCommand(random: Random): MetaCommand {
  const pick = <T>(items: readonly T[]): T => items[random.below(items.length)]!
  const name = host(pick(['n1', 'n2', 'n3', 'n4']))
  const service = pick(['dist', 'inbox'])
  switch (random.below(12)) {
    case 0:
      return { type: 'found', id: pick(['c1', 'c2']), name: 'flock', founder: name, services: ['dist'] }
    case 1:
      return { type: 'assign', service, store: name, expected: pick([null, host('n1'), host('n2')]) }
    case 2:
      return { type: 'created', service, store: name }
    case 3:
    case 4:
      return register(name, random.below(6), ...['a', 'b', 'c'].filter(() => random.below(3) > 0))
    case 5:
      return { type: 'fence', host: name, incarnation: random.below(6) }
    case 6:
      return { type: 'leave', host: name, leaving: random.below(2) === 0 }
    case 7:
      return random.below(8) === 0 ? { type: 'gone', host: name } : set(put('hold', pick(['', null]), null, 'gate'))
    default: {
      const value = () => (random.below(3) === 0 ? null : `${random.below(9)}`)
      const expected = () => pick([null, null, 0, random.below(60)])
      return set(put(pick(['x', 'y']), value(), expected()), put('z', value(), expected(), pick(['q', 'r'])))
    }
  }
}
