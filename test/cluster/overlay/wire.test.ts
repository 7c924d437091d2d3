import { describe, expect, test } from 'vitest'
import { FieldReader, FieldWriter } from '../../../src/cluster/overlay/core/bytes.ts'
import type { Hint } from '../../../src/cluster/overlay/core/hint-map.ts'
import type { Message } from '../../../src/cluster/overlay/core/message.ts'
import { HINT_TTL_MS_MAX, KEY_BYTES_MAX, VERSION_MAX } from '../../../src/cluster/overlay/core/options.ts'
import { decodePayload, encodePayload, positionBytes } from '../../../src/cluster/overlay/core/wire.ts'
import { MESSAGES } from './messages.ts'

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')
const unhex = (text: string) => new Uint8Array(Buffer.from(text.replaceAll(/[\s|]/g, ''), 'hex'))

test.each(MESSAGES)('%s', (_, message, bytes) => {
  const encoded = encodePayload([message])
  expect(hex(encoded)).toBe(hex(unhex(`01 ${bytes}`)))
  expect(decodePayload(encoded)).toEqual({ messages: [message], unknown: 0 })
})

test('several messages, one of them of a later version', () => {
  const messages = MESSAGES.map(([, message]) => message)
  const encoded = Buffer.concat([encodePayload(messages), unhex('63 00000002 ffff')])
  expect(decodePayload(encoded)).toEqual({ messages, unknown: 1 })
})

test('what is decoded does not change with the bytes it came from', () => {
  const encoded = encodePayload([MESSAGES[1]![1]])
  const decoded = decodePayload(encoded)
  encoded.fill(0)
  expect(decoded!.messages).toEqual([MESSAGES[1]![1]])
})

test.each([0, 1, 127, 128, 16_383, 16_384, 2 ** 31, 2 ** 32, 2 ** 48, 2 ** 53 - 1])('varint %i', (value) => {
  const writer = new FieldWriter()
  writer.varint(value)
  expect(positionBytes({ mark: value, version: 0, resetTo: 0 })).toBe(writer.at + 2)
  const bytes = Buffer.from(writer.bytes())
  expect(new FieldReader(bytes).varint()).toBe(value)
  const short = new FieldReader(bytes, 0, bytes.length - 1)
  expect([short.varint(), short.bad]).toEqual([0, true])
  const bounded = new FieldReader(bytes)
  bounded.varint(value - 1)
  expect(bounded.bad).toBe(true)
})

describe('malformed', () => {
  const delta = (fields: object): Message => ({ ...(MESSAGES[1]![1] as object), ...fields }) as Message
  const value = new Uint8Array(0)
  const cases: [string, Uint8Array][] = [
    ['nothing', unhex('')],
    ['another version', unhex('02')],
    ['a cut head', unhex('01 01 0000')],
    ['a length beyond the end', unhex('01 01 00000002 00')],
    ['a digest whose position is cut', unhex('01 01 00000002 00 05')],
    ['a varint without end', unhex('01 01 0000000b 00 ffffffffffffffffffff')],
    ['a mark above 48 bits', encodePayload([digestOf({ mark: 2 ** 48 })])],
    ['a version above the limit', encodePayload([digestOf({ version: VERSION_MAX + 1 })])],
    ['a host without a name', encodePayload([delta({ host: '' })])],
    ['a host with a long name', encodePayload([delta({ host: 'h'.repeat(65) })])],
    ['a delta that ends before it begins', encodePayload([delta({ from: 8, to: 7, entries: [] })])],
    ['a delta that goes beyond its sender', encodePayload([delta({ to: 10 })])],
    ['a forgotten version that was not written yet', encodePayload([delta({ forgotten: 10 })])],
    ['an entry beyond the delta', encodePayload([delta({ entries: [{ key: 'kx', value, version: 8 }] })])],
    ['an entry at the version before', encodePayload([delta({ entries: [{ key: 'kx', value, version: 3 }] })])],
    ['a key of no kind', encodePayload([delta({ entries: [{ key: 'xx', value, version: 4 }] })])],
    ['a key without a name', encodePayload([delta({ entries: [{ key: 'k', value, version: 4 }] })])],
    [
      'a key that is too long',
      encodePayload([delta({ entries: [{ key: 'k'.repeat(KEY_BYTES_MAX + 2), value, version: 4 }] })]),
    ],
    [
      'a value that is too long',
      encodePayload([delta({ entries: [{ key: 'kx', value: new Uint8Array(16_385), version: 4 }] })]),
    ],
    ['a key that is no UTF-8', unhex('01 02 0000000c 0131 00 00 01 01 00 02 6bff 02 00')],
    ['sums that are cut', unhex('01 03 00000004 00000001')],
    ['a hint that never expires', encodePayload([hintOf({ ttlMs: 0 })])],
    ['a hint that lives too long', encodePayload([hintOf({ ttlMs: HINT_TTL_MS_MAX + 1 })])],
    ['a hint with a long value', encodePayload([hintOf({ value: new Uint8Array(1_025) })])],
    ['a hint of nobody', encodePayload([hintOf({ by: '' })])],
    ['more buckets than there are', unhex('01 04 00000003 00 8102')],
  ]
  test.each(cases)('%s', (_, bytes) => {
    expect(decodePayload(bytes)).toBeNull()
  })

  test('the key that is no UTF-8 is what is wrong with it', () => {
    expect(decodePayload(unhex('01 02 0000000c 0131 00 00 01 01 00 02 6b78 02 00'))?.messages).toHaveLength(1)
  })
})

function digestOf(fields: object): Message {
  return { type: 'digest', asks: true, positions: [{ mark: 1, version: 1, resetTo: 0, ...fields }], hints: null }
}

function hintOf(fields: object): Message {
  const hint = { key: 'x', value: new Uint8Array(0), timestamp: 1, by: 'h1', ttlMs: 1, ...fields } as unknown
  return { type: 'hints', news: true, more: true, buckets: [], hints: [hint as Hint] }
}
