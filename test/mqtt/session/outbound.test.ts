import { ok } from 'node:assert/strict'
import { describe, expect, test } from 'vitest'
import { seededRandom } from '../../../src/base/clock.ts'
import type { Message, QoS } from '../../../src/base/message.ts'
import type { Publish } from '../../../src/mqtt/codec/index.ts'
import { Publication } from '../../../src/mqtt/routing/publication.ts'
import type { LocalTarget } from '../../../src/mqtt/routing/subscriber.ts'
import { Outbound, type OutboundOptions } from '../../../src/mqtt/session/outbound.ts'
import { seeds } from '../../sim/seeds.ts'
import { FakeTarget } from './fake-target.ts'
import { messageOf } from './values.ts'

interface Setup extends Partial<Omit<OutboundOptions, 'target'>> {}

function setup(fields: Setup = {}) {
  const target = new FakeTarget(fields.version ?? 5)
  const drops: string[] = []
  const outbound = new Outbound({
    version: 5,
    clientReceiveMaximum: 65_535,
    clientPacketBytesMax: 268_435_460,
    clientTopicAliasMax: 0,
    persistent: false,
    waitingBytesMax: 100_000,
    nowMs: () => 0,
    dropped: (count, reason) => drops.push(`${count} ${reason}`),
    ...fields,
    target,
  })
  return { target, outbound, drops }
}

function targetOf(fields: Partial<LocalTarget> = {}): LocalTarget {
  const plain = { qos: 2, noLocal: false, retainAsPublished: false, subscriptionIds: [], overlapping: null }
  return { subscriber: null as never, ...plain, ...fields }
}

function send(outbound: Outbound, message: Message, target = targetOf()): void {
  const publication = new Publication()
  publication.fromMessage(message)
  outbound.deliver(publication, target)
}

const texts = (publishes: readonly Publish[]) => publishes.map(({ payload }) => payload.toString())

