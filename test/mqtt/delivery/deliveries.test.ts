import { describe, expect, test } from 'vitest'
import type { QoS } from '../../../src/base/message.ts'
import { encodePacket } from '../../../src/mqtt/codec/index.ts'
import { bytesCodec, CHANNEL } from '../../../src/rpc/index.ts'
import { seeds } from '../../sim/seeds.ts'
import { type DeliveryNode, Nodes, TENANT } from './nodes.ts'

function three(options: ConstructorParameters<typeof Nodes>[1] = {}) {
  const nodes = new Nodes(3, options)
  const [a, b, c] = nodes.all as [DeliveryNode, DeliveryNode, DeliveryNode]
  return { nodes, a, b, c }
}

describe('a message', () => {
  test('crosses to a node once, whatever the number of its subscribers there', () => {
    const { nodes, a, b, c } = three()
    const there = Array.from({ length: 50 }, (_, i) => b.subscribe('t/+', `b${i}`, { version: i % 2 === 0 ? 4 : 5 }))
    const overlapping = c.subscribe('t/1', 'c1', { qos: 0, id: 7 })
    c.table.subscribe(
      TENANT,
      '#',
      overlapping,
      { qos: 1, noLocal: false, retainAsPublished: true, subscriptionId: 8 },
      () => {},
    )
    const here = a.subscribe('t/1', 'a1')
    expect(a.publish('t/1', 'zero')).toEqual(['ok 3'])
    expect(a.publish('t/1', 'one', { qos: 1, retain: true })).toEqual([])
    nodes.until(() => overlapping.delivered.length === 2, 'both arrive')
    nodes.run(50)
    for (const subscriber of there) {
      expect(subscriber.plain()).toEqual(['zero'])
      expect(subscriber.delivered).toEqual(['one q1 retain []'])
    }
    expect(overlapping.delivered).toEqual(['zero q0 [7,8]', 'one q1 retain [7,8]'])
    expect([here.plain(), here.delivered]).toEqual([['zero'], ['one q1 retain []']])
    expect(a.figures()).toMatchObject({ sent: 4, received: 0, held_bytes: 0 })
    expect(b.figures()).toMatchObject({ received: 2, deliveries: 100, malformed: 0, stale: 0 })
    expect(c.figures()).toMatchObject({ received: 2, deliveries: 2 })
  })

  test('is answered when it is in the buffer of the link, whether the node is heard or not', () => {
    const { nodes, a, b } = three()
    nodes.wires.partition(['n1'], ['n2', 'n3'])
    const subscriber = b.subscribe('t/1', 's')
    expect(a.publish('t/1', 'x', { qos: 1 })).toEqual(['ok 1'])
    nodes.run(3_000)
    expect(subscriber.delivered).toEqual([])
    nodes.wires.heal()
    nodes.until(() => subscriber.delivered.length === 1, 'it arrives')
  })

  test('keeps publisher, properties and time; no-local holds across nodes; what expired on the way is counted', () => {
    const { nodes, a, b } = three()
    const own = b.subscribe('t/1', 'me', { noLocal: true })
    const other = b.subscribe('t/1', 'other')
    const properties = Uint8Array.of(0x26, 0, 1, 0x61, 0, 1, 0x62)
    const messages: unknown[] = []
    other.deliver = (publication) => void messages.push({ ...publication.message() })
    const timestamp = nodes.world.clock.now() * 1024
    a.publish('t/1', 'x', { publisher: 'me', qos: 2, properties, expirySeconds: 9, timestamp })
    nodes.until(() => messages.length === 1, 'it arrives')
    expect(own.delivered).toEqual([])
    expect(messages[0]).toMatchObject({ topic: 't/1', publisher: 'me', qos: 2, timestamp, expirySeconds: 9 })
    expect((messages[0] as { properties: Buffer }).properties).toEqual(Buffer.from(properties))
    nodes.wires.partition(['n1'], ['n2'])
    a.publish('t/1', 'y', { qos: 1, expirySeconds: 3, timestamp })
    a.publish('t/1', 'z', { qos: 1, expirySeconds: 60, timestamp })
    nodes.run(5_000)
    nodes.wires.heal()
    nodes.until(() => messages.length === 2, 'the other arrives')
    expect(messages[1]).toMatchObject({ expirySeconds: 55 - Math.floor((nodes.world.elapsedMs - 5_000) / 1_000) })
    expect(b.drops).toEqual(['expired t t/1 q1 x1'])
  })

  test('reaches the subscribers of the filters that its sender matched, though the receiver knows of no route', () => {
    const { nodes, a, b } = three()
    const subscriber = b.subscribe('t/#', 's')
    b.dist.blind = true
    b.dist.end()
    a.publish('t/1', 'x')
    nodes.until(() => subscriber.plain().length === 1, 'it arrives')
  })

  test('goes to who is subscribed when it arrives', () => {
    const { nodes, a, b } = three()
    const first = b.subscribe('t/1', 'first')
    a.publish('t/1', 'one')
    nodes.until(() => b.figures().received === 1, 'one')
    const second = b.subscribe('t/1', 'second')
    a.publish('t/1', 'two')
    nodes.until(() => b.figures().received === 2, 'two')
    b.table.unsubscribe(TENANT, 't/1', first)
    a.publish('t/1', 'three')
    nodes.until(() => b.figures().received === 3, 'three')
    expect([first.plain(), second.plain()]).toEqual([
      ['one', 'two'],
      ['two', 'three'],
    ])
  })

  test('of any size arrives', () => {
    const { nodes, a, b } = three()
    const subscriber = b.subscribe('t/1', 's')
    const payloads = ['x'.repeat(300_000), 'small', 'y'.repeat(61_000)]
    for (const payload of payloads) a.publish('t/1', payload, { qos: 1 })
    nodes.until(() => subscriber.delivered.length === 3, 'all arrive')
    expect(subscriber.delivered.map((line) => line.length)).toEqual(payloads.map(({ length }) => length + 6))
  })
})

