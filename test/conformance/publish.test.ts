/** Section 3.3: PUBLISH, but for retained messages, which have a file of their own. */
import { expect, test } from 'vitest'
import { elapse, inBoth, KEPT, NO_LOCAL, name, useBroker } from './harness.ts'
import * as wire from './wire.ts'

const h = useBroker()

async function refusesPacket(version: 4 | 5, packet: Buffer, reasonCode: number): Promise<void> {
  const client = await h.connect({ version })
  client.send(packet)
  await client.expectError(reasonCode)
}

test('[MQTT-3.3.1-2] [v3:MQTT-3.3.1-2] [fails:7] DUP with QoS 0 ends the connection', async () => {
  await inBoth((version) => refusesPacket(version, wire.publish({ version, dup: true }), 0x81))
})

test('[MQTT-3.3.1-3] [v3:MQTT-3.3.1-3] [fails:21] DUP is not passed on', async () => {
  await inBoth(async (version) => {
    const topic = name()
    const transient = await h.subscriber(topic, 2, { version })
    const kept = await h.subscriber(topic, 2, { version, ...KEPT })
    const publisher = await h.connect({ version })
    for (const qos of [1, 2]) {
      await publisher.publish(topic, 'x', { qos, dup: true })
      await transient.receive({ qos, dup: false })
      await kept.receive({ qos, dup: false })
    }
  })
})

test('[MQTT-3.3.1-4] [v3:MQTT-3.3.1-4] QoS 3 ends the connection', async () => {
  await inBoth((version) => refusesPacket(version, wire.publish({ version, qos: 3 }), 0x81))
})

test('[MQTT-3.3.2-1] [v3:MQTT-3.3.2-1] a topic must be there and be UTF-8', async () => {
  await inBoth(async (version) => {
    await refusesPacket(version, wire.publish({ version, topic: '' }), 0x82)
    await refusesPacket(version, wire.publish({ version, topic: Buffer.from('61ff', 'hex') }), 0x81)
  })
})

test('[MQTT-3.3.2-2] [v3:MQTT-3.3.2-2] [MQTT-4.7.0-1] [v3:MQTT-4.7.1-1] a wildcard in a topic name is malformed', async () => {
  await inBoth(async (version) => {
    for (const topic of ['#', '+', 'a/#', 'a/+/b', 'a+', 'a#b']) {
      await refusesPacket(version, wire.publish({ version, topic }), version === 5 ? 0x81 : 0)
    }
  })
})

test('[MQTT-3.3.2-3] [v3:MQTT-3.3.2-3] a message arrives with the topic it was published to', async () => {
  await inBoth(async (version) => {
    const root = name()
    const subscriber = await h.subscriber(`${root}/+/#`, 0, { version })
    const publisher = await h.connect({ version })
    for (const topic of [`${root}/a`, `${root}//`, `${root}/ä/中/ `]) {
      await publisher.publish(topic, 'x')
      await subscriber.receive({ topic })
    }
  })
})

test('[MQTT-3.3.2-4] [MQTT-3.3.2-15] [MQTT-3.3.2-16] [MQTT-3.3.2-17] [MQTT-3.3.2-18] [MQTT-3.3.2-20] [fails:16] [paho5:test_user_properties] [paho5:test_payload_format] [paho5:test_request_response] properties are passed on unaltered and in their order', async () => {
  const topic = name()
  const user: [string, string][] = [
    ['b', '2'],
    ['a', ''],
    ['b', '2'],
    ['', 'ä'],
    ['a', '1'],
  ]
  const properties: wire.Properties = {
    user: user.slice(0, 2),
    payloadFormat: 1,
    contentType: 'text/plain; charset=utf-8',
    responseTopic: 'reply/to/ä',
    correlationData: Buffer.from([0, 255, 1, 128]),
    raw: wire.properties({ user: user.slice(2) }).subarray(1),
  }
  const expected = {
    user,
    payloadFormat: 1,
    contentType: 'text/plain; charset=utf-8',
    responseTopic: 'reply/to/ä',
    correlationData: '\u0000\u00ff\u0001\u0080',
  }
  const subscribers = [
    await h.subscriber(topic, 2),
    await h.subscriber(topic, 2, KEPT),
    await h.subscriber(topic, 2, { properties: { topicAliasMaximum: 5 } }),
  ]
  const publisher = await h.connect()
  for (const qos of [0, 1, 2]) {
    await publisher.publish(topic, 'text', { qos, properties })
    for (const [i, subscriber] of subscribers.entries()) {
      const received = await subscriber.receive({ payload: 'text', qos })
      const { topicAlias, ...others } = received.properties
      expect(others, `subscriber ${i}, QoS ${qos}`).toEqual(expected)
      expect(topicAlias).toBe(i === 2 ? 1 : undefined)
    }
  }
})

