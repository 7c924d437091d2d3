import { describe, expect, test } from 'vitest'
import type { InboxId } from '../../src/base/ids.ts'
import type { InboxRanges, InsertResult } from '../../src/inbox/index.ts'
import { insertAll } from '../../src/inbox/insert.ts'
import { LIMITS, message, START_MS, TENANT, text, toTarget, World } from './harness.ts'

describe('insert', () => {
  test('goes to each target: in order, with its options, once for each session', async () => {
    const world = new World()
    const [a, b, z] = [await world.owner('a'), await world.owner('i'), await world.owner('z')]
    const absent = { ...a, inbox: 'nobody' } as typeof a
    const targets = [
      toTarget(a, 1),
      toTarget(absent, 1),
      { ...toTarget(b, 2), retain: true, subscriptionIds: [3, 200_000] },
      { ...toTarget(z, 1), incarnation: z.incarnation - 1 },
    ]
    expect(await world.insert('m', targets)).toEqual(['ok', 'absent', 'ok', 'absent'])
    const [atA, atB, atZ] = [world.open(a), world.open(b), world.open(z)]
    await world.settle()
    expect(atA.got).toEqual([
      expect.objectContaining({ sequence: 1, packetId: 2, qos: 1, dup: false, retain: false, subscriptionIds: [] }),
    ])
    expect(atB.got).toEqual([expect.objectContaining({ qos: 2, retain: true, subscriptionIds: [3, 200_000] })])
    expect(atB.got[0]!.message).toEqual(message('m'))
    expect(atZ.got).toEqual([])
    expect(world.inbox.stats()).toMatchObject({ sessions: 3, attached: 3, queuedMessages: 2, inserts: 2 })
  })

  test('fails as a whole, once, where one target fails', () => {
    const pending: ((error: Error | null, response: InsertResult | null) => void)[] = []
    const mutateWith: InboxRanges['mutateWith'] = (_key, _command, done, _options, tag = 0) =>
      void pending.push((error, response) => done(error, response, tag))
    const ranges = { mutateWith } as InboxRanges
    const target = { inbox: 'c' as InboxId, incarnation: 1, qos: 1, retain: false, subscriptionIds: [] } as const
    const calls: unknown[] = []
    const insert = { message: message('m'), targets: [target, target, { ...target, qos: 0 }] as const, dedup: null }
    insertAll(
      ranges,
      TENANT,
      insert,
      () => 'dropped',
      (error, results) => calls.push([error?.message, results]),
    )
    pending[0]!(new Error('no quorum'), null)
    expect(calls).toEqual([])
    pending[1]!(null, 'ok')
    expect(calls).toEqual([['no quorum', null]])
  })

  test('reaches an open feed at once, in one call for all of a turn', async () => {
    const world = new World()
    const owner = await world.owner('c')
    const client = world.open(owner)
    await world.settle()
    await Promise.all(Array.from({ length: 50 }, (_, i) => world.insert(`${i}`, [owner])))
    expect(client.got.map(({ message }) => text(message))).toEqual(Array.from({ length: 50 }, (_, i) => `${i}`))
    expect(client.calls).toEqual([50])
  })

  test('is pushed no further than the window that is committed', async () => {
    const world = new World()
    const owner = await world.owner('c', { limits: { ...LIMITS, messagesMax: 40 } })
    const client = world.open(owner)
    await world.settle()
    await Promise.all(Array.from({ length: 30 }, (_, i) => world.insert(`${i}`, [owner])))
    await world.settle()
    expect(client.calls).toEqual([10, 10, 10])
  })

  test('a repetition by publish number is dropped, also where numbers come out of order', async () => {
    const world = new World()
    const owner = await world.owner('c')
    const put = (number: number, floor?: number) =>
      world.insert(`${number}`, [owner], 2, {
        publisher: 'p' as never,
        number,
        ...(floor === undefined ? {} : { floor }),
      })
    expect([await put(10), await put(12), await put(10), await put(11), await put(12), await put(11)].flat()).toEqual([
      'ok',
      'ok',
      'repeated',
      'ok',
      'repeated',
      'repeated',
    ])
    // Below a floor all is repeated: it was released, so it cannot come again.
    expect([await put(20, 15), await put(13), await put(16), await put(20)].flat()).toEqual([
      'ok',
      'repeated',
      'ok',
      'repeated',
    ])
    expect(await world.insert('x', [owner], 2, { publisher: 'q' as never, number: 10 })).toEqual(['ok'])
  })

  test('keeps marks of a bounded number of publishers, and of numbers', async () => {
    const world = new World()
    const owner = await world.owner('c', { limits: { ...LIMITS, messagesMax: 10 } })
    const put = (publisher: string, number: number) =>
      world.insert('m', [owner], 2, { publisher: publisher as never, number })
    await Promise.all(Array.from({ length: 1_500 }, (_, i) => put(`p${i}`, 1)))
    const marks = world.keys
    expect(marks).toBeLessThan(1_024 + 20)
    expect(await put('p1499', 1)).toEqual(['repeated'])
    await Promise.all(Array.from({ length: 1_100 }, (_, i) => put('q', 100 + i)))
    expect(await put('q', 100)).toEqual(['repeated'])
    expect(world.keys).toBeLessThanOrEqual(1_024 + 20)
  })
})

