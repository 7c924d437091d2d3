/** Sections 3.1.2.4, 3.1.2.11.2 and 4.1: sessions, their resumption and their end. */
import { expect, test } from 'vitest'
import { elapse, inBoth, KEPT, name, useBroker } from './harness.ts'
import * as wire from './wire.ts'

const h = useBroker({ set: ['tenants.q0.queueQos0=true', 'tenants.short.sessionExpirySecondsMax=2'] })

test('[MQTT-3.1.2-4] [MQTT-3.1.4-4] [MQTT-3.2.2-2] [v3:MQTT-3.1.2-6] [v3:MQTT-3.1.4-3] [v3:MQTT-3.2.2-1] clean start ends the session of before: its subscriptions, its queue, its messages in flight', async () => {
  await inBoth(async (version) => {
    const topic = name()
    const fields = { version, clientId: name('c'), ...KEPT }
    const old = await h.subscriber(topic, 2, fields)
    const publisher = await h.connect({ version })
    await publisher.publish(topic, 'in flight', { qos: 1 })
    await old.expect('publish', { payload: 'in flight' })
    await old.disconnect()
    await publisher.publish(topic, 'queued', { qos: 1 })
    const fresh = await h.connect({ ...fields, clean: true })
    expect(fresh.connack.sessionPresent).toBe(false)
    await publisher.publish(topic, 'no longer', { qos: 1 })
    await fresh.subscribe(topic, 1)
    await publisher.publish(topic, 'new', { qos: 1 })
    await fresh.receive({ payload: 'new' })
  })
})

test('[MQTT-3.1.2-5] [MQTT-3.2.2-3] [MQTT-3.1.3-2] [v3:MQTT-3.1.2-4] [v3:MQTT-3.2.2-2] [v3:MQTT-3.1.3-2] [fails:9] a session is resumed with its subscriptions', async () => {
  await inBoth(async (version) => {
    const topic = name()
    const fields = { version, clientId: name('c'), ...KEPT }
    const first = await h.connect(fields)
    expect(first.connack.sessionPresent).toBe(false)
    await first.subscribe(`${topic}/+`, 1)
    await first.disconnect()
    const publisher = await h.connect({ version })
    for (const payload of ['1', '2']) {
      const again = await h.connect(fields)
      expect(again.connack.sessionPresent).toBe(true)
      await publisher.publish(`${topic}/a`, payload, { qos: 1 })
      await again.receive({ payload })
      await again.disconnect()
    }
    const other = await h.connect({ ...fields, clientId: name('c') })
    expect(other.connack.sessionPresent).toBe(false)
  })
})

test('[MQTT-3.1.2-6] [MQTT-3.2.2-3] [v3:MQTT-3.2.2-3] without a session of that client id a new one begins', async () => {
  for (const version of [3, 4, 5] as const) {
    const client = await h.connect({ version, ...KEPT })
    expect(client.connack.sessionPresent).toBe(false)
  }
})

test('[fails:9] session present after a takeover, and the queue goes to the newer connection', async () => {
  await inBoth(async (version) => {
    const topic = name()
    const fields = { version, clientId: name('c'), ...KEPT }
    const first = await h.subscriber(topic, 1, fields)
    const publisher = await h.connect({ version })
    await publisher.publish(topic, 'in flight', { qos: 1 })
    const { packetId } = await first.expect('publish', { payload: 'in flight' })
    const second = await h.connect(fields)
    await first.expectError(0x8e)
    expect(second.connack.sessionPresent).toBe(true)
    await second.receive({ payload: 'in flight', packetId, dup: true })
    await publisher.publish(topic, 'new', { qos: 1 })
    await second.receive({ payload: 'new', dup: false })
  })
})

