/** Chapters 1 and 2: data representation, fixed header, packet identifiers, property length. */
import { expect, test } from 'vitest'
import type { RawClient } from './client.ts'
import { inBoth, name, useBroker } from './harness.ts'
import * as wire from './wire.ts'

const h = useBroker()

/** Well-formed UTF-8 is decided by the table of RFC 3629. */
const ILL_FORMED = {
  'overlong U+0000': 'c080',
  'overlong /': 'c0af',
  'overlong three bytes': 'e08080',
  'overlong four bytes': 'f0808080',
  'surrogate U+D800': 'eda080',
  'surrogate U+DFFF': 'edbfbf',
  'surrogate pair': 'eda080edb080',
  'above U+10FFFF': 'f4908080',
  'lone continuation': '80',
  'cut sequence': 'e282',
  'never a byte': 'ff',
}

/** Every string of a client's packets after CONNECT. */
function strings(version: 4 | 5, text: Buffer): Buffer[] {
  const filters: wire.Filter[] = [[text, 0]]
  const packets = [
    wire.publish({ version, topic: text }),
    wire.subscribe({ version, filters }),
    wire.unsubscribe({ version, filters: [text] }),
  ]
  if (version === 4) return packets
  const userName = Buffer.concat([wire.u8(0x26), wire.string(text), wire.string('v')])
  const userValue = Buffer.concat([wire.u8(0x26), wire.string('n'), wire.string(text)])
  return [
    ...packets,
    wire.publish({ properties: { contentType: text } }),
    wire.publish({ properties: { responseTopic: text } }),
    wire.publish({ properties: { raw: userName } }),
    wire.publish({ properties: { raw: userValue } }),
    wire.subscribe({ filters: [['a', 0]], properties: { raw: userValue } }),
    wire.unsubscribe({ filters: ['a'], properties: { raw: userName } }),
    wire.ack('puback', 1, 0, { reasonString: text }),
    wire.ack('pubrel', 1, 0, { raw: userValue }),
    wire.disconnect(0, { reasonString: text }),
    wire.auth(0x18, { authMethod: text }),
  ]
}

/** Every string of a CONNECT. */
function connectStrings(version: 4 | 5, text: Buffer): wire.ConnectFields[] {
  const fields: wire.ConnectFields[] = [
    { version, clientId: text },
    { version, clientId: 'c', will: { topic: text } },
    { version, clientId: 'c', username: text },
  ]
  if (version === 4) return fields
  return [
    ...fields,
    { clientId: 'c', properties: { authMethod: text } },
    { clientId: 'c', properties: { raw: Buffer.concat([wire.u8(0x26), wire.string(text), wire.string('v')]) } },
    { clientId: 'c', will: { topic: 'w', properties: { contentType: text } } },
    { clientId: 'c', will: { topic: 'w', properties: { responseTopic: text } } },
  ]
}

async function refusesText(version: 4 | 5, text: Buffer): Promise<void> {
  for (const fields of connectStrings(version, text)) {
    const client = await h.begin(fields)
    if (version === 5) await client.expect('connack', { reasonCode: 0x81 })
    await client.expectClose()
  }
  for (const packet of strings(version, text)) await refusesPacket(version, packet, 0x81)
}

async function refusesPacket(version: 4 | 5, packet: Buffer, reasonCode: number): Promise<void> {
  const client = await h.connect({ version })
  client.send(packet)
  await client.expectError(reasonCode)
}

test('[MQTT-1.5.4-1] [v3:MQTT-1.5.3-1] [MQTT-1.5.7-1] [fails:5] ill-formed UTF-8 in any string ends the connection', async () => {
  for (const bytes of Object.values(ILL_FORMED)) {
    await inBoth((version) => refusesText(version, Buffer.concat([Buffer.from('a'), Buffer.from(bytes, 'hex')])))
  }
})

test('[MQTT-1.5.4-2] [v3:MQTT-1.5.3-2] [MQTT-4.7.3-2] [v3:MQTT-4.7.3-2] [fails:5] U+0000 in any string ends the connection', async () => {
  await inBoth((version) => refusesText(version, Buffer.from('a\0b')))
})

test('[MQTT-1.5.4-3] [v3:MQTT-1.5.3-3] U+FEFF is kept, at the beginning too', async () => {
  await inBoth(async (version) => {
    const topic = name('t')
    const plain = await h.subscriber(topic, 0, { version })
    const marked = await h.subscriber(`\ufeff${topic}`, 0, { version })
    const publisher = await h.connect({ version })
    await publisher.publish(`\ufeff${topic}`, '\ufeffx', { qos: 1 })
    await marked.receive({ topic: `\ufeff${topic}`, payload: '\ufeffx' })
    await plain.expectSilence()
  })
})

