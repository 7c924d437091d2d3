/** Sections 3.8 to 3.11: SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK. */
import { expect, test } from 'vitest'
import { inBoth, KEPT, NO_LOCAL, name, useBroker } from './harness.ts'
import * as wire from './wire.ts'

const h = useBroker({
  set: [
    ...['tenants.nowild.wildcardSubscriptionEnabled=false', 'tenants.noshare.sharedSubscriptionEnabled=false'],
    ...['tenants.noids.subscriptionIdentifierEnabled=false', 'tenants.few.filtersPerSessionMax=2'],
    'tenants.q1.maximumQos=1',
  ],
})

async function refusesPacket(version: 4 | 5, packet: Buffer, reasonCode: number): Promise<void> {
  const client = await h.connect({ version })
  client.send(packet)
  await client.expectError(reasonCode)
}

test('[MQTT-3.8.1-1] [v3:MQTT-3.8.1-1] SUBSCRIBE with other flags than 0010 ends the connection', async () => {
  await inBoth(async (version) => {
    for (const flags of [0, 1, 3, 6, 10, 15]) {
      await refusesPacket(version, wire.subscribe({ version, first: 0x80 | flags, filters: [['a', 0]] }), 0x81)
    }
  })
})

test('[MQTT-3.8.3-1] [v3:MQTT-3.8.3-1] a filter of SUBSCRIBE must be UTF-8', async () => {
  await inBoth(async (version) => {
    const filters: wire.Filter[] = [
      ['a', 0],
      [Buffer.from('61ff', 'hex'), 0],
    ]
    await refusesPacket(version, wire.subscribe({ version, filters }), 0x81)
  })
})

test('[v3:MQTT-3.8.3-2] where wildcards are not supported, a filter with one is refused', async () => {
  const current = await h.connect({ username: 'nowild/x' })
  expect(current.connack.properties.wildcardAvailable).toBe(0)
  const old = await h.connect({ version: 4, username: 'nowild/x' })
  for (const filter of ['a/#', '+', '#']) {
    expect(await current.subscribe(filter)).toBe(0xa2)
    expect(await old.subscribe(filter)).toBe(0x80)
  }
  expect(await old.subscribe('a/b', 1)).toBe(1)
})

test('[MQTT-3.8.3-2] [v3:MQTT-3.8.3-3] a SUBSCRIBE without a filter ends the connection', async () => {
  await inBoth((version) => refusesPacket(version, wire.subscribe({ version, filters: [] }), 0x82))
})

test('[MQTT-3.8.3-4] no local on a shared subscription ends the connection with 0x82', async () => {
  await refusesPacket(5, wire.subscribe({ filters: [['$share/g/a', 1 | NO_LOCAL]] }), 0x82)
})

test('[MQTT-3.8.3-5] [v3:MQTT-3.8.3-4] reserved bits of the options, and QoS 3, end the connection', async () => {
  for (const options of [0x40, 0x80, 0xc0]) await refusesPacket(5, wire.subscribe({ filters: [['a', options]] }), 0x81)
  for (const options of [0x03, 0x30]) await refusesPacket(5, wire.subscribe({ filters: [['a', options]] }), 0x82)
  for (const options of [0x03, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80]) {
    await refusesPacket(4, wire.subscribe({ version: 4, filters: [['a', options]] }), 0x81)
  }
})

test('properties of SUBSCRIBE: an identifier of 0, or two of them, end the connection with 0x82', async () => {
  for (const subscriptionId of [0, [1, 2]]) {
    await refusesPacket(5, wire.subscribe({ filters: [['a', 0]], properties: { subscriptionId } }), 0x82)
  }
  await refusesPacket(5, wire.subscribe({ filters: [['a', 0]], properties: { topicAlias: 1 } }), 0x81)
  const client = await h.connect()
  expect(await client.subscribe(name(), 1, { subscriptionId: 1, user: [['a', 'b']] })).toBe(1)
})

test('[MQTT-3.8.4-1] [MQTT-3.8.4-2] [v3:MQTT-3.8.4-1] [v3:MQTT-3.8.4-2] SUBSCRIBE is answered by SUBACK with its identifier', async () => {
  await inBoth(async (version) => {
    for (const kept of [{}, KEPT]) {
      const client = await h.connect({ version, ...kept })
      for (const packetId of [1, 256, 65_535]) {
        client.sendSubscribe([[name(), 1]], { packetId })
        await client.expect('suback', { packetId, reasonCodes: [1] })
      }
    }
  })
})

