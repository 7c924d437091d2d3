/** Sections 3.1 and 3.2: CONNECT and CONNACK. Wills, sessions and enhanced authentication have files of their own. */
import { expect, test } from 'vitest'
import { elapse, inBoth, KEPT, name, useBroker } from './harness.ts'
import * as wire from './wire.ts'

const h = useBroker({
  set: [
    ...['tenants.q1.maximumQos=1', 'tenants.q0.maximumQos=0', 'tenants.noretain.retainEnabled=false'],
    ...['tenants.sk.serverKeepAliveSeconds=60', 'tenants.sk1.serverKeepAliveSeconds=1'],
    ...['tenants.small.packetBytesMax=2048', 'tenants.rm.receiveMaximum=3', 'tenants.noalias.topicAliasMax=0'],
    'tenants.no5.mqtt5Enabled=false',
  ],
})

/** A CONNECT that the version has no CONNACK for: 5.0 tells why, 3.x is closed in silence. */
async function malformed(fields: wire.ConnectFields, reasonCode = 0x81): Promise<void> {
  const client = await h.begin(fields)
  if (fields.version !== 4) await client.expect('connack', { reasonCode })
  await client.expectClose()
}

test('[MQTT-3.1.0-1] [v3:MQTT-3.1.0-1] [MQTT-3.14.0-1] [fails:1] a first packet that is no CONNECT closes the connection, without an answer', async () => {
  const packets = [
    wire.PINGREQ,
    wire.publish({ version: 4 }),
    wire.publish({ qos: 1 }),
    wire.subscribe({ filters: [['a', 0]] }),
    wire.disconnect(),
    wire.auth(0x18, { authMethod: 'one-step' }),
    wire.hex('20 02 00 00'),
    wire.ack('puback', 1),
    Buffer.from(`GET / HTTP/1.1\r\nHost: example.org\r\nUser-Agent: ${'x'.repeat(80)}\r\n\r\n`),
  ]
  for (const packet of packets) {
    const client = await h.open()
    client.send(packet)
    await client.expectClose()
  }
})

test('[MQTT-3.1.0-2] [v3:MQTT-3.1.0-2] [fails:1] [paho3:testBasic] [paho5:test_basic] a second CONNECT ends the connection', async () => {
  await inBoth(async (version) => {
    const clientId = name('c')
    const client = await h.connect({ version, clientId })
    client.send(wire.connect({ version, clientId }))
    await client.expectError(0x82)
  })
})

test('[MQTT-3.1.2-1] [v3:MQTT-3.1.2-1] [paho3:testBasic] [paho5:test_basic] an unknown protocol name closes the connection', async () => {
  for (const text of ['MQTX', 'mqtt', 'MQT', 'MQTTT', 'MQIsdq', '', 'hj']) {
    await inBoth(async (version) => (await h.begin({ version, name: text, clientId: 'c' })).expectClose())
  }
})

test('[MQTT-3.1.2-2] [v3:MQTT-3.1.2-2] [fails:2] an unknown protocol level is answered in the way its client knows', async () => {
  for (const level of [6, 9, 0x7f]) {
    const client = await h.begin({ level, clientId: 'c' })
    await client.expect('connack', { reasonCode: 0x84 })
    await client.expectClose()
  }
  for (const level of [0, 1, 2, 3, 0x84]) {
    const client = await h.begin({ version: 4, level, clientId: 'c' })
    await client.expect('connack', { reasonCode: 1 })
    await client.expectClose()
  }
  await h.refuse(1, { version: 3, level: 4, clientId: 'c' })
  await h.refuse(0x84, { clientId: 'c', username: 'no5/x' })
})

test('[MQTT-3.1.2-3] [v3:MQTT-3.1.2-3] the reserved connect flag must be 0', async () => {
  await inBoth((version) => malformed({ version, clientId: 'c', flags: 0x03 }))
})

