import { describe, expect, test } from 'vitest'
import { BrokerError, type ErrorCode } from '../../../src/base/errors.ts'
import { silentLogger } from '../../../src/base/logging.ts'
import { Landscape } from '../../../src/kv/client/landscape.ts'
import { type ClientLimits, RoutedClient } from '../../../src/kv/client/routed-client.ts'
import type { BatchAnswer, CommandBatch, QueryAnswer, QueryRequest } from '../../../src/kv/client/transport.ts'
import type { RangeDescriptor } from '../../../src/kv/range/coprocessor.ts'
import { LOST } from '../../../src/kv/range/streams.ts'
import { World } from '../../sim/world.ts'
import { bytes, text } from '../toy.ts'

const range = (id: string, version: number, start?: string, end?: string): RangeDescriptor => ({
  id,
  service: 'inbox',
  epoch: { version, confVersion: 1 },
  start: start === undefined ? undefined : bytes(start),
  end: end === undefined ? undefined : bytes(end),
  replicas: [{ store: 's1', replica: 1, role: 'voter' }],
})

interface Sent {
  store: string
  batch: CommandBatch<string>
  answer: BatchAnswer<string>
}

/** A client on a transport that the test answers by hand. Commands are words, the first letter is the key. */
function setup(limits: Partial<ClientLimits> = {}, ranges = [range('r1', 1)]) {
  const world = new World({ seed: 1 })
  const sent: Sent[] = []
  const asked: { store: string; request: QueryRequest<string>; answer: QueryAnswer<string> }[] = []
  const known = { ranges, majority: true }
  const client = new RoutedClient<string, string, string, string>({
    service: 'inbox',
    transport: {
      propose: (store, batch, answer) => void sent.push({ store, batch, answer }),
      query: (store, request, answer) => void asked.push({ store, request, answer }),
      landscape: () => known.ranges,
      reachesMajority: () => known.majority,
      schedule: world.defer,
    },
    incarnation: 'c',
    grows: (word) => word.endsWith('+'),
    ...{ clock: world.clock, random: world.random, log: silentLogger, limits },
  })
  const done: string[] = []
  const call = (word: string, deadlineMs?: number) =>
    client.mutateWith(
      bytes(word[0]!),
      word,
      (error, response) =>
        void done.push(error === null ? `${word}:${response}` : `${word}!${(error as BrokerError).code}`),
      deadlineMs === undefined ? undefined : { deadlineMs },
    )
  /** What was sent since the last look: `range[previous>first] words`. */
  const look = () =>
    sent.splice(0).map(({ batch, answer }) => ({
      shape: `${batch.range}[${batch.run.previous}>${batch.run.first}] ${batch.commands.join(' ')}`,
      ok: () =>
        answer(
          null,
          batch.commands.map(() => 'ok'),
        ),
      fail: (code: ErrorCode, hint?: unknown) => answer(new BrokerError(code, code, { hint }), []),
      batch,
      answer,
    }))
  const flush = () => world.run(0)
  return { world, client, sent, asked, known, done, call, look, flush }
}

describe('where no majority of a range can be reached', () => {
  test('calls are refused 4 s after the last answer, and where one can, they have their time', async () => {
    const { world, client, call, look, flush, done, known } = setup()
    call('a1')
    await flush()
    look()[0]!.ok()
    await world.run(3_000)
    call('a2')
    const read = client.query(bytes('a'), 'q').catch((error: BrokerError) => done.push(`q!${error.code}`))
    await world.run(5_000)
    expect(done).toEqual(['a1:ok'])
    known.majority = false
    await world.run(200)
    await read
    expect(done.toSorted()).toEqual(['a1:ok', 'a2!NO_QUORUM', 'q!NO_QUORUM'])
    call('a3')
    await world.run(3_800)
    expect(done).toHaveLength(3)
    await world.run(400)
    expect(done.at(-1)).toBe('a3!NO_QUORUM')
  })

  test('what is answered goes on', async () => {
    const { world, call, look, flush, done, known } = setup()
    known.majority = false
    for (let i = 0; i < 10; i++) {
      call(`a${i}`)
      await flush()
      await world.run(1_000)
      for (const each of look()) each.ok()
    }
    expect(done).toHaveLength(10)
    expect(done.every((text) => text.endsWith(':ok'))).toBe(true)
  })
})

