import { describe, expect, test } from 'vitest'
import type { FeedEntry } from '../../../src/inbox/index.ts'
import { messageOf } from '../session/values.ts'
import { type Client, Harness, type HarnessOptions } from './harness.ts'

async function setup(topics: number, options: HarnessOptions = {}): Promise<Harness> {
  const harness = await new Harness(options).start()
  for (let i = 0; i < topics; i++) {
    const topic = `r/${i}`
    harness.retain.topics.set(topic, messageOf({ topic, payload: `old ${i}`, qos: 1, retain: true, timestamp: 1000 }))
  }
  return harness
}

/** Subscribes without waiting for anything but SUBACK. */
async function subscribe(client: Client, filter: string, qos: 0 | 1 | 2 = 0, fields = {}): Promise<void> {
  expect(await client.subscribe(filter, qos, fields)).toBe(qos)
}

const olds = (count: number, start = 0) => Array.from({ length: count }, (_, i) => `old ${start + i}`)

describe('retained messages of a new subscription', () => {
  test('come after SUBACK, with RETAIN, all of them, page by page', async () => {
    const harness = await setup(1000)
    const client = await harness.connect()
    await subscribe(client, 'r/#')
    await harness.until(() => client.arrived().length === 1000)
    const publishes = client.arrived().filter((packet) => packet.type === 'publish')
    expect(publishes.every(({ retain, qos }) => retain && qos === 0)).toBe(true)
    expect(client.payloads()).toEqual(olds(1000))
    expect(harness.retain.pagesAsked).toBe(4)
    expect(harness.eventsOf('retain.matched').map(({ detail }) => detail.count)).toEqual([1000])
  })

  test('carry the QoS that both sides allow, and the identifier', async () => {
    const harness = await setup(1)
    const client = await harness.connect()
    const subscriptions = [
      { filter: 'r/+', qos: 2 as const, noLocal: false, retainAsPublished: false, retainHandling: 0 },
    ]
    client.send({ type: 'subscribe', packetId: 1, subscriptions, properties: { subscriptionIdentifier: 77 } })
    const publish = await client.expect('publish')
    expect([publish.qos, publish.properties.subscriptionIdentifiers]).toEqual([1, [77]])
  })

  test('go out as the client acknowledges', async () => {
    const harness = await setup(30)
    const client = await harness.connect({ properties: { receiveMaximum: 3 } })
    await subscribe(client, 'r/#', 1)
    for (let got = 0; got < 30; got++) {
      await harness.settle(3)
      const under = client.arrived().filter((packet) => packet.type === 'publish')
      expect(under.length).toBeLessThanOrEqual(3)
      const { payload, packetId } = await client.expect('publish')
      expect(String(payload)).toBe(`old ${got}`)
      client.ack('puback', packetId)
    }
  })

  test('wait while the client does not read, and nothing piles up', async () => {
    const harness = await setup(0, { options: { outputBytesPerConnectionMax: 64 * 1024 } })
    for (let i = 0; i < 1000; i++) {
      const topic = `r/${i}`
      harness.retain.topics.set(topic, messageOf({ topic, payload: `old ${i}`.padEnd(1000), timestamp: 1000 }))
    }
    const client = await harness.connect()
    client.transport.stuck = true
    client.send({
      type: 'subscribe',
      packetId: 1,
      subscriptions: [{ filter: 'r/#', qos: 0, noLocal: false, retainAsPublished: false, retainHandling: 0 }],
      properties: {},
    })
    await harness.settle(100)
    expect(client.transport.writableBytes).toBeLessThan(20_000)
    expect(harness.retain.pagesAsked).toBe(1)
    for (let i = 0; i < 200 && client.arrived().length < 1001; i++) {
      client.transport.drain()
      client.transport.stuck = true
      await harness.settle(3)
    }
    expect(client.payloads().map((payload) => payload.trim())).toEqual(olds(1000))
    expect(client.transport.unsentBytesMax).toBeLessThan(20_000)
  })

  test('flow to a client that reads, whatever their size', async () => {
    const harness = await setup(0, { options: { outputBytesPerConnectionMax: 64 * 1024 } })
    for (let i = 0; i < 100; i++) {
      const topic = `r/${i}`
      harness.retain.topics.set(topic, messageOf({ topic, payload: `old ${i}`.padEnd(10_000), timestamp: 1000 }))
    }
    const client = await harness.connect()
    await subscribe(client, 'r/#')
    await harness.until(() => client.arrived().length === 100)
    expect(client.payloads().map((payload) => payload.trim())).toEqual(olds(100))
  })

  test('older than a live one that came meanwhile are skipped', async () => {
    const harness = await setup(3)
    const client = await harness.connect()
    harness.retain.pages.shut()
    await subscribe(client, 'r/#')
    const publisher = await harness.connect()
    publisher.publish('r/1', 'new')
    publisher.publish('r/1', 'newer')
    await harness.until(() => client.arrived().length === 2)
    harness.retain.pages.open()
    await harness.until(() => client.arrived().length === 4)
    await harness.settle()
    expect(client.payloads()).toEqual(['new', 'newer', 'old 0', 'old 2'])
    // Later on nothing of that is remembered.
    await subscribe(client, 'r/#')
    await harness.settle()
    expect(client.payloads()).toEqual(olds(3))
  })

  test('also where the live one needs a packet of its own', async () => {
    const harness = await setup(2)
    for (const qos of [0, 1] as const) {
      const client = await harness.connect()
      harness.retain.pages.shut()
      await subscribe(client, 'r/#', 1, { noLocal: true })
      const publisher = await harness.connect({ version: qos === 0 ? 4 : 5 })
      publisher.publish('r/1', 'new', { qos })
      await harness.until(() => client.arrived().length === 1)
      harness.retain.pages.open()
      await harness.until(() => client.arrived().length === 2)
      await harness.settle()
      expect(client.payloads()).toEqual(['new', 'old 0'])
    }
  })

  test('newer than a live one are not', async () => {
    const harness = await setup(1)
    harness.retain.topics.set('r/0', messageOf({ topic: 'r/0', payload: 'newest', timestamp: 2 ** 52 }))
    const client = await harness.connect()
    harness.retain.pages.shut()
    await subscribe(client, 'r/#')
    const publisher = await harness.connect()
    publisher.publish('r/0', 'live')
    await harness.until(() => client.arrived().length === 1)
    harness.retain.pages.open()
    await harness.until(() => client.arrived().length === 2)
    expect(client.payloads()).toEqual(['live', 'newest'])
  })

  test('that the client may not receive are left out', async () => {
    const permissions = {
      all: false,
      publish: () => true,
      subscribe: () => true,
      receive: (topic: string) => topic !== 'r/1',
    }
    const identity = { tenant: 'default' as never, user: 'u', attributes: {}, permissions }
    const harness = await setup(3, { auth: { authenticate: () => ({ result: 'accepted', identity }) } })
    const client = await harness.connect()
    await subscribe(client, 'r/#')
    await harness.settle()
    expect(client.payloads()).toEqual(['old 0', 'old 2'])
  })

  test('come for one subscription after the other', async () => {
    const harness = await setup(300)
    const client = await harness.connect()
    for (const filter of ['r/+', 'r/7', 'r/8']) await subscribe(client, filter)
    await harness.until(() => client.arrived().length === 302)
    expect(client.payloads()).toEqual([...olds(300), 'old 7', 'old 8'])
  })

  test('that cannot be read are an event, and the next subscription is served', async () => {
    const harness = await setup(2)
    harness.retain.matchError = new Error('no quorum')
    const client = await harness.connect()
    await subscribe(client, 'r/#')
    await harness.until(() => harness.eventsOf('retain.failed').length === 1)
    expect(harness.events.at(-1)!.detail).toMatchObject({ topic: 'r/#', message: 'no quorum' })
    harness.retain.matchError = null
    await subscribe(client, 'r/1')
    await harness.settle()
    expect(client.payloads()).toEqual(['old 1'])
  })

  test('end with the connection', async () => {
    const harness = await setup(1000)
    harness.retain.pages.shut()
    const client = await harness.connect()
    await subscribe(client, 'r/#')
    harness.retain.pages.one()
    await harness.until(() => harness.retain.pagesAsked === 2)
    client.transport.close()
    harness.retain.pages.open()
    await harness.settle(20)
    expect(harness.retain.pagesAsked).toBe(2)
    const waiting = await harness.connect({ properties: { receiveMaximum: 1 } })
    await subscribe(waiting, 'r/#', 1)
    await harness.settle()
    const asked = harness.retain.pagesAsked
    waiting.transport.close()
    await harness.settle(20)
    expect(harness.retain.pagesAsked).toBe(asked)
  })
})

