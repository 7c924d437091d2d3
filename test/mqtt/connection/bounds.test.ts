import { describe, expect, test } from 'vitest'
import { Harness } from './harness.ts'

/** At each bound the client, or the operator, sees the result that the bound has by name. */

test('whoever does not begin with a CONNECT is closed at the first byte, in silence [MQTT-3.1.0-1]', async () => {
  const harness = await new Harness().start()
  const browser = harness.open()
  browser.send(Buffer.from('GET / HTTP/1.1\r\n'))
  await harness.run(0)
  expect(browser.ended).toBe(true)
  expect(browser.take()).toEqual([])
  expect(harness.server.connections).toBe(0)
})

describe('time', () => {
  test('a connection without CONNECT is closed at the CONNECT timeout, in silence', async () => {
    const harness = await new Harness({ options: { connectTimeoutMs: 10_000 } }).start()
    const silent = harness.open()
    const dripping = harness.open()
    dripping.send(Buffer.from([0x10]))
    await harness.run(9_700)
    expect([silent.ended, dripping.ended]).toEqual([false, false])
    dripping.send(Buffer.from([0x20])) // a byte now and then earns no time
    await harness.run(600)
    expect([silent.ended, dripping.ended]).toEqual([true, true])
    expect([silent.take(), dripping.take()]).toEqual([[], []])
    expect(harness.eventsOf('client.refused').map(({ detail }) => detail.reason)).toEqual(['timeout', 'timeout'])
    expect(harness.server.connections).toBe(0)
  })

  test('the timeout runs from the accepted socket on', async () => {
    const harness = await new Harness({ options: { connectTimeoutMs: 10_000 } }).start()
    const slow = harness.open({ acceptedAtMs: harness.clock.monotonic() - 9_000 })
    await harness.run(1_300)
    expect(slow.ended).toBe(true)
  })

  test('an authentication that takes longer than the CONNECT timeout ends too', async () => {
    const auth = { authenticate: () => new Promise<never>(() => {}) }
    const harness = await new Harness({ auth, options: { connectTimeoutMs: 2_000 } }).start()
    const client = harness.begin()
    await harness.run(2_300)
    expect(client.closed).toBe(true)
    expect(harness.server.connections).toBe(0)
  })

  test('a client that is silent for one and a half keep-alives gets 0x8D [MQTT-3.1.2-22]', async () => {
    const harness = await new Harness().start()
    const client = await harness.connect({ keepAliveSeconds: 10 })
    const older = await harness.connect({ keepAliveSeconds: 10, version: 4 })
    await harness.run(14_700)
    client.send({ type: 'pingreq' })
    await client.expect('pingresp')
    await harness.run(600)
    expect([client.closed, older.closed]).toEqual([false, true])
    expect(older.arrived()).toEqual([])
    await harness.run(15_000)
    expect(await client.expectDisconnect()).toBe(0x8d)
    expect(harness.eventsOf('client.disconnected').map(({ detail }) => detail.reason)).toEqual([
      'keep-alive',
      'keep-alive',
    ])
    expect(harness.metric('flockmq_mqtt_keep_alive_timeouts_total')).toBe(2)
  })

  test('one without keep-alive may be silent for ever', async () => {
    const harness = await new Harness().start()
    const client = await harness.connect({ keepAliveSeconds: 0 })
    await harness.run(500_000)
    expect(client.closed).toBe(false)
  })

  test('a client that the broker does not read is not silent', async () => {
    const pending: ((allowed: boolean) => void)[] = []
    const publish = () => new Promise<boolean>((resolve) => pending.push(resolve))
    const harness = await new Harness({ auth: asynchronous(publish) }).start()
    const client = await harness.connect({ keepAliveSeconds: 1 })
    client.publish('t', 'x', { qos: 1 })
    await harness.until(() => pending.length === 1)
    await harness.run(3_000)
    expect(client.closed).toBe(false)
    pending[0]!(true)
    await client.expect('puback')
    await harness.run(1_200)
    expect(client.closed).toBe(false)
    await harness.run(600)
    expect(await client.expectDisconnect()).toBe(0x8d)
  })
})