describe('commands', () => {
  test('those of one turn travel in one batch for each range, consecutive turns are pipelined', async () => {
    const { call, look, flush, done } = setup({}, [range('r1', 1, undefined, 'm'), range('r2', 1, 'm')])
    for (const word of ['a1', 'z1', 'a2']) call(word)
    await flush()
    call('b1')
    await flush()
    const batches = look()
    expect(batches.map((each) => each.shape)).toEqual(['r1[0>1] a1 a2', 'r2[0>1] z1', 'r1[2>3] b1'])
    expect(new Set(batches.map((each) => each.batch.run.stream)).size).toBe(2)
    for (const each of batches) each.ok()
    expect(done).toEqual(['a1:ok', 'a2:ok', 'z1:ok', 'b1:ok'])
  })

  test('answers are handed out in order, and once', async () => {
    const { call, look, flush, done } = setup()
    call('a1')
    await flush()
    call('a2')
    await flush()
    const [first, second] = look()
    second!.ok()
    expect(done).toEqual([])
    first!.ok()
    first!.ok()
    second!.fail('NOT_LEADER')
    expect(done).toEqual(['a1:ok', 'a2:ok'])
    call('a3')
    await flush()
    expect(look()[0]!.batch.run).toMatchObject({ previous: 2, first: 3, answered: 2 })
  })

  test('after a doubt everything from the first unanswered is sent again, with the same numbers', async () => {
    const { world, call, look, flush, done } = setup()
    for (const word of ['a1', 'a2', 'a3']) {
      call(word)
      await flush()
    }
    const [first, second, third] = look()
    first!.ok()
    second!.fail('UNAVAILABLE')
    third!.fail('UNAVAILABLE')
    await world.run(1_000)
    const again = look()
    expect(again.map((each) => each.shape)).toEqual(['r1[1>2] a2 a3'])
    again[0]!.ok()
    expect(done).toEqual(['a1:ok', 'a2:ok', 'a3:ok'])
  })

  test('an error of an earlier attempt says nothing about this one', async () => {
    const { world, call, look, flush, done } = setup({ attemptMs: 300 })
    call('a1')
    await flush()
    const [first] = look()
    await world.run(450)
    expect(look()).toHaveLength(1)
    first!.fail('NOT_LEADER')
    first!.fail('RANGE_HALTED')
    await world.run(100)
    expect(look()).toEqual([])
    expect(done).toEqual([])
  })

  test('silence is a doubt', async () => {
    const { world, call, look, flush } = setup({ attemptMs: 300 })
    call('a1')
    await flush()
    expect(look()).toHaveLength(1)
    await world.run(1_000)
    expect(look()[0]!.shape).toBe('r1[0>1] a1')
  })

  test('a redirect is followed at once', async () => {
    const { world, call, look, flush, sent } = setup()
    call('a1')
    await flush()
    look()[0]!.fail('NOT_LEADER', { range: 'r1', leader: 's2' })
    await flush()
    expect(sent[0]!.store).toBe('s2')
    expect(world.elapsedMs).toBeLessThan(1)
  })

  test('at the deadline a call ends, and the next one does not wait for it', async () => {
    const { world, call, look, flush, done } = setup()
    call('a1', 500)
    call('a2')
    await flush()
    look()
    await world.run(700)
    expect(done).toEqual(['a1!TIMEOUT'])
    await world.run(1_000)
    const [again] = look()
    expect(again!.shape).toBe('r1[0>2] a2')
    again!.ok()
    expect(done).toEqual(['a1!TIMEOUT', 'a2:ok'])
  })

  test('what cannot succeed fails at once, and only that', async () => {
    const { world, call, look, flush, done } = setup()
    call('a1')
    await flush()
    call('a2')
    await flush()
    look()[0]!.fail('RANGE_HALTED')
    await world.run(1_000)
    look().at(-1)!.ok()
    expect(done).toEqual(['a1!RANGE_HALTED', 'a2:ok'])
  })

  test('an answer that is no longer kept is an error, not a second application', async () => {
    const { call, look, flush, done } = setup()
    call('a1')
    call('a2')
    await flush()
    look()[0]!.answer(null, [LOST, 'ok'])
    expect(done).toEqual(['a1!UNAVAILABLE', 'a2:ok'])
  })

  test('a range that forgot the stream gets a new one', async () => {
    const { world, call, look, flush, done } = setup()
    call('a1')
    await flush()
    look()[0]!.ok()
    call('a2')
    call('a3')
    await flush()
    const [before] = look()
    before!.fail('SEQUENCE_GAP', { applied: 0 })
    await world.run(1_000)
    const [after] = look()
    expect(after!.shape).toBe('r1[0>1] a2 a3')
    expect(after!.batch.run.stream).not.toBe(before!.batch.run.stream)
    before!.answer(null, ['old', 'old'])
    expect(done).toEqual(['a1:ok'])
    after!.ok()
    expect(done).toEqual(['a1:ok', 'a2:ok', 'a3:ok'])
  })

  test('a batch that overtook another one is no reason for a new stream', async () => {
    const { world, call, look, flush } = setup()
    call('a1')
    await flush()
    call('a2')
    await flush()
    const [first, second] = look()
    first!.ok()
    second!.fail('SEQUENCE_GAP', { applied: 0 })
    await world.run(1_000)
    const [again] = look()
    expect([again!.shape, again!.batch.run.stream]).toEqual(['r1[1>2] a2', second!.batch.run.stream])
  })

  test('beyond the bound: OVERLOADED, in commands and in bytes', async () => {
    const { call, done, flush } = setup({ commandsMax: 2 })
    for (const word of ['a1', 'a2', 'a3']) call(word)
    expect(done).toEqual([])
    await flush()
    expect(done).toEqual(['a3!OVERLOADED'])
    const small = setup({ bytesMax: 100 })
    for (const word of ['a1', 'a2']) small.call(word)
    await small.flush()
    expect(small.done).toEqual(['a2!OVERLOADED'])
  })

  test('large turns leave in several batches', async () => {
    const { call, look, flush } = setup({ batchCommandsMax: 2, batchBytesMax: 1_000 })
    for (const word of ['a1', 'a2', 'a3']) call(word)
    await flush()
    expect(look().map((each) => each.shape)).toEqual(['r1[0>1] a1 a2', 'r1[2>3] a3'])
  })

  test('close ends what is under way', async () => {
    const { client, call, look, flush, done } = setup()
    call('a1')
    await flush()
    const query = client.query(bytes('a'), 'q')
    await client.close()
    await expect(query).rejects.toMatchObject({ code: 'CLOSED' })
    look()[0]!.ok()
    call('a2')
    await flush()
    expect(done).toEqual(['a1!CLOSED', 'a2!CLOSED'])
    await expect(client.query(bytes('a'), 'q')).rejects.toMatchObject({ code: 'CLOSED' })
  })

  test('a callback that throws stops nobody else', async () => {
    const { client, call, look, flush, done } = setup()
    client.mutateWith(bytes('a'), 'a0', () => {
      throw new Error('mine')
    })
    call('a1')
    await flush()
    look()[0]!.ok()
    expect(done).toEqual(['a1:ok'])
  })
})

