import { describe, expect, test } from 'vitest'
import { encodePacket, isReasonAllowed, PACKET, REASON } from '../../../src/mqtt/codec/index.ts'
import {
  boundedReason,
  connackReason,
  disconnectReason,
  isSendable,
  isSendableData,
  publishReason,
} from '../../../src/mqtt/session/words.ts'

describe('what plugins say to clients', () => {
  test('a reason is cut at 1,024 characters', () => {
    expect(boundedReason('x'.repeat(1024))).toHaveLength(1024)
    expect(boundedReason('x'.repeat(100_000))).toBe('x'.repeat(1024))
    expect(boundedReason('')).toBe('')
  })

  test('never inside a surrogate pair', () => {
    expect(boundedReason(`${'x'.repeat(1023)}😀`)).toBe('x'.repeat(1023))
    expect(boundedReason(`${'x'.repeat(1022)}😀 and more`)).toBe(`${'x'.repeat(1022)}😀`)
  })

  test('and may be encoded, whatever it holds [MQTT-1.5.4-2]', () => {
    expect(boundedReason('a\0b')).toBe('a\ufffdb')
    const reasonString = boundedReason('\u{10ffff}\0'.repeat(60_000))
    const packet = { type: 'disconnect', reasonCode: 0x80, properties: { reasonString } } as const
    expect(encodePacket(packet, 5).length).toBeLessThan(5_000)
  })

  test('a name goes out whole or not at all', () => {
    expect(isSendable('other:1883')).toBe(true)
    expect(isSendable('ä'.repeat(32_767))).toBe(true)
    expect(isSendable('ä'.repeat(32_768))).toBe(false)
    expect(isSendable('a\0')).toBe(false)
    expect(isSendableData(null)).toBe(true)
    expect(isSendableData(new Uint8Array(65_535))).toBe(true)
    expect(isSendableData(new Uint8Array(65_536))).toBe(false)
  })
})

describe('reason codes', () => {
  const codes = Array.from({ length: 128 }, (_, i) => 0x80 + i)

  test('each packet carries only codes that it may carry', () => {
    for (const code of codes) {
      expect(isReasonAllowed(PACKET.CONNACK, connackReason(code), true)).toBe(true)
      expect(isReasonAllowed(PACKET.DISCONNECT, disconnectReason(code), true)).toBe(true)
      expect(isReasonAllowed(PACKET.PUBACK, publishReason(code), true)).toBe(true)
      for (const told of [connackReason(code), disconnectReason(code), publishReason(code)]) {
        expect(told).toBeGreaterThanOrEqual(0x80)
      }
    }
  })

  test('what is allowed is told as it is, the rest by its relative', () => {
    expect(connackReason(REASON.BANNED)).toBe(REASON.BANNED)
    expect(connackReason(REASON.SESSION_TAKEN_OVER)).toBe(REASON.SERVER_UNAVAILABLE)
    expect(connackReason(REASON.SERVER_SHUTTING_DOWN)).toBe(REASON.SERVER_UNAVAILABLE)
    expect(connackReason(REASON.KEEP_ALIVE_TIMEOUT)).toBe(REASON.UNSPECIFIED_ERROR)
    expect(disconnectReason(REASON.SESSION_TAKEN_OVER)).toBe(REASON.SESSION_TAKEN_OVER)
    expect(disconnectReason(REASON.BAD_USER_NAME_OR_PASSWORD)).toBe(REASON.NOT_AUTHORIZED)
    expect(disconnectReason(REASON.BANNED)).toBe(REASON.NOT_AUTHORIZED)
    expect(disconnectReason(REASON.SERVER_UNAVAILABLE)).toBe(REASON.SERVER_BUSY)
    expect(disconnectReason(0xff)).toBe(REASON.UNSPECIFIED_ERROR)
    expect(publishReason(REASON.QUOTA_EXCEEDED)).toBe(REASON.QUOTA_EXCEEDED)
    expect(publishReason(REASON.SESSION_TAKEN_OVER)).toBe(REASON.IMPLEMENTATION_SPECIFIC_ERROR)
  })
})