test('[fails:16] a 3.1.1 subscriber gets the payload without properties, a 5.0 one of a 3.1.1 publisher none', async () => {
  const topic = name()
  const old = await h.subscriber(topic, 1, { version: 4 })
  const current = await h.subscriber(topic, 1)
  await (await h.connect()).publish(topic, 'five', { qos: 1, properties: { contentType: 'x', user: [['a', 'b']] } })
  await old.receive({ payload: 'five' })
  await current.receive({ payload: 'five', properties: { contentType: 'x', user: [['a', 'b']] } })
  await (await h.connect({ version: 4 })).publish(topic, 'four', { qos: 1 })
  await old.receive({ payload: 'four' })
  await current.receive({ payload: 'four', properties: {} })
})

test('[MQTT-3.3.2-13] [MQTT-3.3.2-14] [MQTT-3.3.2-19] [fails:16] a response topic or content type that is not valid ends the connection', async () => {
  for (const topic of ['a/#', '+', 'a+b'])
    await refusesPacket(5, wire.publish({ properties: { responseTopic: topic } }), 0x81)
  for (const text of ['61ff', 'eda080']) {
    const bad = Buffer.from(text, 'hex')
    await refusesPacket(5, wire.publish({ properties: { responseTopic: bad } }), 0x81)
    await refusesPacket(5, wire.publish({ properties: { contentType: bad } }), 0x81)
  }
})

test('[fails:16] a payload that is not UTF-8 as its format says is refused with 0x99', async () => {
  const payload = Buffer.from('ff', 'hex')
  const client = await h.connect()
  for (const [qos, answer] of [
    [1, 'puback'],
    [2, 'pubrec'],
  ] as const) {
    client.sendPublish({ topic: name(), payload, qos, packetId: 5, properties: { payloadFormat: 1 } })
    await client.expect(answer, { packetId: 5, reasonCode: 0x99 })
  }
  client.sendPublish({ topic: name(), payload, properties: { payloadFormat: 1 } })
  await client.expectError(0x99)
  await refusesPacket(5, wire.publish({ properties: { payloadFormat: 2 } }), 0x82)
})

test('properties that do not belong to PUBLISH, or come twice, end the connection', async () => {
  for (const properties of [{ sessionExpiry: 1 }, { reasonString: 'x' }, { raw: wire.hex('7f 00') }]) {
    await refusesPacket(5, wire.publish({ properties }), 0x81)
  }
  const twice: wire.Properties[] = [
    { payloadFormat: [1, 1] },
    { messageExpiry: [1, 1] },
    { contentType: ['a', 'a'] },
    { responseTopic: ['a', 'a'] },
    { correlationData: [wire.u8(1), wire.u8(1)] },
    { topicAlias: [1, 1] },
  ]
  for (const properties of twice) await refusesPacket(5, wire.publish({ properties }), 0x82)
})

