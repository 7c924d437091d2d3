import { afterEach, describe, expect, test } from 'vitest'
import { BrokerError } from '../../../src/base/errors.ts'
import type { HostId } from '../../../src/base/ids.ts'
import { Forwarder, introduce, messages, requests, startNode, stopAll, until } from '../rig.ts'

afterEach(stopAll)

const QUICK = { backoffMsMin: 5, backoffMsMax: 20 }
const number = (value: number, size = 8) => {
  const bytes = Buffer.alloc(size)
  bytes.writeUInt32BE(value)
  return bytes
}

describe('messages', () => {
  test('arrive in order, batched, and large ones in parts between them', async () => {
    const [a, b] = [await startNode('a'), await startNode('b')]
    introduce(a, b)
    const channel = messages()
    const seen: number[] = []
    let largeBytes = 0
    b.peers.handleMessages(channel, {
      received(from, message) {
        expect(from).toBe(a.id)
        const bytes = Buffer.from(message)
        seen.push(bytes.readUInt32BE(0))
        if (seen.length === 551) expect(bytes.length).toBe(300_000)
        if (bytes.length > 1_000_000) {
          largeBytes = bytes.length
          expect(bytes.readUInt32BE(bytes.length - 4)).toBe(77)
        }
      },
    })
    const large = Buffer.alloc(5_000_000)
    large.writeUInt32BE(500, 0)
    large.writeUInt32BE(77, large.length - 4)
    for (let i = 0; i < 1_000; i++) {
      expect(
        a.peers.send(b.id, channel, i === 500 ? large : number(i, i === 550 ? 300_000 : i > 600 ? 1_000 : 8)),
      ).toBe('accepted')
    }
    await until(() => seen.length === 1_000, 'everything arrived')
    expect(seen).toEqual(Array.from({ length: 1_000 }, (_, i) => i))
    expect(largeBytes).toBe(5_000_000)
    await until(() => a.peers.bufferedBytes(b.id, 'deliveries') === 0, 'everything is acknowledged')
    expect(a.peers.linkState(b.id, 'deliveries')).toBe('open')
  })

  test('what is gathered before the frames of a turn leave is in them', async () => {
    const turns: (() => void)[] = []
    const [a, b] = [await startNode('a', { defer: (callback) => void turns.push(callback) }), await startNode('b')]
    introduce(a, b)
    const channel = messages()
    let gathered = 0
    a.peers.beforeFrames(() => {
      gathered++
      expect(a.peers.send(b.id, channel, number(1))).toBe('accepted')
    })
    a.peers.send(b.id, channel, number(2))
    expect([turns.length, gathered]).toEqual([1, 0])
    turns.shift()!()
    expect([turns.length, gathered]).toEqual([0, 1])
    expect(a.peers.bufferedBytes(b.id, 'deliveries')).toBeGreaterThan(0)
    a.peers.send(b.id, channel, number(3))
    expect([turns.length, gathered]).toEqual([1, 1])
    a.peers.beforeFrames(() => gathered++)
    a.kill()
    expect(gathered).toBe(2)
  })

  test.each(['not an address', 'x:99999', '::1:7947', '', '127.0.0.1:1'])(
    'to "%s": the link waits',
    async (address) => {
      const a = await startNode('a', { links: QUICK })
      a.peers.join({ node: 'x' as HostId, address })
      expect(a.peers.send('x' as HostId, messages(), number(1))).toBe('accepted')
      await until(() => a.peers.linkState('x' as HostId, 'deliveries') === 'waiting', 'the failure')
      a.peers.forget('x' as HostId)
    },
  )

  test('over IPv6', async () => {
    const a = await startNode('a')
    const b = await startNode('b', { host: '::1' })
    a.peers.join({ node: b.id, address: `[::1]:${b.port}` })
    let seen = 0
    b.peers.handleMessages(messages(), { received: () => void seen++ })
    a.peers.send(b.id, messages(), number(1))
    await until(() => seen === 1, 'it arrived')
  })

  test('to an unknown node, too large, too many: each with its word', async () => {
    const a = await startNode('a', { links: { bufferBytesMax: 200_000, messageBytesMax: 150_000 } })
    const channel = messages()
    expect(a.peers.send('x' as HostId, channel, number(1))).toBe('unknown-peer')
    a.peers.join({ node: 'x' as HostId, address: '127.0.0.1:1' })
    expect(a.peers.send('x' as HostId, channel, Buffer.alloc(150_001))).toBe('too-large')
    expect(a.peers.send('x' as HostId, channel, Buffer.alloc(120_000))).toBe('accepted')
    expect(a.peers.send('x' as HostId, channel, Buffer.alloc(120_000))).toBe('buffer-full')
    expect(a.peers.bufferedBytes('x' as HostId, 'deliveries')).toBeLessThanOrEqual(200_000)
    a.kill()
    expect(a.peers.send('x' as HostId, channel, number(1))).toBe('closed')
  })
})

