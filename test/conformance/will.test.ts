/** Will messages: 3.1.2.5 to 3.1.2.7, 3.1.3.2, 3.14.4. */
import { expect, test } from 'vitest'
import type { RawClient } from './client.ts'
import { elapse, inBoth, KEPT, name, useBroker } from './harness.ts'
import * as wire from './wire.ts'

const h = useBroker()

/** Proves that nothing came to `topic`: a marker by the same way is the next. */
async function expectNothing(subscriber: RawClient, topic: string): Promise<void> {
  await (await h.connect()).publish(topic, 'marker', { qos: 1 })
  await subscriber.receive({ payload: 'marker' })
}

const ENDS: Record<string, (client: RawClient, fields: wire.ConnectFields) => Promise<unknown>> = {
  'a broken socket': async (client) => client.drop(),
  'a half-open socket': async (client) => client.end(),
  'a protocol error': async (client) => client.send(wire.hex('c1 00')),
  'a second CONNECT': async (client, fields) => client.send(wire.connect(fields)),
}

test('[MQTT-3.1.2-7] [MQTT-3.1.2-8] [v3:MQTT-3.1.2-8] [paho5:test_will_message] the will is published when the connection ends without DISCONNECT', async () => {
  await inBoth(async (version) => {
    for (const end of Object.values(ENDS)) {
      for (const kept of [{ clean: true }, KEPT]) {
        const topic = name()
        const subscriber = await h.subscriber(topic, 2)
        const fields = { version, clientId: name('c'), ...kept, will: { topic, payload: 'gone', qos: 1 } }
        await end(await h.connect(fields), fields)
        await subscriber.receive({ topic, payload: 'gone', qos: 1, retain: false })
      }
    }
  })
})

test('[MQTT-3.1.2-10] [v3:MQTT-3.1.2-10] [v3:MQTT-3.1.2-12] a will is published once, and belongs to one connection', async () => {
  await inBoth(async (version) => {
    const topic = name()
    const subscriber = await h.subscriber(topic, 1)
    const fields = { version, clientId: name('c'), ...KEPT }
    const first = await h.connect({ ...fields, will: { topic, payload: 'gone' } })
    first.drop()
    await subscriber.receive({ payload: 'gone' })
    const second = await h.connect(fields)
    second.drop()
    const third = await h.connect(fields)
    await third.expectSilence()
    await expectNothing(subscriber, topic)
  })
})

test('[MQTT-3.1.2-8] [MQTT-3.1.2-10] [MQTT-3.14.4-3] [v3:MQTT-3.14.4-3] DISCONNECT with 0x00 discards the will', async () => {
  await inBoth(async (version) => {
    for (const kept of [{ clean: true }, KEPT]) {
      const topic = name()
      const subscriber = await h.subscriber(topic, 1)
      const fields = { version, clientId: name('c'), ...kept, will: { topic, payload: 'never' } }
      await (await h.connect(fields)).disconnect()
      const again = await h.connect({ ...fields, clean: true })
      await again.disconnect()
      await expectNothing(subscriber, topic)
    }
  })
})

test('[fails:21] DISCONNECT with 0x04 or an error keeps the will', async () => {
  for (const code of [0x04, 0x80, 0x93]) {
    for (const kept of [{ clean: true }, KEPT]) {
      const topic = name()
      const subscriber = await h.subscriber(topic, 1)
      const client = await h.connect({ ...kept, will: { topic, payload: 'gone' } })
      await client.disconnect(code)
      await subscriber.receive({ payload: 'gone' })
    }
  }
})

test('[MQTT-3.1.2-12] the will has the QoS that CONNECT gave it', async () => {
  await inBoth(async (version) => {
    for (const qos of [0, 1, 2]) {
      const topic = name()
      const subscriber = await h.subscriber(topic, 2)
      const client = await h.connect({ version, will: { topic, payload: 'gone', qos } })
      client.drop()
      await subscriber.receive({ payload: 'gone', qos, dup: false })
    }
  })
})

test('[MQTT-3.1.2-14] [v3:MQTT-3.1.2-16] a will without retain is not retained', async () => {
  await inBoth(async (version) => {
    const topic = name()
    const subscriber = await h.subscriber(topic, 1)
    const client = await h.connect({ version, will: { topic, payload: 'gone' } })
    client.drop()
    await subscriber.receive({ payload: 'gone', retain: false })
    const late = await h.subscriber(topic, 1)
    await expectNothing(late, topic)
  })
})

test('[MQTT-3.1.2-15] [v3:MQTT-3.1.2-17] a will with retain is retained', async () => {
  await inBoth(async (version) => {
    const topic = name()
    const subscriber = await h.subscriber(topic, 1)
    const client = await h.connect({ version, will: { topic, payload: 'gone', qos: 1, retain: true } })
    client.drop()
    await subscriber.receive({ payload: 'gone', retain: false })
    await h.stored(topic, 'gone')
    const late = await h.subscriber(topic, 1)
    await late.receive({ payload: 'gone', qos: 1, retain: true })
  })
})