describe('size', () => {
  test('a packet over the announced maximum gets 0x95, before its bytes are there', async () => {
    const harness = await new Harness({ settings: { packetBytesMax: 2000 } }).start()
    const client = await harness.connect()
    client.publish('t', Buffer.alloc(2000 - 6)) // 3 of header, 3 of topic: exactly the maximum without properties
    expect(await client.expectDisconnect()).toBe(0x95)
    const other = await harness.connect()
    other.publish('t', Buffer.alloc(2000 - 7))
    other.transport.send(Buffer.from([0x30, 0xff, 0x7f]))
    expect(await other.expectDisconnect()).toBe(0x95)
    expect(harness.metric('flockmq_mqtt_publish_received_total', { qos: '0' })).toBe(1)
  })

  test('the node bounds CONNECT, and what the tenant may allow', async () => {
    const harness = await new Harness({ options: { packetBytesMax: 2000 }, settings: { packetBytesMax: 5000 } }).start()
    const large = harness.begin({ username: 'x'.repeat(2000) })
    await large.expectClose()
    expect(large.arrived()).toEqual([])
    const client = harness.begin()
    expect((await client.expect('connack')).properties.maximumPacketSize).toBe(2000)
    client.publish('t', Buffer.alloc(2000))
    expect(await client.expectDisconnect()).toBe(0x95)
  })

  test('CONNACK keeps to the maximum of the client', async () => {
    const harness = await new Harness({
      auth: { authenticate: () => ({ result: 'refused', reasonCode: 0x87, reason: 'because '.repeat(20) }) },
    }).start()
    const client = harness.begin({ properties: { maximumPacketSize: 40 } })
    const connack = await client.expect('connack')
    expect([connack.reasonCode, connack.properties]).toEqual([0x87, {}])
    const other = harness.begin()
    expect((await other.expect('connack')).properties.reasonString).toBe('because '.repeat(20))
  })

  test('what a plugin says is bounded', async () => {
    const harness = await new Harness({
      auth: { authenticate: () => ({ result: 'refused', reasonCode: 0x86, reason: '😀'.repeat(100_000) }) },
    }).start()
    const client = harness.begin()
    const connack = await client.expect('connack')
    expect([connack.reasonCode, connack.properties.reasonString]).toEqual([0x86, '😀'.repeat(512)])
  })
})

describe('the first packet', () => {
  test.each([
    ['PINGREQ', [0xc0, 0]],
    ['DISCONNECT', [0xe0, 0]],
    ['SUBSCRIBE', [0x82, 6, 0, 1, 0, 1, 0x61, 0]],
    ['UNSUBSCRIBE', [0xa2, 5, 0, 1, 0, 1, 0x61]],
    ['PUBLISH', [0x30, 4, 0, 1, 0x61, 0x62]],
    ['AUTH', [0xf0, 0]],
    ['nothing known', [0, 0]],
  ])('is CONNECT: after %s the connection closes in silence [MQTT-3.1.0-1]', async (_name, bytes) => {
    const harness = await new Harness().start()
    const transport = harness.open()
    transport.send(Buffer.from(bytes))
    expect([transport.ended, transport.take()]).toEqual([true, []])
    expect(harness.server.connections).toBe(0)
  })
})