test('[MQTT-3.8.4-3] [v3:MQTT-3.8.4-3] the same filter again replaces the subscription', async () => {
  await inBoth(async (version) => {
    for (const kept of [{}, KEPT]) {
      const topic = name()
      const subscriber = await h.subscriber(topic, 2, { version, ...kept })
      const publisher = await h.connect({ version })
      for (const qos of [1, 0, 2]) {
        expect(await subscriber.subscribe(topic, qos, version === 5 ? { subscriptionId: qos + 1 } : {})).toBe(qos)
        await publisher.publish(topic, 'once', { qos: 2 })
        await subscriber.receive({ qos, properties: version === 5 ? { subscriptionId: [qos + 1] } : {} })
      }
      await publisher.publish(topic, 'marker', { qos: 2 })
      await subscriber.receive({ payload: 'marker', qos: 2 })
    }
  })
})

test('[MQTT-3.8.4-4] [v3:MQTT-3.8.4-3] no message is lost while a subscription is replaced', async () => {
  await inBoth(async (version) => {
    for (const kept of [{}, KEPT]) {
      const topic = name()
      const subscriber = await h.subscriber(topic, 1, { version, ...kept })
      const publisher = await h.connect({ version })
      const payloads = Array.from({ length: 50 }, (_, i) => `${i}`)
      for (const [i, payload] of payloads.entries()) {
        publisher.sendPublish({ topic, payload, qos: 1, packetId: i + 1 })
        subscriber.sendSubscribe([[topic, 1]], { packetId: i + 1 })
      }
      const got: string[] = []
      while (got.length < payloads.length) {
        const received = await subscriber.next()
        if (received.type !== 'publish') continue
        got.push(received.payload!)
        await subscriber.acknowledge(received)
      }
      expect(got).toEqual(payloads)
    }
  })
})

test('[MQTT-3.8.4-5] [MQTT-3.8.4-6] [MQTT-3.8.4-7] [MQTT-3.9.3-1] [MQTT-3.9.3-2] [v3:MQTT-3.8.4-4] [v3:MQTT-3.8.4-5] [v3:MQTT-3.9.3-1] [v3:MQTT-3.9.3-2] many filters in one SUBSCRIBE get a reason code each, in their order', async () => {
  await inBoth(async (version) => {
    for (const kept of [{}, KEPT]) {
      const root = name()
      const client = await h.connect({ version, username: 'limited', ...kept })
      client.sendSubscribe([
        [`${root}/a`, 2],
        ['denied/x', 1],
        [`${root}/b`, 0],
        [`${root}/a`, 1],
        ['test/nosubscribe', 0],
        [`${root}/+`, 2],
      ])
      const no = version === 5 ? 0x87 : 0x80
      await client.expect('suback', { reasonCodes: [2, no, 0, 1, no, 2] })
      const publisher = await h.connect({ version })
      await publisher.publish(`${root}/b`, 'x', { qos: 1 })
      await client.receive({ topic: `${root}/b`, qos: 1 })
      await client.unsubscribe(`${root}/+`)
      // The last of the two subscriptions to the same filter holds.
      await publisher.publish(`${root}/a`, 'x', { qos: 2 })
      await client.receive({ topic: `${root}/a`, qos: 1 })
    }
  })
})

test('[MQTT-3.8.4-7] [v3:MQTT-3.9.3-2] [paho3:test_subscribe_failure] [paho5:test_subscribe_failure] a subscription that is not allowed fails in its SUBACK', async () => {
  await inBoth(async (version) => {
    for (const username of ['limited', 'slow']) {
      const client = await h.connect({ version, username })
      expect(await client.subscribe('test/nosubscribe', 2)).toBe(version === 5 ? 0x87 : 0x80)
      await (await h.connect()).publish('test/nosubscribe', 'x', { qos: 1 })
      await client.expectSilence()
    }
  })
})