describe('acknowledge', () => {
  test('is lazy, gives credit back, and leaves nothing behind', async () => {
    const world = new World()
    const owner = await world.owner('c')
    const client = world.open(owner, { credit: 2 })
    for (const payload of ['1', '2', '3', '4', '5']) await world.insert(payload, [owner])
    expect(client.seen).toEqual(['1', '2'])
    client.feed.acknowledge(1)
    expect(client.seen).toEqual(['1', '2']) // never from inside a call
    await world.settle()
    expect(client.seen).toEqual(['1', '2', '3'])
    client.feed.acknowledge(3) // out of order
    client.feed.acknowledge(3)
    client.feed.acknowledge(99)
    await world.settle()
    expect(client.seen).toEqual(['1', '2', '3', '4'])
    await world.advance(100)
    expect(world.inbox.stats().queuedMessages).toBe(3)
    for (const sequence of [2, 4]) client.feed.acknowledge(sequence)
    await world.settle()
    client.feed.acknowledge(5)
    await world.advance(100)
    expect(world.inbox.stats()).toMatchObject({ queuedMessages: 0, queuedBytes: 0 })
    expect(await world.inbox.head(owner)).toMatchObject({ queuedMessages: 0, queuedBytes: 0 })
  })

  test('credit is in bytes too; one entry passes in any case', async () => {
    const world = new World()
    const owner = await world.owner('c')
    for (const payload of ['x'.repeat(500), 'y'.repeat(100), 'z']) await world.insert(payload, [owner])
    const client = world.open(owner, { bytesMax: 100 })
    await world.settle()
    expect(client.got).toHaveLength(1)
    client.feed.acknowledge(1)
    await world.settle()
    expect(client.got.map(({ sequence }) => sequence)).toEqual([1, 2])
  })

  test('what arrives faster than it is acknowledged comes in order, from memory or not', async () => {
    const world = new World()
    const limits = { ...LIMITS, messagesMax: 100_000 }
    const owner = await world.owner('c', { limits })
    const client = world.open(owner, { credit: 10 })
    await world.settle()
    const put = (from: number, count: number) =>
      Promise.all(Array.from({ length: count }, (_, i) => world.insert(`${from + i}`, [owner])))
    await put(0, 1_500) // more than is kept ahead
    client.auto = true
    for (const { sequence } of [...client.got]) client.feed.acknowledge(sequence)
    await put(1_500, 100)
    for (let i = 0; i < 50 && client.got.length < 1_600; i++) await world.settle()
    expect(client.got.map(({ message }) => Number(text(message)))).toEqual(Array.from({ length: 1_600 }, (_, i) => i))
  })

  test('a long queue is read in pages, in order, without being held', async () => {
    const world = new World()
    const owner = await world.owner('c', { limits: { ...LIMITS, messagesMax: 10_000 } })
    await Promise.all(Array.from({ length: 2_000 }, (_, i) => world.insert(`${i}`, [owner])))
    await world.detach(owner)
    const again = await world.owner('c', { limits: { ...LIMITS, messagesMax: 10_000 } })
    const client = world.open(again, { credit: 50 })
    client.auto = true
    for (let i = 0; i < 100 && client.got.length < 2_000; i++) await world.settle()
    expect(client.got.map(({ message }) => Number(text(message)))).toEqual(Array.from({ length: 2_000 }, (_, i) => i))
    expect(client.got.some(({ dup }) => dup)).toBe(false)
    for (let i = 0; i < 3; i++) await world.advance(100)
    expect(world.inbox.stats().queuedMessages).toBe(0)
  })
})

