import { Buffer } from 'node:buffer'
import { describe, expect, test } from 'vitest'
import { seededRandom } from '../../../src/base/clock.ts'
import { Flow } from '../../../src/rpc/link/core/flow.ts'
import { FrameWriter } from '../../../src/rpc/link/core/frame-writer.ts'
import { LinkMeters } from '../../../src/rpc/link/core/meters.ts'
import { backoffMs } from '../../../src/rpc/link/core/options.ts'
import {
  decodePacket,
  decodeTerms,
  encodeChallenge,
  encodeHello,
  encodeSealed,
  encodeTerms,
  FRAME_HEADER_BYTES,
  type FramePacket,
  stampFrame,
} from '../../../src/rpc/link/core/packet.ts'
import { SMALL } from './sim-links.ts'

const frameOf = (packet: Buffer) => decodePacket(packet) as FramePacket

describe('packets', () => {
  test('a frame, byte by byte', () => {
    const packet = Buffer.alloc(FRAME_HEADER_BYTES + 3, 7)
    stampFrame(packet, 0, { number: 1, ack: 0x1_0000_0002, credit: 3, ping: true, bodyBytes: 3 })
    expect(packet.toString('hex')).toBe(
      '09' +
        '0100000000000000' +
        '11' +
        '0200000001000000' +
        '19' +
        '0300000000000000' +
        '2001' +
        '2a83808000' +
        '070707',
    )
    expect(frameOf(packet)).toMatchObject({ number: 1, ack: 0x1_0000_0002, credit: 3, ping: true })
    expect([...frameOf(packet).body]).toEqual([7, 7, 7])
  })

  test('of the handshake come back as they were', () => {
    const nonce = Buffer.alloc(16, 5)
    const hello = {
      version: 1,
      cluster: 'c',
      node: 'ä',
      incarnation: 2 ** 45,
      target: 't',
      kind: 'bulk' as const,
      nonce,
    }
    expect(decodePacket(encodeHello(hello))).toEqual({ type: 'hello', ...hello })
    const challenge = { node: 'n', incarnation: 0, nonce }
    expect(decodePacket(encodeChallenge(challenge))).toEqual({ type: 'challenge', ...challenge })
    const terms = { session: 2 ** 49, seen: 0, credit: 5, established: true }
    expect(decodeTerms(encodeTerms(terms))).toEqual(terms)
    const sealed = { terms: encodeTerms(terms), proof: nonce }
    expect(decodePacket(encodeSealed('proof', sealed.terms, nonce))).toEqual({ type: 'proof', ...sealed })
  })

  test('no bytes make the decoder throw', () => {
    const random = seededRandom(3)
    const good = encodeHello({
      version: 1,
      cluster: 'c',
      node: 'n',
      incarnation: 9,
      target: 't',
      kind: 'raft',
      nonce: Buffer.alloc(16),
    })
    let none = 0
    for (let i = 0; i < 50_000; i++) {
      const bytes = i % 2 === 0 ? Buffer.from(good) : Buffer.alloc(random.below(60))
      for (let k = 0; k < 3 && bytes.length > 0; k++) bytes[random.below(bytes.length)] = random.below(256)
      if (decodePacket(bytes.subarray(0, random.below(bytes.length + 1))) === null) none++
    }
    expect(none).toBeGreaterThan(1_000)
  })
})

