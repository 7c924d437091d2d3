import { deserialize, serialize } from 'node:v8'
import { describe, expect, test } from 'vitest'
import { MemoryEngine } from '../../../src/kv/engine/memory/engine.ts'
import { engineReader } from '../../../src/kv/range/boundary.ts'
import type { RangeDescriptor } from '../../../src/kv/range/coprocessor.ts'
import { decodeEntry, type Entry, encodeEntry, type Run } from '../../../src/kv/range/entry.ts'
import { hashWrites } from '../../../src/kv/range/hash.ts'
import { Range } from '../../../src/kv/range/range.ts'
import {
  afterPrefix,
  answersKey,
  answersOf,
  decodeDescriptor,
  encodeDescriptor,
  markKey,
  recordOf,
  streamOf,
} from '../../../src/kv/range/schema.ts'
import { LOST, type StreamLimits } from '../../../src/kv/range/streams.ts'
import { ByteReader, ByteWriter } from '../../../src/kv/range/wire.ts'
import { bytes, Toy, type ToyCommand } from '../toy.ts'

const DESCRIPTOR: RangeDescriptor = {
  id: 'inbox-1',
  service: 'inbox',
  epoch: { version: 1, confVersion: 1 },
  start: undefined,
  end: undefined,
  replicas: [{ store: 's1', replica: 1, role: 'voter' }],
}
const codec = {
  encode: (responses: readonly unknown[]) => serialize(responses),
  decode: (data: Uint8Array) => deserialize(data),
}

function setup(limits: Partial<StreamLimits> = {}, descriptor = DESCRIPTOR) {
  const engine = new MemoryEngine()
  const toy = new Toy()
  const range = new Range({
    ...{ coprocessor: toy, descriptor, applied: { index: 0, nowMs: 0, hash: 0 }, codec, limits },
    landed: engineReader(engine, 'inbox'),
  })
  const append = (key: string, word: string): ToyCommand => ({ type: 'append', key, word })
  const apply = (runs: Run[], commands: ToyCommand[], nowMs = 1_000) =>
    range.apply(range.propose(runs, commands, nowMs))
  const applyAhead = (runs: Run[], commands: ToyCommand[]) => range.apply(range.propose(runs, commands, 1_000), true)
  return { engine, toy, range, append, apply, applyAhead }
}
const run = (previous: number, first: number, count: number, answered = 0, stream = 'c.1'): Run => ({
  ...{ stream, previous, first, count, answered },
})