describe('resume', () => {
  test('the same packet ids; DUP where it was sent, and only there', async () => {
    const world = new World()
    const first = await world.owner('c')
    const client = world.open(first, { credit: 3 })
    for (const payload of ['1', '2', '3', '4', '5']) await world.insert(payload, [first])
    await world.settle()
    client.feed.acknowledge(2)
    await world.settle()
    expect(client.seen).toEqual(['1', '2', '3', '4'])
    await world.detach(first, { sentUpTo: 3 })
    const resumed = world.open(await world.owner('c'))
    await world.settle()
    expect(resumed.seen).toEqual(['1+', '3+', '4', '5'])
    expect(resumed.got.map(({ packetId }) => packetId)).toEqual([2, 4, 5, 6])
  })

  test('after an owner that was not heard of again: DUP for all that it may have sent', async () => {
    const world = new World()
    const limits = { ...LIMITS, messagesMax: 40 } // a window of 10
    const first = await world.owner('c', { limits })
    for (let i = 1; i <= 20; i++) await world.insert(`${i}`, [first])
    const resumed = world.open(await world.owner('c', { limits }))
    await world.settle()
    expect(resumed.got.filter(({ dup }) => dup).map(({ sequence }) => sequence)).toEqual([
      1, 2, 3, 4, 5, 6, 7, 8, 9, 10,
    ])
    expect(resumed.got).toHaveLength(20)
  })

  test('a shorter second try does not lower what the first one sent', async () => {
    const world = new World()
    const first = await world.owner('c')
    world.open(first)
    for (const payload of ['1', '2', '3']) await world.insert(payload, [first])
    await world.detach(first, { sentUpTo: 3 })
    const second = await world.owner('c')
    world.open(second)
    await world.detach(second, { sentUpTo: 1 })
    const third = world.open(await world.owner('c'))
    await world.settle()
    expect(third.seen).toEqual(['1+', '2+', '3+'])
  })

  test('QoS 2 past PUBREC owes PUBREL alone; after PUBCOMP nothing', async () => {
    const world = new World()
    const first = await world.owner('c')
    const client = world.open(first)
    for (const payload of ['1', '2', '3']) await world.insert(payload, [first], 2)
    for (const sequence of [1, 2]) {
      expect(await new Promise((resolve) => client.feed.received(sequence, sequence + 1, resolve))).toBeNull()
    }
    client.feed.acknowledge(1)
    await world.detach(first, { sentUpTo: 3 })
    const resumed = world.open(await world.owner('c'))
    await world.settle()
    expect(resumed.seen).toEqual(['-+!', '3+'])
    expect(resumed.got.map(({ packetId }) => packetId)).toEqual([3, 4])
    resumed.feed.acknowledge(2)
    resumed.feed.acknowledge(3)
    await world.advance(100)
    expect(world.inbox.stats()).toMatchObject({ queuedMessages: 0, queuedBytes: 0 })
  })

  test('no packet id is in use twice: the window waits for the oldest entry, committed', async () => {
    const world = new World()
    const limits = { ...LIMITS, messagesMax: 100_000, bytesMax: 100_000_000 }
    const owner = await world.owner('c', { limits })
    const client = world.open(owner, { credit: 32_767, bytesMax: 100_000_000 })
    const shared = message('m')
    const one = [toTarget(owner, 1)]
    for (let i = 0; i < 33_000; i += 1_000) {
      await Promise.all(Array.from({ length: 1_000 }, () => world.insert(shared, one)))
      await world.settle()
      for (const { sequence } of client.got) if (sequence > 1) client.feed.acknowledge(sequence)
    }
    const last = client.got.at(-1)!.sequence
    expect(last).toBe(32_767)
    client.feed.acknowledge(1)
    await world.settle()
    expect(client.got.at(-1)!.sequence).toBe(32_767) // its trim is not committed yet
    await world.advance(100)
    await world.settle()
    expect(client.got.at(-1)!.sequence).toBe(33_000)
    expect(client.got[0]!.packetId).toBe(client.got[32_767]!.packetId)
  })
})