describe('a run of packets', () => {
  const packet = (payload: string, version: 4 | 5 = 4, fields = {}) =>
    encodePacket(
      {
        type: 'publish',
        topic: 't/1',
        payload: Buffer.from(payload),
        qos: 0,
        retain: false,
        dup: false,
        packetId: 0,
        properties: {},
        ...fields,
      },
      version,
    )
  const send = (node: DeliveryNode, packets: Buffer[], version: 4 | 5 = 4, count = packets.length) => {
    const buffer = Buffer.concat(packets)
    const { remotes } = node.router.fanout(node.dist.match(TENANT, 't/1'))
    for (const route of remotes) route.sendPackets('p', 5, { version, buffer, start: 0, end: buffer.length, count })
  }

  test('reaches those of its wire format as it is, others one by one', () => {
    const { nodes, a, b, c } = three()
    const plain = b.subscribe('t/1', 'plain', { version: 4 })
    send(a, [packet('1'), packet('2'), packet('3')])
    nodes.until(() => b.figures().received === 3, 'three')
    const five = b.subscribe('t/1', 'five', { version: 5 })
    const special = c.subscribe('t/1', 'special', { id: 3 })
    send(a, [packet('4'), packet('5')])
    nodes.until(() => b.figures().received === 5 && c.figures().received === 2, 'two more')
    expect([plain.plain(), five.plain(), special.delivered]).toEqual([
      ['1', '2', '3', '4', '5'],
      ['4', '5'],
      ['4 q0 [3]', '5 q0 [3]'],
    ])
    expect(b.figures()).toMatchObject({ deliveries: 7 })
  })

  test('with one that is too large for somebody goes to him without it; a stream of retained messages hears of it', () => {
    const { nodes, a, b, c } = three()
    const narrow = b.subscribe('t/1', 'narrow', { version: 4 })
    narrow.clientPacketBytesMax = 30
    const streaming = c.subscribe('t/1', 'streaming', { version: 4 })
    streaming.streaming = true
    send(a, [packet('1'), packet('x'.repeat(40)), packet('2')])
    nodes.until(() => b.figures().received === 3 && c.figures().received === 3, 'three')
    expect([narrow.plain(), narrow.drops]).toEqual([['1', '2'], ['1 too-large']])
    expect([streaming.plain().length, streaming.live]).toEqual([3, ['t/1 5']])
  })

  test.each([
    ['not as many', [packet('1')], 4, 2],
    ['more', [packet('1'), packet('2')], 4, 1],
    ['another topic', [packet('1', 4, { topic: 't/2' })], 4, 1],
    ['another QoS', [packet('1', 4, { qos: 1, packetId: 1 })], 4, 1],
    ['retained', [packet('1', 4, { retain: true })], 4, 1],
    ['an expiry', [packet('1', 5, { properties: { messageExpiryInterval: 1 } })], 5, 1],
    ['an alias', [packet('1', 5, { properties: { topicAlias: 1 } })], 5, 1],
    ['cut short', [packet('123').subarray(0, -1)], 4, 1],
  ] as const)('that is none is not delivered: %s', (_what, packets, version, count) => {
    const { nodes, a, b } = three()
    const subscriber = b.subscribe('t/1', 's', { version: 4 })
    send(a, [...packets], version, count)
    nodes.until(() => b.figures().malformed === 1, 'it is refused')
    send(a, [packet('good')])
    nodes.until(() => b.figures().received === 1, 'the next batch is read')
    expect(subscriber.plain()).toEqual(['good'])
  })
})

