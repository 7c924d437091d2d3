import { deepEqual } from 'node:assert/strict'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  decodePacket,
  encodePacket,
  FRAME_MORE,
  FRAME_READY,
  FrameReader,
  type Packet,
} from '../../../src/mqtt/codec/index.ts'
import { packets, SIDES } from './arbitraries.ts'
import { decodeFrame } from './bytes.ts'

describe.each(SIDES)('MQTT level %i %s', (version, direction) => {
  test('decoding what was encoded gives the packet', () => {
    fc.assert(
      fc.property(packets(version, direction), (packet) => {
        deepEqual(decodeFrame(encodePacket(packet, version), version, direction), packet)
      }),
      { numRuns: 1500, seed: 1 },
    )
  })

  test('a stream gives the same packets in whatever chunks it comes', () => {
    const streams = fc.array(packets(version, direction), { minLength: 1, maxLength: 6 })
    const steps = fc.array(fc.oneof(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 10, max: 30_000 })), {
      minLength: 1,
    })
    fc.assert(
      fc.property(streams, steps, fc.boolean(), (stream, sizes, retain) => {
        const wire = Buffer.concat(stream.map((packet) => encodePacket(packet, version)))
        deepEqual(readInChunks(wire, sizes, retain), stream)
      }),
      { numRuns: 250, seed: 2 },
    )

    /** Reads in one reused piece of memory, as a socket with a static read buffer does. */
    function readInChunks(wire: Buffer, sizes: number[], retain: boolean): Packet[] {
      const memory = Buffer.alloc(30_000)
      const reader = new FrameReader(1_000_000)
      const found: Packet[] = []
      for (let at = 0, turn = 0; at < wire.length; turn++) {
        const size = Math.min(sizes[turn % sizes.length]!, wire.length - at)
        wire.copy(memory, 0, at, at + size)
        at += size
        reader.push(memory.subarray(0, size))
        if (retain && reader.next() === FRAME_READY) {
          found.push(decode(reader))
          reader.retain()
          memory.fill(0xee)
        }
        while (reader.next() === FRAME_READY) found.push(decode(reader))
        memory.fill(0xee)
      }
      return found
    }

    function decode(reader: FrameReader): Packet {
      const packet = decodePacket(reader.buffer, reader.first, reader.body, reader.end, version, direction)
      if (packet.type === 'error') throw new Error(packet.message)
      return packet
    }
  })
})

test('a stream cut in two at every byte', () => {
  const stream: Packet[] = [
    {
      type: 'publish',
      topic: 'a/b',
      payload: Buffer.alloc(200, 7),
      qos: 1,
      retain: false,
      dup: false,
      packetId: 3,
      properties: { contentType: 'x' },
    },
    { type: 'pingreq' },
    { type: 'puback', packetId: 9, reasonCode: 0, properties: {} },
  ]
  const wire = Buffer.concat(stream.map((packet) => encodePacket(packet, 5)))
  for (let cut = 0; cut <= wire.length; cut++) {
    const reader = new FrameReader(1000)
    const found: unknown[] = []
    for (const part of [wire.subarray(0, cut), wire.subarray(cut)]) {
      const chunk = Buffer.from(part)
      reader.push(chunk)
      while (reader.next() === FRAME_READY) {
        found.push(decodePacket(reader.buffer, reader.first, reader.body, reader.end, 5, 'from-client'))
      }
      expect(reader.next()).toBe(FRAME_MORE)
      chunk.fill(0xee)
    }
    deepEqual(found, stream)
    expect(reader.bufferedBytes).toBe(0)
  }
})