test('[MQTT-3.8.4-7] what a tenant does not offer fails with its own code', async () => {
  const noShare = await h.connect({ username: 'noshare/x' })
  expect(noShare.connack.properties.sharedAvailable).toBe(0)
  expect(await noShare.subscribe('$share/g/a')).toBe(0x9e)
  const noIds = await h.connect({ username: 'noids/x' })
  expect(noIds.connack.properties.subscriptionIdsAvailable).toBe(0)
  expect(await noIds.subscribe('a', 0, { subscriptionId: 1 })).toBe(0xa1)
  expect(await noIds.subscribe('a', 0)).toBe(0)
  for (const kept of [{}, KEPT]) {
    const few = await h.connect({ username: 'few/x', ...kept })
    const [a, b, c] = [name(), name(), name()]
    few.sendSubscribe([
      [a, 0],
      [b, 1],
      [c, 2],
      [a, 1],
    ])
    await few.expect('suback', { reasonCodes: [0, 1, 0x97, 1] })
  }
})

test('[MQTT-3.8.4-8] [v3:MQTT-3.8.4-6] a message comes with the lower of its QoS and the granted one', async () => {
  await inBoth(async (version) => {
    for (const kept of [{}, KEPT]) {
      const topic = name()
      const publisher = await h.connect({ version })
      for (const granted of [0, 1, 2]) {
        const subscriber = await h.subscriber(topic, granted, { version, ...kept })
        for (const qos of [0, 1, 2]) {
          await publisher.publish(topic, 'x', { qos })
          await subscriber.receive({ qos: Math.min(qos, granted) })
        }
        await subscriber.unsubscribe(topic)
      }
    }
  })
})

test('[MQTT-3.8.4-7] the granted QoS is at most what the broker supports', async () => {
  const client = await h.connect({ username: 'q1/x' })
  expect(await client.subscribe(name(), 2)).toBe(1)
})

test('[fails:27] a SUBACK is a route: what is published after it arrives', async () => {
  await inBoth(async (version) => {
    for (const kept of [{}, KEPT]) {
      const publisher = await h.connect({ version })
      const subscriber = await h.connect({ version, ...kept })
      for (let i = 0; i < 30; i++) {
        const topic = name()
        await subscriber.subscribe(i % 2 === 0 ? topic : `+/${topic}`, 1)
        await publisher.publish(i % 2 === 0 ? topic : `x/${topic}`, `${i}`, { qos: 1 })
        await subscriber.receive({ payload: `${i}` })
      }
    }
  })
})

test('[MQTT-3.10.1-1] [v3:MQTT-3.10.1-1] UNSUBSCRIBE with other flags than 0010 ends the connection', async () => {
  await inBoth(async (version) => {
    for (const flags of [0, 1, 3, 6, 10, 15]) {
      await refusesPacket(version, wire.unsubscribe({ version, first: 0xa0 | flags, filters: ['a'] }), 0x81)
    }
  })
})

test('[MQTT-3.10.3-1] [v3:MQTT-3.10.3-1] a filter of UNSUBSCRIBE must be UTF-8', async () => {
  await inBoth((version) =>
    refusesPacket(version, wire.unsubscribe({ version, filters: ['a', Buffer.from('61c0', 'hex')] }), 0x81),
  )
})

test('[MQTT-3.10.3-2] [v3:MQTT-3.10.3-2] an UNSUBSCRIBE without a filter ends the connection', async () => {
  await inBoth((version) => refusesPacket(version, wire.unsubscribe({ version, filters: [] }), 0x82))
})

test('[MQTT-3.10.4-1] [v3:MQTT-3.10.4-1] filters are compared character by character, wildcards too', async () => {
  await inBoth(async (version) => {
    for (const kept of [{}, KEPT]) {
      const topic = name()
      const subscriber = await h.subscriber(`${topic}/+`, 1, { version, ...kept })
      const publisher = await h.connect({ version })
      for (const other of [`${topic}/a`, `${topic}/#`, `${topic}/+/`, '#', `${topic.toUpperCase()}/+`]) {
        await subscriber.unsubscribe(other)
      }
      await publisher.publish(`${topic}/a`, 'still', { qos: 1 })
      await subscriber.receive({ payload: 'still' })
    }
  })
})