describe('range', () => {
  test('an entry sees the writes of earlier ones that have not landed; so does a query', () => {
    const { range, append, apply } = setup()
    apply([run(0, 1, 1)], [append('a', 'x')])
    const { runs } = apply([run(1, 2, 1)], [append('a', 'y')])
    expect(runs).toEqual([{ error: null, responses: [{ length: 2, nowMs: 1_000 }] }])
    expect(range.query({ key: 'a' }, 0)).toBe('x y')
    expect(range.applied.index).toBe(2)
    expect(range.settled).toBe(false)
  })

  test('what is applied before it is committed is hidden from queries until it has landed', () => {
    const { range, append, applyAhead } = setup()
    const { reader } = range
    applyAhead([run(0, 1, 1)], [append('a', 'x')])
    const { runs } = applyAhead([run(1, 2, 1)], [append('a', 'y')])
    expect(runs).toEqual([{ error: null, responses: [{ length: 2, nowMs: 1_000 }] }])
    expect(range.query({ key: 'a' }, 0)).toBeNull()
    expect(reader.get(bytes('ka'))).toBeUndefined()
    range.landed(2)
    expect(range.settled).toBe(true)
  })

  test('what was to be seen is never hidden again', () => {
    const { append, apply, applyAhead } = setup()
    apply([run(0, 1, 1)], [append('a', 'x')])
    expect(() => applyAhead([run(1, 2, 1)], [append('a', 'y')])).toThrow('hidden')
  })

  test('a change of the replicas is told once it has landed, and entries without commands only count', () => {
    const { range } = setup()
    const replicas = [...DESCRIPTOR.replicas, { store: 's2', replica: 2, role: 'learner' as const }]
    const { index, metaWrites } = range.applyReplicas(replicas)
    expect(metaWrites).toHaveLength(2)
    expect(range.latest).toMatchObject({ replicas, epoch: { version: 1, confVersion: 2 } })
    expect(range.descriptor.replicas).toHaveLength(1)
    expect(range.applyNothing()).toMatchObject({ index: index + 1, writes: [] })
    range.landed(index)
    expect(range.descriptor).toBe(range.latest)
  })

  test('a repetition gets the first answer, also in the same entry, and writes nothing', () => {
    const { append, apply } = setup()
    const first = apply(
      [run(0, 1, 2), run(0, 1, 3)],
      [append('a', 'x'), append('a', 'y'), append('a', 'x'), append('a', 'y'), append('a', 'z')],
    )
    const lengths = (outcome: typeof first) =>
      outcome.runs.map(({ responses }) => responses.map((each) => (each === LOST ? 'lost' : each?.length)))
    expect(lengths(first)).toEqual([
      [1, 2],
      [1, 2, 3],
    ])
    const again = apply([run(0, 1, 3)], [append('a', 'x'), append('a', 'y'), append('a', 'z')])
    expect(lengths(again)).toEqual([[1, 2, 3]])
    expect([again.writes, again.effects]).toEqual([[], []])
  })

  test('a stream whose first run is refused leaves no trace, so that a restart changes nothing', () => {
    const { range, append, apply } = setup()
    apply([run(3, 4, 1, 0, 'lost.1')], [append('a', 'x')])
    expect(range.streams.size).toBe(0)
    const { metaWrites } = range.apply(range.proposeSplit(bytes('km'), 'inbox-2', 1_000))
    const marks = metaWrites.filter((write) => write.type === 'put' && recordOf(write.key, 'inbox').kind === 's')
    expect(marks).toEqual([])
  })

  test('a gap is refused with the number to go on from', () => {
    const { append, apply } = setup()
    apply([run(0, 1, 2)], [append('a', 'x'), append('a', 'y')])
    const { runs, writes } = apply([run(3, 4, 1), run(2, 3, 1)], [append('a', 'w'), append('a', 'z')])
    expect(runs[0]!.error).toMatchObject({ code: 'SEQUENCE_GAP', hint: { applied: 2 } })
    expect(runs[1]).toEqual({ error: null, responses: [{ length: 3, nowMs: 1_000 }] })
    expect(writes).toHaveLength(1)
  })

  test('numbers may be passed over where the one before is applied', () => {
    const { append, apply } = setup()
    apply([run(0, 1, 1)], [append('a', 'x')])
    const { runs } = apply([run(1, 5, 1), run(5, 9, 1)], [append('a', 'y'), append('a', 'z')])
    expect(runs.map((each) => each.error)).toEqual([null, null])
  })

  test('answers are kept until the client has them, and no more than the limit', () => {
    const { append, apply } = setup({ answersMax: 3 })
    for (let i = 1; i <= 5; i++) apply([run(i - 1, i, 1)], [append('a', `${i}`)])
    const repeated = apply(
      [run(0, 1, 5)],
      [1, 2, 3, 4, 5].map((i) => append('a', `${i}`)),
    ).runs[0]!.responses
    expect(repeated.map((each) => (each === LOST ? 'lost' : each?.length))).toEqual(['lost', 'lost', 3, 4, 5])
    const { metaWrites } = apply([run(5, 6, 1, 4)], [append('a', '6')])
    const dropped = metaWrites.filter(({ type }) => type === 'delete')
    expect(dropped).toEqual(
      [3, 4].map((first) => ({ type: 'delete', key: answersKey('inbox', 'inbox-1', 'c.1', first) })),
    )
  })

  test('idle streams are forgotten when there are many', () => {
    const { range, append, apply } = setup({ streamsMax: 3, idleMsMax: 1_000 })
    for (const stream of ['a', 'b', 'c'])
      apply([run(0, 1, 1, 0, stream)], [append('a', stream)], stream === 'c' ? 5_000 : 1)
    const { metaWrites } = apply([run(0, 1, 1, 0, 'd')], [append('a', 'd')], 5_500)
    expect(range.streams.size).toBe(2)
    const deleted = metaWrites.filter(({ type }) => type === 'delete')
    expect(deleted).toContainEqual({ type: 'delete', key: markKey('inbox', 'inbox-1', 'a') })
    expect(deleted).toHaveLength(4)
  })

  test('the time of an entry never goes back', () => {
    const { append, apply } = setup()
    apply([run(0, 1, 1)], [append('a', 'x')], 5_000)
    expect(apply([run(1, 2, 1)], [append('a', 'y')], 3_000).runs[0]!.responses).toEqual([{ length: 2, nowMs: 5_000 }])
  })

  test('nor does it where an entry was proposed before the one ahead of it was known', () => {
    const { range, append, apply } = setup()
    const early = range.propose([run(1, 2, 1)], [append('a', 'y')], 3_000)
    apply([run(0, 1, 1)], [append('a', 'x')], 5_000)
    expect(range.apply(early)).toMatchObject({ nowMs: 5_000, runs: [{ responses: [{ length: 2, nowMs: 5_000 }] }] })
  })

  test('a throw in mutate halts the range, and changes nothing', () => {
    const { range, append, apply } = setup()
    apply([run(0, 1, 1)], [append('a', 'x')])
    const before = range.applied
    const { runs, writes, metaWrites } = apply([run(1, 2, 2)], [append('a', 'y'), { type: 'fail' }])
    expect(runs[0]!.error).toMatchObject({ code: 'RANGE_HALTED' })
    expect([writes, metaWrites]).toEqual([[], []])
    expect(range.applied).toEqual(before)
    expect(range.halted).toContain('poison')
    expect(range.check(1, [])).toMatchObject({ code: 'RANGE_HALTED' })
    expect(apply([run(1, 2, 1)], [append('a', 'y')]).runs[0]!.error).toMatchObject({ code: 'RANGE_HALTED' })
  })

  test('a write outside of the boundary halts the range', () => {
    const { range, apply } = setup({}, { ...DESCRIPTOR, start: bytes('kb'), end: bytes('kd') })
    apply([run(0, 1, 1)], [{ type: 'stray', key: 'd' }])
    expect(range.halted).toContain('leaves the boundary')
  })

  test('an entry of newer logic halts the range until the node is upgraded', () => {
    const { range, append } = setup()
    range.apply({ ...range.propose([run(0, 1, 1)], [append('a', 'x')], 1), logic: 2 })
    expect(range.halted).toContain('upgrade')
  })

  test('the hash follows the writes', () => {
    const a = setup()
    const b = setup()
    const c = setup()
    a.apply([run(0, 1, 1)], [a.append('a', 'x')])
    b.apply([run(0, 1, 1)], [b.append('a', 'x')])
    c.apply([run(0, 1, 1)], [c.append('a', 'y')])
    expect(a.range.applied.hash).toBe(b.range.applied.hash)
    expect(a.range.applied.hash).not.toBe(c.range.applied.hash)
    const value = new Uint8Array(11)
    const hashes = new Set(
      Array.from({ length: 11 }, (_, i) => hashWrites(0, [{ type: 'put', key: bytes('k'), value: value.with(i, 1) }])),
    )
    expect(hashes.size).toBe(11)
  })
})

