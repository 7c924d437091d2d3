/** Sections 3.4 to 3.7, 4.3, 4.4 and 4.6: acknowledgements, delivery protocols, redelivery, order. */
import { expect, test } from 'vitest'
import type { RawClient } from './client.ts'
import { elapse, inBoth, KEPT, name, useBroker } from './harness.ts'
import * as wire from './wire.ts'

const h = useBroker()

test('[MQTT-3.4.2-1] [MQTT-3.5.2-1] [MQTT-3.6.2-1] [MQTT-3.7.2-1] an ack with a reason code that is not its own ends the connection with 0x82', async () => {
  const cases = [
    ['puback', 0x92],
    ['puback', 0x01],
    ['pubrec', 0x92],
    ['pubrec', 0x02],
    ['pubrel', 0x10],
    ['pubcomp', 0x87],
  ]
  for (const [ack, code] of cases as [wire.AckName, number][]) {
    const client = await h.connect()
    client.send(wire.ack(ack, 1, code))
    await client.expectError(0x82)
  }
})

test('[MQTT-3.4.2-1] [MQTT-3.5.2-1] every valid form of an ack is accepted', async () => {
  const topic = name()
  const subscriber = await h.subscriber(topic, 1, { properties: { receiveMaximum: 1 } })
  const publisher = await h.connect()
  const forms: [number?, wire.Properties?][] = [
    [],
    [0],
    [0x10],
    [0x80, {}],
    [0x97, { reasonString: 'why' }],
    [
      0x00,
      {
        reasonString: 'why',
        user: [
          ['a', 'b'],
          ['a', 'b'],
        ],
      },
    ],
  ]
  // The receive maximum of 1 lets the next message come only once the ack was understood.
  for (const [code, properties] of forms) {
    await publisher.publish(topic, `${code}`, { qos: 1 })
    const { packetId } = await subscriber.expect('publish', { payload: `${code}` })
    subscriber.send(wire.ack('puback', packetId!, code, properties))
  }
  await subscriber.expectSilence()
})

test('[MQTT-3.4.2-2] [MQTT-3.4.2-3] [MQTT-3.5.2-2] [MQTT-3.5.2-3] [MQTT-3.6.2-2] [MQTT-3.6.2-3] [MQTT-3.7.2-2] [MQTT-3.7.2-3] [MQTT-3.9.2-1] [MQTT-3.9.2-2] [MQTT-3.11.2-1] [MQTT-3.11.2-2] no answer is made larger than the client takes by a reason string or user properties', async () => {
  const client = await h.connect({ username: 'limited', properties: { maximumPacketSize: 30 } })
  const sizes: number[] = []
  const note = async (type: wire.PacketName, fields = {}) => sizes.push((await client.expect(type, fields)).size)
  for (const topic of ['denied/x', name()]) {
    client.sendPublish({ topic, qos: 1, packetId: 1 })
    await note('puback')
    client.sendPublish({ topic, qos: 2, packetId: 2 })
    await note('pubrec')
    client.send(wire.ack('pubrel', 2))
    await note('pubcomp', { reasonCode: topic === 'denied/x' ? 0x92 : 0 })
    client.sendSubscribe([[topic, 2]])
    await note('suback')
    client.sendUnsubscribe([topic])
    await note('unsuback')
  }
  client.send(wire.ack('pubrec', 99))
  await note('pubrel', { reasonCode: 0x92 })
  expect(Math.max(...sizes)).toBeLessThanOrEqual(30)
})

test('[MQTT-3.6.1-1] [v3:MQTT-3.6.1-1] PUBREL with other flags than 0010 ends the connection', async () => {
  await inBoth(async (version) => {
    for (const flags of [0, 1, 3, 4, 6, 8, 10, 15]) {
      const client = await h.connect({ version })
      client.sendPublish({ topic: name(), qos: 2, packetId: 1 })
      await client.expect('pubrec')
      client.send(wire.hex(`6${flags.toString(16)} 02 00 01`))
      await client.expectError(0x81)
    }
  })
})

test('[MQTT-4.3.1-1] [v3:MQTT-4.3.1-1] [paho3:testBasic] [paho5:test_basic] messages of each QoS arrive, with DUP 0', async () => {
  for (const version of [3, 4, 5] as const) {
    const topic = name()
    const subscriber = await h.subscriber(topic, 2, { version })
    const publisher = await h.connect({ version })
    for (const qos of [0, 1, 2]) {
      await publisher.publish(topic, `qos ${qos}`, { qos })
      await subscriber.receive({ topic, payload: `qos ${qos}`, qos, dup: false, retain: false })
    }
  }
})