test('[MQTT-3.1.2-9] [v3:MQTT-3.1.2-9] a will flag without its fields is malformed', async () => {
  await inBoth((version) => malformed({ version, clientId: 'c', flags: 0x06 }))
})

test('[MQTT-3.1.2-11] [v3:MQTT-3.1.2-11] [v3:MQTT-3.1.2-13] [fails:4] a will QoS without a will is malformed', async () => {
  await inBoth(async (version) => {
    await malformed({ version, clientId: 'c', flags: 0x0a })
    await malformed({ version, clientId: 'c', flags: 0x12 })
  })
})

test('[MQTT-3.1.2-12] [v3:MQTT-3.1.2-14] [fails:4] a will QoS of 3 is malformed', async () => {
  await inBoth((version) => malformed({ version, clientId: 'c', will: { topic: 'w', qos: 3 } }))
})

test('[MQTT-3.1.2-13] [v3:MQTT-3.1.2-15] [fails:4] will retain without a will is malformed', async () => {
  await inBoth((version) => malformed({ version, clientId: 'c', flags: 0x22 }))
})

test('[MQTT-3.1.2-16] [MQTT-3.1.2-18] [v3:MQTT-3.1.2-18] [v3:MQTT-3.1.2-20] [fails:4] fields whose flags are not set are trailing bytes', async () => {
  await inBoth(async (version) => {
    await malformed({ version, clientId: 'c', username: 'u', flags: 0x02 })
    await malformed({ version, clientId: 'c', username: 'u', password: 'p', flags: 0x82 })
    await malformed({ version, clientId: 'c', extra: wire.hex('00') })
  })
})

test('[MQTT-3.1.2-17] [MQTT-3.1.2-19] [v3:MQTT-3.1.2-19] [v3:MQTT-3.1.2-21] flags whose fields are missing are malformed', async () => {
  await inBoth(async (version) => {
    await malformed({ version, clientId: 'c', flags: 0x82 })
    await malformed({ version, clientId: 'c', username: 'u', flags: 0xc2 })
  })
})

test('[v3:MQTT-3.1.2-22] [fails:4] a password without a user name is malformed in 3.1.1, and allowed in 5.0', async () => {
  await malformed({ version: 4, clientId: 'c', password: 'p' })
  await h.connect({ password: 'p' })
})

test('[MQTT-3.1.2-28] response information is returned to those who ask for it', async () => {
  const quiet = await h.connect({ properties: { requestResponse: 0 } })
  expect(quiet.connack.properties.responseInformation).toBeUndefined()
  expect((await h.connect()).connack.properties.responseInformation).toBeUndefined()
  const asking = await h.connect({ properties: { requestResponse: 1 } })
  expect(asking.connack.properties.responseInformation).toBe('replies/here')
})

test('[MQTT-3.1.2-29] without problem information no reason string comes but with CONNACK and DISCONNECT', async () => {
  const client = await h.connect({ username: 'limited', properties: { requestProblem: 0 } })
  client.sendPublish({ topic: 'denied/x', qos: 1, packetId: 9 })
  await client.expect('puback', { reasonCode: 0x87, properties: {} })
  client.sendPublish({ topic: 'denied/x', qos: 2, packetId: 9 })
  await client.expect('pubrec', { reasonCode: 0x87, properties: {} })
  client.sendSubscribe([['denied/x', 0]])
  await client.expect('suback', { reasonCodes: [0x87], properties: {} })
  client.sendUnsubscribe([name()])
  await client.expect('unsuback', { reasonCodes: [0x11], properties: {} })
  client.send(wire.ack('pubrel', 77))
  await client.expect('pubcomp', { reasonCode: 0x92, properties: {} })
})

