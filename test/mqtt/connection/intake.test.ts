import { describe, expect, test } from 'vitest'
import { BrokerError } from '../../../src/base/errors.ts'
import { encodePacket } from '../../../src/mqtt/codec/index.ts'
import { identityOf, messageOf } from '../session/values.ts'
import { Harness } from './harness.ts'

const UTF8 = { payloadFormatIndicator: 1 }

describe('payload format', () => {
  test('a payload that says it is UTF-8 may hold U+0000', async () => {
    const harness = await new Harness().start()
    const subscriber = await harness.subscriber('t')
    const publisher = await harness.connect()
    for (const payload of ['a\0b', '\0', '', 'äöü😀\ufeff']) {
      publisher.publish('t', payload, { properties: UTF8, qos: 1 })
      expect((await publisher.expect('puback')).reasonCode).toBe(0)
    }
    await harness.settle()
    expect(subscriber.payloads()).toEqual(['a\0b', '\0', '', 'äöü😀\ufeff'])
  })

  test.each([[[0xff]], [[0xc0, 0x80]], [[0xed, 0xa0, 0x80]], [[0xf4, 0x90, 0x80, 0x80]], [[0x61, 0xc3]]])(
    'bytes %j that are not UTF-8 are refused (0x99)',
    async (bytes) => {
      const harness = await new Harness().start()
      const subscriber = await harness.subscriber('t')
      const publisher = await harness.connect()
      publisher.publish('t', Buffer.from(bytes), { properties: UTF8, qos: 1 })
      expect((await publisher.expect('puback')).reasonCode).toBe(0x99)
      publisher.publish('t', Buffer.from(bytes), { qos: 1 }) // without the claim they are bytes
      expect((await publisher.expect('puback')).reasonCode).toBe(0)
      publisher.publish('t', Buffer.from(bytes), { properties: UTF8 })
      expect(await publisher.expectDisconnect()).toBe(0x99)
      expect(subscriber.arrived()).toHaveLength(1)
    },
  )

  test('only its own bytes are looked at', async () => {
    const harness = await new Harness().start()
    const publisher = await harness.connect()
    const packets = [Buffer.from([0xff]), Buffer.from('fine'), Buffer.from([0xff])].map((payload, i) =>
      encodePacket(
        {
          ...{ type: 'publish', topic: 't', payload, qos: 1, retain: false, dup: false, packetId: i + 1 },
          properties: i === 1 ? UTF8 : {},
        },
        5,
      ),
    )
    publisher.transport.send(Buffer.concat(packets))
    await harness.settle()
    expect(publisher.arrived().map((packet) => 'reasonCode' in packet && packet.reasonCode)).toEqual([0x10, 0x10, 0x10])
  })

  test('a tenant may do without', async () => {
    const harness = await new Harness({ settings: { payloadFormatValidation: false } }).start()
    const publisher = await harness.connect()
    publisher.publish('t', Buffer.from([0xff]), { properties: UTF8, qos: 1 })
    expect((await publisher.expect('puback')).reasonCode).toBe(0x10)
  })
})