test('[fails:5] control characters and non-characters are accepted, and passed on as they are', async () => {
  const topic = `${name()}/\u0001\u001f\u007f\u009f\uffff`
  await inBoth(async (version) => {
    const subscriber = await h.subscriber(topic, 0, { version })
    await (await h.connect({ version })).publish(topic, 'x', { qos: 1 })
    await subscriber.receive({ topic })
  })
})

test('[MQTT-1.5.5-1] a variable byte integer that is longer than needed is malformed', async () => {
  const cases = [
    wire.hex('c0 80 00           | PINGREQ whose remaining length 0 takes two bytes'),
    wire.hex('30 84 00 00 01 61 00 | PUBLISH whose remaining length 4 takes two bytes'),
    wire.hex('30 05 00 01 61 80 00 | PUBLISH whose property length 0 takes two bytes'),
    wire
      .hex('82 09 00 01 03 0b 81 00 00 01 61 00 | SUBSCRIBE whose subscription identifier 1 takes two bytes')
      .fill(8, 1, 2),
    wire.hex('40 84 00 00 01 00 00 | PUBACK whose remaining length takes two bytes'),
  ]
  for (const packet of cases) await refusesPacket(5, packet, 0x81)
})

test('[MQTT-1.5.5-1] a remaining length of five bytes is malformed', async () => {
  await inBoth((version) => refusesPacket(version, wire.hex('30 ff ff ff ff 01'), 0x81))
})

test('[MQTT-2.1.3-1] [v3:MQTT-2.2.2-1] [v3:MQTT-2.2.2-2] [fails:6] wrong flags in any fixed header end the connection', async () => {
  await inBoth(async (version) => {
    const refused = await h.begin({ version, first: 0x11, clientId: 'c' })
    if (version === 5) await refused.expect('connack', { reasonCode: 0x81 })
    await refused.expectClose()
    const filters: wire.Filter[] = [['a', 0]]
    for (const flags of [0, 1, 4, 8, 15]) {
      await refusesPacket(version, wire.subscribe({ version, filters, first: 0x80 | flags }), 0x81)
      await refusesPacket(version, wire.unsubscribe({ version, filters: ['a'], first: 0xa0 | flags }), 0x81)
      await refusesPacket(version, wire.hex(`6${flags.toString(16)} 02 00 01`), 0x81)
    }
    for (const flags of [1, 2, 4, 8]) {
      for (const type of [4, 5, 7]) await refusesPacket(version, wire.hex(`${type}${flags} 02 00 01`), 0x81)
      for (const type of ['c', 'e']) await refusesPacket(version, wire.hex(`${type}${flags} 00`), 0x81)
    }
  })
})

test('[MQTT-2.1.3-1] [v3:MQTT-2.2.2-2] a reserved packet type ends the connection', async () => {
  await inBoth((version) => refusesPacket(version, wire.hex('00 00'), 0x81))
  await refusesPacket(4, wire.hex('f0 00'), 0x81)
})

test('[v3:MQTT-4.8.0-1] [MQTT-4.13.1-1] packets that only a server sends end the connection', async () => {
  await inBoth(async (version) => {
    for (const packet of ['20 02 00 00', '90 03 00 01 00', 'b0 02 00 01', 'd0 00']) {
      await refusesPacket(version, wire.hex(packet), 0x82)
    }
  })
})

test('[fails:6] wrong lengths of PINGREQ and acks end the connection', async () => {
  await inBoth(async (version) => {
    await refusesPacket(version, wire.hex('c0 01 00'), 0x81)
    for (const first of ['40', '50', '62', '70']) {
      await refusesPacket(version, wire.hex(`${first} 00`), 0x81)
      await refusesPacket(version, wire.hex(`${first} 01 00`), 0x81)
    }
  })
  for (const first of ['40', '50', '62', '70']) {
    await refusesPacket(4, wire.hex(`${first} 03 00 01 00`), 0x81)
    await refusesPacket(5, wire.hex(`${first} 05 00 01 00 00 00 | bytes after the properties`), 0x81)
    await refusesPacket(5, wire.hex(`${first} 04 00 01 00 05 | properties longer than the packet`), 0x81)
  }
  await refusesPacket(4, wire.hex('e0 01 00 | DISCONNECT of 3.1.1 is empty'), 0x81)
})

test('[fails:23] truncated and overlong fields end the connection at once', async () => {
  await inBoth(async (version) => {
    await refusesPacket(version, wire.hex('30 00 | PUBLISH without a topic'), 0x81)
    await refusesPacket(version, wire.hex('30 03 00 05 61 | topic longer than the packet'), 0x81)
    await refusesPacket(version, wire.hex('32 04 00 01 61 00 | half a packet identifier'), 0x81)
    await refusesPacket(version, wire.hex('82 01 00 | SUBSCRIBE with half a packet identifier'), 0x81)
    const cut = version === 5 ? '82 06 00 01 00 00 02 61' : '82 05 00 01 00 02 61'
    await refusesPacket(version, wire.hex(`${cut} | filter longer than the packet`), 0x81)
  })
})