test('[MQTT-4.3.2-2] [MQTT-4.3.3-2] [v3:MQTT-4.3.2-1] [v3:MQTT-4.3.3-1] a new message is sent with DUP 0 to sessions of every kind', async () => {
  await inBoth(async (version) => {
    const topic = name()
    const fields = { version, clientId: name('c'), ...KEPT }
    const online = await h.subscriber(topic, 2, { version, ...KEPT })
    await (await h.subscriber(topic, 2, fields)).disconnect()
    const publisher = await h.connect({ version })
    for (const qos of [1, 2]) {
      await publisher.publish(topic, `${qos}`, { qos })
      await online.receive({ qos, dup: false })
    }
    // Waited in a queue and was never sent before.
    const offline = await h.connect(fields)
    for (const qos of [1, 2]) await offline.receive({ qos, dup: false })
  })
})

test('[MQTT-3.3.1-1] [v3:MQTT-3.3.1-1] [MQTT-4.4.0-1] [v3:MQTT-4.4.0-1] [MQTT-4.3.2-3] [MQTT-4.3.3-3] [v3:MQTT-2.3.1-3] [fails:8] [paho3:test_redelivery_on_reconnect] [paho5:test_redelivery_on_reconnect] what was not acknowledged is sent again after a reconnect, with its identifier and DUP', async () => {
  await inBoth(async (version) => {
    const topic = name()
    const fields = { version, clientId: name('c'), ...KEPT }
    let subscriber = await h.subscriber(topic, 2, fields)
    const publisher = await h.connect({ version })
    for (const [i, qos] of [1, 2, 1, 2].entries()) await publisher.publish(topic, `${i}`, { qos })
    const first: wire.Received[] = []
    for (let i = 0; i < 4; i++) first.push(await subscriber.expect('publish', { payload: `${i}`, dup: false }))
    subscriber.send(wire.ack('puback', first[2]!.packetId!))
    await subscriber.expectSilence()
    // An end by DISCONNECT, by a broken socket and by a takeover are the same to the session.
    await subscriber.disconnect()
    subscriber = await h.connect(fields)
    const again = [first[0]!, first[1]!, first[3]!]
    for (let round = 0; round < 2; round++) {
      for (const { payload, packetId, qos } of again) {
        await subscriber.expect('publish', { payload, packetId, qos, dup: true })
      }
      await subscriber.expectSilence()
      if (round === 0) subscriber.drop()
      if (round === 0) subscriber = await h.connect(fields)
    }
    for (const message of again) await subscriber.acknowledge(message)
    await subscriber.expectSilence()
    await subscriber.disconnect()
    const done = await h.connect(fields)
    expect(done.connack.sessionPresent).toBe(true)
    await publisher.publish(topic, 'next', { qos: 1 })
    await done.receive({ payload: 'next', dup: false })
  })
})

test('[MQTT-4.4.0-1] nothing is sent again while the connection lasts', async () => {
  for (const kept of [{}, KEPT]) {
    const topic = name()
    const subscriber = await h.subscriber(topic, 2, kept)
    const publisher = await h.connect()
    for (const qos of [1, 2]) {
      await publisher.publish(topic, 'x', { qos })
      await subscriber.expect('publish', { qos })
    }
    await elapse(300)
    await subscriber.expectSilence()
  }
})

test('[MQTT-4.4.0-2] [MQTT-4.3.3-4] an ack of 0x80 or more ends the exchange: no PUBREL, nothing sent again', async () => {
  for (const code of [0x80, 0x83, 0x97, 0x99]) {
    const topic = name()
    const fields = { clientId: name('c'), ...KEPT }
    const subscriber = await h.subscriber(topic, 2, fields)
    const publisher = await h.connect()
    for (const [qos, ack] of [
      [1, 'puback'],
      [2, 'pubrec'],
    ] as const) {
      await publisher.publish(topic, `${qos}`, { qos })
      const { packetId } = await subscriber.expect('publish', { qos })
      subscriber.send(wire.ack(ack, packetId!, code))
    }
    await subscriber.expectSilence()
    await subscriber.disconnect()
    const again = await h.connect(fields)
    await publisher.publish(topic, 'marker', { qos: 1 })
    await again.receive({ payload: 'marker' })
  }
})

