import { describe, expect, test } from 'vitest'
import {
  encodePacket,
  FRAME_READY,
  FrameReader,
  forwardProperties,
  type Packet,
  PublishView,
  parsePublish,
} from '../../../src/mqtt/codec/index.ts'
import { decodeFrame } from './bytes.ts'
import { encodeForwarded } from './peer.ts'

const MAX = 16_384
const REFUSED = { type: 'error', reasonCode: 0x97 }

const options = { qos: 0 as const, noLocal: false, retainAsPublished: false, retainHandling: 0 }
const pairs = (count: number) => Array.from({ length: count }, (_, i): [string, string] => [`${i}`, ''])

describe('what one packet may hold', () => {
  test('topic filters', () => {
    const filters = (count: number) => Array.from({ length: count }, (_, i) => `f/${i}`)
    const subscribe = (count: number): Packet => ({
      type: 'subscribe',
      packetId: 1,
      subscriptions: filters(count).map((filter) => ({ filter, ...options })),
      properties: {},
    })
    const unsubscribe = (count: number): Packet => ({
      type: 'unsubscribe',
      packetId: 1,
      filters: filters(count),
      properties: {},
    })
    for (const make of [subscribe, unsubscribe]) {
      const read = decodeFrame(encodePacket(make(MAX), 4), 4, 'from-client')
      expect(read.type).toBe(make(1).type)
      expect(decodeFrame(encodePacket(make(MAX + 1), 4), 4, 'from-client')).toMatchObject(REFUSED)
    }
  })

  test('user properties, save of a PUBLISH', () => {
    const disconnect = (count: number): Packet => ({
      type: 'disconnect',
      reasonCode: 0,
      properties: { userProperties: pairs(count) },
    })
    expect(decodeFrame(encodePacket(disconnect(MAX), 5), 5, 'from-client').type).toBe('disconnect')
    expect(decodeFrame(encodePacket(disconnect(MAX + 1), 5), 5, 'from-client')).toMatchObject(REFUSED)
  })

  test('a PUBLISH passes on however many there are, around what is taken out', () => {
    const properties = { messageExpiryInterval: 9, contentType: 'x', topicAlias: 3, userProperties: pairs(MAX + 1) }
    const frame = encodePacket(
      {
        type: 'publish',
        topic: 'a',
        payload: Buffer.alloc(0),
        qos: 0,
        dup: false,
        retain: false,
        packetId: 0,
        properties,
      },
      5,
    )
    expect(decodeFrame(frame, 5, 'from-client').type).toBe('publish')
    const reader = new FrameReader(frame.length)
    reader.push(frame)
    expect(reader.next()).toBe(FRAME_READY)
    const view = new PublishView()
    const { buffer, first, start, body, end } = reader
    expect(parsePublish(view, buffer, first, start, body, end, 5)).toBe(0)
    expect(Buffer.from(forwardProperties(view)).equals(encodeForwarded(properties))).toBe(true)
  })
})