test('figures tell batches, waits, bytes and links', async () => {
  const [a, b] = [await startNode('a'), await startNode('b')]
  introduce(a, b)
  b.peers.handleMessages(messages('raft'), { received() {} })
  for (let i = 0; i < 40; i++) a.peers.send(b.id, messages('raft'), number(i))
  await until(
    () => a.peers.linkState(b.id, 'raft') === 'open' && a.peers.bufferedBytes(b.id, 'raft') === 0,
    'all arrived',
  )
  const figures = new Map<string, number>()
  const add = (name: string, _help: string, value: number, labels: object = {}) => {
    figures.set(`${name} ${Object.values(labels).join(' ')}`.trim(), value)
  }
  a.peers.collect({
    counter: add,
    gauge: add,
    histogram: (name, help, histogram, labels) => {
      add(
        `${name}_count`,
        help,
        histogram.counts.reduce((sum, count) => sum + count, 0),
        labels,
      )
      add(`${name}_sum`, help, histogram.sum, labels)
    },
  })
  expect(figures.get('flockmq_rpc_links raft open')).toBe(1)
  expect(figures.get('flockmq_rpc_links bulk open')).toBe(0)
  expect(figures.get('flockmq_rpc_messages_sent_total raft')).toBe(40)
  expect(figures.get('flockmq_rpc_frames_sent_total raft')).toBe(1)
  expect(figures.get('flockmq_rpc_batch_messages_sum raft')).toBe(40)
  expect(figures.get('flockmq_rpc_queue_seconds_count raft')).toBe(1)
  expect(figures.get('flockmq_rpc_bytes_sent_total raft')).toBe(34 + 40 * (6 + 8))
  expect(figures.get('flockmq_rpc_connections_opened_total raft')).toBe(1)
})

describe('requests', () => {
  test('are answered, also by errors with their hint, in any order', async () => {
    const [a, b] = [await startNode('a'), await startNode('b')]
    introduce(a, b)
    const channel = requests()
    b.peers.handleRequests(channel, (request, call) => {
      const value = Buffer.from(request).readUInt32BE(0)
      if (value === 1) setTimeout(() => call.answer(number(101)), 20)
      else if (value === 2) {
        const hint = { leader: 's3', key: Uint8Array.of(1, 255), $odd: 1 }
        throw new BrokerError('NOT_LEADER', 'Cannot do it: "s1" is not the leader', { hint })
      } else call.answer(number(value + 100))
    })
    const order: number[] = []
    const results = await Promise.all(
      [1, 2, 3].map(
        (value) =>
          new Promise<[BrokerError | null, Uint8Array | null]>((resolve) => {
            a.peers.request(b.id, channel, number(value), { deadlineMs: 2_000 }, (error, answer) => {
              order.push(value)
              resolve([error, answer])
            })
          }),
      ),
    )
    expect(order.at(-1)).toBe(1)
    expect(Buffer.from(results[0]![1]!).readUInt32BE(0)).toBe(101)
    expect(results[1]![0]).toBeInstanceOf(BrokerError)
    expect(results[1]![0]).toMatchObject({ code: 'NOT_LEADER', message: 'Cannot do it: "s1" is not the leader' })
    expect(results[1]![0]!.hint).toEqual({ leader: 's3', key: Uint8Array.of(1, 255), $odd: 1 })
    expect(Buffer.from(results[2]![1]!).readUInt32BE(0)).toBe(103)
  })
})

