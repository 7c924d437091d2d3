/** Sections 3.12 to 3.14, 4.12 and 4.13: PINGREQ, DISCONNECT, AUTH, errors. */
import { expect, test } from 'vitest'
import { inBoth, KEPT, name, useBroker } from './harness.ts'
import * as wire from './wire.ts'

const h = useBroker()

test('[MQTT-3.12.4-1] [v3:MQTT-3.12.4-1] PINGREQ is answered by PINGRESP', async () => {
  await inBoth(async (version) => {
    for (const kept of [{}, KEPT]) {
      const client = await h.connect({ version, ...kept })
      client.send(wire.PINGREQ, wire.PINGREQ, wire.PINGREQ)
      for (let i = 0; i < 3; i++) expect(await client.expect('pingresp')).toMatchObject({ size: 2 })
    }
  })
})

test('[MQTT-3.14.1-1] [v3:MQTT-3.14.1-1] DISCONNECT with reserved bits is malformed, and its will is sent', async () => {
  await inBoth(async (version) => {
    const topic = name()
    const subscriber = await h.subscriber(topic, 0)
    for (const flags of [1, 2, 4, 8]) {
      const client = await h.connect({ version, will: { topic, payload: 'gone' } })
      client.send(wire.hex(`e${flags} 00`))
      await client.expectError(0x81)
      await subscriber.receive({ payload: 'gone' })
    }
  })
})

test('[MQTT-3.14.2-1] [MQTT-3.14.2-2] DISCONNECT with a code or property that a client may not send ends in 0x82', async () => {
  for (const code of [0x01, 0x8e, 0x9c, 0xff]) {
    const client = await h.connect()
    client.send(wire.disconnect(code))
    await client.expectError(0x82)
  }
  const client = await h.connect()
  client.send(wire.disconnect(0, { serverReference: 'x' }))
  await client.expectError(0x82)
})

test('every form of DISCONNECT is understood', async () => {
  const topic = name()
  const subscriber = await h.subscriber(topic, 1)
  const forms = [
    wire.disconnect(),
    wire.disconnect(0),
    wire.disconnect(0, {}),
    wire.disconnect(0, { reasonString: 'bye', user: [['a', 'b']] }),
  ]
  for (const form of forms) {
    const client = await h.connect({ will: { topic, payload: 'never' } })
    client.send(form)
    await client.expectClose()
  }
  await (await h.connect()).publish(topic, 'marker', { qos: 1 })
  await subscriber.receive({ payload: 'marker' })
})

test('[MQTT-3.14.2-3] [MQTT-3.14.2-4] [fails:14] a DISCONNECT leaves its reason string out rather than be too large', async () => {
  const short = await h.connect({ properties: { maximumPacketSize: 22 } })
  short.send(wire.hex('c1 00'))
  const small = await short.expect('disconnect', { reasonCode: 0x81, properties: {} })
  expect(small.size).toBeLessThanOrEqual(22)
  const long = await h.connect()
  long.send(wire.hex('c1 00'))
  expect((await long.expect('disconnect')).properties.reasonString).toBeTypeOf('string')
})

test('[MQTT-3.14.4-1] [MQTT-3.14.4-2] [MQTT-4.13.1-1] [MQTT-4.13.2-1] [fails:23] an error of the client is told by DISCONNECT, then nothing more comes and the connection closes', async () => {
  const cases: [Buffer, number][] = [
    [wire.hex('c1 00'), 0x81],
    [wire.hex('30 02 00 00'), 0x81],
    [wire.publish({ qos: 3 }), 0x81],
    [wire.publish({ topic: 'a/#' }), 0x81],
    [wire.publish({ topic: '' }), 0x82],
    [wire.publish({ qos: 1, packetId: 0 }), 0x82],
    [wire.publish({ properties: { topicAlias: 0 } }), 0x94],
    [wire.subscribe({ filters: [] }), 0x82],
    [wire.subscribe({ filters: [['a/#/b', 0]] }), 0x81],
    [wire.connect({ clientId: 'x' }), 0x82],
    [wire.auth(0x19, { authMethod: 'one-step' }), 0x82],
    [wire.packet(0x30, Buffer.alloc(1 << 20)), 0x95],
  ]
  for (const [packet, code] of cases) {
    const topic = name()
    const client = await h.subscriber(topic, 0)
    client.send(packet, wire.publish({ topic, payload: 'after the error' }), wire.PINGREQ)
    await client.expectError(code)
  }
})

