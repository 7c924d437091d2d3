import { ok } from 'node:assert/strict'
import { describe, expect, test } from 'vitest'
import { type Random, seededRandom } from '../../../src/base/clock.ts'
import { FlushQueue } from '../../../src/mqtt/connection/flush-queue.ts'
import { Output } from '../../../src/mqtt/connection/output.ts'
import { seeds } from '../../sim/seeds.ts'
import { FakeTransport } from './fake-transport.ts'

/** A transport whose bytes are looked at as they are. */
class Sink extends FakeTransport {
  readonly written: Buffer[] = []
  writtenBytes = 0

  override write(buffer: Buffer): boolean {
    this.written.push(Buffer.from(buffer))
    this.writtenBytes += buffer.length
    return super.write(buffer)
  }

  get bytes(): Buffer {
    return Buffer.concat(this.written)
  }
}

function setup() {
  const turns: (() => void)[] = []
  const queue = new FlushQueue((callback) => turns.push(callback))
  const sink = new Sink()
  const turn = () => {
    for (const callback of turns.splice(0)) callback()
  }
  return { queue, sink, output: new Output(sink, queue), turn }
}

function anyBytes(random: Random, size: number): Buffer {
  // Words of four random bytes: no two parts look alike, and making them costs little.
  const words = new Uint32Array(Math.ceil(size / 4))
  for (let i = 0; i < words.length; i++) words[i] = random.below(2 ** 32)
  return Buffer.from(words.buffer, 0, size)
}

describe('output', () => {
  test('of one turn leaves with one write', () => {
    const { output, sink, turn } = setup()
    for (const word of ['one ', 'two ', 'three']) output.append(Buffer.from(word), 0, word.length)
    expect(sink.written).toEqual([])
    expect(output.waitingBytes).toBe(13)
    turn()
    expect(sink.written.map(String)).toEqual(['one two three'])
    expect(output.waitingBytes).toBe(0)
  })

  test('a lone shared packet is not copied', () => {
    const { output, sink, turn } = setup()
    const packet = Buffer.from('shared')
    let handed: Buffer | null = null
    sink.write = (buffer) => {
      handed = buffer
      return true
    }
    output.appendShared(packet)
    turn()
    expect(handed).toBe(packet)
  })

  test('a shared packet among others keeps its place', () => {
    const { output, sink, turn } = setup()
    output.append(Buffer.from('a'), 0, 1)
    output.appendShared(Buffer.from('b'))
    turn()
    output.appendShared(Buffer.from('c'))
    output.appendShared(Buffer.from('d'))
    output.append(Buffer.from('e'), 0, 1)
    turn()
    output.appendShared(Buffer.alloc(100_000, 'f'))
    output.append(Buffer.from('g'), 0, 1)
    turn()
    expect(sink.bytes.equals(Buffer.from(`abcde${'f'.repeat(100_000)}g`))).toBe(true)
  })

  test('what was reserved and not needed is given back', () => {
    const { output, sink, turn } = setup()
    const at = output.reserve(5)
    output.buffer!.write('ack', at)
    output.shrink(2)
    output.append(Buffer.from('!'), 0, 1)
    expect(output.pendingBytes).toBe(4)
    turn()
    expect(String(sink.bytes)).toBe('ack!')
  })

  test('after its end nothing is written, and nothing is held', () => {
    const { output, sink, queue, turn } = setup()
    output.append(Buffer.from('lost'), 0, 4)
    output.close()
    expect([queue.pendingBytes, output.pendingBytes]).toEqual([0, 0])
    output.append(Buffer.from('late'), 0, 4)
    output.appendShared(Buffer.from('late'))
    turn()
    expect([sink.written, queue.pendingBytes, output.pendingBytes]).toEqual([[], 0, 0])
    expect(output.isFull(1, 4)).toBe(false)
  })

  test('is full only where the client has not taken what went before', () => {
    const { output, sink } = setup()
    output.append(Buffer.alloc(90), 0, 90)
    expect(output.isFull(10, 100)).toBe(false)
    expect(sink.written).toEqual([])
    expect(output.isFull(11, 100)).toBe(false) // written now, and taken at once
    expect(sink.bytes.length).toBe(90)
    expect(output.isFull(1000, 100)).toBe(false)
    sink.stuck = true
    output.append(Buffer.alloc(90), 0, 90)
    expect(output.isFull(10, 100)).toBe(false)
    expect(output.isFull(11, 100)).toBe(true)
    expect(output.unsentBytes).toBe(90)
    sink.drain()
    expect(output.isFull(11, 100)).toBe(false) // seen without a drain event
  })

  test('tells when there is room again', () => {
    const { output, sink, turn } = setup()
    let told = 0
    output.onRoom = () => told++
    output.append(Buffer.from('x'), 0, 1)
    expect(told).toBe(0)
    turn()
    expect(told).toBe(1)
    sink.onDrain = () => output.drained()
    sink.drain()
    expect(told).toBe(2)
    output.close()
    expect(output.onRoom).toBeNull()
  })

  for (const seed of seeds(10)) {
    test(`is byte for byte what was appended, and no buffer changes while it is sent, seed=${seed}`, () => {
      const random = seededRandom(seed)
      const { queue, turn } = setup()
      const outputs = [1, 2, 3].map(() => {
        const sink = new Sink()
        const output = new Output(sink, queue)
        sink.onDrain = () => output.drained()
        return { sink, output, expected: [] as Buffer[], appended: 0 }
      })
      const sizes = [1, 5, 23, 24, 200, 4095, 4096, 4097, 20_000, 65_535, 65_536, 65_537, 150_000]
      for (let i = 0; i < 1000; i++) {
        const each = outputs[random.below(3)]!
        const { sink, output, expected } = each
        const before = expected.length
        const dice = random.below(100)
        const size = random.below(20) === 0 ? sizes[random.below(sizes.length)]! : 1 + random.below(400)
        if (dice < 50) {
          const source = anyBytes(random, size + 10)
          output.append(source, 5, 5 + size)
          expected.push(Buffer.from(source.subarray(5, 5 + size)))
          source.fill(0)
        } else if (dice < 60) {
          const packet = anyBytes(random, size)
          output.appendShared(packet)
          expected.push(packet)
        } else if (dice < 70) {
          const bytes = anyBytes(random, size)
          const at = output.reserve(size + 3)
          bytes.copy(output.buffer!, at)
          output.shrink(3)
          expected.push(bytes)
        } else if (dice < 78) sink.stuck = true
        else if (dice < 86) sink.drain()
        else if (dice < 92) output.flush()
        else turn()
        if (expected.length > before) each.appended += expected[before]!.length
        ok(output.pendingBytes + sink.writtenBytes === each.appended)
        ok(queue.pendingBytes === outputs.reduce((sum, one) => sum + one.output.pendingBytes, 0))
      }
      queue.flush()
      for (const { sink, expected } of outputs) {
        sink.drain() // compares what was held with what was handed over
        ok(sink.bytes.equals(Buffer.concat(expected)))
      }
      ok(queue.pendingBytes === 0)
    })
  }
})