test('[MQTT-4.3.2-5] [v3:MQTT-4.3.2-2] [fails:8] after PUBACK the identifier stands for a new message, DUP or not', async () => {
  await inBoth(async (version) => {
    for (const kept of [{}, KEPT]) {
      const topic = name()
      const subscriber = await h.subscriber(topic, 1, { version })
      const publisher = await h.connect({ version, ...kept })
      for (const dup of [false, true, false]) {
        publisher.sendPublish({ topic, payload: `${dup}`, qos: 1, packetId: 7, dup })
        await publisher.expect('puback', { packetId: 7 })
        await subscriber.receive({ payload: `${dup}` })
      }
    }
  })
})

test('[MQTT-4.3.3-5] [MQTT-4.3.3-6] [fails:10] a PUBREL that was not answered is sent again after a reconnect, the PUBLISH is not', async () => {
  await inBoth(async (version) => {
    const topic = name()
    const fields = { version, clientId: name('c'), ...KEPT }
    let subscriber = await h.subscriber(topic, 2, fields)
    const publisher = await h.connect({ version })
    await publisher.publish(topic, 'x', { qos: 2 })
    const { packetId } = await subscriber.expect('publish', { qos: 2 })
    subscriber.send(wire.ack('pubrec', packetId!))
    await subscriber.expect('pubrel', { packetId, reasonCode: 0 })
    for (let i = 0; i < 2; i++) {
      subscriber.drop()
      subscriber = await h.connect(fields)
      await subscriber.expect('pubrel', { packetId, reasonCode: 0 })
    }
    subscriber.send(wire.ack('pubcomp', packetId!))
    await subscriber.expectSilence()
    await subscriber.disconnect()
    const last = await h.connect(fields)
    await publisher.publish(topic, 'marker', { qos: 1 })
    await last.receive({ payload: 'marker' })
  })
})

test('a PUBREC that comes again is answered by PUBREL again', async () => {
  await inBoth(async (version) => {
    for (const kept of [{}, KEPT]) {
      const topic = name()
      const subscriber = await h.subscriber(topic, 2, { version, ...kept })
      await (await h.connect({ version })).publish(topic, 'x', { qos: 2 })
      const { packetId } = await subscriber.expect('publish')
      for (let i = 0; i < 3; i++) {
        subscriber.send(wire.ack('pubrec', packetId!))
        await subscriber.expect('pubrel', { packetId, reasonCode: 0 })
      }
    }
  })
})

test('[fails:21] acks of unknown identifiers: PUBREL is answered by PUBCOMP and PUBREC by PUBREL, with 0x92', async () => {
  await inBoth(async (version) => {
    for (const kept of [{}, KEPT]) {
      const client = await h.connect({ version, ...kept })
      const reasonCode = version === 5 ? 0x92 : 0
      client.send(wire.ack('pubrel', 4711))
      await client.expect('pubcomp', { packetId: 4711, reasonCode })
      client.send(wire.ack('pubrec', 4712))
      await client.expect('pubrel', { packetId: 4712, reasonCode })
      client.send(wire.ack('puback', 4713), wire.ack('pubcomp', 4714))
      await client.expectSilence()
    }
  })
})

test('[MQTT-4.3.3-7] [MQTT-4.3.3-13] [fails:10] expiry does not touch a message whose exchange has begun', async () => {
  const topic = name()
  const fields = { clientId: name('c'), ...KEPT }
  let subscriber = await h.subscriber(topic, 2, fields)
  const publisher = await h.connect()
  await publisher.publish(topic, 'sent', { qos: 2, properties: { messageExpiry: 1 } })
  await publisher.publish(topic, 'received', { qos: 2, properties: { messageExpiry: 1 } })
  const sent = await subscriber.expect('publish', { payload: 'sent' })
  const received = await subscriber.expect('publish', { payload: 'received' })
  subscriber.send(wire.ack('pubrec', received.packetId!))
  await subscriber.expect('pubrel', { packetId: received.packetId })
  subscriber.drop()
  await elapse(1600)
  subscriber = await h.connect(fields)
  await subscriber.expect('publish', { payload: 'sent', packetId: sent.packetId, dup: true })
  await subscriber.expect('pubrel', { packetId: received.packetId })
  subscriber.send(wire.ack('pubcomp', received.packetId!))
  await subscriber.acknowledge(sent)
  await subscriber.expectSilence()
})