test('[v3:MQTT-4.8.0-1] an error of a 3.1.1 client closes its connection without a word', async () => {
  for (const packet of [wire.hex('c1 00'), wire.hex('30 02 00 00'), wire.connect({ version: 4, clientId: 'x' })]) {
    const client = await h.connect({ version: 4 })
    client.send(packet, wire.PINGREQ)
    await client.expectClose()
  }
})

test('[MQTT-3.14.4-1] [v3:MQTT-3.14.4-1] [v3:MQTT-3.14.4-2] what follows a DISCONNECT is not processed, and the broker closes', async () => {
  await inBoth(async (version) => {
    const topic = name()
    const subscriber = await h.subscriber(topic, 0)
    const client = await h.connect({ version })
    client.send(
      wire.publish({ version, topic, payload: 'before' }),
      wire.disconnect(),
      wire.publish({ version, topic, payload: 'after' }),
    )
    await client.expectClose()
    await subscriber.receive({ payload: 'before' })
    await subscriber.expectSilence()
  })
})

test('[MQTT-3.15.1-1] AUTH with flags is malformed', async () => {
  for (const flags of [1, 2, 4, 8]) {
    const client = await h.connect({ properties: { authMethod: 'one-step', authData: Buffer.from('secret') } })
    const bytes = wire.auth(0x19, { authMethod: 'one-step' })
    bytes[0] = 0xf0 | flags
    client.send(bytes)
    await client.expectError(0x81)
  }
})

test("[MQTT-3.15.2-1] AUTH with a reason code that is not a client's ends the connection with 0x82", async () => {
  for (const code of [0x00, 0x01, 0x17, 0x80, 0x87]) {
    const client = await h.connect({ properties: { authMethod: 'one-step', authData: Buffer.from('secret') } })
    client.send(wire.auth(code, { authMethod: 'one-step' }))
    await client.expectError(0x82)
  }
  const client = await h.connect({ properties: { authMethod: 'one-step', authData: Buffer.from('secret') } })
  client.send(wire.hex('f0 00'))
  await client.expectError(0x81)
})

test('[MQTT-3.15.2-2] [MQTT-3.15.2-3] AUTH of the broker stays within the packet size of the client', async () => {
  const properties = { authMethod: 'two-step', maximumPacketSize: 40 }
  const client = await h.begin({ clientId: name('c'), properties })
  expect((await client.expect('auth', { reasonCode: 0x18 })).size).toBeLessThanOrEqual(40)
})

test('[MQTT-4.12.0-1] an unknown authentication method is refused with 0x8C', async () => {
  await h.refuse(0x8c, { clientId: 'c', properties: { authMethod: 'unknown' } })
})

test('[fails:17] authentication data without a method is refused with 0x82', async () => {
  await h.refuse(0x82, { clientId: 'c', properties: { authData: Buffer.from('x') } })
  const client = await h.connect({ properties: { authMethod: 'one-step', authData: Buffer.from('secret') } })
  client.send(wire.auth(0x19, { authData: Buffer.from('x') }))
  await client.expectError(0x82)
})

test('[MQTT-4.12.0-2] [MQTT-4.12.0-3] [MQTT-4.12.0-5] [MQTT-3.1.2-30] AUTH goes forth and back until CONNACK, with the method of CONNECT', async () => {
  const client = await h.begin({ clientId: name('c'), properties: { authMethod: 'two-step' } })
  await client.expect('auth', { reasonCode: 0x18, properties: { authMethod: 'two-step', authData: 'challenge' } })
  client.send(wire.auth(0x18, { authMethod: 'two-step', authData: Buffer.from('response') }))
  const { properties } = await client.expect('connack', { reasonCode: 0 })
  expect(properties).toMatchObject({ authMethod: 'two-step', authData: 'welcome' })
  await client.expectSilence()
})