describe('a node that is', () => {
  test('cut off costs the others nothing: QoS 0 to it is dropped beyond a bound, QoS 1 waits, and is refused in time', () => {
    const limits = { qos0BytesMax: 20_000, heldBytesMax: 40_000, waitingBytesMax: 10_000, waitMsMax: 2_000 }
    const { nodes, a, b, c } = three({ limits })
    const alive = b.subscribe('t/+', 'alive')
    c.subscribe('t/1', 'cut')
    nodes.wires.partition(['n3'], ['n1', 'n2'])
    const payload = 'x'.repeat(100)
    for (let i = 1; i <= 1_000; i++) {
      a.publish('t/1', payload)
      if (i % 50 === 0) nodes.run(40)
    }
    nodes.until(() => b.figures().received === 1_000, 'the one alive gets all')
    expect(alive.plain()).toHaveLength(1_000)
    expect(a.drops.every((drop) => drop === 'slow-node t t/1 q0 x1')).toBe(true)
    expect(a.drops.length).toBeGreaterThan(700)
    expect(a.peers.bufferedBytes(c.name, 'deliveries')).toBeLessThan(25_000)
    const told: string[][] = []
    for (let i = 1; i <= 1_000; i++) {
      told.push(a.publish('t/1', payload, { qos: 1 }))
      if (i % 50 === 0) nodes.run(40)
    }
    const accepted = told.filter(([text]) => text === 'ok 2').length
    const refused = told.filter(([text]) => text?.startsWith('Cannot send')).length
    const waiting = told.filter((list) => list.length === 0).length
    expect([accepted > 50, refused > 500, waiting > 20, accepted + refused + waiting]).toEqual([
      true,
      true,
      true,
      1_000,
    ])
    expect(a.figures().waiting).toBe(waiting)
    // What concerns only the one alive is not held up.
    expect(a.publish('t/2', 'free', { qos: 1 })).toEqual(['ok 1'])
    nodes.run(2_200)
    expect(told.every((list) => list.length === 1)).toBe(true)
    expect(alive.delivered).toHaveLength(1_001)
  })

  test('slow for a while gets everything that was accepted, in order', () => {
    const { nodes, a, c } = three({
      limits: { qos0BytesMax: 20_000, heldBytesMax: 40_000, waitingBytesMax: 1_000_000 },
    })
    const subscriber = c.subscribe('t/1', 's')
    nodes.wires.partition(['n3'], ['n1'])
    const told = Array.from({ length: 1_000 }, (_, i) => a.publish('t/1', `${i}`.padEnd(100), { qos: 1 }))
    nodes.run(2_000)
    nodes.wires.heal()
    nodes.until(() => subscriber.delivered.length === 1_000, 'all arrive')
    expect(subscriber.delivered.map((line) => Number.parseInt(line, 10))).toEqual(
      Array.from({ length: 1_000 }, (_, i) => i),
    )
    expect(told.flat()).toEqual(Array.from({ length: 1_000 }, () => 'ok 1'))
  })

  test('gone holds nobody up, and loses what is counted', () => {
    const { nodes, a, c } = three({ limits: { heldBytesMax: 2_000 } })
    c.subscribe('t/1', 's')
    nodes.wires.partition(['n3'], ['n1'])
    const told = Array.from({ length: 20 }, () => a.publish('t/1', 'x'.repeat(200), { qos: 1 }))
    nodes.run(100)
    expect(told.filter((list) => list.length === 0).length).toBeGreaterThan(5)
    a.peers.forget(c.name)
    a.deliveries.left(c.name)
    expect(told.flat()).toEqual(Array.from({ length: 20 }, () => 'ok 1'))
    expect(a.drops).toEqual(Array.from({ length: 20 }, () => 'link-lost t t/1 q1 x1'))
    expect(a.publish('t/1', 'y', { qos: 1 })).toEqual(['ok 1'])
    expect(a.publish('t/1', 'y')).toEqual(['ok 1'])
    expect(a.drops).toHaveLength(22)
  })

  test('not known yet gets QoS 1 once it is', () => {
    const { nodes, a, b } = three()
    b.subscribe('t/1', 's')
    a.dist.changeWith(
      { op: 'add', tenant: TENANT, filter: 't/1', incarnation: 1, receiver: { kind: 'node', node: 'n4' } },
      () => {},
    )
    const told = a.publish('t/1', 'x', { qos: 1 })
    nodes.run(1_000)
    expect(told).toEqual([])
    const d = nodes.start('n4', 1)
    const subscriber = d.subscribe('t/1', 's4')
    nodes.until(() => subscriber.delivered.length === 1, 'it arrives')
    expect(told).toEqual(['ok 2'])
    a.dist.changeWith(
      { op: 'add', tenant: TENANT, filter: 't/1', incarnation: 1, receiver: { kind: 'node', node: 'n5' } },
      () => {},
    )
    const refused = a.publish('t/1', 'x', { qos: 1 })
    nodes.run(11_000)
    expect(refused).toEqual(['Cannot send to node "n5": its address is not known; send again later'])
  })
})

