import { ok } from 'node:assert/strict'
import { describe, expect, test } from 'vitest'
import { seededRandom } from '../../../src/base/clock.ts'
import { PACKET } from '../../../src/mqtt/codec/index.ts'
import { AckOrder } from '../../../src/mqtt/session/ack-order.ts'
import { seeds } from '../../sim/seeds.ts'

const { PUBACK, PUBREC } = PACKET

describe('order of acknowledgements', () => {
  for (const seed of seeds(20)) {
    test(`is the order of the publishes, whatever ends first, seed=${seed}`, () => {
      const random = seededRandom(seed)
      const written: string[] = []
      const expected: string[] = []
      const order = new AckOrder((...ack) => written.push(ack.join()))
      const open: { ticket: number; reason: number }[] = []
      for (let id = 1; id <= 2000; id++) {
        const [type, reason] = [random.below(2) === 0 ? PUBACK : PUBREC, random.below(256)]
        expected.push([type, id, reason].join())
        if (random.below(3) === 0) order.ready(type, id, reason)
        else open.push({ ticket: order.open(type, id), reason })
        // Windows of very different width, so that the ring grows and wraps.
        while (open.length > (id % 400) + 1 || (open.length > 0 && random.below(4) === 0)) {
          const [settled] = open.splice(random.below(open.length), 1)
          order.settle(settled!.ticket, settled!.reason)
        }
        ok(written.at(-1) === expected[written.length - 1])
        ok(order.waiting === expected.length - written.length)
      }
      for (const { ticket, reason } of open) order.settle(ticket, reason)
      expect(written).toEqual(expected)
      expect(order.waiting).toBe(0)
    })
  }

  test('one that is ready waits behind one that is not, and leaves with it', () => {
    const written: number[] = []
    const order = new AckOrder((_type, id) => written.push(id))
    const first = order.open(PUBACK, 1)
    order.ready(PUBREC, 2, 0)
    expect(written).toEqual([])
    order.settle(first, 0)
    expect(written).toEqual([1, 2])
    order.ready(PUBACK, 3, 0)
    expect(written).toEqual([1, 2, 3])
  })

  test('the writer may add acknowledgements', () => {
    const written: number[] = []
    const order = new AckOrder((_type, id) => {
      written.push(id)
      if (id <= 40) order.ready(PUBACK, id + 100, 0)
    })
    const tickets = Array.from({ length: 40 }, (_, i) => order.open(PUBACK, i + 1))
    for (const ticket of tickets.reverse()) order.settle(ticket, 0)
    const own = Array.from({ length: 40 }, (_, i) => i + 1)
    expect(written).toEqual([...own, ...own.map((id) => id + 100)])
  })

  test('a ticket is settled once', () => {
    const order = new AckOrder(() => {})
    const ticket = order.open(PUBACK, 1)
    order.settle(ticket, 0)
    expect(() => order.settle(ticket, 0)).toThrow('settled once')
  })
})