test('[MQTT-3.1.2-30] anything but AUTH or DISCONNECT before CONNACK is refused', async () => {
  for (const packet of [wire.PINGREQ, wire.publish({ topic: 'a' }), wire.subscribe({ filters: [['a', 0]] })]) {
    const client = await h.begin({ clientId: name('c'), properties: { authMethod: 'two-step' } })
    await client.expect('auth', { reasonCode: 0x18 })
    client.send(packet)
    await client.expect('connack', { reasonCode: 0x82 })
    await client.expectClose()
  }
})

test('a client may give up between AUTH and CONNACK by DISCONNECT', async () => {
  const topic = name()
  const subscriber = await h.subscriber(topic, 1)
  const client = await h.begin({ clientId: name('c'), will: { topic }, properties: { authMethod: 'two-step' } })
  await client.expect('auth')
  client.send(wire.disconnect(4))
  await client.expectClose()
  await (await h.connect()).publish(topic, 'marker', { qos: 1 })
  await subscriber.receive({ payload: 'marker' })
})

test('[MQTT-4.12.0-4] a failed exchange is refused with its code, then the connection closes', async () => {
  const client = await h.begin({ clientId: name('c'), properties: { authMethod: 'two-step' } })
  await client.expect('auth')
  client.send(wire.auth(0x18, { authMethod: 'two-step', authData: Buffer.from('wrong') }))
  await client.expect('connack', { reasonCode: 0x87, sessionPresent: false })
  await client.expectClose()
  await h.refuse(0x87, { clientId: 'c', properties: { authMethod: 'one-step', authData: Buffer.from('wrong') } })
})

test('[MQTT-4.12.0-5] AUTH with another method than CONNECT ends the exchange', async () => {
  const client = await h.begin({ clientId: name('c'), properties: { authMethod: 'two-step' } })
  await client.expect('auth')
  client.send(wire.auth(0x18, { authMethod: 'one-step', authData: Buffer.from('secret') }))
  await client.expect('connack', { reasonCode: 0x82 })
  await client.expectClose()
})

test('[MQTT-4.12.0-6] [MQTT-4.12.0-7] without a method there is no AUTH, and CONNACK names none', async () => {
  const client = await h.connect()
  expect(client.connack.properties.authMethod).toBeUndefined()
  client.send(wire.auth(0x19, { authMethod: 'one-step', authData: Buffer.from('secret') }))
  await client.expectError(0x82)
})

test('[MQTT-4.12.1-1] a client may authenticate again, while messages flow', async () => {
  const topic = name()
  const client = await h.connect({ properties: { authMethod: 'one-step', authData: Buffer.from('secret') } })
  await client.subscribe(topic, 1)
  for (let i = 0; i < 2; i++) {
    client.send(wire.auth(0x19, { authMethod: 'one-step', authData: Buffer.from('secret') }))
    await client.expect('auth', { reasonCode: 0, properties: { authMethod: 'one-step' } })
    await (await h.connect()).publish(topic, 'x', { qos: 1 })
    await client.receive({ payload: 'x' })
  }
})

test('[MQTT-4.12.1-1] [MQTT-4.12.0-2] re-authentication may take several steps', async () => {
  const auth = (code: number, data: string) => wire.auth(code, { authMethod: 'two-step', authData: Buffer.from(data) })
  const client = await h.begin({ clientId: name('c'), properties: { authMethod: 'two-step' } })
  await client.expect('auth')
  client.send(auth(0x18, 'response'))
  await client.expect('connack', { reasonCode: 0 })
  client.send(auth(0x19, ''))
  await client.expect('auth', { reasonCode: 0x18, properties: { authMethod: 'two-step', authData: 'challenge' } })
  client.send(wire.PINGREQ, auth(0x18, 'response'))
  await client.expect('pingresp')
  await client.expect('auth', { reasonCode: 0, properties: { authMethod: 'two-step', authData: 'welcome' } })
})

test('[MQTT-4.12.1-2] a failed re-authentication ends the connection with its code', async () => {
  const client = await h.connect({ properties: { authMethod: 'one-step', authData: Buffer.from('secret') } })
  client.send(wire.auth(0x19, { authMethod: 'one-step', authData: Buffer.from('wrong') }))
  await client.expectError(0x87)
  const other = await h.connect({ properties: { authMethod: 'one-step', authData: Buffer.from('secret') } })
  other.send(wire.auth(0x19, { authMethod: 'two-step' }))
  await other.expectError(0x82)
})