describe('what comes in from a node', () => {
  const raw = {
    type: 'message',
    number: CHANNEL.deliver,
    name: 'deliver',
    kind: 'deliveries',
    message: bytesCodec,
  } as const

  /** A peer that sends what it likes. */
  function stranger() {
    const nodes = new Nodes(2)
    const [a, b] = nodes.all as [DeliveryNode, DeliveryNode]
    const subscriber = b.subscribe('t/1', 's')
    const batches: Buffer[] = []
    const original = a.peers.send.bind(a.peers)
    a.peers.send = (to, channel, message) => {
      batches.push(Buffer.from(message as Uint8Array))
      return original(to, channel, message)
    }
    const channelOf = () => {
      // The channel object is the node's own: any send shows it.
      return raw
    }
    return { nodes, a, b, subscriber, batches, original, channelOf }
  }

  test('of its earlier run is dropped and counted', () => {
    const { nodes, a, b, subscriber, batches, original } = stranger()
    a.publish('t/1', 'one')
    nodes.until(() => b.figures().received === 1, 'one')
    const later = Buffer.from(batches[0]!)
    later.writeDoubleBE(2, 2)
    expect(original(b.name, raw, later)).toBe('accepted')
    nodes.until(() => b.figures().received === 2, 'of a later run')
    a.publish('t/1', 'old')
    nodes.until(() => b.figures().stale === 1, 'of an earlier run')
    b.deliveries.left('n1')
    a.publish('t/1', 'known no more')
    nodes.until(() => b.figures().received === 3, 'forgotten')
    expect(subscriber.plain()).toEqual(['one', 'one', 'known no more'])
  })

  test('cannot be read: it is counted, what comes next is read', () => {
    const { nodes, a, b, subscriber, batches, original } = stranger()
    a.publish('t/1', 'one')
    nodes.until(() => b.figures().received === 1, 'one')
    const [good] = batches
    const bad = [
      Buffer.alloc(0),
      Buffer.from('nonsense'),
      good!.subarray(0, -1),
      Buffer.concat([Buffer.from([9]), good!.subarray(1)]),
      Buffer.concat([good!.subarray(0, 10), Buffer.from([2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])]),
    ]
    const wild = Buffer.from(good!)
    wild[wild.indexOf('t/1') + 1] = 0x2b
    bad.push(wild)
    for (const batch of bad) expect(original(b.name, raw, batch)).toBe('accepted')
    nodes.until(() => b.figures().malformed === bad.length, 'all are counted')
    a.publish('t/1', 'two')
    nodes.until(() => b.figures().received === 2, 'two')
    expect(subscriber.plain()).toEqual(['one', 'two'])
  })
})