describe('the limit', () => {
  const limits = { ...LIMITS, messagesMax: 4 }

  test('oldest: what was never sent gives way, what may be in flight does not', async () => {
    const world = new World().start()
    const owner = await world.owner('c', { limits })
    const client = world.open(owner, { credit: 1 })
    for (let i = 1; i <= 7; i++) await world.insert(`${i}`, [owner])
    expect(world.drops).toEqual(['c full-oldest 1', 'c full-oldest 1', 'c full-oldest 1'])
    expect(client.seen).toEqual(['1'])
    for (let i = 0; i < 5; i++) {
      for (const { sequence } of client.got) client.feed.acknowledge(sequence)
      await world.advance(100)
    }
    expect(client.seen[0]).toBe('1')
    expect(client.seen.slice(-2)).toEqual(['6', '7'])
    expect(client.seen).toHaveLength(4)
    expect(world.inbox.stats()).toMatchObject({ queuedMessages: 0, queuedBytes: 0, drops: 3 })
  })

  test('oldest, nobody attached: all but what was sent gives way', async () => {
    const world = new World().start()
    const owner = await world.owner('c', { limits })
    await world.detach(owner)
    for (let i = 1; i <= 9; i++) expect(await world.insert(`${i}`, [owner])).toEqual(['ok'])
    const client = world.open(await world.owner('c', { limits }))
    await world.settle()
    expect(client.seen).toEqual(['6', '7', '8', '9'])
  })

  test('newest: the new one is refused', async () => {
    const world = new World().start()
    const owner = await world.owner('c', { limits: { ...limits, dropPolicy: 'newest' } })
    await world.detach(owner)
    for (let i = 1; i <= 4; i++) await world.insert(`${i}`, [owner])
    expect(await world.insert('5', [owner])).toEqual(['dropped'])
    expect(world.drops).toEqual(['c full-newest 1'])
  })

  test('in bytes: as many give way as make room; one that never fits drops nobody', async () => {
    const world = new World().start()
    const owner = await world.owner('c', { limits: { ...LIMITS, bytesMax: 1_000 } })
    await world.detach(owner)
    for (const payload of ['a', 'b', 'c']) await world.insert(payload.repeat(200), [owner])
    expect(await world.insert('x'.repeat(1_000), [owner])).toEqual(['dropped'])
    expect(await world.insert('d'.repeat(700), [owner])).toEqual(['ok'])
    expect(world.drops).toEqual(['c full-newest 1', 'c full-oldest 2'])
  })
})

describe('message expiry', () => {
  const expiring = (payload: string, expirySeconds: number) =>
    message(payload, { expirySeconds, timestamp: START_MS * 1024 })

  test('an expired entry is skipped and counted, unless its delivery began', async () => {
    const world = new World().start()
    const owner = await world.owner('c')
    const client = world.open(owner, { credit: 1 })
    await world.insert(expiring('1', 5), [owner])
    await world.insert(expiring('2', 5), [owner])
    await world.insert(expiring('3', 50), [owner])
    await world.insert('4', [owner])
    expect(client.seen).toEqual(['1'])
    await world.detach(owner, { sentUpTo: 1 })
    await world.advance(5_000)
    const resumed = world.open(await world.owner('c'))
    await world.settle()
    expect(resumed.seen).toEqual(['1+', '3', '4'])
    expect(world.drops).toEqual(['c expired 1'])
    for (const sequence of [1, 3, 4]) resumed.feed.acknowledge(sequence)
    await world.advance(100)
    expect(world.inbox.stats().queuedMessages).toBe(0)
  })

  test('never past PUBREC', async () => {
    const world = new World().start()
    const owner = await world.owner('c')
    const client = world.open(owner)
    await world.insert(expiring('1', 5), [owner], 2)
    await new Promise((resolve) => client.feed.received(1, 2, resolve))
    await world.detach(owner, { sentUpTo: 1 })
    await world.advance(60_000)
    const resumed = world.open(await world.owner('c'))
    await world.settle()
    expect(resumed.seen).toEqual(['-+!'])
  })
})