describe('split', () => {
  function splitAtM() {
    const all = setup()
    all.apply([run(0, 1, 2)], [all.append('a', 'x'), all.append('z', 'y')])
    const outcome = all.range.apply(all.range.proposeSplit(bytes('km'), 'inbox-2', 2_000))
    return { ...all, outcome }
  }

  test('changes descriptors, copies marks and answers, writes no data', () => {
    const { range, outcome } = splitAtM()
    expect(outcome.writes).toEqual([])
    range.landed(outcome.index)
    expect(range.descriptor).toMatchObject({
      id: 'inbox-1',
      epoch: { version: 2, confVersion: 1 },
      start: undefined,
      end: bytes('km'),
    })
    const { descriptor, streams } = outcome.child!
    expect(descriptor).toMatchObject({
      id: 'inbox-2',
      epoch: { version: 2, confVersion: 1 },
      start: bytes('km'),
      end: undefined,
    })
    expect(streams.recall(run(0, 1, 2), 2)).toEqual([1, 1].map((length) => ({ length, nowMs: 1_000 })))
    expect(streams.admit(run(2, 3, 1), 0, [])).toEqual({ repeated: 0, error: null })
    const keys = outcome.metaWrites.map((write) => (write.type === 'put' ? recordOf(write.key, 'inbox') : null))
    expect(
      keys
        .filter((each) => each?.range === 'inbox-2')
        .map((each) => each!.kind)
        .toSorted(),
    ).toEqual(['a', 'd', 's', 'w'])
  })

  test('nobody hears of it before it has landed', () => {
    const { range, outcome } = splitAtM()
    expect(range.descriptor.epoch.version).toBe(1)
    expect(range.check(1, [bytes('ka')])).toMatchObject({ code: 'EPOCH_MISMATCH', hint: { descriptors: [DESCRIPTOR] } })
    expect(range.checkQuery(1, bytes('kz'))).toBeNull()
    range.landed(outcome.index)
    expect(range.checkQuery(1, bytes('kz'))).toMatchObject({ code: 'EPOCH_MISMATCH' })
    const error = range.check(1, [bytes('ka')])
    expect(error).toMatchObject({ hint: { descriptors: [{ id: 'inbox-1' }, { id: 'inbox-2' }] } })
    expect(range.check(2, [bytes('ka')])).toBeNull()
    expect(range.check(2, [bytes('km')])).toMatchObject({ code: 'EPOCH_MISMATCH' })
  })

  test('an entry proposed before it is refused after it', () => {
    const { range, append } = setup()
    const late = range.propose([run(0, 1, 1)], [append('z', 'x')], 1)
    range.apply(range.proposeSplit(bytes('km'), 'inbox-2', 1))
    const { runs, writes, index } = range.apply(late)
    expect(runs[0]!.error).toMatchObject({ code: 'EPOCH_MISMATCH' })
    expect([writes, index]).toEqual([[], 2])
  })

  test.each(['a', 'kb', 'kd', 'kz'])('is refused at %s for [kb, kd)', (key) => {
    const { range } = setup({}, { ...DESCRIPTOR, start: bytes('kb'), end: bytes('kd') })
    expect(() => range.proposeSplit(bytes(key), 'x', 1)).toThrow('not inside')
  })
})

