import { describe, expect, test } from 'vitest'
import {
  FRAME_MALFORMED,
  FRAME_MORE,
  FRAME_READY,
  FRAME_TOO_LARGE,
  FrameReader,
} from '../../../src/mqtt/codec/index.ts'
import { bytes } from './bytes.ts'

const MIB = 1024 * 1024

describe('FrameReader', () => {
  test('presents whole frames as offsets into the chunk, without a copy', () => {
    const chunk = bytes('c0 00 40 02 00 01 30 03 00 01 "a"')
    const reader = new FrameReader(100)
    reader.push(chunk)
    const frames: number[][] = []
    while (reader.next() === FRAME_READY) {
      expect(reader.buffer).toBe(chunk)
      frames.push([reader.first, reader.start, reader.body, reader.end])
    }
    expect(frames).toEqual([
      [0xc0, 0, 2, 2],
      [0x40, 2, 4, 6],
      [0x30, 6, 8, 11],
    ])
    expect(reader.bufferedBytes).toBe(0)
    expect(reader.buffer.length, 'an idle connection pins no chunk').toBe(0)
  })

  test('a frame that was cut is handed over: later frames do not overwrite it', () => {
    const reader = new FrameReader(100)
    reader.push(bytes('30 05 00'))
    expect(reader.next()).toBe(FRAME_MORE)
    reader.push(bytes('01 "a" 01 02 30 05 00'))
    expect(reader.next()).toBe(FRAME_READY)
    const { buffer, start, end } = reader
    expect(reader.next()).toBe(FRAME_MORE)
    reader.push(bytes('01 "b" 03 04'))
    expect(reader.next()).toBe(FRAME_READY)
    expect(buffer.subarray(start, end).toString('hex')).toBe('30050001610102')
    expect(reader.buffer.subarray(reader.start, reader.end).toString('hex')).toBe('30050001620304')
  })

  test('a length that is announced costs nothing: memory follows what has arrived', () => {
    const reader = new FrameReader(16 * MIB)
    reader.push(bytes('30 fb ff ff 07 00')) // 16,777,211 bytes, and one of them
    expect(reader.next()).toBe(FRAME_MORE)
    expect(reader.bufferedBytes).toBeLessThanOrEqual(256)
    let sent = 1
    while (sent < MIB) {
      reader.push(Buffer.alloc(1000))
      expect(reader.next()).toBe(FRAME_MORE)
      sent += 1000
      expect(reader.bufferedBytes).toBeLessThanOrEqual(2 * sent + 1000)
    }
  })

  test('growth is geometric, and ends at the size of the frame', () => {
    const reader = new FrameReader(16 * MIB)
    const size = 1_000_000
    const frame = Buffer.concat([bytes('30 c0 84 3d'), Buffer.alloc(size)])
    const sizes = new Set<number>()
    for (let at = 0; at < frame.length; at += 100) {
      reader.push(frame.subarray(at, at + 100))
      if (reader.next() === FRAME_READY) break
      sizes.add(reader.bufferedBytes)
    }
    expect(reader.end - reader.body).toBe(size)
    expect(reader.buffer.length).toBe(frame.length)
    expect(sizes.size).toBeLessThan(16)
  })

  test.each([
    ['30 ff ff ff ff', FRAME_MALFORMED],
    ['30 80 80 80 80 01', FRAME_MALFORMED],
    ['30 ff ff ff 7f', FRAME_TOO_LARGE],
    ['30 65', FRAME_TOO_LARGE],
    ['30 63', FRAME_TOO_LARGE],
    ['30 62', FRAME_MORE],
  ])('%s in one chunk or byte by byte, at most 100 bytes a packet', (wire, expected) => {
    const whole = new FrameReader(100)
    whole.push(bytes(wire))
    expect(whole.next()).toBe(expected)
    const single = new FrameReader(100)
    let status: number = FRAME_MORE
    for (const byte of bytes(wire)) {
      single.push(Buffer.from([byte]))
      status = single.next()
    }
    expect(status).toBe(expected)
    if (expected === FRAME_MORE) return
    expect(whole.first).toBe(0x30)
    expect(single.first).toBe(0x30)
  })

  test('a failure is final, and lets go of all memory', () => {
    const reader = new FrameReader(10)
    reader.push(bytes('c0 00 30 7f 00 00 00 c0 00'))
    expect(reader.next()).toBe(FRAME_READY)
    expect(reader.next()).toBe(FRAME_TOO_LARGE)
    reader.push(bytes('c0 00'))
    expect(reader.next()).toBe(FRAME_TOO_LARGE)
    expect(reader.pending()).toBe(false)
    expect(reader.bufferedBytes).toBe(0)
  })

  test('the limit may change between frames', () => {
    const reader = new FrameReader(4)
    reader.push(bytes('40 02 00 01 30 03 00 01 "a"'))
    expect(reader.next()).toBe(FRAME_READY)
    reader.setPacketBytesMax(5)
    expect(reader.next()).toBe(FRAME_READY)
    reader.push(bytes('30 04 00 01 "ab"'))
    expect(reader.next()).toBe(FRAME_TOO_LARGE)
  })

  test('the limit holds for a frame that was cut in its header', () => {
    const reader = new FrameReader(100)
    reader.push(bytes('30'))
    expect(reader.next()).toBe(FRAME_MORE)
    reader.push(bytes('80 01'))
    expect(reader.next()).toBe(FRAME_TOO_LARGE)
  })

  test('a connection may stop in the middle of a chunk', () => {
    const memory = bytes('c0 00 40 02 00 01 40 02 00')
    const reader = new FrameReader(100)
    reader.push(memory)
    expect(reader.next()).toBe(FRAME_READY)
    expect(reader.pending()).toBe(true)
    reader.retain()
    expect(reader.bufferedBytes).toBe(7)
    memory.fill(0xee)
    reader.push(bytes('02 50 02 00 03'))
    const ids: number[] = []
    while (reader.next() === FRAME_READY) ids.push(reader.buffer.readUInt16BE(reader.body))
    expect(ids).toEqual([1, 2, 3])
    expect(reader.pending()).toBe(false)
  })

  test('retain keeps the order where a frame is cut before the chunk', () => {
    const reader = new FrameReader(100)
    reader.push(bytes('40 02 00'))
    expect(reader.next()).toBe(FRAME_MORE)
    const memory = bytes('01 40 02 00 02')
    reader.push(memory)
    reader.retain()
    memory.fill(0xee)
    const ids: number[] = []
    while (reader.next() === FRAME_READY) ids.push(reader.buffer.readUInt16BE(reader.body))
    expect(ids).toEqual([1, 2])
  })

  test('nothing at all is no frame', () => {
    const reader = new FrameReader(100)
    expect(reader.next()).toBe(FRAME_MORE)
    reader.push(Buffer.alloc(0))
    reader.retain()
    expect(reader.next()).toBe(FRAME_MORE)
    expect(reader.bufferedBytes).toBe(0)
  })
})
