import { describe, expect, test } from 'vitest'
import { seededRandom } from '../../../src/base/clock.ts'
import { BrokerError } from '../../../src/base/errors.ts'
import { Deadlines, type Timed } from '../../../src/rpc/peers/deadlines.ts'
import { errorCodec } from '../../../src/rpc/peers/error-codec.ts'
import { Assembler, BodyReader, TYPE, writeHeader } from '../../../src/rpc/peers/message.ts'

describe('errors on the wire', () => {
  const pass = (error: BrokerError) => {
    const target = Buffer.alloc(errorCodec.bytes(error) + 4)
    errorCodec.write(target, 2, error)
    return errorCodec.read(target.subarray(2, target.length - 2))
  }

  test('keep code, message and hint, with bytes and names that look like marks', () => {
    const hint = { key: Uint8Array.of(0, 200), list: [1, 'ü', null], $bytes: 'no', nested: { $x: { $$y: true } } }
    const back = pass(new BrokerError('EPOCH_MISMATCH', 'Größe', { hint }))
    expect(back.code).toBe('EPOCH_MISMATCH')
    expect(back.message).toBe('Größe')
    expect(back.hint).toEqual(hint)
    expect(pass(new BrokerError('TIMEOUT', 'x')).hint).toBeNull()
  })

  test('a hint that is too large is left out; a code from the future is careful', () => {
    expect(pass(new BrokerError('CONFLICT', 'x', { hint: 'y'.repeat(40_000) })).hint).toBeNull()
    const read = (text: string) => errorCodec.read(Buffer.from(text))
    expect(read('{"code":"NEW_CODE","message":"m"}').code).toBe('UNAVAILABLE')
    expect(read('{"code":"toString","message":"m"}').code).toBe('UNAVAILABLE')
    for (const text of ['', 'null', '[]', '{"code":1}', '{']) expect(read(text).code).toBe('UNAVAILABLE')
  })
})

describe('deadlines', () => {
  class Entry implements Timed {
    deadlineMs = 0
    slot = -1
    earlier: Timed | null = null
    later: Timed | null = null
    firedMs = -1
    expired(nowMs: number): void {
      this.firedMs = nowMs
    }
  }

  test('end what is due, never early, at most two steps late; what is removed never', () => {
    const random = seededRandom(4)
    const wheel = new Deadlines(1_000)
    const entries = Array.from({ length: 500 }, () => {
      const entry = new Entry()
      wheel.add(entry, 1_000 + random.below(30_000))
      return entry
    })
    const removed = entries.filter(() => random.below(3) === 0)
    for (const entry of removed) wheel.remove(entry)
    wheel.remove(removed[0]!)
    for (let nowMs = 1_000; nowMs <= 31_100; nowMs += 16) wheel.advance(nowMs)
    for (const entry of entries) {
      if (removed.includes(entry)) expect(entry.firedMs).toBe(-1)
      else {
        expect(entry.firedMs).toBeGreaterThanOrEqual(entry.deadlineMs)
        expect(entry.firedMs).toBeLessThanOrEqual(entry.deadlineMs + 33)
      }
    }
    expect(wheel.size).toBe(0)
  })

  test('a long sleep ends all that is due at once', () => {
    const wheel = new Deadlines(0)
    const near = new Entry()
    const far = new Entry()
    wheel.add(near, 100)
    wheel.add(far, 200_000)
    wheel.advance(100_000)
    expect([near.firedMs, far.firedMs]).toEqual([100_000, -1])
    wheel.advance(200_016)
    expect(far.firedMs).toBe(200_016)
  })
})

describe('bodies', () => {
  test('bytes that make no sense stop the reader, and never throw', () => {
    const random = seededRandom(9)
    const reader = new BodyReader()
    let stops = 0
    for (let i = 0; i < 20_000; i++) {
      const body = Buffer.from(Array.from({ length: random.below(40) }, () => random.below(i % 2 === 0 ? 12 : 256)))
      reader.start(body)
      let more = reader.next()
      while (more === true) more = reader.next()
      if (more === null) stops++
    }
    expect(stops).toBeGreaterThan(1_000)
  })

  test('headers come back, by type', () => {
    const target = Buffer.alloc(200)
    let at = 0
    for (const type of Object.values(TYPE)) {
      at = writeHeader(target, at, { type, channel: 3, length: 0, id: 0xffff_fffe, extra: 0x8000_0001 })
    }
    const reader = new BodyReader()
    reader.start(target.subarray(0, at))
    const seen: string[] = []
    while (reader.next() === true) seen.push(`${reader.type} ${reader.id} ${reader.extra}`)
    const id = 0xffff_fffe
    const extra = 0x8000_0001
    expect(seen).toEqual([
      '1 0 0',
      `2 ${id} ${extra}`,
      `3 ${id} 0`,
      `4 ${id} 0`,
      `5 ${id} 0`,
      `6 ${id} ${extra}`,
      `7 ${id} 0`,
      `8 ${id} ${extra}`,
      `9 ${id} 0`,
      `10 0 ${extra}`,
    ])
  })

  test('parts make a whole, or nothing', () => {
    const assembler = new Assembler(100)
    expect(assembler.add(5, Buffer.from('ab'))).toBeNull()
    expect(assembler.add(5, Buffer.from('cde'))!.toString()).toBe('abcde')
    expect(assembler.add(101, Buffer.from('a'))).toBe('violation')
    expect(assembler.add(5, Buffer.from('ab'))).toBeNull()
    expect(assembler.add(6, Buffer.from('c'))).toBe('violation')
    expect(assembler.add(2, Buffer.from('abc'))).toBe('violation')
    expect(assembler.add(2, Buffer.alloc(0))).toBe('violation')
  })
})