describe('bytes', () => {
  const toy = new Toy()
  const round = (entry: Entry<ToyCommand>) =>
    decodeEntry(
      encodeEntry(entry, (commands) => toy.encode(commands)),
      (data) => toy.decode(data),
    )

  test('entries come back as they were', () => {
    const head = { logic: 3, nowMs: 1_790_000_000_000, epochVersion: 7 }
    const commands: ToyCommand[] = [{ type: 'append', key: 'a', word: 'ü' }]
    const entry: Entry<ToyCommand> = { type: 'commands', ...head, runs: [run(2 ** 40, 2 ** 40 + 1, 1, 5)], commands }
    expect(round(entry)).toEqual(entry)
    const split: Entry<ToyCommand> = { type: 'split', ...head, key: bytes('km'), child: 'inbox-2' }
    expect(round(split)).toEqual(split)
  })

  test('damaged entries give a BrokerError', () => {
    const entry: Entry<ToyCommand> = {
      type: 'commands',
      logic: 1,
      nowMs: 1,
      epochVersion: 1,
      runs: [run(0, 1, 1)],
      commands: [],
    }
    const good = encodeEntry(entry, (commands) => toy.encode(commands))
    for (let length = 0; length < good.length; length++) {
      expect(() => decodeEntry(good.subarray(0, length), (data) => toy.decode(data))).toThrow(
        expect.objectContaining({ code: 'STORAGE_FAILED' }),
      )
    }
    expect(() => decodeEntry(good.with(0, 9), (data) => toy.decode(data))).toThrow('format 9')
  })

  test.each([0, 127, 128, 16_383, 16_384, 2 ** 31, 2 ** 32 + 1, Number.MAX_SAFE_INTEGER])('varint %i', (value) => {
    const writer = new ByteWriter()
    writer.varint(value)
    const reader = new ByteReader(writer.finish())
    expect(reader.varint()).toBe(value)
    reader.end()
  })

  test('records of a range come back', () => {
    const descriptor = { ...DESCRIPTOR, start: bytes('a\0b'), end: undefined }
    expect(decodeDescriptor(encodeDescriptor(descriptor))).toEqual(descriptor)
    const { range, kind, rest } = recordOf(answersKey('inbox', 'inbox-1', 'n1/3.7', 258), 'inbox')
    expect([range, kind, answersOf(rest)]).toEqual(['inbox-1', 'w', { stream: 'n1/3.7', first: 258 }])
    expect(streamOf(recordOf(markKey('inbox', 'inbox-1', 'n1/3.7'), 'inbox').rest)).toBe('n1/3.7')
    expect(afterPrefix(Uint8Array.of(1, 255, 255))).toEqual(Uint8Array.of(2))
    expect(afterPrefix(Uint8Array.of(255))).toBeUndefined()
  })
})
