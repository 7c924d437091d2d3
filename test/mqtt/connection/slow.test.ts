import { describe, expect, test } from 'vitest'
import { encodePacket } from '../../../src/mqtt/codec/index.ts'
import { Harness } from './harness.ts'

const KIB = 1024

/** Payloads whose first characters are their number. */
const numbered = (i: number, bytes: number) => Buffer.concat([Buffer.from(`${i} `), Buffer.alloc(bytes, '.')])
const numbers = (payloads: readonly string[]) => payloads.map((payload) => Number.parseInt(payload, 10))
const upTo = (count: number) => Array.from({ length: count }, (_, i) => i)

describe('a client that stops reading', () => {
  test('loses QoS 0 at its bound, counted and told, and nobody else does', async () => {
    const harness = await new Harness({ options: { outputBytesPerConnectionMax: 64 * KIB } }).start()
    const slow = await harness.subscriber('t')
    const slow3 = await harness.subscriber('t', 0, { version: 4 })
    const special = await harness.connect()
    await special.subscribe('t', 0, { noLocal: true })
    const quick = await harness.subscriber('t')
    const publisher = await harness.connect()
    const stuck = [slow, slow3, special]
    for (const { transport } of stuck) transport.stuck = true
    for (let i = 0; i < 300; i++) {
      publisher.publish('t', numbered(i, KIB))
      if (i % 10 === 0) await harness.settle(2)
    }
    await harness.settle()
    expect(numbers(quick.payloads())).toEqual(upTo(300))
    for (const { transport, id } of stuck) {
      expect(transport.writableBytes).toBeLessThanOrEqual(64 * KIB)
      expect(transport.writableBytes).toBeGreaterThan(62 * KIB)
      const drops = harness.eventsOf('message.dropped').filter(({ clientId }) => clientId === id)
      expect(drops.every(({ detail }) => detail.reason === 'slow-consumer')).toBe(true)
      const lost = drops.reduce((sum, { detail }) => sum + Number(detail.count), 0)
      expect(lost).toBeGreaterThan(230)
    }
    const lost = harness.metric('flockmq_mqtt_dropped_total', { reason: 'slow-consumer' })
    for (const { transport } of stuck) transport.drain()
    const arrived = stuck.map((client) => numbers(client.payloads()))
    expect(arrived.reduce((sum, { length }) => sum + length, 0) + lost).toBe(900)
    // What it got is a beginning, whole and in order; afterwards it is served again.
    for (const got of arrived) expect(got).toEqual(upTo(got.length))
    publisher.publish('t', 'fresh')
    await harness.settle()
    for (const client of stuck) expect(client.payloads()).toEqual(['fresh'])
  })

  test('keeps QoS 1 and 2 waiting within the same bound, then loses them by name', async () => {
    const harness = await new Harness({ options: { outputBytesPerConnectionMax: 64 * KIB } }).start()
    const slow = await harness.subscriber('t', 2)
    const publisher = await harness.connect({ version: 4 })
    slow.transport.stuck = true
    for (let i = 0; i < 300; i++) {
      publisher.publish('t', numbered(i, KIB), { qos: i % 2 === 0 ? 1 : 2 })
      if (i % 10 === 0) await harness.settle(2)
    }
    await harness.settle()
    expect(slow.transport.writableBytes).toBeLessThanOrEqual(64 * KIB)
    const lost = harness.metric('flockmq_mqtt_dropped_total', { reason: 'queue-full' })
    expect(lost).toBeGreaterThan(150)
    slow.transport.drain()
    await harness.settle()
    const got = numbers(slow.payloads())
    expect(got).toEqual(upTo(300 - lost))
    expect(got.length).toBeGreaterThan(100)
    expect(harness.eventsOf('message.dropped').every(({ detail }) => detail.reason === 'queue-full')).toBe(true)
  })

  test('and reads again is noticed, also where its socket does not tell', async () => {
    const harness = await new Harness({ options: { outputBytesPerConnectionMax: 64 * KIB } }).start()
    const slow = await harness.subscriber('t', 1)
    const publisher = await harness.connect()
    slow.transport.stuck = true
    publisher.publish('t', numbered(0, 40 * KIB))
    await harness.settle()
    publisher.publish('t', numbered(1, 40 * KIB), { qos: 1 })
    await harness.settle()
    slow.transport.drain(true)
    await harness.settle()
    expect(numbers(slow.payloads())).toEqual([0])
    await harness.run(300)
    expect(numbers(slow.payloads())).toEqual([1])
  })

  test('is still told that its connection ends', async () => {
    const harness = await new Harness().start()
    const slow = await harness.connect()
    slow.transport.stuck = true
    slow.transport.send(Buffer.from([0x82, 2, 0, 1])) // a SUBSCRIBE of nothing
    await harness.settle()
    slow.transport.drain()
    expect((await slow.expect('disconnect')).reasonCode).toBe(0x81)
  })
})