test('[MQTT-3.10.4-2] [v3:MQTT-3.10.4-2] [paho3:test_unsubscribe] [paho5:test_unsubscribe] after UNSUBACK no new message comes by that filter', async () => {
  await inBoth(async (version) => {
    for (const kept of [{}, KEPT]) {
      const root = name()
      const subscriber = await h.connect({ version, ...kept })
      for (const word of ['a', 'b', 'c']) await subscriber.subscribe(`${root}/${word}`, 2)
      await subscriber.unsubscribe(`${root}/a`)
      const publisher = await h.connect({ version })
      for (const word of ['a', 'b', 'c']) await publisher.publish(`${root}/${word}`, word, { qos: 1 })
      await subscriber.receive({ payload: 'b' })
      await subscriber.receive({ payload: 'c' })
    }
  })
})

test('[MQTT-3.10.4-3] [v3:MQTT-3.10.4-3] what was sent before UNSUBSCRIBE is seen through', async () => {
  await inBoth(async (version) => {
    for (const kept of [{}, KEPT]) {
      const topic = name()
      const subscriber = await h.subscriber(topic, 2, { version, ...kept })
      const publisher = await h.connect({ version })
      await publisher.publish(topic, 'one', { qos: 1 })
      await publisher.publish(topic, 'two', { qos: 2 })
      const one = await subscriber.expect('publish', { payload: 'one' })
      const two = await subscriber.expect('publish', { payload: 'two' })
      await subscriber.unsubscribe(topic)
      await subscriber.acknowledge(one)
      await subscriber.acknowledge(two)
      await subscriber.expectSilence()
    }
  })
})

test('[MQTT-3.10.4-3] what was sent before UNSUBSCRIBE is sent again after a reconnect', async () => {
  await inBoth(async (version) => {
    const topic = name()
    const fields = { version, clientId: name('c'), ...KEPT }
    const subscriber = await h.subscriber(topic, 2, fields)
    await (await h.connect({ version })).publish(topic, 'two', { qos: 2 })
    const { packetId } = await subscriber.expect('publish')
    await subscriber.unsubscribe(topic)
    subscriber.drop()
    const again = await h.connect(fields)
    await again.receive({ payload: 'two', packetId, dup: true })
  })
})

test('[MQTT-3.10.4-4] [MQTT-3.10.4-5] [MQTT-3.11.3-2] [v3:MQTT-3.10.4-4] [v3:MQTT-3.10.4-5] UNSUBSCRIBE is answered with its identifier, also where nothing is deleted', async () => {
  await inBoth(async (version) => {
    for (const kept of [{}, KEPT]) {
      const client = await h.connect({ version, ...kept })
      client.sendUnsubscribe([name()], { packetId: 0x0102 })
      await client.expect('unsuback', { packetId: 0x0102, reasonCodes: version === 5 ? [0x11] : [] })
      const topic = name()
      await client.subscribe(topic)
      for (const code of [0, 0x11]) {
        client.sendUnsubscribe([topic], { packetId: 7 })
        await client.expect('unsuback', { packetId: 7, reasonCodes: version === 5 ? [code] : [] })
      }
    }
  })
})

test('[MQTT-3.10.4-6] [MQTT-3.11.3-1] [v3:MQTT-3.10.4-6] many filters in one UNSUBSCRIBE get a reason code each, in their order', async () => {
  await inBoth(async (version) => {
    for (const kept of [{}, KEPT]) {
      const root = name()
      const client = await h.connect({ version, ...kept })
      for (const word of ['a', 'b', '$share']) {
        await client.subscribe(word === '$share' ? `$share/g/${root}/s` : `${root}/${word}`, 1)
      }
      client.sendUnsubscribe([`${root}/a`, `${root}/x`, `${root}/a`, `$share/g/${root}/s`, `${root}/b`])
      await client.expect('unsuback', { reasonCodes: version === 5 ? [0, 0x11, 0x11, 0, 0] : [] })
      const publisher = await h.connect({ version })
      for (const word of ['a', 'b', 's']) await publisher.publish(`${root}/${word}`, 'x', { qos: 1 })
      await client.subscribe(`${root}/marker`, 1)
      await publisher.publish(`${root}/marker`, 'marker', { qos: 1 })
      await client.receive({ payload: 'marker' })
    }
  })
})
