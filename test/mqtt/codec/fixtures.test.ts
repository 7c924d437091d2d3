import { describe, expect, test } from 'vitest'
import {
  AckView,
  checkTopicName,
  encodePacket,
  FRAME_READY,
  FrameReader,
  PublishView,
  parseAck,
  parsePublish,
} from '../../../src/mqtt/codec/index.ts'
import { bytes, decodeFrame, type Fixture } from './bytes.ts'
import { INVALID_3, VALID_3 } from './fixtures-3.ts'
import { INVALID_5, VALID_5 } from './fixtures-5.ts'

const VALID = [...VALID_3, ...VALID_5]
const INVALID = [...INVALID_3, ...INVALID_5]

describe('well-formed packets', () => {
  test.each(VALID.map((row) => [row.name, row] as const))('%s: decodes', (_, row) => {
    expect(decodeFrame(bytes(row.wire), row.version, row.from ?? 'from-client')).toEqual(row.packet)
    expect(hotReason(row) ?? 0).toBe(0)
  })

  const bothWays = VALID.filter((row) => row.oneWay === undefined)
  test.each(bothWays.map((row) => [row.name, row] as const))('%s: encodes', (_, row) => {
    expect(encodePacket(row.packet, row.version).toString('hex')).toBe(bytes(row.wire).toString('hex'))
  })

  // 3.1 differs from 3.1.1 in CONNECT, and where a fixture says so.
  const alsoIn31 = VALID_3.filter((row) => row.version === 4 && !/^CONN/.test(row.name))
  test.each(alsoIn31.map((row) => [row.name, row] as const))('%s: the same in 3.1', (_, row) => {
    expect(decodeFrame(bytes(row.wire), 3, row.from ?? 'from-client')).toEqual(row.packet)
  })
})

describe('packets to refuse', () => {
  test.each(INVALID.map((row) => [row.name, row] as const))('%s', (_, row) => {
    const result = decodeFrame(bytes(row.wire), row.version, row.from ?? 'from-client')
    expect(result).toEqual({
      type: 'error',
      reasonCode: row.reason,
      message: expect.stringMatching(/./),
      connackVersion: row.connack ?? 0,
    })
    expect(hotReason(row) ?? row.reason).toBe(row.reason)
  })

  // In other packets bytes may be missing from a payload, a list or an optional end without making the rest wrong.
  const exact = VALID.filter((row) => row.oneWay === undefined && /^(CONN|AUTH)/.test(row.name))
  test.each(exact.map((row) => [row.name, row] as const))('%s: cut at every byte', (_, row) => {
    const frame = bytes(row.wire)
    for (let length = 0; length < frame.length - 2; length++) {
      const cut = Buffer.concat([Buffer.from([frame[0]!, length]), frame.subarray(2, 2 + length)])
      expect(decodeFrame(cut, row.version, row.from ?? 'from-client'), `${length} bytes`).toMatchObject({
        type: 'error',
      })
    }
  })
})

/** What the hot path says of a PUBLISH or an ack; undefined for other packets. */
function hotReason(row: Fixture): number | undefined {
  const reader = new FrameReader(1_000_000)
  reader.push(bytes(row.wire))
  expect(reader.next()).toBe(FRAME_READY)
  const { buffer, first, start, body, end } = reader
  const type = first >> 4
  if (type === 3) {
    const view = new PublishView()
    const code = parsePublish(view, buffer, first, start, body, end, row.version, row.from === 'from-server')
    if (code !== 0 || view.topicStart === view.topicEnd) return code
    return checkTopicName(buffer, view.topicStart, view.topicEnd)
  }
  if (type < 4 || type > 7) return undefined
  return parseAck(new AckView(), buffer, first, body, end, row.version)
}