test.each(seeds(15))('every accepted message arrives once and in order over links that break, seed=%i', (seed) => {
  const nodes = new Nodes(3, { seed, link: { windowBytes: 200_000 } })
  const { world } = nodes
  const subscribers = nodes.all.flatMap((node) => [
    node.subscribe('t/+', `${node.name}-all`, { id: 1 }),
    node.subscribe('t/1', `${node.name}-one`, { id: 1 }),
  ])
  const sent = [0, 0, 0]
  const told: string[][] = []
  for (let round = 0; round < 60; round++) {
    for (let i = world.random.below(40); i > 0; i--) {
      const from = world.random.below(3)
      const topic = `t/${world.random.below(3)}`
      // Topics of one publisher are numbered together, so that a gap shows anywhere.
      const payload = `${from}:${sent[from]!++}:${topic}`.padEnd(world.random.below(60) === 0 ? 70_000 : 20)
      told.push(
        nodes.all[from]!.publish(topic, payload, { qos: (1 + world.random.below(2)) as QoS, publisher: `p${from}` }),
      )
    }
    if (world.random.below(4) === 0) nodes.wires.cutSome(50)
    if (round % 12 === 3) nodes.wires.partition([nodes.all[world.random.below(3)]!.name], ['n1', 'n2', 'n3'])
    if (round % 12 === 7) nodes.wires.heal()
    nodes.run(world.random.below(60))
  }
  nodes.wires.heal()
  const total = sent.reduce((sum, count) => sum + count, 0)
  const missing = () => nodes.all.some((node, i) => node.figures().received !== total - sent[i]!)
  for (let rounds = 0; missing() && rounds < 600; rounds++) nodes.run(100)
  expect(missing()).toBe(false)
  for (const subscriber of subscribers) {
    /** By publisher and topic. */
    const last = new Map<string, number>()
    for (const line of subscriber.delivered) {
      const [publisher, number, topic] = line.slice(0, 20).split(/[: ]/) as [string, string, string]
      const before = last.get(`${publisher} ${topic}`) ?? -1
      if (Number(number) <= before) throw new Error(`${line.slice(0, 20)} after ${before} to ${subscriber.clientId}`)
      last.set(`${publisher} ${topic}`, Number(number))
    }
  }
  const all = subscribers.filter(({ clientId }) => clientId.endsWith('all'))
  for (const subscriber of all) expect(subscriber.delivered).toHaveLength(total)
  expect(told.every((list) => list.length === 1 && list[0]!.startsWith('ok'))).toBe(true)
  expect(nodes.all.flatMap(({ drops }) => drops)).toEqual([])
})