describe('splits', () => {
  const left = range('r1', 2, undefined, 'm')
  const right = range('r2', 2, 'm')

  test('calls move with their numbers, and name the one before them on their way', async () => {
    const { call, look, flush, done } = setup()
    call('m0')
    await flush()
    look()[0]!.ok()
    for (const word of ['a1', 'z1', 'a2', 'z2']) call(word)
    await flush()
    look()[0]!.fail('EPOCH_MISMATCH', { descriptors: [left, right] })
    call('z3')
    call('a3')
    await flush()
    const batches = look()
    expect(batches.map((each) => each.shape).toSorted()).toEqual(
      ['r1[1>2] a1', 'r1[2>4] a2', 'r1[4>6] a3', 'r2[1>3] z1', 'r2[3>5] z2'].toSorted(),
    )
    expect(batches.map((each) => each.batch.run.answered)).toEqual([1, 1, 1, 1, 1])
    // What the other side is sent is not given up: after a merge it may come here.
    const apart = new Map(batches.map((each) => [each.shape, each.batch.run.apart]))
    expect(apart.get('r1[1>2] a1')).toBe(undefined)
    expect(apart.get('r1[2>4] a2')).toEqual([[3, 3]])
    expect(apart.get('r2[1>3] z1')).toEqual([[2, 2]])
    for (const each of batches) each.ok()
    // What is new on a side that calls were moved to waits for them, and has numbers of its own.
    await flush()
    const [late] = look()
    expect(late!.shape).toBe('r2[0>1] z3')
    expect(late!.batch.run.stream).not.toBe(batches[0]!.batch.run.stream)
    late!.ok()
    expect(done.filter((each) => each.startsWith('z'))).toEqual(['z1:ok', 'z2:ok', 'z3:ok'])
    expect(done.filter((each) => each.startsWith('a'))).toEqual(['a1:ok', 'a2:ok', 'a3:ok'])
  })

  test('a range that is taken over: its calls keep stream and numbers, and new ones on its keys wait for them', async () => {
    const { call, look, flush, done } = setup({}, [left, right])
    for (const word of ['a1', 'z1']) call(word)
    await flush()
    const [, before] = look()
    before!.fail('RANGE_NOT_FOUND', { descriptors: [range('r1', 3)] })
    call('z2')
    call('b1')
    await flush()
    const again = look()
    const moved = again.find(({ shape }) => shape === 'r1[0>1] z1')!
    expect(moved.batch.run.stream).toBe(before!.batch.run.stream)
    expect(again.some(({ shape }) => shape.includes('z2'))).toBe(false)
    moved.ok()
    for (const each of again) if (each !== moved) each.ok()
    await flush()
    for (const each of look()) each.ok()
    expect(done.filter((each) => each.startsWith('z'))).toEqual(['z1:ok', 'z2:ok'])
    expect(done.toSorted()).toEqual(['a1:ok', 'b1:ok', 'z1:ok', 'z2:ok'])
  })

  test('a range that had no calls under way begins a stream of its own', async () => {
    const { call, look, flush, known, asked, client } = setup()
    call('z1')
    await flush()
    const [first] = look()
    first!.ok()
    known.ranges = [left, right]
    const query = client.query(bytes('z'), 'q')
    asked[0]!.answer(new BrokerError('EPOCH_MISMATCH', 'old'), null)
    asked[1]!.answer(null, 'answer')
    expect(await query).toBe('answer')
    call('z2')
    await flush()
    const [second] = look()
    expect(second!.shape).toBe('r2[0>1] z2')
    expect(second!.batch.run.stream).not.toBe(first!.batch.run.stream)
  })

  test('an answer that waited for a call of the other side waits no longer', async () => {
    const { call, look, flush, done } = setup()
    call('a1')
    await flush()
    call('z1')
    await flush()
    const [first, second] = look()
    second!.ok()
    expect(done).toEqual([])
    first!.fail('EPOCH_MISMATCH', { descriptors: [left, right] })
    expect(done).toEqual(['z1:ok'])
    await flush()
    look()[0]!.ok()
    expect(done).toEqual(['z1:ok', 'a1:ok'])
  })

  test('deadlines hold for calls that silence moved to a new range', async () => {
    const { world, call, known, done, flush } = setup({ attemptMs: 300 })
    call('z1', 2_000)
    await flush()
    known.ranges = [left, right]
    await world.run(3_000)
    expect(done).toEqual(['z1!TIMEOUT'])
  })

  test('keys of a part that is not known yet wait at the old range', async () => {
    const { world, call, look, flush, known, done } = setup()
    call('z1')
    await flush()
    look()[0]!.fail('EPOCH_MISMATCH', { descriptors: [left] })
    await world.run(5)
    const [stale] = look()
    expect(stale!.batch).toMatchObject({ range: 'r1', epochVersion: 2 })
    known.ranges = [left, right]
    stale!.fail('EPOCH_MISMATCH', { descriptors: [left] })
    await world.run(1_000)
    const [found] = look()
    expect(found!.shape).toBe('r2[0>1] z1')
    found!.ok()
    expect(done).toEqual(['z1:ok'])
  })
})

