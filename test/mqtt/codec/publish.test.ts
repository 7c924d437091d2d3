import { deepEqual } from 'node:assert/strict'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  ACK_BYTES_MAX,
  AckView,
  checkTopicName,
  encodePacket,
  forwardProperties,
  isPingreq,
  type Packet,
  type ProtocolVersion,
  type Publish,
  PublishOut,
  PublishView,
  parseAck,
  parsePublish,
  publishSize,
  writeAck,
  writePingresp,
  writePublish,
} from '../../../src/mqtt/codec/index.ts'
import { packets } from './arbitraries.ts'
import { bytes, decodeFrame } from './bytes.ts'
import { encodeForwarded } from './peer.ts'

const VERSIONS: ProtocolVersion[] = [3, 4, 5]
/** Two header bytes: every frame in these tests that is parsed directly is short. */
const BODY = 2

function publishes(version: ProtocolVersion, direction: 'from-client' | 'from-server') {
  return packets(version, direction).filter((packet): packet is Publish => packet.type === 'publish')
}

function parse(view: PublishView, frame: Buffer, version: ProtocolVersion, fromServer = false): number {
  let body = 1
  while (frame[body]! >= 0x80) body++
  return parsePublish(view, frame, frame[0]!, 0, body + 1, frame.length, version, fromServer)
}

describe('parsePublish', () => {
  test.each(VERSIONS)('says of a version %i packet what it is, with one view for all', (version) => {
    const view = new PublishView()
    fc.assert(
      fc.property(publishes(version, 'from-client'), (packet) => {
        const frame = encodePacket(packet, version)
        expect(parse(view, frame, version)).toBe(0)
        const { properties } = packet
        deepEqual(
          {
            topic: frame.toString('utf8', view.topicStart, view.topicEnd),
            payload: Buffer.from(frame.subarray(view.payloadStart, view.end)),
            ...{ qos: view.qos, retain: view.retain, dup: view.dup, packetId: view.packetId },
            ...{ alias: view.topicAlias, expiry: view.messageExpirySeconds, format: view.payloadFormat },
            forwardable: view.forwardable,
            forwarded: Buffer.from(forwardProperties(view)),
          },
          {
            ...{ topic: packet.topic, payload: packet.payload },
            ...{ qos: packet.qos, retain: packet.retain, dup: packet.dup, packetId: packet.packetId },
            alias: properties.topicAlias ?? 0,
            expiry: properties.messageExpiryInterval ?? -1,
            format: properties.payloadFormatIndicator ?? 0,
            forwardable: properties.topicAlias === undefined && properties.messageExpiryInterval === undefined,
            forwarded: Buffer.from(encodeForwarded(properties)),
          },
        )
      }),
      { numRuns: 400, seed: 3 },
    )
  })

  test('forwarded properties keep their bytes and their order', () => {
    const kept = ['26 00 01 "z" 00 01 "1"', '01 01', '08 00 01 "r"', '26 00 01 "a" 00 00', '09 00 02 ff 00']
    const wire = (parts: string[]) => {
      const properties = bytes(parts.join(' '))
      return Buffer.concat([Buffer.from([0x30, 4 + properties.length, 0, 1, 0x61, properties.length]), properties])
    }
    const view = new PublishView()
    const frame = wire(kept)
    expect(parse(view, frame, 5)).toBe(0)
    expect(view.forwardable).toBe(true)
    const forwarded = forwardProperties(view)
    expect(forwarded.buffer, 'a view').toBe(frame.buffer)
    expect(Buffer.from(forwarded)).toEqual(bytes(kept.join(' ')))

    const mixed = [kept[0]!, '02 00 00 00 09', ...kept.slice(1, 3), '0b 80 01', kept[3]!, '23 00 05', kept[4]!]
    expect(parse(view, wire(mixed), 5, true)).toBe(0)
    expect(view.forwardable).toBe(false)
    expect(Buffer.from(forwardProperties(view))).toEqual(bytes(kept.join(' ')))

    expect(parse(view, wire(['23 00 05']), 5)).toBe(0)
    expect(forwardProperties(view).length).toBe(0)
  })
})

describe('checkTopicName', () => {
  test.each([
    ['"a/b"', 0],
    ['c3 a9 "/"', 0],
    ['01 7f', 0],
    ['', 0x82],
    ['"a+"', 0x81],
    ['"#"', 0x81],
    ['c3 a9 "+"', 0x81],
    ['"a" 00', 0x81],
    ['c3', 0x81],
    ['"a" ed a0 80', 0x81],
  ])('%s', (wire, reason) => {
    const padded = Buffer.concat([Buffer.from('+'), bytes(wire), Buffer.from('#')])
    expect(checkTopicName(padded, 1, padded.length - 1)).toBe(reason)
  })
})

