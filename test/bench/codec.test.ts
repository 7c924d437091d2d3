/** The generator's codec against mqtt-packet, an independent peer, and against streams cut at every byte. */
import { generate, type IPublishPacket, type Packet, parser } from 'mqtt-packet'
import { expect, test } from 'vitest'
import {
  encodeConnect,
  encodePublish,
  encodeSubscribe,
  PUBACK,
  PUBCOMP,
  PUBREC,
  PUBREL,
  PublishRing,
  type Received,
  receiveMaximum,
  refusedCode,
  scan,
  writeAck,
} from '../../bench/generator/codec.ts'

/** As mqtt-packet understands it. */
function decode(bytes: Uint8Array, protocolVersion: number): Packet[] {
  const packets: Packet[] = []
  const decoder = parser({ protocolVersion })
  decoder.on('packet', (packet: Packet) => packets.push(packet))
  decoder.on('error', (error: Error) => {
    throw error
  })
  decoder.parse(Buffer.from(bytes))
  return packets
}

/** Records what a scan reports, payloads as text. */
class Recorder implements Received {
  readonly bytes: Buffer
  readonly seen: string[] = []

  constructor(bytes: Buffer) {
    this.bytes = bytes
  }

  onPublish(head: number, packetId: number, payload: number, end: number): void {
    this.seen.push(`publish ${head.toString(16)} ${packetId} ${this.bytes.toString('latin1', payload, end)}`)
  }

  onAck(type: number, packetId: number, failed: boolean): void {
    this.seen.push(`ack ${type} ${packetId}${failed ? ' failed' : ''}`)
  }

  onControl(type: number, body: number, end: number): void {
    this.seen.push(`control ${type} ${end - body}`)
  }
}

test('CONNECT of 3.1, 3.1.1 and 5.0 with will and expiry', () => {
  const will = { topic: 'w', payload: 'gone', qos: 1 as const }
  for (const version of [3, 4, 5] as const) {
    const [packet] = decode(
      encodeConnect({ version, clientId: 'c1', clean: false, sessionExpirySeconds: 70_000, will }),
      version,
    )
    expect(packet).toMatchObject({
      cmd: 'connect',
      protocolVersion: version,
      protocolId: version === 3 ? 'MQIsdp' : 'MQTT',
      clientId: 'c1',
      clean: false,
      keepalive: 0,
      will: { topic: 'w', qos: 1, retain: false, payload: Buffer.from('gone') },
      ...(version === 5 ? { properties: { sessionExpiryInterval: 70_000 } } : {}),
    })
  }
  expect(decode(encodeConnect({ version: 5, clientId: 'c', clean: true }), 5)[0]).toMatchObject({ clean: true })
})

test('SUBSCRIBE carries every filter with its QoS', () => {
  for (const version of [4, 5] as const) {
    const [packet] = decode(encodeSubscribe(version, 258, ['a/+', 'b/#'], 2), version)
    expect(packet).toMatchObject({
      cmd: 'subscribe',
      messageId: 258,
      subscriptions: [
        { topic: 'a/+', qos: 2 },
        { topic: 'b/#', qos: 2 },
      ],
    })
  }
})

test('PUBLISH, also with a payload that needs three length bytes', () => {
  for (const version of [4, 5] as const) {
    const payload = Buffer.alloc(20_000, 7)
    const [packet] = decode(encodePublish({ version, qos: 0, retain: true, topic: 'a/b', payload }), version)
    expect(packet).toMatchObject({ cmd: 'publish', topic: 'a/b', qos: 0, retain: true, payload })
  }
})

test('acks', () => {
  const bytes = Buffer.alloc(16)
  let end = 0
  for (const type of [PUBACK, PUBREC, PUBREL, PUBCOMP]) end = writeAck(bytes, end, type, 0x0102)
  expect(end).toBe(16)
  expect(decode(bytes, 5).map((packet) => [packet.cmd, packet.messageId])).toEqual([
    ['puback', 0x0102],
    ['pubrec', 0x0102],
    ['pubrel', 0x0102],
    ['pubcomp', 0x0102],
  ])
})

test('a ring goes round its topics, stamps in place and numbers packets past 65535', () => {
  for (const version of [4, 5] as const) {
    const ring = new PublishRing({
      version,
      qos: 1,
      retain: false,
      payloadBytes: 20,
      publisher: 7,
      topics: ['t/1', 't/22', 't/3'],
      slotsMin: 5,
    })
    expect(ring.slots).toBe(6)
    expect(ring.stamp(1, 3, 1000, 0xfffffffe, 65534)).toBe(2)
    const bytes = ring.bytes.subarray(ring.starts[1], ring.starts[4])
    const packets = decode(bytes, version) as IPublishPacket[]
    expect(packets.map(({ topic, messageId, qos }) => [topic, messageId, qos])).toEqual([
      ['t/22', 65534, 1],
      ['t/3', 65535, 1],
      ['t/1', 1, 1],
    ])
    const payloads = packets.map(({ payload }) => payload as Buffer)
    expect(payloads.map((payload) => [0, 4, 8].map((at) => payload.readUInt32LE(at)))).toEqual([
      [7, 1000, 0xfffffffe],
      [7, 1001, 0xfffffffe],
      [7, 1002, 0xfffffffe],
    ])
    expect(payloads.every((payload) => payload.length === 20)).toBe(true)
  }
})