describe('a connection that is cut', () => {
  const OPEN_CALLS_MAX = 1_000

  test('at any byte, again and again, under load: nothing is lost, doubled or reordered', async () => {
    const [a, b] = [await startNode('a', { links: QUICK }), await startNode('b', { links: QUICK })]
    const forwarder = await Forwarder.start(b.port)
    a.peers.join({ node: b.id, address: forwarder.address })
    const channel = messages()
    const asking = requests()
    const seen: number[] = []
    b.peers.handleMessages(channel, {
      received: (_from, message) => void seen.push(Buffer.from(message).readUInt32BE(0)),
    })
    b.peers.handleRequests(asking, (request, call) => call.answer(request))
    let sent = 0
    let asked = 0
    const answers = new Map<number, number>()
    const cutsMax = 100
    while (forwarder.cuts < cutsMax) {
      for (let i = 0; i < 200; i++) {
        if (a.peers.send(b.id, channel, number(sent)) === 'accepted') sent++
      }
      // A link that is cut for long, on a machine that turns fast, must not run into the limit of open calls.
      if (asked - answers.size < OPEN_CALLS_MAX) {
        const id = asked++
        a.peers.request(b.id, asking, number(id), { deadlineMs: 20_000 }, (error) => {
          expect(error).toBeNull()
          answers.set(id, (answers.get(id) ?? 0) + 1)
        })
      }
      if (forwarder.budget === null && forwarder.connections > 0)
        forwarder.budget = 1 + Math.floor(Math.random() * 3_000)
      await new Promise((resolve) => setImmediate(resolve))
    }
    await until(() => seen.length >= sent && answers.size === asked, `${sent} messages arrived`)
    expect(seen.length).toBe(sent)
    expect(seen.every((value, i) => value === i)).toBe(true)
    expect([...answers.values()].every((count) => count === 1)).toBe(true)
    forwarder.close()
  }, 30_000)

  test('a peer that comes back in a new life: what waits is given back, what comes then arrives', async () => {
    const a = await startNode('a', { links: QUICK })
    let b = await startNode('b', { links: QUICK })
    introduce(a, b)
    const channel = messages()
    const asking = requests()
    const lost: number[] = []
    const seen: number[] = []
    a.peers.observeDiscards(channel, {
      discarded: (to, message, reason) => {
        if (reason === 'closed') return
        expect([to, reason]).toEqual([b.id, 'incarnation-gone'])
        lost.push(Buffer.from(message).readUInt32BE(0))
      },
    })
    const received = {
      received: (_: HostId, message: Uint8Array) => void seen.push(Buffer.from(message).readUInt32BE(0)),
    }
    b.peers.handleMessages(channel, received)
    a.peers.send(b.id, channel, number(1))
    await until(() => seen.length === 1 && a.peers.bufferedBytes(b.id, 'deliveries') === 0, 'the first arrived')
    const { port } = b
    b.kill()
    await until(() => a.peers.linkState(b.id, 'deliveries') === 'waiting', 'the break was seen')
    a.peers.send(b.id, channel, number(2))
    let outcome: BrokerError | null = null
    a.peers.request(b.id, asking, number(3), { deadlineMs: 5_000 }, (error) => {
      outcome = error
    })
    b = await startNode('b', { port, incarnation: 2, links: QUICK })
    b.peers.handleMessages(channel, received)
    await until(() => lost.length > 0 && outcome !== null, 'what waited was given up')
    expect(lost).toEqual([2])
    expect(outcome).toMatchObject({ code: 'UNAVAILABLE' })
    a.peers.send(b.id, channel, number(4))
    await until(() => seen.length === 2, 'the next arrived')
    expect(seen).toEqual([1, 4])
  })

  test('a peer that has forgotten the link: what waits is given back, and a new session begins', async () => {
    const [a, b] = [await startNode('a', { links: QUICK }), await startNode('b', { links: QUICK })]
    const forwarder = await Forwarder.start(b.port)
    a.peers.join({ node: b.id, address: forwarder.address })
    const channel = messages()
    const seen: number[] = []
    const lost: string[] = []
    b.peers.handleMessages(channel, { received: (_, message) => void seen.push(Buffer.from(message).readUInt32BE(0)) })
    a.peers.observeDiscards(channel, {
      discarded: (_to, message, reason) => void lost.push(`${Buffer.from(message).readUInt32BE(0)} ${reason}`),
    })
    const states: string[] = []
    const unwatch = a.peers.watchLinks((node, kind, state) => void states.push(`${node} ${kind} ${state}`))
    a.peers.send(b.id, channel, number(1))
    await until(() => a.peers.bufferedBytes(b.id, 'deliveries') === 0 && seen.length === 1, 'the first')
    forwarder.cut()
    await until(() => a.peers.linkState(b.id, 'deliveries') !== 'open', 'the cut')
    unwatch()
    expect(states).toEqual(['b deliveries connecting', 'b deliveries open', 'b deliveries waiting'])
    b.peers.forget(a.id)
    a.peers.send(b.id, channel, number(2))
    await until(() => lost.length === 1, 'the report')
    expect(lost).toEqual(['2 session-lost'])
    a.peers.send(b.id, channel, number(3))
    await until(() => a.peers.bufferedBytes(b.id, 'deliveries') === 0, 'the third')
    expect(seen).toEqual([1, 3])
    forwarder.close()
  })
})