test('[MQTT-3.1.3-1] [v3:MQTT-3.1.3-1] the payload is read in its order: client id, will, user name, password', async () => {
  const topic = name()
  const subscriber = await h.subscriber(topic, 0)
  const client = await h.open()
  client.send(
    wire.packet(
      0x10,
      wire.hex('00 04 "MQTT" 05 c6 00 00 | will, user name, password, clean start'),
      wire.hex('05 11 00 00 00 05        | session expiry 5'),
      wire.string(name('c')),
      wire.hex('03 03 00 00              | will properties: content type, empty'),
      wire.string(topic),
      wire.string('gone'),
      wire.string('default/late'),
      wire.string('secret'),
    ),
  )
  await client.expect('connack', { reasonCode: 0 })
  client.send(wire.disconnect(4))
  await subscriber.receive({ topic, payload: 'gone', properties: { contentType: '' } })
})

test('[MQTT-3.1.3-3] [v3:MQTT-3.1.3-3] a CONNECT without client id field is malformed', async () => {
  for (const version of [4, 5] as const) {
    const client = await h.open(version)
    const end = version === 5 ? [wire.properties()] : []
    client.send(wire.packet(0x10, wire.string('MQTT'), wire.hex(`0${version} 02 00 00`), ...end))
    if (version === 5) await client.expect('connack', { reasonCode: 0x81 })
    await client.expectClose()
  }
})

test('[MQTT-3.1.3-4] [v3:MQTT-3.1.3-4] [MQTT-3.1.3-11] [v3:MQTT-3.1.3-10] [MQTT-3.1.3-12] [v3:MQTT-3.1.3-11] client id, will topic and user name must be UTF-8', async () => {
  const bad = Buffer.from('61c3', 'hex')
  await inBoth(async (version) => {
    await malformed({ version, clientId: bad })
    await malformed({ version, clientId: 'c', will: { topic: bad } })
    await malformed({ version, clientId: 'c', username: bad })
  })
})

test('[MQTT-3.1.3-5] [v3:MQTT-3.1.3-5] client ids of 1 to 23 letters and digits are allowed, and longer ones', async () => {
  const letters = '0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ'
  await inBoth(async (version) => {
    for (const clientId of ['a', letters.slice(0, 23), letters.slice(-23), letters, 'ä/+#$ 中']) {
      const client = await h.connect({ version, clientId })
      await client.expectSilence()
    }
  })
})

test('[MQTT-3.1.3-6] [MQTT-3.1.3-7] [MQTT-3.2.2-16] [v3:MQTT-3.1.3-6] [paho3:test_zero_length_clientid] [paho5:test_zero_length_clientid] [paho5:test_assigned_clientid] an empty client id becomes a unique one, which 5.0 is told', async () => {
  const ids: unknown[] = []
  for (const clean of [true, false, true]) {
    const client = await h.connect({ clientId: '', clean, properties: { sessionExpiry: 60 } })
    ids.push(client.connack.properties.assignedClientId)
    await client.expectSilence()
  }
  expect(ids.every((id) => typeof id === 'string' && id !== '')).toBe(true)
  expect(new Set(ids).size).toBe(3)
  // It is the session's name from now on.
  const again = await h.connect({ clientId: ids[0] as string, ...KEPT })
  expect(again.connack.sessionPresent).toBe(true)
  const old = [await h.connect({ version: 4, clientId: '' }), await h.connect({ version: 4, clientId: '' })]
  for (const client of old) await client.expectSilence()
})

test('[v3:MQTT-3.1.3-8] [v3:MQTT-3.1.3-7] [fails:3] [paho3:test_zero_length_clientid] an empty client id with clean session 0 is refused with 0x02', async () => {
  await h.refuse(2, { version: 4, clientId: '', clean: false })
})

test('[MQTT-3.1.3-8] [v3:MQTT-3.1.3-9] a client id that is too long is refused: 0x85, 0x02', async () => {
  await h.refuse(0x85, { clientId: 'x'.repeat(65_000) })
  await h.refuse(2, { version: 4, clientId: 'x'.repeat(65_000) })
})

