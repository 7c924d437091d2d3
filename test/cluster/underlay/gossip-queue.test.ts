import { expect, test } from 'vitest'
import { seededRandom } from '../../../src/base/clock.ts'
import type { HostId } from '../../../src/base/ids.ts'
import { GossipQueue } from '../../../src/cluster/underlay/core/gossip-queue.ts'
import { decodePacket, encodeHeader, joinPacket } from '../../../src/cluster/underlay/core/wire.ts'

const header = encodeHeader({ clusterName: 'test', clusterId: '', sender: 'h1' as HostId, life: 1 })
const host = (index: number) => `h${index}` as HostId
const dead = (index: number, incarnation = 1) =>
  ({ type: 'dead', id: host(index), incarnation, by: 'h1' as HostId }) as const
const suspect = (index: number, by: number, incarnation = 1) =>
  ({ type: 'suspect', id: host(index), incarnation, by: host(by) }) as const

/** What was taken, as `dead h2@1`. */
function taken(queue: GossipQueue, room = 10_000, limit = 3): string[] {
  const packet = decodePacket(joinPacket(header, queue.take(room, limit)), 100_000)
  if (typeof packet === 'string') throw new Error(packet)
  return packet.messages.map((message) => {
    if (message.type === 'suspect') return `suspect ${message.id}@${message.incarnation} by ${message.by}`
    return message.type === 'dead' ? `dead ${message.id}@${message.incarnation}` : message.type
  })
}

test('each rumour is told as often as the limit says, then it is gone', () => {
  const queue = new GossipQueue()
  queue.put(dead(2))
  for (let i = 0; i < 3; i++) expect(taken(queue)).toEqual(['dead h2@1'])
  expect(taken(queue)).toEqual([])
  expect([queue.empty, queue.size]).toEqual([true, 0])
})

test('the least told come first, of those the newest', () => {
  const queue = new GossipQueue()
  queue.put(dead(2))
  queue.put(dead(3))
  const one = queue.take(10_000, 3)[0]!.length
  queue.put(dead(4))
  expect(taken(queue, one)).toEqual(['dead h4@1'])
  expect(taken(queue, 2 * one + 1).length).toBe(2)
  expect(taken(queue, one - 1)).toEqual([])
})

test('news replace what was said of the host; suspicions of several stand beside each other', () => {
  const queue = new GossipQueue()
  queue.put(suspect(2, 3))
  queue.put(suspect(2, 4))
  queue.put(suspect(2, 3, 2))
  expect(taken(queue).toSorted()).toEqual(['suspect h2@1 by h4', 'suspect h2@2 by h3'])
  queue.put(dead(2, 2))
  expect(taken(queue)).toEqual(['dead h2@2'])
  expect(queue.size).toBe(1)
  queue.drop(host(2))
  expect(taken(queue)).toEqual([])
})

test('the room is never exceeded, and nobody is left out for ever', () => {
  const random = seededRandom(1)
  const queue = new GossipQueue()
  const told = new Map<string, number>()
  for (let i = 0; i < 200; i++) queue.put(dead(100 + i, 10 ** random.below(9)))
  for (let i = 0; !queue.empty && i < 1_000; i++) {
    const room = 20 + random.below(200)
    const bytes = queue.take(room, 4)
    expect(bytes.reduce((sum, { length }) => sum + length, 0)).toBeLessThanOrEqual(room)
    for (const rumour of bytes) {
      const key = Buffer.from(rumour).toString('hex')
      told.set(key, (told.get(key) ?? 0) + 1)
    }
  }
  expect(queue.empty).toBe(true)
  expect([...told.values()]).toEqual(Array.from({ length: 200 }, () => 4))
})

test('a lower limit, after hosts left, ends what was told often enough', () => {
  const queue = new GossipQueue()
  queue.put(dead(2))
  taken(queue, 10_000, 8)
  taken(queue, 10_000, 8)
  expect(taken(queue, 10_000, 2)).toEqual([])
  expect(queue.empty).toBe(true)
})