describe('messages to a transient session', () => {
  test.each([
    [0, 2, 0],
    [1, 2, 1],
    [2, 2, 2],
    [2, 1, 1],
    [2, 0, 0],
    [1, 0, 0],
  ] as const)('published with QoS %i, subscribed with %i, arrive with %i', (published, subscribed, expected) => {
    for (const version of [3, 4, 5] as const) {
      const { outbound, target } = setup({ version })
      send(outbound, messageOf({ qos: published }), targetOf({ qos: subscribed }))
      const [packet] = target.publishes()
      expect(packet).toMatchObject({ topic: 't/1', qos: expected, retain: false, dup: false, properties: {} })
      expect(packet!.payload.toString()).toBe('hello')
      expect(packet!.packetId > 0).toBe(expected > 0)
      expect(outbound.inFlight).toBe(expected > 0 ? 1 : 0)
    }
  })

  test('RETAIN is kept only where the subscriber wants it as published', () => {
    const { outbound, target } = setup()
    send(outbound, messageOf({ retain: true }))
    send(outbound, messageOf({ retain: true }), targetOf({ retainAsPublished: true }))
    send(outbound, messageOf({ retain: false }), targetOf({ retainAsPublished: true }))
    expect(target.publishes().map(({ retain }) => retain)).toEqual([false, true, false])
  })

  test('every identifier goes along', () => {
    const { outbound, target } = setup()
    send(outbound, messageOf({ qos: 1 }), targetOf({ subscriptionIds: [7, 300] }))
    expect(target.publishes()[0]!.properties.subscriptionIdentifiers).toEqual([7, 300])
  })

  test('QoS 1 ends with PUBACK, QoS 2 with PUBCOMP', () => {
    const { outbound, target } = setup()
    send(outbound, messageOf({ qos: 1 }))
    send(outbound, messageOf({ qos: 2 }))
    const [one, two] = target.publishes()
    expect(outbound.onPuback(two!.packetId)).toBe(false)
    expect(outbound.onPubrec(one!.packetId, false)).toBe(false)
    expect(outbound.onPubcomp(two!.packetId)).toBe(false)
    expect(outbound.onPuback(one!.packetId)).toBe(true)
    expect(outbound.onPuback(one!.packetId)).toBe(false)
    expect(outbound.onPubrec(two!.packetId, false)).toBe(true)
    expect(outbound.onPubrec(two!.packetId, false)).toBe(true) // a repeated PUBREC is answered again
    expect(target.take()).toEqual([two, two].map((packet) => pubrel(packet!.packetId)))
    expect(outbound.inFlight).toBe(1)
    expect(outbound.onPubcomp(two!.packetId)).toBe(true)
    expect(outbound.onPubcomp(two!.packetId)).toBe(false)
    expect(outbound.inFlight).toBe(0)
  })

  test('a PUBREC with an error ends the exchange, without a PUBREL', () => {
    const { outbound, target } = setup()
    send(outbound, messageOf({ qos: 2 }))
    const { packetId } = target.publishes()[0]!
    expect(outbound.onPubrec(packetId, true)).toBe(true)
    expect(outbound.inFlight).toBe(0)
    expect(target.take()).toEqual([])
    expect(outbound.onPubcomp(packetId)).toBe(false)
  })

  test('unknown ids change nothing', () => {
    const { outbound, target } = setup()
    for (const id of [1, 40_000, 65_535]) {
      expect([outbound.onPuback(id), outbound.onPubrec(id, false), outbound.onPubcomp(id)]).toEqual([
        false,
        false,
        false,
      ])
    }
    expect(outbound.inFlight).toBe(0)
    expect(target.take()).toEqual([])
  })

  test('a packet over the limit of the client is dropped [MQTT-3.1.2-25]', () => {
    for (const fields of [{}, { subscriptionIds: [1] }]) {
      const { outbound, target, drops } = setup({ clientPacketBytesMax: 40 })
      send(outbound, messageOf({ qos: 1, payload: 'x'.repeat(40) }), targetOf(fields))
      expect(target.take()).toEqual([])
      expect(drops).toEqual(['1 too-large'])
      expect(outbound.inFlight).toBe(0)
    }
  })

  test('one of exactly the limit is not', () => {
    const size = 2 + 2 + 3 + 2 + 1 + 30
    for (const [max, arrived] of [
      [size, 1],
      [size - 1, 0],
    ]) {
      const { outbound, target } = setup({ clientPacketBytesMax: max! })
      send(outbound, messageOf({ qos: 1, payload: 'x'.repeat(30) }))
      expect(target.publishes()).toHaveLength(arrived!)
    }
  })
})