test('a ring of large messages stays within its bytes', () => {
  const big = { version: 4, qos: 0, retain: false, payloadBytes: 100_000, publisher: 0, topics: ['t'] } as const
  expect(new PublishRing({ ...big, slotsMin: 64 }).slots).toBe(2)
})

test.each([4, 5] as const)('a stream of every kind cut at every byte is reported once, level %i', (version) => {
  const options = { protocolVersion: version }
  const properties = version === 5 ? { properties: { contentType: 'x'.repeat(200) } } : {}
  const base = { cmd: 'publish', topic: 'a/b', dup: false, retain: false } as const
  const packets: Packet[] = [
    { cmd: 'connack', returnCode: 0, reasonCode: 0, sessionPresent: false } as Packet,
    { ...base, qos: 0, payload: 'zero' },
    { ...base, qos: 1, messageId: 515, payload: 'one', dup: true, ...properties },
    { ...base, qos: 2, messageId: 4, payload: 'y'.repeat(300) },
    { cmd: 'puback', messageId: 9 },
    { cmd: 'pubrel', messageId: 10 },
    { cmd: 'pingresp' },
  ]
  const stream = Buffer.concat(packets.map((packet) => generate(packet, options)))
  const expected = [
    `control 2 ${version === 5 ? 3 : 2}`,
    'publish 30 0 zero',
    'publish 3a 515 one',
    `publish 34 4 ${'y'.repeat(300)}`,
    'ack 4 9',
    'ack 6 10',
    'control 13 0',
  ]
  for (let cut = 0; cut <= stream.length; cut++) {
    const recorder = new Recorder(stream)
    const rest = scan(stream, 0, cut, version === 5, recorder)
    expect(rest).toBeLessThanOrEqual(cut)
    expect(scan(stream, rest, stream.length, version === 5, recorder)).toBe(stream.length)
    expect(recorder.seen).toEqual(expected)
  }
})

test('a v5 ack with a failing reason code says so, one with 0x10 does not', () => {
  const bytes = Buffer.from([0x40, 3, 0, 1, 0x97, 0x40, 3, 0, 2, 0x10, 0x50, 4, 0, 3, 0x80, 0])
  const recorder = new Recorder(bytes)
  scan(bytes, 0, bytes.length, true, recorder)
  expect(recorder.seen).toEqual(['ack 4 1 failed', 'ack 4 2', 'ack 5 3 failed'])
})

test('a remaining length of five bytes is refused', () => {
  const bytes = Buffer.from([0x30, 0x80, 0x80, 0x80, 0x80, 0x01, 0, 0])
  expect(() => scan(bytes, 0, bytes.length, false, new Recorder(bytes))).toThrow('more than four bytes')
})

test('Receive Maximum is found behind any other CONNACK property', () => {
  const properties = {
    sessionExpiryInterval: 1,
    maximumQoS: 1,
    retainAvailable: true,
    maximumPacketSize: 100,
    assignedClientIdentifier: 'abc',
    topicAliasMaximum: 5,
    reasonString: 'fine',
    userProperties: { k: 'v' },
    serverKeepAlive: 60,
    responseInformation: 'r',
  }
  const connack = (more: object) =>
    generate(
      { cmd: 'connack', reasonCode: 0, sessionPresent: false, properties: { ...properties, ...more } } as Packet,
      { protocolVersion: 5 },
    )
  const plain = connack({})
  const limited = connack({ receiveMaximum: 20 })
  expect(receiveMaximum(plain, 2, plain.length)).toBe(65535)
  expect(receiveMaximum(limited, 2, limited.length)).toBe(20)
  expect(receiveMaximum(Buffer.from([0x20, 3, 0, 0, 0]), 2, 5)).toBe(65535)
})

test('SUBACK: the first refused code of several', () => {
  const plain = generate({ cmd: 'suback', messageId: 200, granted: [0, 1, 0x87, 0x80] }, { protocolVersion: 4 })
  expect(refusedCode(plain, 2, plain.length, false)).toBe(0x87)
  const v5 = generate(
    { cmd: 'suback', messageId: 1, granted: [0, 2], properties: { reasonString: 'ü' } },
    { protocolVersion: 5 },
  )
  expect(refusedCode(v5, 2, v5.length, true)).toBe(0)
})
