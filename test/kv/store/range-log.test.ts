import { describe, expect, test, vi } from 'vitest'
import type { Write } from '../../../src/kv/engine/engine.ts'
import { MemoryEngine } from '../../../src/kv/engine/memory/engine.ts'
import type { Entry } from '../../../src/kv/raft/index.ts'
import {
  decodeConfig,
  decodeLogEntry,
  decodePlaces,
  encodeConfig,
  encodeLogEntry,
  encodePlaces,
  entryKey,
  indexOf,
  rangeOfKey,
} from '../../../src/kv/store/raft-schema.ts'
import { RangeLog } from '../../../src/kv/store/range-log.ts'
import { bytes } from '../toy.ts'

const entry = (index: number, term: number, data = `${index}`): Entry => ({
  ...{ index, term, type: 'command', data: bytes(data), change: null },
})
const shown = (entries: readonly Entry[]) =>
  entries.map(({ index, term, data }) => `${index}/${term} ${Buffer.from(data)}`)

/** A log, and the engine that has what was written. */
function setup(cached = false) {
  const engine = new MemoryEngine()
  const write = (writes: readonly Write[]) =>
    void engine.write({ writes: writes.map((each) => ({ family: 'raft', write: each })), sync: true })
  const { log, writes } = RangeLog.begin(engine, 'r', 1, 1)
  log.cached = cached
  write(writes)
  const append = (...entries: Entry[]) => write(log.append(entries, { term: entries.at(-1)!.term, vote: 1, commit: 1 }))
  return { engine, log, write, append, reopen: () => RangeLog.open(engine, 'r')! }
}

describe.each([true, false])('range log, cached: %s', (cached) => {
  test('gives what was appended, in pages, also when it is opened again', () => {
    const { log, append, reopen } = setup(cached)
    append(entry(2, 1), entry(3, 2), entry(4, 2))
    for (const each of [log, reopen()]) {
      expect([each.firstIndex(), each.lastIndex(), each.bytes]).toEqual([2, 4, log.bytes])
      expect([0, 1, 2, 3, 4, 5].map((index) => each.term(index))).toEqual([null, 1, 1, 2, 2, null])
      expect(shown(each.entries(2, 5, 1_000))).toEqual(['2/1 2', '3/2 3', '4/2 4'])
      expect(shown(each.entries(3, 5, 1))).toEqual(['3/2 3'])
      expect(each.hardState).toEqual({ term: 2, vote: 1, commit: 1 })
    }
  })

  test('a new leader replaces what was not committed', () => {
    const { engine, log, append, reopen } = setup(cached)
    append(entry(2, 1), entry(3, 1), entry(4, 1), entry(5, 1))
    append(entry(3, 3, 'new'))
    for (const each of [log, reopen()]) {
      expect(shown(each.entries(2, 4, 1_000))).toEqual(['2/1 2', '3/3 new'])
      expect([each.lastIndex(), each.term(3), each.term(4)]).toEqual([3, 3, null])
      expect(each.bytes).toBe(log.bytes)
    }
    expect(engine.get('raft', entryKey('r', 5))).toBeUndefined()
  })

  test('drops from the front as much as it may and must', () => {
    const { engine, log, write, append, reopen } = setup(cached)
    for (let i = 2; i <= 20; i++) append(entry(i, i < 10 ? 1 : 2, `${i}`.padStart(2, '0')))
    const each = log.bytes / 19
    write(log.compact(12, each * 3))
    expect([log.firstIndex(), log.term(12), log.term(11)]).toEqual([13, 2, null])
    write(log.compact(20, each * 3))
    for (const one of [log, reopen()]) {
      expect([one.firstIndex(), one.lastIndex(), one.term(17)]).toEqual([18, 20, 2])
      expect(shown(one.entries(18, 21, 1_000))).toEqual(['18/2 18', '19/2 19', '20/2 20'])
      expect(() => one.entries(17, 18, 10)).toThrow('no entries')
    }
    expect(engine.get('raft', entryKey('r', 17))).toBeUndefined()
    expect(log.compact(20, each * 3)).toEqual([])
    write(log.compact(30, 0))
    expect([log.firstIndex(), log.lastIndex(), log.bytes, log.term(20)]).toEqual([21, 20, 0, 2])
  })

  test('begins anew after a snapshot, and ends', () => {
    const { engine, log, write, append, reopen } = setup(cached)
    append(entry(2, 1), entry(3, 1))
    write(log.restart(10, 4, { term: 4, vote: null, commit: 10 }))
    append(entry(11, 4))
    for (const each of [log, reopen()]) {
      expect([each.firstIndex(), each.lastIndex(), each.term(10), each.term(3)]).toEqual([11, 11, 4, null])
    }
    write(log.remove())
    expect(reopen()).toBeNull()
    expect(engine.get('raft', entryKey('r', 11))).toBeUndefined()
  })
})

test('a log with a hole is named, and not used', () => {
  const { engine, append, reopen } = setup()
  append(entry(2, 1), entry(3, 1), entry(4, 1))
  void engine.write({ writes: [{ family: 'raft', write: { type: 'delete', key: entryKey('r', 3) } }], sync: true })
  expect(reopen).toThrow('lacks entry 3')
})

test('bytes on disk', () => {
  const change = {
    members: [{ type: 'add-learner', id: 7 } as const, { type: 'remove', id: 300 } as const],
    leave: 'explicit',
  } as const
  const config: Entry = { index: 9, term: 300, type: 'config', data: bytes('x'), change }
  expect(decodeLogEntry(9, encodeLogEntry(config))).toEqual(config)
  expect(decodeLogEntry(9, encodeLogEntry({ ...config, type: 'empty', change: null })).type).toBe('empty')
  expect(() => decodeLogEntry(9, Uint8Array.of(1, 1, 9))).toThrow('type is not known')
  expect(() => decodeLogEntry(9, Uint8Array.of(1, 1, 1, 0, 1, 9, 1))).toThrow('kind is not known')
  expect(() => decodeLogEntry(9, Uint8Array.of(2))).toThrow('format 2')
  const state = { voters: [1, 2], outgoing: [3], learners: [4], learnersNext: [3], autoLeave: true }
  expect(decodeConfig(encodeConfig(state, 9))).toEqual({ config: state, next: 9 })
  const places = [{ replica: 3, store: 's3' }]
  expect(decodePlaces(encodePlaces(places))).toEqual(places)
  expect(decodePlaces(new Uint8Array(0))).toEqual([])
  expect([indexOf(entryKey('r', 5)), indexOf(bytes('r\0s')), rangeOfKey(entryKey('r', 5))]).toEqual([5, null, 'r'])
  // An index may hold any byte, so also the one that ends a name.
  expect(indexOf(entryKey('r', 2 ** 40))).toBe(2 ** 40)
})

test('an entry that nobody but this replica needs is read from memory, once', () => {
  const { engine, log, append } = setup(false)
  append(entry(2, 1), entry(3, 1), entry(4, 1))
  const cursors = vi.spyOn(engine, 'cursor')
  expect(shown(log.entries(2, 4, 1_000))).toEqual(['2/1 2', '3/1 3'])
  expect(shown(log.entries(4, 5, 1_000))).toEqual(['4/1 4'])
  expect(cursors).not.toHaveBeenCalled()
  expect(shown(log.entries(2, 5, 1_000))).toEqual(['2/1 2', '3/1 3', '4/1 4'])
  expect(cursors).toHaveBeenCalledTimes(1)
})
