/** Retained messages: 3.3.1.3, 3.3.1.1 and their kin. */
import { expect, test } from 'vitest'
import type { RawClient } from './client.ts'
import { elapse, inBoth, KEPT, name, RETAIN_AS_PUBLISHED, retainHandling, useBroker } from './harness.ts'
import * as wire from './wire.ts'

const h = useBroker()

/** What a new subscription to `filter` is sent: payloads by topic. Ends at a marker of its own. */
async function retained(version: 4 | 5, filter: string): Promise<string[]> {
  const client = await h.subscriber(filter, 2, { version })
  return await untilMarker(client)
}

/**
 * Payloads that come before a retained message which is asked for now: retained messages are sent in the order of the
 * subscriptions that ask for them.
 */
async function untilMarker(client: RawClient): Promise<string[]> {
  const marker = name('marker')
  await (await h.connect()).publish(marker, 'marker', { retain: true, qos: 1 })
  client.sendSubscribe([[marker, 1]], { packetId: 0x7777 })
  const payloads: string[] = []
  for (;;) {
    const { type, payload, topic, packetId, qos } = await client.next()
    if (type === 'pubrel') client.send(wire.ack('pubcomp', packetId!))
    if (type !== 'publish') continue
    if (qos! > 0) client.send(wire.ack(qos === 1 ? 'puback' : 'pubrec', packetId!))
    if (topic === marker) return payloads
    payloads.push(payload!)
  }
}

test('[MQTT-3.3.1-5] [v3:MQTT-3.3.1-5] [v3:MQTT-3.3.1-6] [v3:MQTT-3.3.1-8] [fails:11] [paho3:test_retained_messages] [paho5:test_retained_message] the last retained message of each topic goes to new subscriptions, with RETAIN', async () => {
  await inBoth(async (version) => {
    const root = name()
    const publisher = await h.connect({ version })
    for (const qos of [0, 1, 2]) {
      await publisher.publish(`${root}/${qos}`, 'old', { qos, retain: true })
      await publisher.publish(`${root}/${qos}`, `new${qos}`, { qos, retain: true })
      await h.stored(`${root}/${qos}`, `new${qos}`)
    }
    for (const kept of [{}, KEPT]) {
      const subscriber = await h.subscriber(`${root}/+`, 2, { version, ...kept })
      const found = []
      for (let i = 0; i < 3; i++) found.push(await subscriber.receive({ retain: true, dup: false }))
      found.sort((a, b) => a.qos! - b.qos!)
      expect(found.map(({ qos, payload, topic }) => `${topic} ${qos} ${payload}`)).toEqual(
        [0, 1, 2].map((qos) => `${root}/${qos} ${qos} new${qos}`),
      )
      await subscriber.expectSilence()
    }
  })
})

test('[paho5:test_retained_message] [MQTT-3.3.2-17] a retained message keeps its properties', async () => {
  const topic = name()
  const properties = {
    user: [
      ['a', '2'],
      ['c', '3'],
    ] as [string, string][],
    contentType: 'x',
    payloadFormat: 1,
  }
  await (await h.connect()).publish(topic, 'kept', { qos: 1, retain: true, properties })
  const subscriber = await h.subscriber(topic, 1)
  await subscriber.receive({ retain: true, properties })
})

test('[MQTT-3.3.1-6] [MQTT-3.3.1-7] [v3:MQTT-3.3.1-10] [v3:MQTT-3.3.1-11] an empty retained message is passed on, clears its topic, and is not kept', async () => {
  await inBoth(async (version) => {
    const topic = name()
    const live = await h.subscriber(topic, 1, { version })
    const publisher = await h.connect({ version })
    await publisher.publish(topic, 'kept', { qos: 1, retain: true })
    await live.receive({ payload: 'kept' })
    for (let i = 0; i < 2; i++) {
      await publisher.publish(topic, '', { qos: 1, retain: true })
      await live.receive({ payload: '', retain: false })
      expect(await retained(version, topic)).toEqual([])
    }
  })
})