describe('count', () => {
  test('connections of a tenant: one more gets 0x97, one that takes over is none more', async () => {
    const harness = await new Harness({ settings: { connectionsMax: 2 } }).start()
    await harness.connect({ clientId: 'a' })
    const b = await harness.connect({ clientId: 'b' })
    const c = harness.begin({ clientId: 'c' })
    expect((await c.expect('connack')).reasonCode).toBe(0x97)
    await c.expectClose()
    const again = harness.begin({ clientId: 'a' })
    expect((await again.expect('connack')).reasonCode).toBe(0)
    b.transport.close()
    await harness.settle()
    expect((await harness.begin({ clientId: 'c' }).expect('connack')).reasonCode).toBe(0)
  })

  test('also when all come at once', async () => {
    const harness = await new Harness({ settings: { connectionsMax: 3 } }).start()
    const clients = Array.from({ length: 10 }, () => harness.begin())
    const codes = await Promise.all(clients.map(async (client) => (await client.expect('connack')).reasonCode))
    expect(codes.filter((code) => code === 0)).toHaveLength(3)
    expect(codes.filter((code) => code === 0x97)).toHaveLength(7)
  })

  test('filters of a SUBSCRIBE and of a session: those over the bound get 0x97', async () => {
    const harness = await new Harness({ settings: { filtersPerSubscribeMax: 3, filtersPerSessionMax: 4 } }).start()
    const client = await harness.connect()
    expect(await subscribeTo(client, ['a', 'b', 'c', 'd'])).toEqual([0, 0, 0, 0x97])
    expect(await subscribeTo(client, ['d', 'a', 'e'])).toEqual([0, 0, 0x97])
    client.send({ type: 'unsubscribe', packetId: 9, filters: ['b', 'x'], properties: {} })
    expect((await client.expect('unsuback')).reasonCodes).toEqual([0, 0x11])
    expect(await subscribeTo(client, ['e', 'f'])).toEqual([0, 0x97])
  })

  test('publishes under way: one more than the receive maximum gets 0x93', async () => {
    for (const qos of [1, 2] as const) {
      const harness = await new Harness({ settings: { receiveMaximum: 4 } }).start()
      await persistentSubscriber(harness, 't')
      const client = await harness.connect()
      harness.inbox.inserts.shut()
      for (let i = 0; i < 4; i++) client.publish('t', 'x', { qos })
      await harness.settle()
      expect(client.closed).toBe(false)
      client.publish('t', 'x', { qos })
      expect(await client.expectDisconnect()).toBe(0x93)
      expect(harness.eventsOf('client.disconnected')[0]!.detail.reason).toBe('receive-maximum')
    }
  })

  test('QoS 2 counts until PUBREL, and PUBREL makes room', async () => {
    const harness = await new Harness({ settings: { receiveMaximum: 2 } }).start()
    const client = await harness.connect()
    const first = client.publish('t', 'x', { qos: 2 })
    client.publish('t', 'x', { qos: 2 })
    await client.expect('pubrec')
    await client.expect('pubrec')
    client.publish('t', 'x', { qos: 2, packetId: first, dup: true }) // a repetition is none more
    await client.expect('pubrec')
    client.ack('pubrel', first)
    await client.expect('pubcomp')
    client.publish('t', 'x', { qos: 2 })
    await client.expect('pubrec')
    client.publish('t', 'x', { qos: 1 })
    expect(await client.expectDisconnect()).toBe(0x93)
  })

  test('answers that wait behind a slow one count, so that they cannot pile up', async () => {
    const harness = await new Harness({ settings: { receiveMaximum: 5 } }).start()
    await persistentSubscriber(harness, 'slow')
    const client = await harness.connect()
    harness.inbox.inserts.shut()
    client.publish('slow', 'x', { qos: 1 })
    for (let i = 0; i < 5; i++) client.publish('nobody', 'x', { qos: 1 })
    expect(await client.expectDisconnect()).toBe(0x93)
  })

  test('so do publishes whose permission comes late', async () => {
    const harness = await new Harness({ settings: { receiveMaximum: 3 }, auth: asynchronous(async () => true) }).start()
    await persistentSubscriber(harness, 't')
    const client = await harness.connect()
    harness.inbox.inserts.shut()
    for (let i = 0; i < 4; i++) client.publish('t', 'x', { qos: 1 })
    expect(await client.expectDisconnect()).toBe(0x93)
    expect(harness.inbox.inserts.waiting).toBe(3)
  })
})

