import { describe, expect, test } from 'vitest'
import { connackReturnCode, PACKET, REASON, reasonName } from '../../../src/mqtt/codec/index.ts'
import { isReasonAllowed, reasonOfReturnCode } from '../../../src/mqtt/codec/reason.ts'

/** Packets by the columns of MQTT 5.0 table 2-6, and by side where the packet's own table names one. */
const ALLOWED: [type: keyof typeof PACKET, client: string, server: string][] = [
  ['CONNACK', '', '00 80 81 82 83 84 85 86 87 88 89 8a 8c 90 95 97 99 9a 9b 9c 9d 9f'],
  ['PUBACK', '00 10 80 83 87 90 91 97 99', '00 10 80 83 87 90 91 97 99'],
  ['PUBREC', '00 10 80 83 87 90 91 97 99', '00 10 80 83 87 90 91 97 99'],
  ['PUBREL', '00 92', '00 92'],
  ['PUBCOMP', '00 92', '00 92'],
  ['SUBACK', '', '00 01 02 80 83 87 8f 91 97 9e a1 a2'],
  ['UNSUBACK', '', '00 11 80 83 87 8f 91'],
  [
    'DISCONNECT',
    '00 04 80 81 82 83 90 93 94 95 96 97 98 99',
    '00 80 81 82 83 87 89 8b 8d 8e 8f 90 93 94 95 96 97 98 99 9a 9b 9c 9d 9e 9f a0 a1 a2',
  ],
  ['AUTH', '18 19', '00 18'],
  ['CONNECT', '', ''],
  ['PUBLISH', '', ''],
]

describe('reason codes', () => {
  test.each(ALLOWED)('%s', (type, client, server) => {
    for (const [expected, fromServer] of [
      [client, false],
      [server, true],
    ] as const) {
      const found: string[] = []
      for (let code = 0; code < 256; code++) {
        if (isReasonAllowed(PACKET[type], code, fromServer)) found.push(code.toString(16).padStart(2, '0'))
      }
      expect(found.join(' ')).toBe(expected)
    }
  })

  test('names', () => {
    expect(reasonName(REASON.SESSION_TAKEN_OVER)).toBe('session taken over')
    expect(reasonName(0)).toBe('success')
    expect(reasonName(0x7e)).toBe('0x7e')
  })

  test('3.x return codes', () => {
    const codes = [0x00, 0x80, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x8c, 0x97, 0x9a, 0x9b, 0x9c, 0x9f]
    expect(codes.map(connackReturnCode)).toEqual([0, 3, 1, 2, 4, 5, 3, 3, 5, 5, 3, 5, 5, 3, 3])
    expect([0x81, 0x82, 0x95].map(connackReturnCode)).toEqual([null, null, null])
    expect([0, 1, 2, 3, 4, 5, 6].map(reasonOfReturnCode)).toEqual([0, 0x84, 0x85, 0x88, 0x86, 0x87, null])
  })
})