test.concurrent('[MQTT-3.3.2-5] [MQTT-3.3.2-6] [paho5:test_publication_expiry] a message that waited too long is not delivered; others say how long they may still wait', async () => {
  const topic = name()
  const fields = { clientId: name('c'), ...KEPT }
  await (await h.subscriber(topic, 2, fields)).disconnect()
  const publisher = await h.connect()
  for (const qos of [1, 2]) {
    await publisher.publish(topic, 'short', { qos, properties: { messageExpiry: 1 } })
    await publisher.publish(topic, 'long', { qos, properties: { messageExpiry: 100 } })
    await publisher.publish(topic, 'for ever', { qos })
  }
  await elapse(1600)
  const again = await h.connect(fields)
  for (const qos of [1, 2]) {
    const { properties } = await again.receive({ payload: 'long', qos })
    expect(properties.messageExpiry).toBeGreaterThanOrEqual(90)
    expect(properties.messageExpiry).toBeLessThan(100)
    await again.receive({ payload: 'for ever', qos, properties: {} })
  }
  await again.expectSilence()
})

test('[MQTT-3.3.2-6] a message that does not wait keeps its expiry interval', async () => {
  const topic = name()
  const subscriber = await h.subscriber(topic, 2)
  const publisher = await h.connect()
  for (const qos of [0, 1, 2]) {
    await publisher.publish(topic, 'x', { qos, properties: { messageExpiry: 1000 } })
    const { properties } = await subscriber.receive({ qos })
    expect(properties.messageExpiry).toBeGreaterThanOrEqual(998)
    expect(properties.messageExpiry).toBeLessThanOrEqual(1000)
  }
})

test('[MQTT-3.3.2-7] [paho5:test_client_topic_alias] topic aliases end with their connection', async () => {
  const topic = name()
  const subscriber = await h.subscriber(topic, 1)
  const fields = { clientId: name('c'), ...KEPT }
  const publisher = await h.connect(fields)
  await publisher.publish(topic, '1', { qos: 1, properties: { topicAlias: 1 } })
  await publisher.publish('', '2', { qos: 1, properties: { topicAlias: 1 } })
  for (const payload of ['1', '2']) await subscriber.receive({ topic, payload, properties: {} })
  await publisher.disconnect()
  const again = await h.connect(fields)
  again.sendPublish({ topic: '', payload: '3', qos: 1, properties: { topicAlias: 1 } })
  await again.expectError(0x82)
  await subscriber.expectSilence()
})

test('[MQTT-3.3.2-8] [fails:15] [paho5:test_client_topic_alias] a topic alias of 0 ends the connection with 0x94', async () => {
  await refusesPacket(5, wire.publish({ properties: { topicAlias: 0 } }), 0x94)
})

test('[MQTT-3.3.2-9] [fails:15] a topic alias over the maximum ends the connection with 0x94', async () => {
  const client = await h.connect()
  const maximum = client.connack.properties.topicAliasMaximum as number
  for (const topic of ['t', '']) {
    await refusesPacket(5, wire.publish({ topic, properties: { topicAlias: maximum + 1 } }), 0x94)
    await refusesPacket(5, wire.publish({ topic, properties: { topicAlias: 65_535 } }), 0x94)
  }
})

test('[MQTT-3.3.2-12] [fails:15] every alias up to the maximum is accepted, may be set anew, and is not passed on', async () => {
  const root = name()
  const subscriber = await h.subscriber(`${root}/#`, 0)
  const client = await h.connect()
  const maximum = client.connack.properties.topicAliasMaximum as number
  for (const qos of [0, 1, 2]) {
    for (let alias = 1; alias <= maximum; alias++) {
      await client.publish(`${root}/${qos}/${alias}`, 'set', { qos, properties: { topicAlias: alias } })
      await subscriber.receive({ topic: `${root}/${qos}/${alias}`, payload: 'set', properties: {} })
    }
    for (let alias = maximum; alias > 0; alias--) {
      await client.publish('', 'used', { qos, properties: { topicAlias: alias } })
      await subscriber.receive({ topic: `${root}/${qos}/${alias}`, payload: 'used', properties: {} })
    }
  }
})

