import { expect, test } from 'vitest'
import type { QoS } from '../../../src/base/message.ts'
import { countLost, NodeBroker, type NodeLimits } from '../../../src/mqtt/delivery/node-broker.ts'
import { Publication } from '../../../src/mqtt/routing/publication.ts'
import type { SendResult } from '../../../src/rpc/index.ts'
import { messageOf } from '../session/values.ts'

const LIMITS: NodeLimits = {
  batchBytes: 4_000,
  qos0BytesMax: 10_000,
  heldBytesMax: 20_000,
  waitingBytesMax: 5_000,
  waitMsMax: 1_000,
}

function setup() {
  const link = {
    result: 'accepted' as SendResult,
    buffered: 0,
    ms: 0,
    /** QoS of the messages of each batch. */
    batches: [] as string[],
    drops: [] as string[],
    pendings: 0,
    waits: 0,
  }
  const broker = new NodeBroker(
    'n2',
    1,
    {
      send: (batch) => {
        if (link.result !== 'accepted') return link.result
        let text = ''
        countLost(batch, (_tenant, _topic, qos) => {
          text += qos
        })
        link.batches.push(text)
        link.buffered += batch.length
        return 'accepted'
      },
      bufferedBytes: () => link.buffered,
      nowMs: () => link.ms,
      pending: () => link.pendings++,
      waiting: () => link.waits++,
      dropped: (reason, tenant, topic, qos, count) => link.drops.push(`${reason} ${tenant} ${topic} q${qos} x${count}`),
    },
    LIMITS,
  )
  const topic = broker.topic({ tenant: 't', topic: 'a', filters: ['a'], group: null })
  const told: string[] = []
  const publication = new Publication()
  const send = (qos: QoS, bytes = 100) => {
    const message = messageOf({ qos, payload: 'x'.repeat(bytes) })
    publication.fromMessage(message)
    const sent = topic.send(publication)
    if (sent === 'full') topic.wait(message, (error) => told.push(error?.message ?? 'ok'))
    return sent
  }
  return { link, broker, topic, send, told }
}

test('what is sent in a turn leaves in one batch', () => {
  const { link, broker, send } = setup()
  broker.joined()
  expect([send(0), send(1), send(2)]).toEqual(['accepted', 'accepted', 'accepted'])
  expect([link.pendings, link.batches]).toEqual([1, []])
  broker.flush()
  expect(link.batches).toEqual(['012'])
  broker.flush()
  send(0)
  expect(link.pendings).toBe(2)
  broker.flush()
  expect(link.batches).toEqual(['012', '0'])
  for (let i = 0; i < 100; i++) send(1, 30)
  broker.flush()
  expect(link.batches.length).toBeGreaterThan(2)
  expect(link.batches.slice(2).join('')).toBe('1'.repeat(100))
})

test('to a slow node QoS 0 is dropped and counted; QoS 1 and 2 wait, in order, and are accepted when there is room', () => {
  const { link, broker, send, told } = setup()
  broker.joined()
  link.buffered = 10_000
  expect([send(0), send(1)]).toEqual(['dropped', 'accepted'])
  expect(link.drops).toEqual(['slow-node t a q0 x1'])
  broker.flush()
  link.buffered = 20_000
  expect([send(1), send(2)]).toEqual(['full', 'full'])
  link.buffered = 0
  // Nothing overtakes those that wait.
  expect(send(1)).toBe('full')
  expect([told, link.waits > 0, broker.busy]).toEqual([[], true, true])
  broker.tick(1)
  expect([told, broker.busy]).toEqual([['ok', 'ok', 'ok'], false])
  broker.flush()
  expect(link.batches).toEqual(['1', '121'])
})

test('what waits is bounded in bytes and in time, and is refused beyond', () => {
  const { link, broker, send, told } = setup()
  broker.joined()
  link.buffered = 20_000
  send(1, 10_000)
  send(1, 100)
  expect(told).toEqual(['Cannot send to node "n2": too much waits for it; send again later'])
  link.ms = 500
  broker.tick(999)
  expect(told).toHaveLength(1)
  broker.tick(1_000)
  expect(told).toHaveLength(2)
  expect(broker.waitingMessages).toBe(0)
  expect(link.drops).toEqual(['slow-node t a q1 x1', 'slow-node t a q1 x1'])
})

test('a message of any size is taken where nothing waits', () => {
  const { link, broker, send } = setup()
  broker.joined()
  expect(send(0, 30_000)).toBe('accepted')
  broker.flush()
  link.buffered = 1
  expect([send(0, 30_000), send(1, 30_000)]).toEqual(['dropped', 'full'])
})

test('a batch that was accepted stays until the link takes it', () => {
  const { link, broker, send } = setup()
  broker.joined()
  send(1)
  link.result = 'buffer-full'
  broker.flush()
  send(2)
  link.result = 'unknown-peer'
  broker.flush()
  expect([link.batches, broker.busy, broker.heldBytes > 200]).toEqual([[], true, true])
  link.result = 'accepted'
  send(0)
  broker.flush()
  expect([link.batches, broker.busy, broker.heldBytes]).toEqual([['1', '2', '0'], false, 0])
})

test('for a node whose address is not known QoS 1 and 2 wait, QoS 0 does not', () => {
  const { link, broker, send, told } = setup()
  expect([send(0), send(1)]).toEqual(['dropped', 'full'])
  broker.tick(500)
  expect(told).toEqual([])
  broker.joined()
  expect(told).toEqual(['ok'])
  broker.flush()
  expect(link.batches).toEqual(['1'])
})

test('of a node that is gone nobody waits for anything; it may come back', () => {
  const { link, broker, send, told } = setup()
  broker.joined()
  send(0)
  link.result = 'buffer-full'
  broker.flush()
  send(1)
  broker.flush()
  link.buffered = 20_000
  send(2)
  broker.gone()
  expect(told).toEqual(['ok'])
  expect(link.drops.sort()).toEqual(['link-lost t a q0 x1', 'link-lost t a q1 x1', 'link-lost t a q2 x1'])
  expect([send(1), broker.busy, broker.heldBytes]).toEqual(['dropped', false, 0])
  link.result = 'accepted'
  link.buffered = 0
  broker.joined()
  expect(send(1)).toBe('accepted')
})

test('a link that is closed loses what is counted', () => {
  const { link, broker, send } = setup()
  broker.joined()
  send(0)
  send(0)
  link.result = 'closed'
  broker.flush()
  expect(link.drops).toEqual(['link-lost t a q0 x1', 'link-lost t a q0 x1'])
})

test('packets go as they are, and are counted one by one where they are dropped', () => {
  const { link, broker, topic } = setup()
  broker.joined()
  const packets = { version: 4, buffer: Buffer.alloc(90), start: 0, end: 90, count: 3 } as const
  topic.sendPackets('p', 1, packets)
  broker.flush()
  expect(link.batches).toEqual(['0'])
  link.buffered = 10_000
  topic.sendPackets('p', 1, packets)
  expect(link.drops).toEqual(['slow-node t a q0 x3'])
})
