import { deepStrictEqual, strictEqual } from 'node:assert/strict'
import mqttPacket from 'mqtt-packet'
import { describe, expect, test } from 'vitest'
import type { QoS } from '../../../src/base/message.ts'
import {
  FRAME_READY,
  FrameReader,
  type ProtocolVersion,
  type PublishProperties,
  PublishView,
  parsePublish,
} from '../../../src/mqtt/codec/index.ts'
import { Publication } from '../../../src/mqtt/routing/publication.ts'
import { messageOf } from '../session/values.ts'

const TOPIC = 'räume/küche'
const PROPERTIES: Record<string, PublishProperties> = {
  'no properties': {},
  'an expiry': { messageExpiryInterval: 3600 },
  'what is forwarded': {
    payloadFormatIndicator: 1,
    contentType: 'text/plain',
    responseTopic: 'answers',
    correlationData: Buffer.from([0, 1, 255]),
    userProperties: [
      ['a', '1'],
      ['a', '2'],
    ],
  },
  'an alias': { topicAlias: 5 },
  everything: { topicAlias: 5, messageExpiryInterval: 1, contentType: 'x'.repeat(200), userProperties: [['k', 'v']] },
}

interface Shape {
  version: ProtocolVersion
  qos: QoS
  properties: PublishProperties
  retain: boolean
  dup: boolean
}

/** Bytes as another implementation makes them. */
function encode({ version, qos, properties, retain, dup }: Shape, topic: string, payload: Buffer): Buffer {
  const packet = { cmd: 'publish', topic, payload, qos, retain, dup, ...(qos > 0 ? { messageId: 1234 } : {}) } as const
  if (version < 5) return mqttPacket.generate(packet)
  return mqttPacket.generate({ ...packet, properties: peerProperties(properties) }, { protocolVersion: 5 })
}

function peerProperties({ userProperties, payloadFormatIndicator, ...rest }: PublishProperties) {
  const names = [...new Set(userProperties?.map(([name]) => name))]
  const users = names.map((name) => [
    name,
    userProperties!.filter(([other]) => other === name).map(([, value]) => value),
  ])
  return {
    ...(payloadFormatIndicator === undefined ? {} : { payloadFormatIndicator: payloadFormatIndicator === 1 }),
    ...rest,
    ...(users.length === 0 ? {} : { userProperties: Object.fromEntries(users) }),
  } as mqttPacket.IPublishPacket['properties'] & object
}

function viewOf(bytes: Buffer, version: ProtocolVersion): PublishView {
  const reader = new FrameReader(1 << 20)
  // Somewhere inside a chunk, as it comes from a socket.
  const chunk = Buffer.concat([Buffer.from([0xc0, 0]), bytes, Buffer.from([0xc0, 0])])
  reader.push(chunk)
  reader.next()
  expect(reader.next()).toBe(FRAME_READY)
  const view = new PublishView()
  const { buffer, first, start, body, end } = reader
  expect(parsePublish(view, buffer, first, start, body, end, version)).toBe(0)
  return view
}

/** The template with QoS bits and packet id patched in, as the sender does it. */
function patched(publication: Publication, version: ProtocolVersion, qos: QoS): Buffer {
  const template = publication.template(version, qos > 0)
  const bytes = Buffer.from(template.buffer.subarray(template.start, template.end))
  bytes[0] = 0x30 | (qos << 1)
  strictEqual(template.packetIdAt >= 0, qos > 0)
  if (qos > 0) bytes.writeUInt16BE(1234, template.packetIdAt)
  return bytes
}

const versions = [3, 4, 5] as const
const levels = [0, 1, 2] as const

describe('the packet for subscribers equals what another encoder makes', () => {
  for (const [name, properties] of Object.entries(PROPERTIES)) {
    for (const version of versions) {
      test(`from a packet of version ${version} with ${name}`, () => {
        for (const qos of levels) {
          for (const payload of [Buffer.alloc(0), Buffer.from('hello'), Buffer.alloc(300, 7)]) {
            const shape = { version, qos, properties, retain: true, dup: qos > 0 }
            const publication = new Publication()
            const view = viewOf(encode(shape, TOPIC, payload), version)
            publication.fromView(view, version, TOPIC, 'p', 1)
            checkTemplates(publication, version === 5 ? properties : {}, payload)
          }
        }
      })
    }

    test(`from a stored message with ${name}`, () => {
      const view = viewOf(
        encode({ version: 5, qos: 1, properties, retain: true, dup: false }, TOPIC, Buffer.from('x')),
        5,
      )
      const publication = new Publication()
      publication.fromView(view, 5, TOPIC, 'p', 1)
      const stored = new Publication()
      stored.fromMessage(publication.message())
      checkTemplates(stored, properties, Buffer.from('x'))
    })
  }
})