test('an alias that was never set ends the connection with 0x82', async () => {
  await refusesPacket(5, wire.publish({ topic: '', properties: { topicAlias: 1 } }), 0x82)
})

test('[MQTT-3.1.2-26] [MQTT-3.3.2-11] [paho5:test_server_topic_alias] aliases towards the client stay within its maximum', async () => {
  const root = name()
  const subscriber = await h.subscriber(`${root}/#`, 2, { properties: { topicAliasMaximum: 2 } })
  const publisher = await h.connect({ version: 4 })
  const topics = new Map<unknown, string>()
  const seen: string[] = []
  for (const word of ['a', 'b', 'c', 'a', 'b', 'c']) {
    for (const qos of [0, 1, 2]) {
      await publisher.publish(`${root}/${word}`, word, { qos })
      const { topic, payload, properties } = await subscriber.receive({ qos })
      const alias = properties.topicAlias
      if (alias !== undefined) expect([1, 2]).toContain(alias)
      if (topic !== '' && alias !== undefined) topics.set(alias, topic!)
      expect(topic === '' ? topics.get(alias) : topic).toBe(`${root}/${payload}`)
      seen.push(`${payload} ${topic === '' ? 'alias' : 'topic'} ${alias ?? '-'}`)
    }
  }
  expect(seen.slice(0, 3)).toEqual(['a topic 1', 'a alias 1', 'a alias 1'])
  expect(seen.filter((line) => line.startsWith('c'))).toEqual(Array(6).fill('c topic -'))
})

test('[MQTT-3.1.2-27] [paho5:test_server_topic_alias] a client that allows no aliases gets none', async () => {
  for (const properties of [{}, { topicAliasMaximum: 0 }]) {
    const topic = name()
    const subscriber = await h.subscriber(topic, 2, { properties })
    const publisher = await h.connect()
    for (const qos of [0, 1, 2, 0]) {
      await publisher.publish(topic, 'x', { qos })
      await subscriber.receive({ topic, properties: {} })
    }
  }
})

test('[MQTT-3.3.4-1] [v3:MQTT-3.3.4-1] [MQTT-4.3.2-4] [MQTT-4.3.3-8] PUBLISH is answered by its QoS: nothing, PUBACK, PUBREC', async () => {
  await inBoth(async (version) => {
    const client = await h.connect({ version })
    client.sendPublish({ topic: name(), qos: 0 })
    await client.expectSilence()
    client.sendPublish({ topic: name(), qos: 1, packetId: 10 })
    await client.expect('puback', { packetId: 10 })
    client.sendPublish({ topic: name(), qos: 2, packetId: 11 })
    await client.expect('pubrec', { packetId: 11 })
    await client.expectSilence()
  })
})

test('[MQTT-3.3.4-2] [v3:MQTT-3.3.5-1] [fails:12] [paho3:test_overlapping_subscriptions] [paho5:test_overlapping_subscriptions] overlapping subscriptions give one copy with the highest QoS', async () => {
  await inBoth(async (version) => {
    for (const kept of [{}, KEPT]) {
      const topic = name()
      const subscriber = await h.subscriber(`${topic}/#`, 2, { version, ...kept })
      await subscriber.subscribe(`${topic}/+`, 1)
      await subscriber.subscribe(`${topic}/a`, 0)
      const publisher = await h.connect({ version })
      for (const qos of [2, 1, 0]) {
        await publisher.publish(`${topic}/a`, 'x', { qos })
        await subscriber.receive({ qos })
      }
      await publisher.publish(`${topic}/marker`, 'marker', { qos: 2 })
      await subscriber.receive({ payload: 'marker' })
    }
  })
})