describe('the receive maximum', () => {
  for (const max of [1, 2, 7]) {
    test(`of ${max} is kept, and what waits follows in order`, () => {
      const { outbound, target } = setup({ clientReceiveMaximum: max })
      const sent = Array.from({ length: 20 }, (_, i) => String(i))
      for (const payload of sent) send(outbound, messageOf({ qos: 1, payload }))
      const arrived: string[] = []
      for (;;) {
        expect(outbound.inFlight).toBeLessThanOrEqual(max)
        const publishes = target.publishes()
        if (publishes.length === 0) break
        arrived.push(...texts(publishes))
        for (const { packetId } of publishes) outbound.onPuback(packetId)
      }
      expect(arrived).toEqual(sent)
      expect(outbound.room).toBe(max)
    })
  }

  test('does not hold QoS 0 back', () => {
    const { outbound, target } = setup({ clientReceiveMaximum: 1 })
    for (const qos of [1, 1, 0] as QoS[]) send(outbound, messageOf({ qos, payload: `q${qos}` }))
    expect(texts(target.publishes())).toEqual(['q1', 'q0'])
  })

  test('leaves no room while something waits', () => {
    const { outbound, target } = setup({ clientReceiveMaximum: 1 })
    let woken = 0
    outbound.onRoom = () => woken++
    send(outbound, messageOf({ qos: 1 }))
    send(outbound, messageOf({ qos: 1 }))
    expect(outbound.sendMessage(messageOf(), 1, true, [])).toBe(false)
    expect(outbound.sendMessage(messageOf(), 0, true, [])).toBe(true)
    outbound.onPuback(target.publishes()[0]!.packetId)
    expect(woken).toBe(0)
    outbound.onPuback(target.publishes()[0]!.packetId)
    expect(woken).toBe(1)
    expect(outbound.sendMessage(messageOf(), 1, true, [])).toBe(true)
  })

  for (const seed of seeds(10)) {
    test(`holds under random acknowledgements, and no id is used twice, seed=${seed}`, () => {
      const random = seededRandom(seed)
      const max = 1 + random.below(40)
      const { outbound, target, drops } = setup({ clientReceiveMaximum: max, version: random.below(2) === 0 ? 4 : 5 })
      const open = new Map<number, 'puback' | 'pubrec' | 'pubcomp'>()
      const arrived: number[] = []
      let sent = 0
      const acknowledge = () => {
        const id = [...open.keys()][random.below(open.size)]!
        const awaited = open.get(id)
        if (awaited === 'puback') ok(outbound.onPuback(id))
        else if (awaited === 'pubcomp') ok(outbound.onPubcomp(id))
        else if (random.below(10) === 0) ok(outbound.onPubrec(id, true))
        else {
          ok(outbound.onPubrec(id, false))
          open.set(id, 'pubcomp')
          return
        }
        open.delete(id)
      }
      for (let i = 0; i < 2000 || open.size > 0; i++) {
        if (i < 2000 && random.below(2) === 0) {
          send(outbound, messageOf({ qos: (1 + random.below(2)) as QoS, payload: String(sent++) }))
        } else if (open.size > 0) acknowledge()
        for (const packet of target.take()) {
          if (packet.type !== 'publish') continue
          ok(!open.has(packet.packetId), 'an id in use was used again')
          open.set(packet.packetId, packet.qos === 1 ? 'puback' : 'pubrec')
          arrived.push(Number(packet.payload))
        }
        ok(open.size <= max && outbound.inFlight === open.size)
      }
      expect(drops).toEqual([])
      expect(arrived).toEqual(Array.from({ length: sent }, (_, i) => i))
    })
  }
})

describe('what waits', () => {
  test('is bounded in bytes, and what is over is dropped', () => {
    const { outbound, drops, target } = setup({ clientReceiveMaximum: 1, waitingBytesMax: 10_000 })
    for (let i = 0; i < 20; i++) send(outbound, messageOf({ qos: 1, payload: Buffer.alloc(1000, i) }))
    expect(outbound.queuedBytes).toBeLessThanOrEqual(10_000)
    expect(outbound.queuedBytes).toBeGreaterThan(8_000)
    expect(drops.every((drop) => drop === '1 queue-full')).toBe(true)
    const waited = 19 - drops.length
    for (let i = 0; i < waited; i++) outbound.onPuback(target.publishes()[0]!.packetId)
    expect(outbound.queuedBytes).toBe(0)
    expect(target.publishes()[0]!.payload[0]).toBe(waited) // the first ones were kept
  })

  test('loses the time that it waited, and its life with it', () => {
    let now = 0
    const { outbound, target, drops } = setup({ clientReceiveMaximum: 1, nowMs: () => now })
    send(outbound, messageOf({ qos: 1, payload: 'first' }))
    for (const [payload, expirySeconds] of [
      ['short', 10],
      ['long', 30],
      ['endless', -1],
    ] as const) {
      send(outbound, messageOf({ qos: 1, payload, expirySeconds }))
    }
    now = 12_900
    outbound.onPuback(target.publishes()[0]!.packetId)
    const [long] = target.publishes()
    expect([long!.payload.toString(), long!.properties.messageExpiryInterval]).toEqual(['long', 18]) // [MQTT-3.3.2-6]
    outbound.onPuback(long!.packetId)
    expect(target.publishes()[0]!.properties.messageExpiryInterval).toBeUndefined()
    expect(drops).toEqual(['1 expired']) // [MQTT-3.3.2-5]
  })

  test('that is too large when its turn comes does not stop the rest', () => {
    const { outbound, target, drops } = setup({ clientReceiveMaximum: 1, clientPacketBytesMax: 100 })
    send(outbound, messageOf({ qos: 1, payload: 'first' }))
    for (let i = 0; i < 20_000; i++) {
      send(outbound, messageOf({ qos: 1, topic: 'a', payload: Buffer.alloc(i < 100 ? 101 : 0) }), targetOf())
    }
    const before = drops.length
    outbound.onPuback(target.publishes()[0]!.packetId)
    expect(drops.slice(before)).toEqual(Array(100).fill('1 too-large'))
    expect(target.publishes()).toHaveLength(1)
  })
})