describe('publishes', () => {
  test('of one read that go the same way arrive as they came, between others', async () => {
    const harness = await new Harness().start()
    const subscribers = [
      await harness.subscriber('a', 2),
      await harness.subscriber('#', 2, { version: 4 }),
      await harness.subscriber('+', 2, { properties: { topicAliasMaximum: 3 } }),
    ]
    for (const version of [4, 5] as const) {
      const publisher = await harness.connect({ version })
      const packets = Array.from({ length: 400 }, (_, i) => {
        const topic = i % 50 < 40 ? 'a' : i % 50 < 45 ? 'b' : 'long'.repeat(50)
        const qos = i % 23 === 0 ? 1 : 0
        const payload = Buffer.from(`${i}${'.'.repeat(i % 7)}`)
        const fields = {
          topic,
          payload,
          qos,
          retain: false,
          dup: false,
          packetId: qos * (i + 1),
          properties: {},
        } as const
        return encodePacket({ type: 'publish', ...fields }, version)
      })
      packets.splice(200, 0, encodePacket({ type: 'pingreq' }, version))
      const bytes = Buffer.concat(packets)
      // Cut anywhere, the stream is the same.
      for (let at = 0; at < bytes.length; at += 777) publisher.transport.send(bytes.subarray(at, at + 777))
      await harness.settle()
      for (const [k, subscriber] of subscribers.entries()) {
        const got = subscriber.payloads().map((payload) => Number.parseInt(payload, 10))
        const all = Array.from({ length: 400 }, (_, i) => i)
        expect(got).toEqual(k === 0 ? all.filter((i) => i % 50 < 40) : all)
      }
      expect(publisher.lines().filter((line) => line !== 'pingresp')).toEqual(
        Array.from({ length: 18 }, (_, i) => `puback ${i * 23 + 1}`),
      )
    }
  })

  test('that may not pass are left out of the middle of a read', async () => {
    const permissions = {
      all: false,
      publish: (topic: string) => topic !== 'no',
      subscribe: () => true,
      receive: () => true,
    }
    const identity = { tenant: 'default' as never, user: 'u', attributes: {}, permissions }
    const harness = await new Harness({ auth: { authenticate: () => ({ result: 'accepted', identity }) } }).start()
    const subscriber = await harness.subscriber('#')
    const small = await harness.subscriber('#', 0, { properties: { maximumPacketSize: 60 } })
    const publisher = await harness.connect()
    const payloads: [string, string][] = [
      ['a', '1'],
      ['a', '2'],
      ['no', 'denied'],
      ['a', '3'],
      ['a', 'large'.repeat(20)],
      ['a', '4'],
    ]
    publisher.send(...payloads.map(([topic, payload]) => publisher.publishOf(topic, payload)))
    await harness.settle()
    expect(subscriber.payloads()).toEqual(['1', '2', '3', 'large'.repeat(20), '4'])
    expect(small.payloads()).toEqual(['1', '2', '3', '4'])
    const drops = harness.eventsOf('message.dropped').map(({ clientId, detail }) => `${clientId} ${detail.reason}`)
    expect(drops).toEqual([`${publisher.id} not-authorized`, `${small.id} too-large`])
  })

  test('are sent before what comes after them in the same read', async () => {
    const harness = await new Harness().start()
    const client = await harness.subscriber('t')
    client.send(client.publishOf('t', 'x'), { type: 'pingreq' }, client.publishOf('t', 'y'))
    await harness.settle()
    expect(client.lines()).toEqual(['publish 0', 'pingresp', 'publish 0'])
  })

  test('of several topics keep their order, whatever each needs', async () => {
    const harness = await new Harness().start()
    const subscriber = await harness.subscriber('#')
    const other = await harness.connect()
    await other.subscribe('b', 0, { noLocal: true })
    const publisher = await harness.connect()
    const packets = ['a', 'a', 'b', 'a', 'b'].map((topic, i) => publisher.publishOf(topic, `${i}`))
    publisher.send(...packets)
    await harness.settle()
    expect([subscriber.payloads(), other.payloads()]).toEqual([
      ['0', '1', '2', '3', '4'],
      ['2', '4'],
    ])
  })

  test('find who subscribed since the last one', async () => {
    const harness = await new Harness().start()
    const publisher = await harness.connect()
    publisher.publish('t', 'early')
    const subscriber = await harness.subscriber('t')
    publisher.publish('t', 'now')
    await harness.settle()
    expect(subscriber.payloads()).toEqual(['now'])
  })

  test('that failed make room for others', async () => {
    const harness = await new Harness({ settings: { receiveMaximum: 2 } }).start()
    await harness.subscriber('t', 2, { properties: { sessionExpiryInterval: 60 } })
    const publisher = await harness.connect()
    harness.inbox.insertError = new Error('no quorum')
    for (let i = 0; i < 5; i++) {
      publisher.publish('t', 'x', { qos: 2 })
      expect((await publisher.expect('pubrec')).reasonCode).toBe(0x80)
    }
    expect(publisher.closed).toBe(false)
  })

  test('a topic alias stands for its topic, also after the routes changed', async () => {
    const harness = await new Harness({ settings: { topicAliasMax: 2 } }).start()
    const publisher = await harness.connect()
    publisher.publish('a', '1', { properties: { topicAlias: 1 } })
    const subscriber = await harness.subscriber('a')
    publisher.publish('', '2', { properties: { topicAlias: 1 } })
    publisher.publish('b', '3', { properties: { topicAlias: 1 } })
    publisher.publish('a', '4', { properties: { topicAlias: 2 } })
    publisher.publish('', 'b again', { properties: { topicAlias: 1 } })
    publisher.publish('', '5', { properties: { topicAlias: 2 } })
    const later = await harness.subscriber('a')
    publisher.publish('', '6', { properties: { topicAlias: 2 } })
    await harness.settle()
    const aliases = subscriber.arrived().map((packet) => packet.type === 'publish' && packet.properties.topicAlias)
    expect(aliases.every((alias) => alias === undefined)).toBe(true) // it belongs to one hop
    expect([subscriber.payloads(), later.payloads()]).toEqual([['2', '4', '5', '6'], ['6']])
    publisher.publish('a', 'x', { properties: { topicAlias: 3 } })
    expect(await publisher.expectDisconnect()).toBe(0x94)
    const other = await harness.connect()
    other.publish('', 'x', { properties: { topicAlias: 2 } })
    expect(await other.expectDisconnect()).toBe(0x82)
  })

  test('QoS 2 of a transient session is routed once', async () => {
    const harness = await new Harness().start()
    const subscriber = await harness.subscriber('t')
    const publisher = await harness.connect()
    for (const payload of ['once', 'twice']) publisher.publish('t', payload, { qos: 2, packetId: 7 })
    publisher.ack('pubrel', 7)
    publisher.publish('t', 'again', { qos: 2, packetId: 7 })
    publisher.ack('pubrel', 7)
    publisher.ack('pubrel', 7)
    await harness.settle()
    expect(subscriber.payloads()).toEqual(['once', 'again'])
    const answers = publisher.arrived().map((packet) => `${packet.type} ${'reasonCode' in packet && packet.reasonCode}`)
    const ok = ['pubrec 0', 'pubrec 0', 'pubcomp 0', 'pubrec 0', 'pubcomp 0']
    expect(answers).toEqual([...ok, 'pubcomp 146'])
  })

  test('QoS 2 that failed may be sent again under the same id', async () => {
    const harness = await new Harness().start()
    await harness.subscriber('t', 2, { properties: { sessionExpiryInterval: 60 } })
    const publisher = await harness.connect()
    harness.inbox.insertError = new Error('no quorum')
    publisher.publish('t', 'x', { qos: 2, packetId: 7 })
    expect((await publisher.expect('pubrec')).reasonCode).toBe(0x80)
    harness.inbox.insertError = null
    publisher.publish('t', 'x', { qos: 2, packetId: 7 })
    expect((await publisher.expect('pubrec')).reasonCode).toBe(0)
    expect(harness.inbox.inserted).toHaveLength(2)
  })

  test('answers come in the order of the publishes, whichever commits first', async () => {
    const harness = await new Harness().start()
    await harness.subscriber('slow/#', 2, { properties: { sessionExpiryInterval: 60 } })
    const publisher = await harness.connect()
    harness.inbox.inserts.shut()
    harness.retain.sets.shut()
    publisher.publish('slow/1', 'x', { qos: 1 })
    publisher.publish('kept', 'x', { qos: 2, retain: true })
    publisher.publish('nobody', 'x', { qos: 1 })
    publisher.publish('slow/2', 'x', { qos: 2 })
    await harness.settle()
    harness.retain.sets.open()
    await harness.settle()
    expect(publisher.lines()).toEqual([])
    harness.inbox.inserts.one()
    await harness.settle()
    expect(publisher.lines()).toEqual(['puback 1', 'pubrec 2', 'puback 3'])
    harness.inbox.inserts.one()
    await harness.settle()
    expect(publisher.lines().at(-1)).toBe('pubrec 4')
  })
})