test('[v3:MQTT-3.3.1-7] a retained message of QoS 0 replaces the one before', async () => {
  await inBoth(async (version) => {
    const topic = name()
    const publisher = await h.connect({ version })
    await publisher.publish(topic, 'first', { qos: 2, retain: true })
    await publisher.publish(topic, 'second', { qos: 0, retain: true })
    await h.stored(topic, 'second')
    expect(await retained(version, topic)).toEqual(['second'])
  })
})

test('[MQTT-3.3.1-8] [v3:MQTT-3.3.1-12] a message without RETAIN is not kept and changes nothing', async () => {
  await inBoth(async (version) => {
    const topic = name()
    const publisher = await h.connect({ version })
    await publisher.publish(topic, 'live', { qos: 1 })
    expect(await retained(version, topic)).toEqual([])
    await publisher.publish(topic, 'kept', { qos: 1, retain: true })
    await publisher.publish(topic, 'live', { qos: 1 })
    await publisher.publish(topic, '', { qos: 1 })
    expect(await retained(version, topic)).toEqual(['kept'])
  })
})

test('[MQTT-3.3.1-9] [MQTT-3.8.4-4] [v3:MQTT-3.8.4-3] [paho5:test_subscribe_options] retain handling 0 sends retained messages with every SUBSCRIBE', async () => {
  await inBoth(async (version) => {
    for (const kept of [{}, KEPT]) {
      const topic = name()
      await (await h.connect({ version })).publish(topic, 'kept', { qos: 1, retain: true })
      const client = await h.connect({ version, ...kept })
      for (let i = 0; i < 3; i++) {
        await client.subscribe(topic, 1)
        await client.receive({ payload: 'kept', retain: true })
      }
    }
  })
})

test('[MQTT-3.3.1-10] [paho5:test_subscribe_options] retain handling 1 sends them to a subscription that is new', async () => {
  for (const kept of [{}, KEPT]) {
    const topic = name()
    await (await h.connect()).publish(topic, 'kept', { qos: 1, retain: true })
    const client = await h.subscriber(topic, 1 | retainHandling(1), kept)
    expect(await untilMarker(client)).toEqual(['kept'])
    await client.subscribe(topic, 1 | retainHandling(1))
    expect(await untilMarker(client)).toEqual([])
    await client.unsubscribe(topic)
    await client.subscribe(topic, 1 | retainHandling(1))
    expect(await untilMarker(client)).toEqual(['kept'])
  }
})

test('[MQTT-3.3.1-11] [paho5:test_subscribe_options] retain handling 2 sends none', async () => {
  for (const kept of [{}, KEPT]) {
    const topic = name()
    await (await h.connect()).publish(topic, 'kept', { qos: 1, retain: true })
    const client = await h.subscriber(topic, 1 | retainHandling(2), kept)
    expect(await untilMarker(client)).toEqual([])
    await client.subscribe(topic, 1 | retainHandling(2))
    expect(await untilMarker(client)).toEqual([])
  }
})

test('[MQTT-3.3.1-12] [v3:MQTT-3.3.1-9] [fails:11] [paho5:test_subscribe_options] a live message has RETAIN 0, however it was published', async () => {
  await inBoth(async (version) => {
    for (const kept of [{}, KEPT]) {
      const topic = name()
      const subscriber = await h.subscriber(topic, 2, { version, ...kept })
      const publisher = await h.connect({ version })
      for (const qos of [0, 1, 2]) {
        await publisher.publish(topic, 'live', { qos, retain: true })
        await subscriber.receive({ payload: 'live', qos, retain: false })
      }
    }
  })
})

test('[MQTT-3.3.1-13] [fails:11] [paho5:test_subscribe_options] with retain as published a live message keeps its RETAIN', async () => {
  for (const kept of [{}, KEPT]) {
    const topic = name()
    const subscriber = await h.subscriber(topic, 2 | RETAIN_AS_PUBLISHED, kept)
    const publisher = await h.connect()
    for (const qos of [0, 1, 2]) {
      for (const retain of [true, false]) {
        await publisher.publish(topic, 'live', { qos, retain })
        await subscriber.receive({ payload: 'live', qos, retain })
      }
    }
  }
})