test('[MQTT-4.3.3-9] a PUBLISH that was refused by PUBREC may come again as a new message', async () => {
  const topic = name()
  const subscriber = await h.subscriber(topic, 2)
  for (const kept of [{}, KEPT]) {
    const client = await h.connect({ username: 'limited', ...kept })
    client.sendPublish({ topic: 'denied/x', qos: 2, packetId: 5 })
    await client.expect('pubrec', { packetId: 5, reasonCode: 0x87 })
    client.sendPublish({ topic, payload: 'new', qos: 2, packetId: 5 })
    await client.expect('pubrec', { packetId: 5, reasonCode: 0 })
    await subscriber.receive({ payload: 'new' })
  }
})

test('[MQTT-4.3.3-10] [v3:MQTT-4.3.3-2] a PUBLISH of QoS 2 that comes again before PUBREL is answered again and delivered once', async () => {
  await inBoth(async (version) => {
    for (const kept of [{}, KEPT]) {
      const topic = name()
      const subscriber = await h.subscriber(topic, 2, { version })
      const queued = await h.subscriber(topic, 2, { version, ...KEPT })
      const publisher = await h.connect({ version, ...kept })
      for (const dup of [false, true, true]) {
        publisher.sendPublish({ topic, payload: 'once', qos: 2, packetId: 9, dup })
        await publisher.expect('pubrec', { packetId: 9, reasonCode: 0 })
      }
      publisher.send(wire.ack('pubrel', 9))
      await publisher.expect('pubcomp', { packetId: 9, reasonCode: 0 })
      await publisher.publish(topic, 'marker', { qos: 2 })
      for (const client of [subscriber, queued]) {
        await client.receive({ payload: 'once' })
        await client.receive({ payload: 'marker' })
      }
    }
  })
})

test('[MQTT-4.3.3-10] [MQTT-4.4.0-1] [fails:10] the same holds across a reconnect of the publisher; its PUBREL is known', async () => {
  await inBoth(async (version) => {
    const topic = name()
    const subscriber = await h.subscriber(topic, 2, { version })
    const queued = await h.subscriber(topic, 2, { version, ...KEPT })
    const fields = { version, clientId: name('c'), ...KEPT }
    let publisher = await h.connect(fields)
    publisher.sendPublish({ topic, payload: 'once', qos: 2, packetId: 9 })
    await publisher.expect('pubrec', { packetId: 9 })
    publisher.drop()
    publisher = await h.connect(fields)
    publisher.sendPublish({ topic, payload: 'once', qos: 2, packetId: 9, dup: true })
    await publisher.expect('pubrec', { packetId: 9, reasonCode: 0 })
    publisher.drop()
    publisher = await h.connect(fields)
    publisher.send(wire.ack('pubrel', 9))
    await publisher.expect('pubcomp', { packetId: 9, reasonCode: 0 })
    await publisher.publish(topic, 'marker', { qos: 2 })
    for (const client of [subscriber, queued]) {
      await client.receive({ payload: 'once' })
      await client.receive({ payload: 'marker' })
    }
  })
})

test('[MQTT-4.3.3-11] PUBREL is answered by PUBCOMP with its identifier', async () => {
  await inBoth(async (version) => {
    for (const kept of [{}, KEPT]) {
      const client = await h.connect({ version, ...kept })
      for (const packetId of [1, 65_535]) {
        client.sendPublish({ topic: name(), qos: 2, packetId })
        await client.expect('pubrec', { packetId })
        client.send(wire.ack('pubrel', packetId))
        await client.expect('pubcomp', { packetId, reasonCode: 0 })
      }
    }
  })
})

test('[MQTT-4.3.3-12] after PUBCOMP the identifier stands for a new message', async () => {
  await inBoth(async (version) => {
    for (const kept of [{}, KEPT]) {
      const topic = name()
      const subscriber = await h.subscriber(topic, 2, { version })
      const publisher = await h.connect({ version, ...kept })
      for (const payload of ['1', '2', '3']) {
        await publisher.publish(topic, payload, { qos: 2, packetId: 9 })
        await subscriber.receive({ payload })
      }
    }
  })
})