function checkTemplates(publication: Publication, properties: PublishProperties, payload: Buffer): void {
  const { topicAlias: _, ...forwarded } = properties
  // Twice: the second time it comes from what was kept.
  for (const out of [...versions, ...versions]) {
    for (const qos of levels) {
      const shape = { version: out, qos, properties: forwarded, retain: false, dup: false }
      const expected = encode(shape, TOPIC, payload)
      const bytes = patched(publication, out, qos)
      deepStrictEqual(parsed(bytes, out), parsed(expected, out))
      strictEqual(bytes.length, expected.length)
    }
  }
}

/** Decoded by the other implementation: the order of properties may differ, nothing else. */
function parsed(bytes: Buffer, version: ProtocolVersion): unknown {
  const parser = mqttPacket.parser({ protocolVersion: version })
  const packets: unknown[] = []
  parser.on('packet', (packet) => packets.push(packet))
  deepStrictEqual([parser.parse(bytes), packets.length], [0, 1])
  return JSON.parse(JSON.stringify(packets[0]))
}

describe('a publication', () => {
  test('as it came is its own template, without a copy', () => {
    const shape = { version: 5, qos: 0, properties: { contentType: 'x' }, retain: false, dup: false } as const
    const view = viewOf(encode(shape, TOPIC, Buffer.from('x')), 5)
    const publication = new Publication()
    publication.fromView(view, 5, TOPIC, 'p', 1)
    const template = publication.template(5, false)
    expect([template.buffer, template.start, template.end]).toEqual([view.buffer, view.frameStart, view.end])
    expect(publication.template(4, false).buffer).not.toBe(view.buffer)
  })

  test('becomes a message once, with bytes of its own', () => {
    const properties = { contentType: 'text', messageExpiryInterval: 9, topicAlias: 3 }
    const view = viewOf(
      encode({ version: 5, qos: 2, properties, retain: true, dup: false }, TOPIC, Buffer.from('body')),
      5,
    )
    const publication = new Publication()
    publication.fromView(view, 5, TOPIC, 'publisher', 77)
    const message = publication.message()
    const properties5 = Buffer.from(message.properties)
    view.buffer.fill(0xee)
    expect(publication.message()).toBe(message)
    expect(Buffer.from(message.payload).toString()).toBe('body')
    expect(Buffer.from(message.properties)).toEqual(properties5)
    const { topic, qos, retain, expirySeconds, timestamp, publisher } = message
    expect([topic, qos, retain, expirySeconds, timestamp, publisher]).toEqual([TOPIC, 2, true, 9, 77, 'publisher'])
    expect([...message.properties]).toEqual([3, 0, 4, ...Buffer.from('text')])
  })

  test('that named its topic by an alias gets the bytes from elsewhere', () => {
    const bytes = encode(
      { version: 5, qos: 0, properties: { topicAlias: 1 }, retain: false, dup: false },
      '',
      Buffer.from('x'),
    )
    const view = viewOf(bytes, 5)
    const publication = new Publication()
    publication.fromView(view, 5, TOPIC, 'p', 1)
    publication.setTopicBytes(Buffer.from(TOPIC))
    for (const version of versions)
      expect(parsed(patched(publication, version, 0), version)).toMatchObject({ topic: TOPIC })
  })

  test('keeps properties that were a part of the packet', () => {
    const shape = { version: 5, qos: 0, properties: { contentType: 'kept' }, retain: false, dup: false } as const
    const view = viewOf(encode(shape, TOPIC, Buffer.from('x')), 5)
    const publication = new Publication()
    publication.fromView(view, 5, TOPIC, 'p', 1)
    const { properties } = publication.message()
    view.buffer.fill(0)
    expect([...properties]).toEqual([3, 0, 4, ...Buffer.from('kept')])
    const next = viewOf(encode({ ...shape, properties: {} }, 'next', Buffer.from('y')), 5)
    publication.fromView(next, 5, 'next', 'p', 2)
    expect(publication.message()).toMatchObject({ topic: 'next', timestamp: 2 })
  })

  test('filled anew keeps nothing of the one before', () => {
    const publication = new Publication()
    const out = publication.prepare(5)
    Object.assign(out, { topicAlias: 9, sendTopic: false, dup: true, retain: true, subscriptionIds: [7] })
    publication.fromMessage(messageOf({ topic: 'first', payload: 'first', qos: 2, retain: true, expirySeconds: 5 }))
    for (const version of versions) for (const qos of levels) patched(publication, version, qos)
    publication.fromMessage(messageOf({ topic: 'second', payload: 'second' }))
    for (const version of versions) {
      for (const qos of levels) {
        const packet = parsed(patched(publication, version, qos), version)
        expect(packet).toMatchObject({ topic: 'second', payload: { data: [...Buffer.from('second')] } })
        expect((packet as { properties?: unknown }).properties ?? {}).toEqual({})
      }
    }
    expect(publication.message().topic).toBe('second')
    expect([publication.qos, publication.retain, publication.payloadBytes]).toEqual([0, false, 6])
  })

  test('takes the expiry that is left', () => {
    const publication = new Publication()
    publication.fromMessage(messageOf({ expirySeconds: 100 }), 40)
    const packet = parsed(patched(publication, 5, 1), 5) as { properties: object }
    expect(packet.properties).toEqual({ messageExpiryInterval: 40 })
  })
})
