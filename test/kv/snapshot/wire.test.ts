import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { BrokerError } from '../../../src/base/errors.ts'
import {
  decodeSnapshotMessage,
  encodeSnapshotMessage,
  type Marker,
  type SnapshotMessage,
} from '../../../src/kv/snapshot/index.ts'
import { decodeMarker, encodeMarker } from '../../../src/kv/snapshot/schema.ts'
import { bytes, DESCRIPTOR, offerOf } from './fixture.ts'

const MESSAGES: [string, SnapshotMessage, string | null][] = [
  ['an offer', offerOf(300), null],
  ['a chunk', { type: 'chunk', stream: 1, number: 2, bytes: bytes('abc'), checksum: 0x80 }, '0102010280010361 6263'],
  [
    'an end',
    { type: 'end', stream: 1, chunks: 2, checksum: 3, last: [{ key: bytes('k'), value: bytes('') }] },
    '01030102030101 6b00',
  ],
  ['credit', { type: 'credit', stream: 1, upTo: 9 }, '01040109'],
  ['done', { type: 'done', stream: 1, outcome: 'installed' }, '01050100'],
  ['needless', { type: 'done', stream: 1, outcome: 'needless' }, '01050101'],
  ['a cancel', { type: 'cancel', stream: 1, reason: 'né' }, '010601036ec3a9'],
]

describe('bytes of', () => {
  test.each(MESSAGES)('%s', (_, message, hex) => {
    const frame = new Uint8Array(encodeSnapshotMessage(message))
    if (hex !== null) expect(Buffer.from(frame).toString('hex')).toBe(hex.replaceAll(' ', ''))
    expect(decodeSnapshotMessage(frame)).toEqual(message)
  })

  test('a chunk are views', () => {
    const frame = encodeSnapshotMessage(MESSAGES[1]![1])
    const read = decodeSnapshotMessage(frame)
    expect(read.type === 'chunk' && read.bytes.buffer).toBe(frame.buffer)
  })

  test.each<[string, Marker]>([
    ['a marker of everything', { replica: 2, snapshot: { index: 9, term: 1 }, boundaries: [{}] }],
    [
      'a marker of two boundaries',
      { replica: 3, snapshot: { index: 300, term: 0 }, boundaries: [{ start: bytes('a') }, { end: bytes('') }] },
    ],
  ])('%s', (_, marker) => {
    const read = decodeMarker(new Uint8Array(encodeMarker(marker)))
    expect(read).toEqual({
      ...marker,
      boundaries: marker.boundaries.map(({ start, end }) => ({ start, end })),
    })
  })
})

describe('refused is', () => {
  const offer = (change: Partial<typeof DESCRIPTOR>) =>
    Buffer.from(encodeSnapshotMessage(offerOf(1, { ...DESCRIPTOR, ...change }))).toString('hex')
  test.each([
    ['nothing', '', 'too early'],
    ['another version', '02', 'version 2'],
    ['an unknown kind', '010901', 'not a kind'],
    ['more than a message', '0104010909', 'does not end'],
    ['a reason without end', '01060181 08'.replace(' ', ''), 'too early'],
    ['too many records', '010301020311', '17 records'],
    ['a service that is none', offer({ service: 'raft' as 'dist' }), 'not a service'],
    ['a range without a name', offer({ id: '' }), 'not the name'],
    ['a name that would break keys', offer({ id: 'a\0b' }), 'not the name'],
  ])('%s', (_, hex, why) => {
    const read = () => decodeSnapshotMessage(new Uint8Array(Buffer.from(hex, 'hex')))
    expect(read).toThrow(BrokerError)
    expect(read).toThrow(why)
  })

  test.each([
    ['another format', '02', 'format 2'],
    ['too many boundaries', '0101010105', '5 boundaries'],
    ['more than a marker', '010101010000', 'does not end'],
  ])('of a marker: %s', (_, hex, why) => {
    expect(() => decodeMarker(new Uint8Array(Buffer.from(hex, 'hex')))).toThrow(why)
  })

  test('a damaged message is read or refused, and nothing else', () => {
    const damage = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 4 })
    fc.assert(
      fc.property(fc.nat(MESSAGES.length - 1), damage, fc.nat(), (which, changes, cut) => {
        const frame = new Uint8Array(encodeSnapshotMessage(MESSAGES[which]![1]))
        for (const [at, value] of changes) frame[at % frame.length] = value
        try {
          decodeSnapshotMessage(frame.subarray(0, frame.length - (cut % 3 === 0 ? cut % frame.length : 0)))
        } catch (error) {
          expect(error).toBeInstanceOf(BrokerError)
        }
      }),
      { numRuns: 3_000 },
    )
  })
})