test('[MQTT-2.2.1-2] [v3:MQTT-2.3.1-5] a PUBLISH of QoS 0 has no packet identifier', async () => {
  await inBoth(async (version) => {
    const topic = name()
    const subscriber = await h.subscriber(topic, 2, { version })
    const publisher = await h.connect({ version })
    // The two bytes after the topic are payload, not an identifier; the receiver's decoder sees the same.
    await publisher.publish(topic, '\u0000\u0001payload')
    await subscriber.receive({ qos: 0, payload: '\u0000\u0001payload' })
  })
})

test('[MQTT-2.2.1-3] [v3:MQTT-2.3.1-1] [fails:7] packet identifier 0 ends the connection', async () => {
  await inBoth(async (version) => {
    for (const qos of [1, 2]) await refusesPacket(version, wire.publish({ version, qos, packetId: 0 }), 0x82)
    await refusesPacket(version, wire.subscribe({ version, packetId: 0, filters: [['a', 0]] }), 0x82)
    await refusesPacket(version, wire.unsubscribe({ version, packetId: 0, filters: ['a'] }), 0x82)
    for (const ack of ['puback', 'pubrec', 'pubrel', 'pubcomp'] as const) {
      await refusesPacket(version, wire.ack(ack, 0), 0x82)
    }
  })
})

test('[MQTT-2.2.1-4] [v3:MQTT-2.3.1-4] [MQTT-4.3.2-1] [MQTT-4.3.3-1] the broker gives every message in flight an identifier of its own', async () => {
  await inBoth(async (version) => {
    for (const kept of [false, true]) {
      const topic = name()
      const fields = { version, clean: !kept, properties: { sessionExpiry: kept ? 60 : 0 } }
      const subscriber = await h.subscriber(topic, 2, fields)
      const publisher = await h.connect({ version })
      for (let i = 0; i < 60; i++) await publisher.publish(topic, `${i}`, { qos: 1 + (i % 2) })
      const ids = await receiveIds(subscriber, 60)
      expect(new Set(ids).size).toBe(60)
      expect(Math.min(...ids)).toBeGreaterThan(0)
    }
  })
})

async function receiveIds(client: RawClient, count: number): Promise<number[]> {
  const ids: number[] = []
  while (ids.length < count) ids.push((await client.expect('publish')).packetId!)
  return ids
}

test('[MQTT-2.2.1-5] [v3:MQTT-2.3.1-6] acks carry the identifier of their PUBLISH', async () => {
  await inBoth(async (version) => {
    const client = await h.connect({ version })
    client.sendPublish({ topic: name(), qos: 1, packetId: 0x1234 })
    await client.expect('puback', { packetId: 0x1234 })
    client.sendPublish({ topic: name(), qos: 2, packetId: 0xffff })
    await client.expect('pubrec', { packetId: 0xffff })
    client.send(wire.ack('pubrel', 0xffff))
    await client.expect('pubcomp', { packetId: 0xffff, reasonCode: 0 })
  })
})

test('[MQTT-2.2.1-6] [v3:MQTT-2.3.1-7] SUBACK and UNSUBACK carry the identifier of their request', async () => {
  await inBoth(async (version) => {
    const client = await h.connect({ version })
    client.sendSubscribe([[name(), 0]], { packetId: 0xabcd })
    await client.expect('suback', { packetId: 0xabcd })
    client.sendUnsubscribe([name()], { packetId: 0x00ff })
    await client.expect('unsuback', { packetId: 0x00ff })
  })
})

test('[MQTT-2.2.2-1] a packet without properties has a property length of 0', async () => {
  const topic = name()
  const subscriber = await h.connect()
  subscriber.sendSubscribe([[topic, 0]])
  expect(await subscriber.expect('suback', { properties: {} })).toMatchObject({ size: 2 + 2 + 1 + 1 })
  await (await h.connect({ version: 4 })).publish(topic, 'x')
  expect(await subscriber.expect('publish', { properties: {} })).toMatchObject({ size: 2 + 2 + topic.length + 1 + 1 })
  // Without a property length a PUBLISH is malformed.
  await refusesPacket(5, wire.hex('30 03 00 01 61'), 0x81)
})

test('[MQTT-4.2-1] packets arrive whole in whatever pieces the stream delivers them', async () => {
  await inBoth(async (version) => {
    const topic = name()
    const subscriber = await h.subscriber(topic, 1, { version })
    const client = await h.open(version)
    const stream = Buffer.concat([
      wire.connect({ version, clientId: name('c') }),
      ...[1, 2, 3].map((id) => wire.publish({ version, topic, payload: `${id}`, qos: 1, packetId: id })),
    ])
    for (const byte of stream) client.send(wire.u8(byte))
    await client.expect('connack', { reasonCode: 0 })
    for (const id of [1, 2, 3]) {
      await client.expect('puback', { packetId: id })
      await subscriber.receive({ payload: `${id}` })
    }
  })
})