test('[fails:9] [fails:18] of a burst of connections of one client id one is left, and it works', async () => {
  await inBoth(async (version) => {
    const topic = name()
    const fields = { version, clientId: name('c'), ...KEPT }
    await (await h.subscriber(topic, 1, fields)).disconnect()
    const burst = await Promise.all(Array.from({ length: 8 }, () => h.begin(fields)))
    // Each of them is accepted or, where a later one came meanwhile, refused; an accepted one may be taken over.
    const answers = await Promise.all(burst.map((client) => client.expect('connack')))
    const accepted = burst.filter((_, i) => answers[i]!.reasonCode === 0)
    expect(accepted.length).toBeGreaterThan(0)
    const last = await h.connect(fields)
    expect(last.connack.sessionPresent).toBe(true)
    for (const client of accepted) await client.expectError(0x8e)
    await (await h.connect({ version })).publish(topic, 'x', { qos: 1 })
    await last.receive({ payload: 'x' })
  })
})

test('[MQTT-3.1.2-23] [MQTT-4.5.0-1] [v3:MQTT-3.1.2-5] [v3:MQTT-4.5.0-1] [paho3:test_offline_message_queueing] [paho5:test_offline_message_queueing] messages of QoS 1 and 2 wait for a session without connection', async () => {
  await inBoth(async (version) => {
    const root = name()
    const fields = { version, clientId: name('c'), ...KEPT }
    await (await h.subscriber(`${root}/+`, 2, fields)).disconnect()
    const publisher = await h.connect({ version })
    for (const qos of [0, 1, 2]) await publisher.publish(`${root}/${qos}`, `qos ${qos}`, { qos })
    const again = await h.connect(fields)
    expect(again.connack.sessionPresent).toBe(true)
    for (const qos of [1, 2]) await again.receive({ payload: `qos ${qos}`, qos, topic: `${root}/${qos}` })
    await again.expectSilence()
  })
})

test('a setting keeps QoS 0 messages for sessions without connection too', async () => {
  const topic = name()
  const fields = { username: 'q0/x', clientId: name('c'), ...KEPT }
  await (await h.subscriber(topic, 2, fields)).disconnect()
  const publisher = await h.connect({ username: 'q0/y' })
  for (const qos of [0, 1]) await publisher.publish(topic, `qos ${qos}`, { qos })
  const again = await h.connect(fields)
  const got = [await again.receive(), await again.receive()]
  expect(got.map(({ payload, qos }) => `${payload} ${qos}`).toSorted()).toEqual(['qos 0 0', 'qos 1 1'])
})

test('[MQTT-4.1.0-1] [v3:MQTT-4.1.0-1] [v3:MQTT-4.1.0-2] a session without expiry lasts as long as its connection', async () => {
  for (const fields of [{ clean: false }, { clean: false, properties: { sessionExpiry: 0 } }, { clean: true }]) {
    const topic = name()
    const client = await h.subscriber(topic, 1, fields)
    const publisher = await h.connect()
    await publisher.publish(topic, 'x', { qos: 1 })
    await elapse(300)
    await client.receive({ payload: 'x' })
    expect(await publisher.publish(topic, 'y', { qos: 1 })).toBe(0)
    await client.receive({ payload: 'y' })
  }
})

test('[MQTT-4.1.0-2] [fails:20] [paho5:test_session_expiry] a session whose expiry is 0 ends with its connection', async () => {
  for (const end of ['disconnect', 'drop'] as const) {
    for (const fields of [{ clean: false }, { clean: true, properties: { sessionExpiry: 0 } }]) {
      const topic = name()
      const clientId = name('c')
      const client = await h.subscriber(topic, 1, { clientId, ...fields })
      if (end === 'disconnect') await client.disconnect()
      else client.drop()
      const again = await h.connect({ clientId, clean: false, properties: { sessionExpiry: 0 } })
      expect(again.connack.sessionPresent).toBe(false)
      expect(await (await h.connect()).publish(topic, 'x', { qos: 1 })).toBe(0x10)
    }
  }
})