test('[MQTT-3.1.4-1] [v3:MQTT-3.1.4-1] [v3:MQTT-3.2.2-6] [fails:4] a CONNECT that is not well formed closes the connection', async () => {
  await inBoth(async (version) => {
    await malformed({ version, clientId: 'c', extra: wire.hex('00 01 61') })
    await malformed({ version, clientId: 'c', will: { topic: 'a/+' } })
    await malformed({ version, clientId: 'c', will: { topic: '' } })
  })
  const properties: wire.Properties[] = [
    { raw: wire.hex('7e 00') },
    { topicAlias: 1 },
    { willDelay: 1 },
    { raw: wire.hex('11 00 00') },
  ]
  for (const values of properties) await malformed({ clientId: 'c', properties: values })
  const protocolErrors: wire.Properties[] = [
    { sessionExpiry: [1, 1] },
    { receiveMaximum: 0 },
    { maximumPacketSize: 0 },
    { requestProblem: 2 },
    { requestResponse: 2 },
    { authMethod: ['a', 'a'] },
  ]
  for (const values of protocolErrors) await malformed({ clientId: 'c', properties: values }, 0x82)
})

test('[MQTT-3.1.4-2] [MQTT-3.2.2-7] [v3:MQTT-3.2.2-5] bad credentials are refused with their code, then the connection closes', async () => {
  await h.refuse(0x86, { clientId: 'c', username: 'bad', password: 'x' })
  await h.refuse(0x8a, { clientId: 'c', username: 'banned' })
  await h.refuse(4, { version: 4, clientId: 'c', username: 'bad', password: 'x' })
  await h.refuse(5, { version: 4, clientId: 'c', username: 'banned' })
})

test('[MQTT-3.1.4-3] [v3:MQTT-3.1.4-2] [fails:18] a second connection of a client id ends the first, with 0x8E', async () => {
  for (const clean of [true, false]) {
    await inBoth(async (version) => {
      const clientId = name('c')
      const fields = { version, clientId, clean, properties: clean ? {} : { sessionExpiry: 60 } }
      const first = await h.connect(fields)
      const second = await h.connect(fields)
      await first.expectError(0x8e)
      expect(second.connack.sessionPresent).toBe(!clean)
      await second.expectSilence()
    })
  }
})

test('[MQTT-3.1.4-5] [v3:MQTT-3.1.4-4] [paho3:testBasic] [paho5:test_basic] an accepted CONNECT is acknowledged with 0', async () => {
  for (const version of [3, 4, 5] as const) {
    const client = await h.connect({ version })
    expect(client.connack).toMatchObject({ reasonCode: 0, sessionPresent: false })
  }
})

test('[MQTT-3.1.4-6] [v3:MQTT-3.1.4-5] what follows a refused CONNECT is not processed', async () => {
  await inBoth(async (version) => {
    const topic = name()
    const subscriber = await h.subscriber(topic, 0, { version })
    const client = await h.open(version)
    client.send(
      wire.connect({ version, clientId: name('c'), username: 'bad' }),
      wire.publish({ version, topic, payload: 'never' }),
      wire.publish({ version, topic, payload: 'never', qos: 1 }),
    )
    await client.expect('connack', { reasonCode: version === 5 ? 0x86 : 4 })
    await client.expectClose()
    await subscriber.expectSilence()
  })
})

test('[MQTT-3.1.4-6] packets behind a CONNECT wait for its acceptance', async () => {
  const topic = name()
  const subscriber = await h.subscriber(topic, 0)
  const client = await h.open()
  client.send(
    wire.connect({ clientId: name('c'), username: 'late' }),
    wire.publish({ topic, payload: 'early', qos: 1 }),
  )
  await client.expect('connack', { reasonCode: 0 })
  await client.expect('puback', { packetId: 1 })
  await subscriber.receive({ payload: 'early' })
})