test('[MQTT-3.3.4-3] [MQTT-3.3.4-4] [fails:12] [paho5:test_subscribe_identifiers] the one copy carries the identifiers of all its subscriptions', async () => {
  for (const kept of [{}, KEPT]) {
    const topic = name()
    const subscriber = await h.connect(kept)
    await subscriber.subscribe(`${topic}/#`, 0, { subscriptionId: 1 })
    await subscriber.subscribe(`${topic}/+`, 2, { subscriptionId: 268_435_455 })
    await subscriber.subscribe(`${topic}/a`, 1)
    await subscriber.subscribe(`+/a`, 1, { subscriptionId: 456_789 })
    const publisher = await h.connect()
    for (const qos of [0, 1, 2]) {
      await publisher.publish(`${topic}/a`, 'x', { qos })
      const { properties } = await subscriber.receive({ qos })
      const ids = (properties.subscriptionId as number[]).toSorted((a, b) => a - b)
      expect(ids).toEqual([1, 456_789, 268_435_455])
    }
    await subscriber.unsubscribe(`${topic}/#`)
    await subscriber.unsubscribe(`${topic}/+`)
    await subscriber.unsubscribe(`+/a`)
    await publisher.publish(`${topic}/a`, 'x', { qos: 1 })
    await subscriber.receive({ properties: {} })
  }
})

test('[MQTT-3.3.4-6] a subscription identifier from a client ends the connection with 0x82', async () => {
  await refusesPacket(5, wire.publish({ properties: { subscriptionId: 1 } }), 0x82)
})

test('[MQTT-3.3.4-7] [fails:13] [paho5:test_flow_control2] more publishes than the receive maximum end the connection with 0x93', async () => {
  const client = await h.connect()
  const maximum = client.connack.properties.receiveMaximum as number
  const burst = Array.from({ length: maximum + 1 }, (_, i) => wire.publish({ topic: name(), qos: 2, packetId: i + 1 }))
  client.send(...burst)
  for (let i = 1; i <= maximum; i++) await client.expect('pubrec', { packetId: i })
  await client.expectError(0x93)
})

test('[MQTT-3.3.4-7] [fails:13] exactly the receive maximum is accepted, again and again', async () => {
  const client = await h.connect()
  const maximum = client.connack.properties.receiveMaximum as number
  for (let round = 0; round < 3; round++) {
    const ids = Array.from({ length: maximum }, (_, i) => i + 1)
    client.send(...ids.map((packetId) => wire.publish({ topic: 'a', qos: 2, packetId })))
    for (const packetId of ids) await client.expect('pubrec', { packetId })
    // A repetition of one under way is none more.
    client.sendPublish({ topic: 'a', qos: 2, packetId: 1, dup: true })
    await client.expect('pubrec', { packetId: 1 })
    client.send(...ids.map((packetId) => wire.ack('pubrel', packetId)))
    for (const packetId of ids) await client.expect('pubcomp', { packetId, reasonCode: 0 })
  }
})

test('[MQTT-3.3.4-9] [MQTT-4.9.0-1] [MQTT-4.9.0-2] [paho5:test_flow_control1] the broker keeps to the receive maximum of the client', async () => {
  for (const kept of [false, true]) {
    const topic = name()
    const properties = { receiveMaximum: 2, sessionExpiry: kept ? 60 : 0 }
    const subscriber = await h.subscriber(topic, 2, { clean: !kept, properties })
    const publisher = await h.connect()
    for (const payload of ['1', '2', '3', '4', '5']) await publisher.publish(topic, payload, { qos: 1 })
    const first = await subscriber.expect('publish', { payload: '1' })
    const second = await subscriber.expect('publish', { payload: '2' })
    await subscriber.expectSilence()
    await subscriber.acknowledge(first)
    const third = await subscriber.expect('publish', { payload: '3' })
    await subscriber.expectSilence()
    await subscriber.acknowledge(second)
    await subscriber.acknowledge(third)
    await subscriber.receive({ payload: '4' })
    await subscriber.receive({ payload: '5' })
  }
})