describe('writePublish', () => {
  test.each(VERSIONS)('writes version %i as the general encoder does, and as large as it says', (version) => {
    const out = new PublishOut()
    fc.assert(
      fc.property(publishes(version, 'from-server'), fc.integer({ min: 0, max: 9 }), (packet, offset) => {
        const { properties } = packet
        out.version = version
        out.qos = packet.qos
        out.retain = packet.retain
        out.dup = packet.dup
        out.packetId = packet.packetId
        out.sendTopic = packet.topic !== ''
        out.topicAlias = properties.topicAlias ?? 0
        out.messageExpirySeconds = properties.messageExpiryInterval ?? -1
        out.subscriptionIds = properties.subscriptionIdentifiers ?? []
        // Ranges inside larger buffers, and a topic that is there even where only the alias is sent.
        const topic = packet.topic === '' ? 'known' : packet.topic
        out.setTopic(Buffer.from(`-${topic}-`), 1, 1 + Buffer.byteLength(topic))
        const forwarded = encodeForwarded(properties)
        out.setForwarded(forwarded)
        out.setPayload(
          Buffer.concat([Buffer.from('<'), packet.payload, Buffer.from('>')]),
          1,
          1 + packet.payload.length,
        )
        const target = Buffer.alloc(publishSize(out) + offset + 1, 0xee)
        expect(writePublish(target, offset, out)).toBe(target.length - 1)
        expect(target[target.length - 1]).toBe(0xee)
        const frame = target.subarray(offset, -1)
        deepEqual(decodeFrame(frame, version, 'from-server'), packet)
        expect(frame.length).toBe(encodePacket(packet, version).length)
        if (packet.qos === 0) expect(out.packetIdAt).toBe(-1)
        else expect(target.readUInt16BE(out.packetIdAt)).toBe(packet.packetId)
      }),
      { numRuns: 400, seed: 4 },
    )
  })

  test('refuses to write past the end of its buffer', () => {
    const out = new PublishOut()
    out.setTopic(Buffer.from('topic'))
    out.setPayload(Buffer.alloc(10))
    const size = publishSize(out)
    expect(writePublish(Buffer.alloc(size), 0, out)).toBe(size)
    expect(() => writePublish(Buffer.alloc(size - 1), 0, out)).toThrow('must fit')
  })
})

describe('acks and pings', () => {
  test.each(VERSIONS)('acks of version %i', (version) => {
    const view = new AckView()
    fc.assert(
      fc.property(packets(version, 'from-client'), (packet: Packet) => {
        if (!('packetId' in packet) || !/^pub.../.test(packet.type) || packet.type === 'publish') return
        const frame = encodePacket(packet, version)
        let body = 1
        while (frame[body]! >= 0x80) body++
        expect(parseAck(view, frame, frame[0]!, body + 1, frame.length, version)).toBe(0)
        expect(view.packetId).toBe(packet.packetId)
        expect(['puback', 'pubrec', 'pubrel', 'pubcomp'][view.type - 4]).toBe(packet.type)
        expect(view.reasonCode).toBe('reasonCode' in packet ? packet.reasonCode : 0)
        const empty = Object.keys(packet.properties).length === 0
        expect(view.propertiesStart === view.propertiesEnd).toBe(empty)
        if (!empty) return
        const target = Buffer.alloc(ACK_BYTES_MAX + 3)
        const end = writeAck(target, 3, view.type, view.packetId, view.reasonCode, version)
        deepEqual(target.subarray(3, end), frame)
      }),
      { numRuns: 800, seed: 5 },
    )
  })

  test('a 3.x ack carries no reason', () => {
    const target = Buffer.alloc(5)
    expect(writeAck(target, 0, 4, 0x1234, 0x87, 4)).toBe(4)
    expect(target.toString('hex')).toBe('4002123400')
  })

  test('ping', () => {
    expect(isPingreq(0xc0, BODY, 2)).toBe(true)
    expect(isPingreq(0xc1, BODY, 2)).toBe(false)
    expect(isPingreq(0xc0, BODY, 3)).toBe(false)
    const target = Buffer.alloc(3, 0xee)
    expect(writePingresp(target, 1)).toBe(3)
    expect(target.toString('hex')).toBe('eed000')
  })
})