test('[v3:MQTT-3.1.2-6] a clean session of 3.1.1 leaves nothing behind', async () => {
  const topic = name()
  const clientId = name('c')
  const client = await h.subscriber(topic, 1, { version: 4, clientId, clean: true })
  await client.disconnect()
  const again = await h.connect({ version: 4, clientId, clean: false })
  expect(again.connack.sessionPresent).toBe(false)
})

test.concurrent('[MQTT-4.1.0-2] [fails:20] [paho5:test_session_expiry] a session ends when its expiry has passed, not before', async () => {
  const topic = name()
  const fields = { clientId: name('c'), clean: false, properties: { sessionExpiry: 1 } }
  await (await h.subscriber(topic, 1, fields)).disconnect()
  await elapse(500)
  const early = await h.connect(fields)
  expect(early.connack.sessionPresent).toBe(true)
  // The time counts from the end of each connection.
  await elapse(700)
  await early.disconnect()
  const publisher = await h.connect()
  await publisher.publish(topic, 'lost', { qos: 1 })
  await elapse(1600)
  const late = await h.connect(fields)
  expect(late.connack.sessionPresent).toBe(false)
  await publisher.publish(topic, 'x', { qos: 1 })
  await late.expectSilence()
})

test.concurrent('[fails:20] [paho5:test_session_expiry] DISCONNECT may change the expiry of a session that has one', async () => {
  const lengthen = async () => {
    const fields = { clientId: name('c'), clean: false, properties: { sessionExpiry: 1 } }
    await (await h.connect(fields)).disconnect(0, { sessionExpiry: 60 })
    await elapse(1600)
    expect((await h.connect(fields)).connack.sessionPresent).toBe(true)
  }
  const end = async () => {
    const fields = { clientId: name('c'), clean: false, properties: { sessionExpiry: 60 } }
    await (await h.connect(fields)).disconnect(0, { sessionExpiry: 0 })
    expect((await h.connect(fields)).connack.sessionPresent).toBe(false)
  }
  await Promise.all([lengthen(), end()])
})

test('a session without expiry cannot be given one by DISCONNECT: 0x82', async () => {
  const client = await h.connect()
  client.send(wire.disconnect(0, { sessionExpiry: 5 }))
  await client.expectError(0x82)
})

test('[MQTT-3.1.2-23] a session expiry over what the tenant allows is lowered, and the client is told', async () => {
  const client = await h.connect({ username: 'short/x', properties: { sessionExpiry: 1000 } })
  expect(client.connack.properties.sessionExpiry).toBe(2)
  const fits = await h.connect({ username: 'short/x', properties: { sessionExpiry: 2 } })
  expect(fits.connack.properties.sessionExpiry).toBeUndefined()
  const longest = await h.connect({ properties: { sessionExpiry: 60 } })
  expect(longest.connack.properties.sessionExpiry).toBeUndefined()
})

test('a session may be resumed by the other protocol version', async () => {
  const topic = name()
  const clientId = name('c')
  await (await h.subscriber(topic, 1, { version: 4, clientId, ...KEPT })).disconnect()
  await (await h.connect()).publish(topic, 'x', { qos: 1, properties: { contentType: 'a' } })
  const five = await h.connect({ clientId, ...KEPT })
  expect(five.connack.sessionPresent).toBe(true)
  await five.receive({ payload: 'x', properties: { contentType: 'a' } })
  await five.disconnect()
  const four = await h.connect({ version: 4, clientId, ...KEPT })
  expect(four.connack.sessionPresent).toBe(true)
})

test('tenants do not see each other: topics, retained messages, sessions', async () => {
  const topic = name()
  const clientId = name('c')
  const here = await h.subscriber(topic, 1, { clientId, ...KEPT })
  const there = await h.connect({ clientId, username: 'other/x', ...KEPT })
  expect(there.connack.sessionPresent).toBe(false)
  expect(await there.publish(topic, 'theirs', { qos: 1, retain: true })).toBe(0x10)
  await here.subscribe(topic, 1)
  await here.expectSilence()
})