/** Sends all of them at once and collects what arrives, in the order of arrival. */
async function flood(publisher: RawClient, subscriber: RawClient, topic: string, count: number): Promise<string[][]> {
  const { version } = publisher
  const limit = 100
  const byQos: string[][] = [[], [], []]
  for (let sent = 0; sent < count; sent += limit) {
    const ids = Array.from({ length: limit }, (_, i) => sent + i)
    publisher.send(
      ...ids.map((i) => wire.publish({ version, topic, payload: `${i}`, qos: i % 3, packetId: (i % limit) + 1 })),
    )
    const answered = drainAnswers(publisher, ids)
    for (let i = 0; i < limit; i++) {
      const received = await nextPublish(subscriber)
      byQos[received.qos!]!.push(received.payload!)
      if (received.qos === 1) subscriber.send(wire.ack('puback', received.packetId!))
      if (received.qos === 2) subscriber.send(wire.ack('pubrec', received.packetId!))
    }
    await answered
  }
  return byQos
}

async function nextPublish(client: RawClient): Promise<wire.Received> {
  for (;;) {
    const received = await client.next()
    if (received.type === 'publish') return received
    expect(received.type).toBe('pubrel')
    client.send(wire.ack('pubcomp', received.packetId!))
  }
}

/** The acks of QoS 1 and 2 come in the order of their publishes. */
async function drainAnswers(publisher: RawClient, sent: readonly number[]): Promise<void> {
  for (const i of sent.filter((id) => id % 3 > 0)) {
    await publisher.expect(i % 3 === 1 ? 'puback' : 'pubrec', { packetId: (i % 100) + 1 })
  }
  const releases = sent.filter((id) => id % 3 === 2).map((i) => (i % 100) + 1)
  publisher.send(...releases.map((id) => wire.ack('pubrel', id)))
  for (const packetId of releases) await publisher.expect('pubcomp', { packetId })
}

test('[MQTT-4.6.0-2] [MQTT-4.6.0-3] [MQTT-4.6.0-5] [MQTT-4.6.0-6] [v3:MQTT-4.6.0-2] [v3:MQTT-4.6.0-3] [v3:MQTT-4.6.0-5] [v3:MQTT-4.6.0-6] messages of a publisher arrive, and are acknowledged, in their order', async () => {
  const expected = [0, 1, 2].map((qos) =>
    Array.from({ length: 300 }, (_, i) => i)
      .filter((i) => i % 3 === qos)
      .map(String),
  )
  await inBoth(async (version) => {
    for (const [publisherKept, subscriberKept] of [
      [{}, {}],
      [{}, KEPT],
      [KEPT, KEPT],
      [KEPT, {}],
    ]) {
      const topic = name()
      const subscriber = await h.subscriber(topic, 2, { version, ...subscriberKept })
      const publisher = await h.connect({ version, ...publisherKept })
      expect(await flood(publisher, subscriber, topic, 300)).toEqual(expected)
    }
  })
})

test('[MQTT-4.6.0-4] [v3:MQTT-4.6.0-4] PUBRELs leave in the order of the PUBRECs', async () => {
  await inBoth(async (version) => {
    for (const kept of [{}, KEPT]) {
      const topic = name()
      const subscriber = await h.subscriber(topic, 2, { version, ...kept })
      const publisher = await h.connect({ version })
      const ids: number[] = []
      for (let i = 0; i < 10; i++) {
        await publisher.publish(topic, 'x', { qos: 2 })
        ids.push((await subscriber.expect('publish')).packetId!)
      }
      ids.reverse()
      subscriber.send(...ids.map((id) => wire.ack('pubrec', id)))
      for (const packetId of ids) await subscriber.expect('pubrel', { packetId })
    }
  })
})

test('[MQTT-4.6.0-1] [v3:MQTT-4.6.0-1] what is sent again comes in the order of its first sending, before what is new', async () => {
  await inBoth(async (version) => {
    const topic = name()
    const fields = { version, clientId: name('c'), ...KEPT }
    const subscriber = await h.subscriber(topic, 2, fields)
    const publisher = await h.connect({ version })
    for (let i = 0; i < 10; i++) {
      await publisher.publish(topic, `${i}`, { qos: 1 + (i % 2) })
      await subscriber.expect('publish', { payload: `${i}` })
    }
    subscriber.drop()
    await publisher.publish(topic, '10', { qos: 1 })
    const again = await h.connect(fields)
    for (let i = 0; i < 11; i++) await again.expect('publish', { payload: `${i}` })
  })
})
