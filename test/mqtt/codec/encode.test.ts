import { describe, expect, test } from 'vitest'
import { encodePacket, encodeWithin, type Packet } from '../../../src/mqtt/codec/index.ts'
import { decodeFrame } from './bytes.ts'

const properties = {
  reasonString: 'r'.repeat(50),
  userProperties: [['name', 'v'.repeat(100)]] as [string, string][],
}
const SHRINKABLE: Packet[] = [
  {
    type: 'connack',
    sessionPresent: false,
    reasonCode: 0,
    properties: { ...properties, assignedClientIdentifier: 'keep' },
  },
  { type: 'puback', packetId: 1, reasonCode: 0x87, properties },
  { type: 'pubrec', packetId: 1, reasonCode: 0x87, properties },
  { type: 'pubrel', packetId: 1, reasonCode: 0x92, properties },
  { type: 'pubcomp', packetId: 1, reasonCode: 0x92, properties },
  { type: 'suback', packetId: 1, reasonCodes: [0x87], properties },
  { type: 'unsuback', packetId: 1, reasonCodes: [0x87], properties },
  { type: 'disconnect', reasonCode: 0x8e, properties: { ...properties, serverReference: 'keep' } },
  { type: 'auth', reasonCode: 0x18, properties: { ...properties, authenticationMethod: 'keep' } },
]

describe('encodeWithin', () => {
  test.each(SHRINKABLE.map((packet) => [packet.type, packet] as const))('%s: reason string first', (_, packet) => {
    const full = encodePacket(packet, 5)
    expect(encodeWithin(packet, 5, full.length)).toEqual(full)

    const without = encodeWithin(packet, 5, full.length - 1)!
    expect(without.length).toBeLessThan(full.length)
    const { reasonString: _reason, ...noReason } = (packet as { properties: typeof properties }).properties
    const from = packet.type.startsWith('pub') || packet.type === 'auth' ? 'from-client' : 'from-server'
    expect(decodeFrame(without, 5, from)).toEqual({ ...packet, properties: noReason })

    const least = encodeWithin(packet, 5, without.length - 1)!
    const { userProperties: _user, ...rest } = noReason
    expect(decodeFrame(least, 5, from)).toEqual({ ...packet, properties: rest })
    expect(encodeWithin(packet, 5, least.length)).toEqual(least)
    expect(encodeWithin(packet, 5, least.length - 1)).toBeNull()
  })

  test('what must stay complete is never cut', () => {
    const userProperties: [string, string][] = [['k', 'v']]
    const whole: Packet[] = [
      {
        ...{ type: 'publish', topic: 't', payload: Buffer.alloc(9), qos: 0, retain: false, dup: false, packetId: 0 },
        properties: { userProperties },
      },
      { type: 'subscribe', packetId: 1, subscriptions: [], properties: { userProperties } },
      { type: 'unsubscribe', packetId: 1, filters: ['a'], properties: { userProperties } },
    ]
    for (const packet of whole) {
      const { length } = encodePacket(packet, 5)
      expect(encodeWithin(packet, 5, length)?.length).toBe(length)
      expect(encodeWithin(packet, 5, length - 1)).toBeNull()
    }
  })

  test('3.x has no properties to leave out', () => {
    const connack: Packet = { type: 'connack', sessionPresent: false, reasonCode: 0, properties }
    expect(encodeWithin(connack, 4, 4)?.toString('hex')).toBe('20020000')
    expect(encodeWithin(connack, 4, 3)).toBeNull()
  })
})

describe('encodePacket', () => {
  test('3.x CONNACK: a reason that has no return code becomes 3, and a refusal has no session present', () => {
    const refuse = (reasonCode: number) =>
      encodePacket({ type: 'connack', sessionPresent: true, reasonCode, properties: {} }, 4).toString('hex')
    expect(refuse(0)).toBe('20020100')
    expect(refuse(0x87)).toBe('20020005')
    expect(refuse(0x95)).toBe('20020003')
  })

  test('3.x SUBACK knows one failure; 3.1 has no session present', () => {
    const suback: Packet = { type: 'suback', packetId: 1, reasonCodes: [0x87, 2, 0x9e], properties: {} }
    expect(encodePacket(suback, 4).toString('hex')).toBe('90050001800280')
    const connack: Packet = { type: 'connack', sessionPresent: true, reasonCode: 0, properties: {} }
    expect(encodePacket(connack, 3).toString('hex')).toBe('20020000')
  })

  test('properties of a version 5 packet are left out for 3.x', () => {
    const disconnect: Packet = { type: 'disconnect', reasonCode: 0x8e, properties }
    expect(encodePacket(disconnect, 4).toString('hex')).toBe('e000')
    const unsuback: Packet = { type: 'unsuback', packetId: 1, reasonCodes: [0x11], properties }
    expect(encodePacket(unsuback, 4).toString('hex')).toBe('b0020001')
  })

  test('lengths at the edges of the variable byte integer', () => {
    for (const size of [127, 128, 16_383, 16_384, 2_097_151, 2_097_152]) {
      const payload = Buffer.alloc(size - 3)
      const packet: Packet = {
        ...{ type: 'publish', topic: 't', payload, qos: 0, retain: false, dup: false, packetId: 0, properties: {} },
      }
      const frame = encodePacket(packet, 4)
      const header = size < 128 ? 2 : size < 16_384 ? 3 : size < 2_097_152 ? 4 : 5
      expect(frame.length).toBe(size + header)
      const read = decodeFrame(frame, 4, 'from-client')
      expect(read.type === 'publish' && read.payload.length).toBe(size - 3)
    }
  })

  test('a string that cannot be put on the wire breaks an invariant', () => {
    const packet: Packet = {
      type: 'puback',
      packetId: 1,
      reasonCode: 0,
      properties: { reasonString: 'x'.repeat(65_536) },
    }
    expect(() => encodePacket(packet, 5)).toThrow('65,535')
  })
})