test('[MQTT-3.2.0-1] [v3:MQTT-3.2.0-1] [fails:24] CONNACK is the first packet, before what a resumed session is owed', async () => {
  await inBoth(async (version) => {
    const topic = name()
    const fields = { version, clientId: name('c'), ...KEPT }
    const subscriber = await h.subscriber(topic, 1, fields)
    await subscriber.disconnect()
    await (await h.connect({ version })).publish(topic, 'owed', { qos: 1 })
    const again = await h.connect(fields)
    expect(again.connack.sessionPresent).toBe(true)
    await again.receive({ payload: 'owed' })
  })
})

test('[MQTT-3.2.0-2] a connection gets one CONNACK', async () => {
  const client = await h.connect()
  await client.subscribe(name(), 1)
  await client.expectSilence()
})

test('[MQTT-3.2.2-1] [MQTT-3.2.2-6] [MQTT-3.2.2-8] [v3:MQTT-3.2.2-4] a refusal has no session present, even where there is a session', async () => {
  await inBoth(async (version) => {
    const clientId = name('c')
    await (await h.connect({ version, clientId, ...KEPT })).disconnect()
    const refused = await h.open(version)
    refused.send(wire.connect({ version, clientId, clean: false, username: 'bad' }))
    await refused.expect('connack', { reasonCode: version === 5 ? 0x86 : 4, sessionPresent: false })
    await refused.expectClose()
  })
})

test('[MQTT-3.2.2-9] [MQTT-3.2.2-10] a broker without QoS 2 says so, and still takes subscriptions of any QoS', async () => {
  for (const [tenant, highest] of [
    ['q1', 1],
    ['q0', 0],
  ] as const) {
    const client = await h.connect({ username: `${tenant}/x` })
    expect(client.connack.properties.maximumQos).toBe(highest)
    for (const qos of [0, 1, 2]) expect(await client.subscribe(name(), qos)).toBe(Math.min(qos, highest))
  }
  expect((await h.connect()).connack.properties.maximumQos).toBeUndefined()
})

test('[MQTT-3.2.2-11] a PUBLISH over the announced QoS ends the connection with 0x9B', async () => {
  const client = await h.connect({ username: 'q1/x' })
  client.sendPublish({ topic: name(), qos: 2 })
  await client.expectError(0x9b)
})

test('[MQTT-3.2.2-12] a will over the announced QoS is refused with 0x9B', async () => {
  await h.refuse(0x9b, { clientId: 'c', username: 'q1/x', will: { topic: 'w', qos: 2 } })
  await h.connect({ username: 'q1/x', will: { topic: 'w', qos: 1 } })
})

test('[MQTT-3.2.2-13] [fails:22] where retain is not available, a will with retain is refused with 0x9A', async () => {
  await h.refuse(0x9a, { clientId: 'c', username: 'noretain/x', will: { topic: 'w', retain: true } })
})

test('[MQTT-3.2.2-14] where retain is not available, a PUBLISH with it ends the connection with 0x9A', async () => {
  const client = await h.connect({ username: 'noretain/x' })
  expect(client.connack.properties.retainAvailable).toBe(0)
  client.sendPublish({ topic: name(), retain: true })
  await client.expectError(0x9a)
  expect((await h.connect()).connack.properties.retainAvailable).toBeUndefined()
})

test('[MQTT-3.2.2-15] [paho5:test_maximum_packet_size] a packet over the announced size ends the connection with 0x95', async () => {
  const client = await h.connect({ username: 'small/x' })
  expect(client.connack.properties.maximumPacketSize).toBe(2048)
  const topic = name()
  const fits = 2048 - 3 - 2 - topic.length - 1
  await client.publish(topic, 'x'.repeat(fits))
  await client.expectSilence()
  client.sendPublish({ topic, payload: 'x'.repeat(fits + 1) })
  await client.expectError(0x95)
})