describe('queries', () => {
  test('are asked again after a refusal and after silence, until the deadline', async () => {
    const { world, client, asked } = setup({ attemptMs: 300 })
    const answer = client.query(bytes('a'), 'q')
    asked[0]!.answer(new BrokerError('NOT_LEADER', 'x', { hint: { range: 'r1', leader: 's2' } }), null)
    expect(asked[1]!.store).toBe('s2')
    await world.run(1_000)
    expect(asked.length).toBeGreaterThan(2)
    asked[0]!.answer(null, 'late, and good')
    expect(await answer).toBe('late, and good')
    const again = client.query(bytes('a'), 'q').catch(() => {})
    const late = asked.at(-1)!
    await world.run(450)
    const attempts = asked.length
    late.answer(new BrokerError('NOT_LEADER', 'late'), null)
    await world.run(50)
    expect(asked).toHaveLength(attempts)
    asked.at(-1)!.answer(null, 'good')
    await again
    const slow = client.query(bytes('a'), 'q', { deadlineMs: 2_000 })
    const failed = slow.catch((error: BrokerError) => error.code)
    await world.run(3_000)
    expect(await failed).toBe('TIMEOUT')
  })

  test('what cannot succeed fails at once', async () => {
    const { client, asked } = setup()
    const answer = client.query(bytes('a'), 'q')
    asked[0]!.answer(new BrokerError('INVALID_ARGUMENT', 'x'), null)
    await expect(answer).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
  })

  test('without a range there is an error, not a wait in the dark', async () => {
    const { world, client, call, done } = setup({}, [range('r1', 1, 'b', 'c')])
    expect(() => client.locate(bytes('z'))).toThrow('no range')
    call('z1', 1_000)
    await world.run(900)
    expect(done).toEqual([])
    await world.run(300)
    expect(done).toEqual(['z1!RANGE_NOT_FOUND'])
    expect(client.locate(bytes('b')).id).toBe('r1')
  })

  test('commands wait for a range that is not known yet, and go in their order as soon as it is', async () => {
    const { world, call, known, look, done } = setup({ commandsMax: 2 }, [])
    for (const word of ['a1', 'a2', 'a3']) call(word)
    await world.run(150)
    expect(done).toEqual(['a3!RANGE_NOT_FOUND'])
    known.ranges = [range('r1', 1)]
    await world.run(150)
    const [batch, ...rest] = look()
    expect(rest).toEqual([])
    expect(batch!.shape).toBe('r1[0>1] a1 a2')
    batch!.ok()
    expect(done).toEqual(['a3!RANGE_NOT_FOUND', 'a1:ok', 'a2:ok'])
  })

  test('a replica that does not answer may be none any more: the landscape tells who is', async () => {
    const { world, call, known, sent, asked, client, done } = setup()
    call('a1')
    const answer = client.query(bytes('a'), 'q')
    await world.run(1)
    const other = { store: 's2', replica: 2, role: 'voter' } as const
    known.ranges = [{ ...range('r1', 1), epoch: { version: 1, confVersion: 2 }, replicas: [other] }]
    sent.shift()!.answer(new BrokerError('UNAVAILABLE', 'broken'), [])
    asked.shift()!.answer(new BrokerError('UNAVAILABLE', 'broken'), null)
    await world.runUntil(() => sent.length > 0 && asked.length > 0, 2_000)
    expect([sent[0]!.store, asked[0]!.store]).toEqual(['s2', 's2'])
    sent[0]!.answer(null, ['ok'])
    asked[0]!.answer(null, 'found')
    expect(await world.resolve(answer)).toBe('found')
    expect(done).toEqual(['a1:ok'])
  })

  test('a store without space is sent what needs none, at once; the rest fails', async () => {
    const { call, look, flush, done } = setup()
    for (const word of ['a+', 'b-', 'c+']) call(word)
    await flush()
    look()[0]!.fail('OVERLOADED', { growth: 'refused' })
    expect(done).toEqual(['a+!OVERLOADED', 'c+!OVERLOADED'])
    await flush()
    const [again] = look()
    expect(again!.shape).toBe('r1[0>2] b-')
    again!.ok()
    expect(done.at(-1)).toBe('b-:ok')
  })

  test('where the replicas know of no leader there is no quorum; where none answers, it took too long', async () => {
    const { world, call, sent, done } = setup({ deadlineMs: 1_000 })
    call('a1')
    for (let i = 0; i < 24; i++) {
      await world.run(50)
      for (const { answer } of sent.splice(0)) {
        answer(new BrokerError('NOT_LEADER', 'x', { hint: { range: 'r1', leader: null } }), [])
      }
    }
    expect(done).toEqual(['a1!NO_QUORUM'])
    call('a2')
    await world.run(1_200)
    expect(done.at(-1)).toBe('a2!TIMEOUT')
  })
})