describe('a quick client', () => {
  test('gets a burst larger than its bound within one turn', async () => {
    const harness = await new Harness({ options: { outputBytesPerConnectionMax: 64 * KIB } }).start()
    const subscribers = [await harness.subscriber('t'), await harness.subscriber('t', 0, { version: 4 })]
    const publisher = await harness.connect()
    const { transport, version } = publisher
    const burst = upTo(200).map((i) => {
      const packet = { topic: 't', payload: numbered(i, KIB), qos: 0, retain: false, dup: false, packetId: 0 } as const
      return encodePacket({ type: 'publish', ...packet, properties: {} }, version)
    })
    transport.send(Buffer.concat(burst))
    await harness.settle()
    for (const subscriber of subscribers) expect(numbers(subscriber.payloads())).toEqual(upTo(200))
    expect(harness.eventsOf('message.dropped')).toEqual([])
  })

  test('gets one message larger than its bound', async () => {
    const harness = await new Harness({ options: { outputBytesPerConnectionMax: 64 * KIB } }).start()
    const subscriber = await harness.subscriber('t', 1)
    const publisher = await harness.connect()
    for (const qos of [0, 1] as const) publisher.publish('t', numbered(qos, 200 * KIB), { qos })
    await harness.settle()
    expect(numbers(subscriber.payloads())).toEqual([0, 1])
  })
})

describe('all clients together', () => {
  test('hold a bounded number of bytes: those with most are closed (0x97), newcomers are refused (0x89)', async () => {
    const options = { outputBytesPerConnectionMax: 512 * KIB, heldBytesMax: 1024 * KIB }
    const harness = await new Harness({ options }).start()
    const subscribers = await Promise.all([1, 2, 3].map(() => harness.subscriber('t')))
    const light = await harness.subscriber('little')
    const medium = await harness.subscriber('some')
    const publisher = await harness.connect()
    for (const { transport } of [...subscribers, light, medium]) transport.stuck = true
    publisher.publish('little', Buffer.alloc(KIB))
    publisher.publish('some', Buffer.alloc(200 * KIB))
    for (let i = 0; i < 50; i++) publisher.publish('t', Buffer.alloc(8 * KIB))
    await harness.settle()
    // 1,400 KiB are held: two of 400 KiB must go until 80 % of the bound are left.
    await harness.run(300)
    expect(subscribers.filter(({ closed }) => closed)).toHaveLength(2)
    expect([light.closed, medium.closed, publisher.closed]).toEqual([false, false, false])
    expect(harness.metric('flockmq_mqtt_shed_total')).toBe(2)
    const shed = subscribers.find(({ closed }) => closed)!
    shed.transport.drain()
    expect((await shed.expect('disconnect')).reasonCode).toBe(0x97)
    expect((await harness.begin().expect('connack')).reasonCode).toBe(0x89)
    expect((await harness.begin({ version: 4 }).expect('connack')).reasonCode).toBe(0x88)
    await harness.run(300)
    expect((await harness.begin().expect('connack')).reasonCode).toBe(0)
  })

  test('a client whose answer is awaited is read one packet at a time', async () => {
    const pending: (() => void)[] = []
    const publish = () => new Promise<boolean>((resolve) => pending.push(() => resolve(true)))
    const permissions = { all: false, publish, subscribe: () => true, receive: () => true }
    const identity = { tenant: 'default' as never, user: 'u', attributes: {}, permissions }
    const harness = await new Harness({ auth: { authenticate: () => ({ result: 'accepted', identity }) } }).start()
    const subscriber = await harness.subscriber('t/#')
    const publisher = await harness.connect()
    for (let i = 0; i < 1000; i += 2) {
      const pair = [i, i + 1].map((n) => publisher.publishOf(`t/${n}`, numbered(n, KIB)))
      publisher.send(...pair)
    }
    await harness.settle()
    expect(pending).toHaveLength(1)
    await harness.run(300)
    // The rest is in the socket, not in the broker.
    expect(harness.metric('flockmq_mqtt_held_bytes')).toBeLessThan(3 * KIB)
    expect(publisher.transport.unreadBytes).toBeGreaterThan(900 * KIB)
    while (pending.length > 0) {
      pending.shift()!()
      await harness.settle(3)
    }
    expect(numbers(subscriber.payloads())).toEqual(upTo(1000))
  })
})