describe('a client that does not read', () => {
  test('loses QoS 0 at the bound', () => {
    for (const fields of [{}, { subscriptionIds: [1] }]) {
      const { outbound, target, drops } = setup({ waitingBytesMax: 1000 })
      target.unsentBytes = 995
      send(outbound, messageOf({ payload: 'x'.repeat(5) }), targetOf(fields))
      expect(target.publishes()).toHaveLength(1)
      send(outbound, messageOf({ payload: 'x'.repeat(6) }), targetOf(fields))
      expect(target.publishes()).toHaveLength(0)
      expect(drops).toEqual(['1 slow-consumer'])
    }
  })

  test('keeps QoS 1 and 2 waiting, in their order, until it reads', () => {
    const { outbound, target, drops } = setup({ waitingBytesMax: 1000 })
    target.unsentBytes = 1000
    for (const payload of ['a', 'b', 'c']) send(outbound, messageOf({ qos: 1, payload }))
    expect(target.publishes()).toEqual([])
    expect(outbound.inFlight).toBe(0)
    target.drain()
    expect(texts(target.publishes())).toEqual(['a', 'b', 'c'])
    expect(drops).toEqual([])
    expect(target.onRoom).toBeNull()
  })

  test('that reads a little gets a little', () => {
    const { outbound, target } = setup({ waitingBytesMax: 1000 })
    send(outbound, messageOf({ qos: 1, payload: 'a' }))
    const [first] = target.publishes()
    target.unsentBytes = 900
    for (const size of [200, 50]) send(outbound, messageOf({ qos: 1, payload: 'x'.repeat(size) }))
    outbound.onPuback(first!.packetId) // an acknowledgement is no room in the output
    expect(target.publishes()).toEqual([]) // and the small one does not overtake the large one
    target.unsentBytes = 790
    target.onRoom!()
    target.unsentBytes = 990
    expect(target.publishes()).toHaveLength(1)
    target.onRoom!()
    expect(target.publishes()).toHaveLength(0)
    target.drain()
    expect(texts(target.publishes())).toEqual(['x'.repeat(50)])
  })
})

describe('topic aliases towards the client', () => {
  const topics = (publishes: readonly Publish[]) =>
    publishes.map(({ topic, properties }) => `${topic}:${properties.topicAlias ?? '-'}`)

  test('are set with the topic and then stand for it', () => {
    const { outbound, target } = setup({ clientTopicAliasMax: 2 })
    for (const topic of ['topic/a', 'topic/a', 'topic/b', 'topic/c', 'topic/b', 'topic/a']) {
      send(outbound, messageOf({ topic }))
    }
    const expected = ['topic/a:1', ':1', 'topic/b:2', 'topic/c:-', ':2', ':1']
    expect(topics(target.publishes())).toEqual(expected)
  })

  test('never make a packet larger than the client takes', () => {
    for (let payload = 0; payload < 200; payload++) {
      const max = 150
      const { outbound, target, drops } = setup({ clientTopicAliasMax: 2, clientPacketBytesMax: max })
      for (const topic of ['t', 'topic']) send(outbound, messageOf({ topic }))
      target.take()
      for (let i = 0; i < 3; i++) {
        for (const topic of ['t', 'topic']) send(outbound, messageOf({ topic, payload: Buffer.alloc(payload) }))
      }
      const sizes = [2 + 2 + 1 + 1 + payload, 2 + 2 + 5 + 1 + payload].map((size) => size + (size > 129 ? 1 : 0))
      const expected = sizes.reduce((sum, size) => sum + (size <= max ? 3 : 0), 0)
      expect(target.publishes()).toHaveLength(expected)
      ok(target.packetBytesMax <= max)
      expect(drops).toHaveLength(6 - expected)
    }
  })
})

function pubrel(packetId: number) {
  return { type: 'pubrel', packetId, reasonCode: 0, properties: {} }
}