test('[MQTT-3.3.1-13] [fails:11] retain as published holds for what waited in the queue', async () => {
  const topic = name()
  const fields = { clientId: name('c'), ...KEPT }
  await (await h.subscriber(topic, 1 | RETAIN_AS_PUBLISHED, fields)).disconnect()
  const publisher = await h.connect()
  for (const retain of [true, false]) await publisher.publish(topic, `${retain}`, { qos: 1, retain })
  const again = await h.connect(fields)
  for (const retain of [true, false]) await again.receive({ payload: `${retain}`, retain })
})

test('[fails:24] a resumed session is not sent retained messages again', async () => {
  await inBoth(async (version) => {
    const topic = name()
    await (await h.connect({ version })).publish(topic, 'kept', { qos: 1, retain: true })
    const fields = { version, clientId: name('c'), ...KEPT }
    const client = await h.subscriber(topic, 1, fields)
    await client.receive({ payload: 'kept', retain: true })
    // A later answer proves that the broker has read the PUBACK.
    await client.expectSilence()
    await client.disconnect()
    const again = await h.connect(fields)
    expect(again.connack.sessionPresent).toBe(true)
    expect(await untilMarker(again)).toEqual([])
  })
})

test('[v3:MQTT-3.1.2-7] retained messages outlive the session of their publisher', async () => {
  await inBoth(async (version) => {
    const topic = name()
    const clientId = name('c')
    const publisher = await h.connect({ version, clientId, ...KEPT })
    await publisher.publish(topic, 'kept', { qos: 1, retain: true })
    await publisher.disconnect()
    await (await h.connect({ version, clientId, clean: true })).disconnect()
    expect(await retained(version, topic)).toEqual(['kept'])
  })
})

test('[MQTT-3.8.4-8] [v3:MQTT-3.8.4-6] a retained message comes with the lower of its QoS and the granted one', async () => {
  await inBoth(async (version) => {
    const topic = name()
    const publisher = await h.connect({ version })
    for (const published of [0, 1, 2]) {
      await publisher.publish(topic, `kept${published}`, { qos: published, retain: true })
      await h.stored(topic, `kept${published}`)
      for (const granted of [0, 1, 2]) {
        const subscriber = await h.subscriber(topic, granted, { version })
        await subscriber.receive({ payload: `kept${published}`, qos: Math.min(published, granted) })
      }
    }
  })
})

test('retained messages carry the identifier of the subscription that asked for them', async () => {
  const topic = name()
  await (await h.connect()).publish(topic, 'kept', { qos: 1, retain: true })
  for (const kept of [{}, KEPT]) {
    const client = await h.connect(kept)
    await client.subscribe(topic, 1, { subscriptionId: 77 })
    await client.receive({ payload: 'kept', properties: { subscriptionId: [77] } })
  }
})

test('[MQTT-3.3.2-5] [MQTT-3.3.2-6] a retained message expires', async () => {
  const root = name()
  const publisher = await h.connect()
  await publisher.publish(`${root}/short`, 'short', { qos: 1, retain: true, properties: { messageExpiry: 1 } })
  await publisher.publish(`${root}/long`, 'long', { qos: 1, retain: true, properties: { messageExpiry: 100 } })
  const early = await h.subscriber(`${root}/short`, 0)
  await early.receive({ payload: 'short' })
  await elapse(1600)
  expect(await retained(5, `${root}/#`)).toEqual(['long'])
  const late = await h.subscriber(`${root}/long`, 0)
  const { properties } = await late.receive({ payload: 'long' })
  expect(properties.messageExpiry).toBeLessThan(100)
})

test('[fails:26] [MQTT-4.7.2-1] [v3:MQTT-4.7.2-1] retained messages of $ topics are not matched by a leading wildcard', async () => {
  await inBoth(async (version) => {
    const word = name()
    await (await h.connect({ version })).publish(`$${word}/x`, 'hidden', { qos: 1, retain: true })
    expect(await retained(version, `+/x`)).not.toContain('hidden')
    expect(await retained(version, `$${word}/#`)).toEqual(['hidden'])
  })
})

test('shared subscriptions are sent no retained messages', async () => {
  const topic = name()
  await (await h.connect()).publish(topic, 'kept', { qos: 1, retain: true })
  const client = await h.subscriber(`$share/g/${topic}`, 1)
  expect(await untilMarker(client)).toEqual([])
})