describe('landscape', () => {
  const shape = (landscape: Landscape) =>
    landscape
      .list()
      .map(
        (each) =>
          `${each.id}@${each.epoch.version} ${each.start ? text(each.start) : ''}-${each.end ? text(each.end) : ''}`,
      )

  test('newer descriptors replace older ones, whatever the order of their coming', () => {
    const all = [range('r1', 1), range('r1', 2, undefined, 'm'), range('r2', 3, 'm', 's'), range('r3', 3, 's')]
    const orders = [all, all.toReversed(), [all[2]!, all[0]!, all[1]!, all[3]!], [all[1]!, all[3]!, all[0]!, all[2]!]]
    for (const order of orders) {
      const landscape = new Landscape()
      for (const each of order) landscape.update([each])
      expect(landscape.locate(bytes('a'))?.id).toBe('r1')
      expect(landscape.locate(bytes('m'))?.id).toBe('r2')
      expect(landscape.locate(bytes('z'))?.id).toBe('r3')
      expect(landscape.update(all)).toBe(false)
    }
  })

  test('what is left of an old range stays until its new one is known', () => {
    const landscape = new Landscape()
    landscape.update([range('r1', 1)])
    expect(landscape.update([range('r2', 2, 'g', 'm')])).toBe(true)
    expect(shape(landscape)).toEqual(['r1@1 -g', 'r2@2 g-m', 'r1@1 m-'])
    landscape.update([range('r3', 2, 'm'), range('r1', 2, undefined, 'g')])
    expect(shape(landscape)).toEqual(['r1@2 -g', 'r2@2 g-m', 'r3@2 m-'])
  })
})