test('[MQTT-3.1.3-10] [paho5:test_will_message] the properties of the will are passed on, in their order', async () => {
  const topic = name()
  const subscriber = await h.subscriber(topic, 1)
  const properties: wire.Properties = {
    payloadFormat: 1,
    messageExpiry: 100,
    contentType: 'text',
    responseTopic: 'reply',
    correlationData: Buffer.from([1, 2]),
    user: [
      ['b', '1'],
      ['a', '2'],
      ['b', '3'],
    ],
  }
  const client = await h.connect({ will: { topic, payload: 'gone', properties: { willDelay: 0, ...properties } } })
  client.drop()
  const received = await subscriber.receive({ payload: 'gone' })
  expect(received.properties).toEqual({
    ...properties,
    correlationData: '\u0001\u0002',
    messageExpiry: expect.any(Number),
  })
  expect(received.properties.messageExpiry).toBeGreaterThanOrEqual(98)
})

test.concurrent('[MQTT-3.1.2-8] [paho5:test_will_delay] the will waits for its delay', async () => {
  const topic = name()
  const subscriber = await h.subscriber(topic, 1)
  const will = { topic, payload: 'gone', properties: { willDelay: 1 } }
  const client = await h.connect({ properties: { sessionExpiry: 60 }, will })
  const startedMs = Date.now()
  client.drop()
  await subscriber.receive({ payload: 'gone' })
  expect(Date.now() - startedMs).toBeGreaterThanOrEqual(900)
})

test.concurrent('[MQTT-3.1.2-8] [paho5:test_will_delay] the will does not wait longer than the session lasts', async () => {
  const topic = name()
  const subscriber = await h.subscriber(topic, 1)
  const will = { topic, payload: 'gone', properties: { willDelay: 3600 } }
  const none = await h.connect({ will })
  none.drop()
  await subscriber.receive({ payload: 'gone' })
  const short = await h.connect({ properties: { sessionExpiry: 1 }, will })
  const startedMs = Date.now()
  short.drop()
  await subscriber.receive({ payload: 'gone' })
  expect(Date.now() - startedMs).toBeGreaterThanOrEqual(900)
})

test.concurrent('[MQTT-3.1.3-9] [MQTT-3.1.2-8] a will is not sent where its session is resumed within the delay', async () => {
  const topic = name()
  const subscriber = await h.subscriber(topic, 1)
  const fields = { clientId: name('c'), ...KEPT }
  const client = await h.connect({ ...fields, will: { topic, payload: 'never', properties: { willDelay: 1 } } })
  client.drop()
  const again = await h.connect(fields)
  expect(again.connack.sessionPresent).toBe(true)
  await elapse(1600)
  await expectNothing(subscriber, topic)
})

test('[fails:19] at takeover the will is sent unless the session goes on and the will has a delay', async () => {
  const cases = [
    { session: 60, delay: 0, clean: false, sent: true },
    { session: 60, delay: 60, clean: false, sent: false },
    { session: 60, delay: 60, clean: true, sent: true },
    { session: 0, delay: 60, clean: false, sent: true },
    { session: 0, delay: 0, clean: true, sent: true },
  ]
  for (const { session, delay, clean, sent } of cases) {
    const topic = name()
    const subscriber = await h.subscriber(topic, 1)
    const fields = { clientId: name('c'), properties: { sessionExpiry: session } }
    const will = { topic, payload: 'gone', properties: { willDelay: delay } }
    const first = await h.connect({ ...fields, clean: true, will })
    await h.connect({ ...fields, clean })
    await first.expectError(0x8e)
    if (sent) await subscriber.receive({ payload: 'gone' })
    await expectNothing(subscriber, topic)
  }
})

test('[fails:19] a takeover in 3.1.1 sends the will', async () => {
  for (const clean of [true, false]) {
    const topic = name()
    const subscriber = await h.subscriber(topic, 1)
    const fields = { version: 4 as const, clientId: name('c'), clean }
    const first = await h.connect({ ...fields, will: { topic, payload: 'gone' } })
    await h.connect(fields)
    await first.expectClose()
    await subscriber.receive({ payload: 'gone' })
  }
})

test('clean start on a session whose will still waits sends the will', async () => {
  const topic = name()
  const subscriber = await h.subscriber(topic, 1)
  const fields = { clientId: name('c'), properties: { sessionExpiry: 60 } }
  const first = await h.connect({ ...fields, will: { topic, payload: 'gone', properties: { willDelay: 60 } } })
  first.drop()
  await h.connect({ ...fields, clean: true })
  await subscriber.receive({ payload: 'gone' })
})

test('a will that its client may not publish is refused', async () => {
  await h.refuse(0x87, { clientId: 'c', username: 'limited', will: { topic: 'denied/x' } })
  await h.refuse(5, { version: 4, clientId: 'c', username: 'limited', will: { topic: 'denied/x' } })
})