describe('permissions', () => {
  test('a denied publish is told to 5.0, answered as usual to 3.x, and is an event', async () => {
    const permissions = {
      all: false,
      publish: (topic: string) => topic !== 'no',
      subscribe: () => true,
      receive: () => true,
    }
    const identity = { tenant: 'default' as never, user: 'u', attributes: {}, permissions }
    const harness = await new Harness({ auth: { authenticate: () => ({ result: 'accepted', identity }) } }).start()
    const subscriber = await harness.subscriber('#')
    for (const version of [4, 5] as const) {
      const publisher = await harness.connect({ version })
      publisher.publish('no', 'q0')
      publisher.publish('no', 'q1', { qos: 1 })
      publisher.publish('no', 'q2', { qos: 2 })
      publisher.publish('yes', `v${version}`)
      const codes = [await publisher.expect('puback'), await publisher.expect('pubrec')].map((ack) => ack.reasonCode)
      expect(codes).toEqual(version === 5 ? [0x87, 0x87] : [0, 0])
    }
    await harness.settle()
    expect(subscriber.payloads()).toEqual(['v4', 'v5'])
    expect(harness.eventsOf('publish.denied')).toHaveLength(6)
    expect(harness.eventsOf('message.dropped').map(({ detail }) => detail.reason)).toEqual(
      Array(6).fill('not-authorized'),
    )
  })

  test('that come late keep everything in order, denied or not', async () => {
    const pending: { topic: string; resolve: (allowed: boolean) => void }[] = []
    const ask = (topic: string) => new Promise<boolean>((resolve) => pending.push({ topic, resolve }))
    const permissions = { all: false, publish: ask, subscribe: (filter: string) => ask(filter), receive: () => true }
    const late = { tenant: 'default' as never, user: 'late', attributes: {}, permissions }
    const free = { ...late, permissions: { ...permissions, all: true, publish: () => true, subscribe: () => true } }
    const harness = await new Harness({
      auth: {
        authenticate: ({ clientId }) => ({ result: 'accepted', identity: clientId === 'late' ? late : free }),
      },
    }).start()
    const subscriber = await harness.subscriber('#', 2)
    const client = await harness.connect({ clientId: 'late' })
    client.publish('a', '0')
    client.publish('b', '1', { qos: 1 })
    client.publish('c', '2', { qos: 2 })
    client.publish('c', '2', { qos: 2, packetId: 2, dup: true })
    client.publish('d', '3', { qos: 1 })
    client.send({
      type: 'subscribe',
      packetId: 9,
      subscriptions: ['x', 'y'].map((filter) => {
        return { filter, qos: 0, noLocal: false, retainAsPublished: false, retainHandling: 2 }
      }),
      properties: {},
    })
    client.send({ type: 'pingreq' })
    const asked: string[] = []
    for (let i = 0; i < 7; i++) {
      await harness.until(() => pending.length > 0)
      if (i < 5) expect(pending).toHaveLength(1)
      const { topic, resolve } = pending.shift()!
      asked.push(topic)
      resolve(topic !== 'd' && topic !== 'y')
      await harness.settle(4)
    }
    expect(asked).toEqual(['a', 'b', 'c', 'c', 'd', 'x', 'y'])
    expect(subscriber.payloads()).toEqual(['0', '1', '2'])
    const lines = client.lines()
    expect(lines.slice(0, 4)).toEqual(['puback 1', 'pubrec 2', 'pubrec 2', 'puback 3'])
    expect([...lines.slice(4)].sort()).toEqual(['pingresp', 'suback 9'])
    expect((await client.expect('suback')).reasonCodes).toEqual([0, 0x87])
  })

  test('are asked anew after a reload', async () => {
    let [allowed, generation, asked] = [true, 0, 0]
    const publish = () => {
      asked++
      return allowed
    }
    const permissions = { all: false, publish, subscribe: () => true, receive: () => true }
    const identity = { tenant: 'default' as never, user: 'u', attributes: {}, permissions }
    const auth = {
      authenticate: () => ({ result: 'accepted' as const, identity }),
      get generation() {
        return generation
      },
    }
    const harness = await new Harness({ auth }).start()
    const client = await harness.connect()
    const codes = async () => {
      client.publish('t', 'x', { qos: 1 })
      return (await client.expect('puback')).reasonCode
    }
    expect([await codes(), await codes(), asked]).toEqual([0x10, 0x10, 1])
    allowed = false
    expect(await codes()).toBe(0x10)
    generation++
    expect([await codes(), asked]).toEqual([0x87, 2])
  })
})