test('[MQTT-3.3.4-9] [MQTT-4.9.0-2] a QoS 2 message counts until PUBCOMP, or a PUBREC that refuses it', async () => {
  for (const kept of [false, true]) {
    const topic = name()
    const properties = { receiveMaximum: 1, sessionExpiry: kept ? 60 : 0 }
    const subscriber = await h.subscriber(topic, 2, { clean: !kept, properties })
    const publisher = await h.connect()
    for (const payload of ['1', '2', '3']) await publisher.publish(topic, payload, { qos: 2 })
    const first = await subscriber.expect('publish', { payload: '1' })
    subscriber.send(wire.ack('pubrec', first.packetId!))
    await subscriber.expect('pubrel', { packetId: first.packetId })
    await subscriber.expectSilence()
    subscriber.send(wire.ack('pubcomp', first.packetId!))
    const second = await subscriber.expect('publish', { payload: '2' })
    subscriber.send(wire.ack('pubrec', second.packetId!, 0x83))
    await subscriber.receive({ payload: '3' })
  }
})

test('[MQTT-3.3.4-10] [MQTT-4.9.0-3] at the receive maximum everything but QoS 1 and 2 goes on', async () => {
  const topic = name()
  const subscriber = await h.subscriber(topic, 2, { properties: { receiveMaximum: 1 } })
  const publisher = await h.connect()
  await publisher.publish(topic, 'held', { qos: 1 })
  const held = await subscriber.expect('publish', { payload: 'held' })
  await publisher.publish(topic, 'waits', { qos: 1 })
  await publisher.publish(topic, 'passes', { qos: 0 })
  await subscriber.expect('publish', { payload: 'passes', qos: 0 })
  expect(await subscriber.subscribe(name(), 2)).toBe(2)
  await subscriber.publish(name(), 'own', { qos: 2 })
  await subscriber.expectSilence()
  await subscriber.acknowledge(held)
  await subscriber.receive({ payload: 'waits' })
})

test('[v3:MQTT-3.3.5-2] a publish that is not allowed is answered: 0x87 in 5.0, as usual in 3.1.1', async () => {
  const watcher = await h.subscriber('denied/#', 0)
  await inBoth(async (version) => {
    for (const username of ['limited', 'slow']) {
      const client = await h.connect({ version, username })
      const code = version === 5 && username === 'limited' ? 0x87 : 0
      const topic = username === 'limited' ? 'denied/x' : `${username}/x`
      for (const qos of [1, 2]) {
        const answer = await client.publish(topic, 'x', { qos })
        expect(answer === 0x10 ? 0 : answer).toBe(code)
      }
      await client.publish(topic, 'x')
      await client.publish(`allowed/${name()}`, 'x', { qos: 1 })
    }
  })
  await watcher.expectSilence()
})

test('an answer of permission that comes late keeps the order of messages', async () => {
  const topic = name()
  const subscriber = await h.subscriber(topic, 2)
  const publisher = await h.connect({ username: 'slow' })
  const sent = Array.from({ length: 12 }, (_, i) => ({ qos: i % 3, payload: `${i}`, packetId: i + 1, topic }))
  publisher.send(...sent.map((fields) => wire.publish(fields)))
  for (const { payload, qos } of sent) await subscriber.receive({ payload, qos })
})

test('[MQTT-3.8.3-3] [fails:12] [paho5:test_subscribe_options] no local: an own message comes only by subscriptions without it', async () => {
  for (const kept of [{}, KEPT]) {
    const topic = name()
    const client = await h.subscriber(topic, 1 | NO_LOCAL, kept)
    const other = await h.subscriber(topic, 1 | NO_LOCAL)
    client.sendPublish({ topic, payload: 'own', qos: 1 })
    await client.expect('puback')
    await other.receive({ payload: 'own' })
    await client.expectSilence()
    await other.publish(topic, "another's", { qos: 1 })
    await client.receive({ payload: "another's" })
    await client.subscribe(`${topic}/#`, 0, { subscriptionId: 7 })
    client.sendPublish({ topic, payload: 'own', qos: 1 })
    const packets = [await client.next(), await client.next()]
    expect(packets.find(({ type }) => type === 'publish')).toMatchObject({
      qos: 0,
      properties: { subscriptionId: [7] },
    })
  }
})
