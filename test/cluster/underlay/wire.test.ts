import { describe, expect, test } from 'vitest'
import type { HostId } from '../../../src/base/ids.ts'
import type { Address, ClusterId, HostRecord } from '../../../src/cluster/underlay/core/index.ts'
import { KNOWN_MAX, type Message, type Packet } from '../../../src/cluster/underlay/core/message.ts'
import { decodePacket, encodeHeader, encodeMessage, joinPacket } from '../../../src/cluster/underlay/core/wire.ts'
import { hex, MESSAGES, record } from './messages.ts'

const HEADER = { clusterName: 'test', clusterId: 'c1' as ClusterId, sender: 'h1' as HostId, life: 4_097 }
const HEADER_HEX = [
  '01                       | version',
  '04 74657374              | cluster name "test"',
  '02 6331                  | cluster id "c1"',
  '02 6831                  | sender "h1"',
  '0000000000001001         | life',
]

function decoded(bytes: Uint8Array, bytesMax = 1_400): Packet {
  const packet = decodePacket(bytes, bytesMax)
  if (typeof packet === 'string') throw new Error(packet)
  return packet
}

describe('bytes', () => {
  test.each(MESSAGES)('%o', (message, lines) => {
    const bytes = hex(...HEADER_HEX, ...lines)
    expect(Buffer.from(joinPacket(encodeHeader(HEADER), [encodeMessage(message)])).toString('hex')).toBe(
      Buffer.from(bytes).toString('hex'),
    )
    expect(decoded(bytes)).toEqual({ ...HEADER, messages: [message], unknown: 0 })
  })

  test('many messages in one packet, in order', () => {
    const messages = MESSAGES.map(([message]) => message)
    const packet = decoded(joinPacket(encodeHeader(HEADER), messages.map(encodeMessage)))
    expect(packet.messages).toEqual(messages)
  })

  test('a packet without messages, of a host without a cluster', () => {
    const header = { ...HEADER, clusterId: '' as const }
    expect(decoded(encodeHeader(header))).toEqual({ ...header, messages: [], unknown: 0 })
  })

  test('a type or fields of a later version are skipped', () => {
    const later = hex(...HEADER_HEX, '63 0003 010203', '04 0006 00000009 ffff', '09 0000')
    expect(decoded(later)).toMatchObject({ unknown: 1, messages: [{ type: 'nack', seq: 9 }, { type: 'push-pull' }] })
  })

  test('what is decoded does not change with the buffer that it came in', () => {
    const bytes = joinPacket(encodeHeader(HEADER), [encodeMessage({ type: 'payload', bytes: hex('0102') })])
    const packet = decoded(bytes)
    bytes.fill(0xff)
    expect(packet.messages).toEqual([{ type: 'payload', bytes: hex('0102') }])
  })

  test('the largest record fits into the smallest datagram', () => {
    const long = 'x'.repeat(64)
    const largest: HostRecord = {
      id: long as HostId,
      incarnation: 2 ** 47,
      life: Number.MAX_SAFE_INTEGER,
      address: `[${'f'.repeat(4)}:${'0'.repeat(35)}]:65535` as Address,
      metadata: new Map([['k', 'v'.repeat(512 - 5)]]),
    }
    const header = encodeHeader({ clusterName: long, clusterId: long as ClusterId, sender: long as HostId, life: 1 })
    const state: Message = { type: 'state', state: 'alive', incarnation: 2 ** 47, ageSeconds: 1, record: largest }
    const bytes = joinPacket(header, [encodeMessage(state)])
    expect(bytes.length).toBeLessThanOrEqual(1_200)
    expect(decoded(bytes).messages).toEqual([state])
  })
})

describe('what is no packet', () => {
  const whole = (...lines: string[]) => hex(...HEADER_HEX, ...lines)
  test.each([
    ['nothing', hex(), 'malformed'],
    ['another version', hex('02', ...HEADER_HEX.slice(1)), 'version'],
    ['too large', new Uint8Array(1_401).fill(1), 'oversized'],
    ['no cluster name', hex('01', '00', '00', '02 6831', '0000000000000000'), 'malformed'],
    ['no sender', hex('01', '04 74657374', '00', '00', '0000000000000000'), 'malformed'],
    ['a name with a space', hex('01', '01 20', '00', '02 6831', '0000000000000000'), 'malformed'],
    ['a name of 65 letters', hex(`01 41 ${'61'.repeat(65)} 00 02 6831 0000000000000000`), 'malformed'],
    ['a life above 2^53', hex(...HEADER_HEX.slice(0, 4), '0020000000000000'), 'malformed'],
    ['a header that ends early', hex(...HEADER_HEX.slice(0, 4), '00'), 'malformed'],
    ['a message that ends early', whole('01 0007 0000'), 'malformed'],
    ['a message without a length', whole('01 00'), 'malformed'],
    ['a body shorter than its fields', whole('04 0003 000000'), 'malformed'],
    ['a body that reads into the next message', whole('01 0005 00000007 02', '04 0004 00000009'), 'malformed'],
    ['an ack of nobody', whole('03 0005 00000007 00'), 'malformed'],
    ['a ping of a name, not of an address', whole('02 0009 00000008 02 6832 01 61'), 'malformed'],
    ['an incarnation above 2^47', whole('08 0009 02 6832 800000000001'), 'malformed'],
    [
      'a state older than its record',
      whole(
        '0a 002c 00 000000000002 00000000 02 6832 000000000003 0010000000000001 0d 31302e302e302e323a37393436 0000',
      ),
      'malformed',
    ],
    [
      'a state that there is not',
      whole(
        '0a 002c 04 000000000004 00000000 02 6832 000000000003 0010000000000001 0d 31302e302e302e323a37393436 0000',
      ),
      'malformed',
    ],
    [
      'metadata longer than its message',
      whole('05 0021 02 6832 000000000003 0010000000000001 0d 31302e302e302e323a37393436 0009'),
      'malformed',
    ],
    [
      'metadata with a lonely key',
      whole('05 0024 02 6832 000000000003 0010000000000001 0d 31302e302e302e323a37393436 0003 0001 61'),
      'malformed',
    ],
  ])('%s', (_, bytes, fault) => {
    expect(decodePacket(bytes, 1_400)).toBe(fault)
  })

  test('too many known addresses, too much metadata', () => {
    const [hello] = MESSAGES.map(([message]) => message).filter((message) => message.type === 'hello')
    const known = Array.from({ length: KNOWN_MAX + 1 }, () => '10.0.0.2:7946' as Address)
    const packet = joinPacket(encodeHeader(HEADER), [encodeMessage({ ...hello!, known })])
    expect(decodePacket(packet, 1_400)).toBe('malformed')
    expect(() => encodeMessage({ type: 'alive', record: record({ k: 'v'.repeat(508) }) })).toThrow('512 bytes')
  })
})