describe('3.x flow control', () => {
  test('a client with too many publishes under way is read no further, and then read on', async () => {
    const harness = await new Harness({ options: { inFlight3Max: 8 } }).start()
    await persistentSubscriber(harness, 't')
    const client = await harness.connect({ version: 4 })
    const { transport } = client
    const pausesBefore = transport.pauses
    harness.inbox.inserts.shut()
    for (let i = 0; i < 30; i++) client.publish('t', 'x', { qos: 1 })
    client.send({ type: 'pingreq' })
    await harness.settle()
    expect(harness.inbox.inserts.waiting).toBe(9)
    expect(transport.paused).toBe(true)
    expect(transport.unreadBytes).toBeGreaterThan(0)
    for (let i = 0; i < 5; i++) harness.inbox.inserts.one()
    await harness.settle()
    expect(transport.pauses - pausesBefore).toBe(1) // it rests until half of them are answered
    harness.inbox.inserts.one()
    await harness.settle()
    expect(harness.inbox.inserts.waiting).toBe(9)
    harness.inbox.inserts.open()
    await client.expect('pingresp')
    await harness.settle()
    expect(client.lines()).toEqual(Array.from({ length: 30 }, (_, i) => `puback ${i + 1}`))
    expect(transport.paused).toBe(false)
  })

  test('one whose publish failed is closed without an answer', async () => {
    const harness = await new Harness().start()
    await persistentSubscriber(harness, 't')
    const client = await harness.connect({ version: 4 })
    const five = await harness.connect()
    harness.inbox.insertError = Object.assign(new Error('no quorum'), { reasonCode: 0x88 })
    client.publish('t', 'x', { qos: 1 })
    await client.expectClose()
    expect(client.arrived()).toEqual([])
    five.publish('t', 'x', { qos: 1 })
    expect((await five.expect('puback')).reasonCode).toBe(0x83)
    expect(five.closed).toBe(false)
  })
})

describe('flapping', () => {
  test('a client that loses its connection too often is banned (0x8A) for a while', async () => {
    const flapping = { enabled: true, disconnectsMax: 3, windowSeconds: 60, banSeconds: 100, clientsMax: 100 }
    const harness = await new Harness({ options: { flapping } }).start()
    for (let i = 0; i < 3; i++) {
      const client = await harness.connect({ clientId: 'flap' })
      client.transport.close()
      await harness.settle()
    }
    expect(harness.eventsOf('client.banned')).toHaveLength(1)
    expect((await harness.begin({ clientId: 'flap' }).expect('connack')).reasonCode).toBe(0x8a)
    expect((await harness.begin({ clientId: 'other' }).expect('connack')).reasonCode).toBe(0)
    expect((await harness.begin({ clientId: 'flap', version: 4 }).expect('connack')).reasonCode).toBe(0x87)
    await harness.run(100_000)
    expect((await harness.begin({ clientId: 'flap' }).expect('connack')).reasonCode).toBe(0)
  })

  test('one that says goodbye is not', async () => {
    const flapping = { enabled: true, disconnectsMax: 2, windowSeconds: 60, banSeconds: 100, clientsMax: 100 }
    const harness = await new Harness({ options: { flapping } }).start()
    for (let i = 0; i < 5; i++) {
      const client = await harness.connect({ clientId: 'polite' })
      client.send({ type: 'disconnect', reasonCode: 0, properties: {} })
      await client.expectClose()
    }
    expect((await harness.begin({ clientId: 'polite' }).expect('connack')).reasonCode).toBe(0)
  })
})

function asynchronous(publish: (topic: string) => Promise<boolean>) {
  const permissions = { all: false, publish, subscribe: () => true, receive: () => true }
  const identity = { tenant: 'default' as never, user: 'u', attributes: {}, permissions }
  return { authenticate: () => ({ result: 'accepted' as const, identity }) }
}

/** Makes publishes to `filter` wait for the inbox service. */
async function persistentSubscriber(harness: Harness, filter: string) {
  return harness.subscriber(filter, 2, { properties: { sessionExpiryInterval: 60 } })
}

async function subscribeTo(client: Awaited<ReturnType<Harness['connect']>>, filters: string[]): Promise<number[]> {
  const subscriptions = filters.map((filter) => {
    return { filter, qos: 0 as const, noLocal: false, retainAsPublished: false, retainHandling: 0 }
  })
  client.send({ type: 'subscribe', packetId: client.nextId(), subscriptions, properties: {} })
  return (await client.expect('suback')).reasonCodes
}