test('[MQTT-3.2.2-17] [MQTT-3.2.2-18] [fails:15] a topic alias over the announced maximum ends the connection with 0x94', async () => {
  const client = await h.connect()
  const maximum = client.connack.properties.topicAliasMaximum as number
  expect(maximum).toBeGreaterThan(0)
  client.sendPublish({ topic: name(), properties: { topicAlias: maximum + 1 } })
  await client.expectError(0x94)
  const none = await h.connect({ username: 'noalias/x' })
  expect(none.connack.properties.topicAliasMaximum).toBeUndefined()
  none.sendPublish({ topic: name(), properties: { topicAlias: 1 } })
  await none.expectError(0x94)
})

test('[MQTT-3.2.2-19] [MQTT-3.2.2-20] [fails:14] a CONNACK leaves its reason string out rather than be too large', async () => {
  const short = await h.begin({ clientId: 'c', username: 'bad', properties: { maximumPacketSize: 12 } })
  const connack = await short.expect('connack', { reasonCode: 0x86, properties: {} })
  expect(connack.size).toBeLessThanOrEqual(12)
  const long = await h.begin({ clientId: 'c', username: 'bad', properties: { maximumPacketSize: 200 } })
  expect((await long.expect('connack', { reasonCode: 0x86 })).properties.reasonString).toBeTypeOf('string')
})

test('[MQTT-3.1.2-21] [MQTT-3.2.2-21] [paho5:test_server_keep_alive] [fails:25] the server keep-alive is announced', async () => {
  const client = await h.connect({ username: 'sk/x', keepAlive: 120 })
  expect(client.connack.properties.serverKeepAlive).toBe(60)
  // 3.x cannot be told: its own keep-alive counts, none as well.
  await (await h.connect({ version: 4, username: 'sk/x', keepAlive: 0 })).expectSilence()
})

test.concurrent('[MQTT-3.1.2-21] [fails:25] the announced keep-alive is the one that is enforced', async () => {
  const client = await h.connect({ username: 'sk1/x', keepAlive: 600 })
  expect(client.connack.properties.serverKeepAlive).toBe(1)
  await client.expectError(0x8d)
})

test.concurrent('[MQTT-3.1.2-22] [MQTT-3.2.2-22] [v3:MQTT-3.1.2-24] [paho3:test_keepalive] [paho5:test_keepalive] silence of one and a half keep-alives ends the connection', async () => {
  const run = async (version: 4 | 5) => {
    const topic = name()
    const subscriber = await h.subscriber(topic, 0)
    const startedMs = Date.now()
    const client = await h.connect({ version, keepAlive: 1, will: { topic, payload: 'gone' } })
    expect(client.connack.properties.serverKeepAlive).toBeUndefined()
    await client.expectError(0x8d)
    expect(Date.now() - startedMs).toBeGreaterThanOrEqual(1450)
    await subscriber.receive({ payload: 'gone' })
  }
  await Promise.all([run(4), run(5)])
})

test.concurrent('[MQTT-3.1.2-22] [v3:MQTT-3.1.2-24] any packet keeps the connection', async () => {
  const run = async (version: 4 | 5) => {
    const client = await h.connect({ version, keepAlive: 1 })
    for (let i = 0; i < 4; i++) {
      await elapse(600)
      if (i % 2 === 0) await client.expectSilence()
      else await client.publish(name(), 'x')
    }
    await client.expectSilence()
  }
  await Promise.all([run(4), run(5)])
})

test('[MQTT-3.2.2-22] a keep-alive of 0 is left to the client', async () => {
  const client = await h.connect({ keepAlive: 0 })
  expect(client.connack.properties.serverKeepAlive).toBeUndefined()
})

test('[fails:25] the announced receive maximum is the one that is enforced', async () => {
  const client = await h.connect({ username: 'rm/x' })
  expect(client.connack.properties.receiveMaximum).toBe(3)
  for (const packetId of [1, 2, 3]) client.sendPublish({ topic: name(), qos: 2, packetId })
  for (const packetId of [1, 2, 3]) await client.expect('pubrec', { packetId })
  client.sendPublish({ topic: name(), qos: 2, packetId: 4 })
  await client.expectError(0x93)
})