describe('until this node may match', () => {
  /** The leases of a node of several; QoS 1 and 2 wait until `settle`. */
  async function unsure() {
    const harness = await new Harness().start()
    const subscriber = await harness.subscriber('t')
    const waiting: ((error: Error | null) => void)[] = []
    let sure = false
    harness.dist.isSure = () => sure
    harness.dist.whenSure = (_tenant, _bytes, done) => void waiting.push(done)
    const settle = (error: Error | null) => {
      sure = error === null
      for (const done of waiting.splice(0)) done(error)
    }
    return { harness, subscriber, waiting, settle }
  }

  test.each([1, 2] as const)('QoS %i waits, its publisher is not read, and QoS 0 of others goes on', async (qos) => {
    const { harness, subscriber, waiting, settle } = await unsure()
    const [publisher, other] = [await harness.connect(), await harness.connect()]
    publisher.publish('t', 'a', { qos })
    publisher.publish('t', 'b', { qos: 0 })
    other.publish('t', 'c', { qos: 0 })
    await harness.settle()
    expect([waiting.length, subscriber.payloads(), publisher.transport.paused]).toEqual([1, ['c'], true])
    settle(null)
    expect((await publisher.expect(qos === 1 ? 'puback' : 'pubrec')).reasonCode).toBe(0)
    await harness.settle()
    expect([subscriber.payloads(), publisher.transport.paused]).toEqual([['a', 'b'], false])
  })

  test.each([1, 2] as const)('QoS %i that may not be matched is refused, and may come again', async (qos) => {
    const { harness, subscriber, settle } = await unsure()
    const [five, three] = [await harness.connect(), await harness.connect({ version: 4 })]
    const answer = qos === 1 ? 'puback' : 'pubrec'
    for (const client of [five, three]) client.publish('t', 'a', { qos, packetId: 7 })
    await harness.settle()
    settle(new BrokerError('NO_QUORUM', 'no lease'))
    expect((await five.expect(answer)).reasonCode).toBe(0x83)
    await three.expectClose()
    expect(three.arrived()).toEqual([])
    five.publish('t', 'b', { qos, packetId: 7 })
    await harness.settle()
    settle(null)
    expect((await five.expect(answer)).reasonCode).toBe(0)
    await harness.settle()
    expect(subscriber.payloads()).toEqual(['b'])
  })

  test('a repetition of a QoS 2 that was routed is answered as it was', async () => {
    const { harness, subscriber, settle } = await unsure()
    const publisher = await harness.connect()
    for (const outcome of [null, new BrokerError('NO_QUORUM', 'no lease')]) {
      publisher.publish('t', 'a', { qos: 2, packetId: 7 })
      await harness.settle()
      harness.dist.isSure = () => false
      settle(outcome)
      expect((await publisher.expect('pubrec')).reasonCode).toBe(0)
    }
    await harness.settle()
    expect(subscriber.payloads()).toEqual(['a'])
  })

  test('who goes away meanwhile has published nothing', async () => {
    const { harness, subscriber, settle } = await unsure()
    const publisher = await harness.connect()
    publisher.publish('t', 'a', { qos: 1 })
    await harness.settle()
    publisher.transport.close()
    await harness.settle()
    settle(null)
    await harness.settle()
    expect(subscriber.payloads()).toEqual([])
  })

  test('a will waits too, and is tried again where it may not be matched', async () => {
    const { harness, subscriber, settle, waiting } = await unsure()
    const { tenant } = identityOf()
    const message = messageOf({ topic: 't', payload: 'will', qos: 1 })
    const refused = harness.router.publishMessage(tenant, message)
    settle(new BrokerError('NO_QUORUM', 'no lease'))
    await expect(refused).rejects.toMatchObject({ code: 'NO_QUORUM' })
    const published = harness.router.publishMessage(tenant, message)
    expect(waiting).toHaveLength(1)
    settle(null)
    expect(await published).toBe(1)
    await harness.settle()
    expect(subscriber.payloads()).toEqual(['will'])
  })
})