describe('QoS 0', () => {
  test('goes straight to an open feed, past the log', async () => {
    const world = new World()
    const owner = await world.owner('c')
    const client = world.open(owner)
    await world.settle()
    const keys = world.keys
    expect(await world.insert('m', [owner], 0)).toEqual(['ok'])
    await world.settle()
    expect(client.got).toEqual([expect.objectContaining({ sequence: 0, packetId: 0, qos: 0, dup: false })])
    expect(world.keys).toBe(keys)
    expect(world.inbox.stats().inserts).toBe(0)
  })

  test('passes QoS 1 that waits for credit; but not QoS 0 that is queued before it', async () => {
    for (const queueQos0 of [false, true]) {
      const world = new World()
      const limits = { ...LIMITS, queueQos0 }
      const owner = await world.owner('c', { limits })
      const client = world.open(owner, { credit: 1 })
      for (const payload of ['1', '2', '3']) await world.insert(payload, [owner])
      expect(await world.insert('0', [owner], 0)).toEqual(['ok'])
      await world.settle()
      expect(client.seen).toEqual(queueQos0 ? ['1'] : ['1', '0'])
      client.auto = true
      client.feed.acknowledge(1)
      await world.advance(100)
      expect(client.seen).toEqual(queueQos0 ? ['1', '2', '3', '0'] : ['1', '0', '2', '3'])
      await world.advance(100)
      expect(world.inbox.stats().queuedMessages).toBe(0)
    }
  })

  test('is dropped where nobody is attached; absent sessions are told', async () => {
    const world = new World()
    const owner = await world.owner('c')
    await world.detach(owner)
    expect(await world.insert('m', [owner, { ...owner, inbox: 'x' as never }], 0)).toEqual(['dropped', 'absent'])
  })

  test('what is remembered of a session does not count for the next one', async () => {
    const world = new World()
    const first = await world.owner('c')
    await world.detach(first)
    expect(await world.insert('1', [first], 0)).toEqual(['dropped'])
    const second = await world.owner('c', { cleanStart: true, limits: { ...LIMITS, queueQos0: true } })
    await world.detach(second)
    expect(await world.insert('2', [second], 0)).toEqual(['ok'])
  })

  test('waits where the limits say so, and is gone once pushed', async () => {
    const world = new World()
    const limits = { ...LIMITS, queueQos0: true }
    const owner = await world.owner('c', { limits })
    await world.detach(owner)
    expect(await world.insert('1', [owner], 0)).toEqual(['ok'])
    await world.insert('2', [owner], 1)
    const client = world.open(await world.owner('c', { limits }), { credit: 1 })
    await world.settle()
    expect(client.got.map(({ qos, packetId }) => [qos, packetId])).toEqual([
      [0, 0],
      [1, 3],
    ])
    client.feed.acknowledge(2)
    await world.advance(100)
    expect(world.inbox.stats().queuedMessages).toBe(0)
  })
})

describe('QoS 2 from the client', () => {
  test('a packet id has one number until it is released, over resumes', async () => {
    const world = new World()
    const first = await world.owner('c')
    const one = await world.inbox.receive(first, 7)
    const two = await world.inbox.receive(first, 8)
    expect(two.number).toBe(one.number + 1)
    expect(await world.inbox.receive(first, 7)).toEqual({ number: one.number, repeated: true, floor: one.number })
    await world.detach(first)
    const resumed = await world.attach('c')
    expect(resumed.received).toEqual([
      { packetId: 7, number: one.number },
      { packetId: 8, number: two.number },
    ])
    expect(await world.inbox.release(resumed.owner, 7)).toBe(true)
    expect(await world.inbox.release(resumed.owner, 7)).toBe(false)
    const three = await world.inbox.receive(resumed.owner, 7)
    expect(three).toEqual({ number: two.number + 1, repeated: false, floor: two.number })
  })

  test('numbers rise over sessions of a client id', async () => {
    const world = new World()
    const first = await world.owner('c')
    const { number } = await world.inbox.receive(first, 7)
    const second = await world.attach('c', { cleanStart: true })
    expect(second.received).toEqual([])
    expect((await world.inbox.receive(second.owner, 7)).number).toBeGreaterThan(number)
  })
})
