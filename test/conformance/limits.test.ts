/** Maximum packet size, and what a slow or busy client may cause. */
import { expect, test } from 'vitest'
import { KEPT, name, useBroker } from './harness.ts'
import * as wire from './wire.ts'

const h = useBroker({
  set: [
    'tenants.tiny.queueMessagesMax=5',
    'tenants.newest.queueMessagesMax=5',
    'tenants.newest.queueDropPolicy=newest',
    'tenants.full.retainTopicsMax=0',
  ],
})

test('[MQTT-3.1.2-24] [MQTT-3.1.2-25] [fails:14] [paho5:test_maximum_packet_size] a message that is too large for a client is left out, whole', async () => {
  for (const kept of [false, true]) {
    for (const aliases of [0, 5]) {
      const topic = name()
      const properties = { maximumPacketSize: 64, sessionExpiry: kept ? 60 : 0, topicAliasMaximum: aliases }
      const subscriber = await h.subscriber(topic, 2, { clean: !kept, properties })
      const publisher = await h.connect()
      const fits = 64 - 2 - 2 - topic.length - 2 - 1
      for (const qos of [0, 1, 2]) {
        await publisher.publish(topic, 'x'.repeat(200), { qos })
        await publisher.publish(topic, 'x'.repeat(fits + 4), { qos })
        await publisher.publish(topic, 'x'.repeat(fits), { qos })
        const received = await subscriber.receive({ payload: 'x'.repeat(fits), qos })
        expect(received.size).toBeLessThanOrEqual(64)
        // Properties count as well.
        await publisher.publish(topic, 'x', { qos, properties: { user: [['name', 'v'.repeat(60)]] } })
      }
      await publisher.publish(topic, 'marker', { qos: 1 })
      await subscriber.receive({ payload: 'marker' })
    }
  }
})

test('[MQTT-3.1.2-25] a message that was too large does not take from the receive maximum', async () => {
  for (const kept of [false, true]) {
    const topic = name()
    const properties = { maximumPacketSize: 64, receiveMaximum: 1, sessionExpiry: kept ? 60 : 0 }
    const subscriber = await h.subscriber(topic, 1, { clean: !kept, properties })
    const publisher = await h.connect()
    for (let i = 0; i < 5; i++) await publisher.publish(topic, 'x'.repeat(100), { qos: 1 })
    await publisher.publish(topic, 'small', { qos: 1 })
    await subscriber.receive({ payload: 'small' })
  }
})

test('[MQTT-3.1.2-24] [MQTT-3.1.2-25] a retained message that is too large is left out', async () => {
  const root = name()
  const publisher = await h.connect()
  await publisher.publish(`${root}/a`, 'x'.repeat(100), { qos: 1, retain: true })
  await publisher.publish(`${root}/b`, 'small', { qos: 1, retain: true })
  for (const kept of [false, true]) {
    const properties = { maximumPacketSize: 64, sessionExpiry: kept ? 60 : 0 }
    const subscriber = await h.subscriber(`${root}/+`, 1, { clean: !kept, properties })
    await subscriber.receive({ payload: 'small', retain: true })
  }
})

test('a packet of the largest announced size passes', async () => {
  const topic = name()
  const subscriber = await h.subscriber(topic, 1)
  const publisher = await h.connect()
  const maximum = publisher.connack.properties.maximumPacketSize as number
  const payload = 'x'.repeat(maximum - 1 - 3 - 2 - topic.length - 2 - 1)
  expect(wire.publish({ topic, payload, qos: 1 }).length).toBe(maximum)
  await publisher.publish(topic, payload, { qos: 1 })
  expect((await subscriber.receive()).payload).toBe(payload)
})

test('a full queue gives up the oldest message, or the newest, as its tenant wants it', async () => {
  for (const [tenant, left] of [
    ['tiny', ['3', '4', '5', '6', '7']],
    ['newest', ['0', '1', '2', '3', '4']],
  ] as const) {
    const topic = name()
    const fields = { username: `${tenant}/x`, clientId: name('c'), ...KEPT }
    await (await h.subscriber(topic, 1, fields)).disconnect()
    const publisher = await h.connect({ username: `${tenant}/x` })
    for (let i = 0; i < 8; i++) await publisher.publish(topic, `${i}`, { qos: 1 })
    const again = await h.connect(fields)
    for (const payload of left) await again.receive({ payload })
    await again.expectSilence()
  }
})

test('[v3:MQTT-4.8.0-2] a publish that cannot be accepted now: 5.0 is told by its ack, 3.1.1 by the end of the connection', async () => {
  const current = await h.connect({ username: 'full/x' })
  expect(await current.publish(name(), 'x', { qos: 1, retain: true })).toBe(0x97)
  expect(await current.publish(name(), 'x', { qos: 2, retain: true })).toBe(0x97)
  await current.expectSilence()
  const old = await h.connect({ version: 4, username: 'full/x' })
  old.sendPublish({ topic: name(), payload: 'x', qos: 1, retain: true })
  await old.expectClose()
})

test('a subscriber that stops reading delays nobody', async () => {
  const topic = name()
  const stuck = await h.subscriber(topic, 0)
  const reader = await h.subscriber(topic, 0)
  stuck.pause()
  const publisher = await h.connect()
  const payload = 'x'.repeat(60_000)
  for (let i = 0; i < 300; i++) {
    publisher.sendPublish({ topic, payload })
    await reader.receive({ payload })
  }
  stuck.resume()
  await stuck.receive({ payload })
})