describe('retained messages of a persistent session', () => {
  test('of QoS 1 go through its own queue, a bounded number at a time', async () => {
    const harness = await setup(300)
    const client = await harness.connect({ clientId: 'p', properties: { sessionExpiryInterval: 60 } })
    harness.inbox.inserts.shut()
    await subscribe(client, 'r/#', 1)
    await harness.settle(50)
    expect(harness.inbox.inserted).toHaveLength(128)
    expect(harness.inbox.inserted[0]!.targets).toMatchObject([{ inbox: 'p', qos: 1, retain: true }])
    harness.inbox.inserts.open()
    await harness.until(() => harness.inbox.inserted.length === 300)
    expect(client.payloads()).toEqual([])
  })

  test('entries of its queue count as live', async () => {
    const harness = await setup(3)
    const client = await harness.connect({ clientId: 'p', properties: { sessionExpiryInterval: 60 } })
    harness.retain.pages.shut()
    await subscribe(client, 'r/#')
    const message = messageOf({ topic: 'r/1', payload: 'queued', timestamp: 2000 })
    const plain = { dup: false, released: false, retain: false, subscriptionIds: [] }
    const entry: FeedEntry = { sequence: 1, packetId: 2, qos: 1, message, ...plain }
    harness.inbox.sinks.get('p')!.entries([entry])
    harness.retain.pages.open()
    await harness.until(() => client.arrived().length === 3)
    await harness.settle()
    expect(client.payloads()).toEqual(['queued', 'old 0', 'old 2'])
  })

  test('what came behind newer ones into its queue is not sent, and is as good as sent', async () => {
    const harness = await setup(3)
    const client = await harness.connect({ clientId: 'p', properties: { sessionExpiryInterval: 60 } })
    await subscribe(client, 'r/#', 1)
    await harness.until(() => harness.inbox.inserted.length === 3)
    const plain = { dup: false, released: false, subscriptionIds: [], qos: 1 } as const
    const live = (sequence: number, timestamp: number): FeedEntry => {
      const message = messageOf({ topic: 'r/1', payload: `live ${timestamp}`, timestamp })
      return { ...plain, sequence, packetId: sequence + 1, message, retain: false }
    }
    const retained = harness.inbox.inserted.map(({ message }, i): FeedEntry => {
      return { ...plain, sequence: 3 + i, packetId: 4 + i, message, retain: true }
    })
    // An older one of another publisher, behind the newer one, takes nothing back.
    harness.inbox.sinks.get('p')!.entries([live(1, 2000), live(2, 500), ...retained])
    await harness.until(() => client.arrived().filter(({ type }) => type === 'publish').length === 4)
    await harness.settle()
    expect(client.payloads()).toEqual(['live 2000', 'live 500', 'old 0', 'old 2'])
    expect(harness.inbox.acknowledged).toEqual(['p 4'])
    // Published with RETAIN as any other: all of them come, whatever their times.
    harness.inbox.sinks.get('p')!.entries([{ ...live(6, 900), retain: true }])
    await harness.until(() => client.payloads().includes('live 900'))
  })
})