describe('a flow', () => {
  const flow = () => new Flow(SMALL, new LinkMeters())
  const out = (bytes: number) => ({ packet: Buffer.alloc(FRAME_HEADER_BYTES + bytes), messages: 1, queuedMs: 0 })
  const incoming = (number: number, bytes = 10, more: Partial<FramePacket> = {}): FramePacket => ({
    type: 'frame',
    number,
    ack: 0,
    credit: 0,
    ping: false,
    body: Buffer.alloc(bytes),
    ...more,
  })
  const take = (from: Flow, nowMs: number) => {
    const writes: Buffer[] = []
    from.take(writes, nowMs)
    return writes.map((packet) => frameOf(packet))
  }

  test('sends within the credit, goes on with more, and frees what is acknowledged', () => {
    const a = flow()
    a.attach(0, 1_500, 0)
    for (let i = 0; i < 3; i++) a.push(out(1_000))
    expect(take(a, 0).map((frame) => frame.number)).toEqual([1])
    expect(a.receive(incoming(0, 0, { ack: 1, credit: 3_000 }), 1)).toBe('nothing')
    expect(a.bufferedBytes).toBe(2_000)
    expect(take(a, 1).map((frame) => frame.number)).toEqual([2, 3])
    a.receive(incoming(0, 0, { ack: 3, credit: 3_000 }), 2)
    expect(a.bufferedBytes).toBe(0)
  })

  test('sends again from where the peer says, and not what it has', () => {
    const a = flow()
    a.attach(0, 10_000, 0)
    for (let i = 0; i < 4; i++) a.push(out(100))
    take(a, 0)
    a.detach()
    expect(take(a, 1)).toEqual([])
    expect(a.attach(2, 10_000, 2)).toBe(true)
    expect(take(a, 2).map((frame) => frame.number)).toEqual([3, 4])
    expect(a.attach(1, 10_000, 3)).toBe(false)
    expect(a.attach(5, 10_000, 3)).toBe(false)
  })

  test('drops what came before, and breaks on gaps, on too much, and on what cannot be acknowledged', () => {
    const a = flow()
    a.attach(0, 0, 0)
    expect(a.receive(incoming(1), 0)).toBe('deliver')
    expect(a.receive(incoming(1), 0)).toBe('nothing')
    expect(a.receive(incoming(3), 0)).toBe('violation')
    expect(a.receive(incoming(2, SMALL.windowBytes), 0)).toBe('violation')
    expect(a.receive(incoming(2, 1, { ack: 1 }), 0)).toBe('violation')
  })

  test('acknowledges late, at a quarter of the window, or when asked', () => {
    const a = flow()
    a.attach(0, 0, 0)
    a.receive(incoming(1), 100)
    a.consumed(10, 100)
    expect(take(a, 110)).toEqual([])
    expect(a.wakeAtMs).toBe(120)
    expect(take(a, 120)).toMatchObject([{ number: 0, ack: 1, credit: SMALL.windowBytes + 10 }])
    a.receive(incoming(2, 1_024), 130)
    expect(take(a, 130)).toMatchObject([{ number: 0, ack: 2 }])
    a.receive(incoming(0, 0, { ping: true }), 140)
    expect(take(a, 140)).toHaveLength(1)
    expect(take(a, 500)).toEqual([])
  })

  test('a frame carries the acknowledgement', () => {
    const a = flow()
    a.attach(0, 10_000, 0)
    a.receive(incoming(1), 100)
    a.push(out(5))
    expect(take(a, 101)).toMatchObject([{ number: 1, ack: 1 }])
    expect(take(a, 200)).toEqual([])
  })

  test('grants nothing while answers find no room', () => {
    const a = flow()
    a.attach(0, 0, 0)
    a.granting = false
    a.receive(incoming(1, 500), 0)
    a.consumed(500, 0)
    expect(a.credit).toBe(SMALL.windowBytes)
    a.granting = true
    take(a, 1)
    expect(a.credit).toBe(SMALL.windowBytes + 500)
  })

  test('asks after a silence, breaks after a long one; who slept asks first', () => {
    const { keepaliveMs, silenceMsMax } = SMALL
    const a = flow()
    a.attach(0, 0, 0)
    expect(a.check(keepaliveMs - 1)).toBe('fine')
    expect(a.check(keepaliveMs)).toBe('ping')
    expect(a.check(keepaliveMs + 1)).toBe('fine')
    expect(a.wakeAtMs).toBe(silenceMsMax)
    expect(a.check(silenceMsMax)).toBe('broken')
    const b = flow()
    b.attach(0, 0, 0)
    expect(b.check(60_000)).toBe('ping')
    expect(b.check(60_000 + silenceMsMax - keepaliveMs)).toBe('broken')
  })
})

test('waits double up to the bound, and half of each is chance', () => {
  const options = { ...SMALL, backoffMsMin: 10, backoffMsMax: 100 }
  const at = (random: number) => [1, 2, 3, 4, 5, 500].map((failures) => backoffMs(failures, random, options))
  expect(at(0)).toEqual([5, 10, 20, 40, 50, 50])
  expect(at(0.5)).toEqual([7.5, 15, 30, 60, 75, 75])
})

test('small frames share a slab, large ones get room', () => {
  const writer = new FrameWriter(64 * 1024)
  const put = (bytes: number) => {
    const at = writer.reserve(bytes)
    writer.slab.fill(bytes % 251, at, at + bytes)
    writer.commit(bytes, 5)
  }
  put(100)
  const slab = writer.slab
  const first = writer.seal()!
  put(200)
  put(300)
  expect(writer.openBytes).toBe(500)
  const second = writer.seal()!
  expect(writer.slab).toBe(slab)
  expect([first.packet.length, second.packet.length, second.messages]).toEqual([
    FRAME_HEADER_BYTES + 100,
    FRAME_HEADER_BYTES + 500,
    2,
  ])
  expect(first.packet.subarray(FRAME_HEADER_BYTES).every((byte) => byte === 100)).toBe(true)
  expect(writer.seal()).toBeNull()
  for (let i = 0; i < 10; i++) {
    expect(writer.fits(64 * 1024)).toBe(true)
    put(64 * 1024)
    expect(writer.fits(1)).toBe(false)
    expect(writer.seal()!.packet.length).toBe(FRAME_HEADER_BYTES + 64 * 1024)
  }
})
