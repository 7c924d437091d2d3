import { ok } from 'node:assert/strict'
import { describe, expect, test } from 'vitest'
import { seededRandom } from '../../../src/base/clock.ts'
import type { Feed, FeedEntry } from '../../../src/inbox/index.ts'
import type { Packet } from '../../../src/mqtt/codec/index.ts'
import { Outbound } from '../../../src/mqtt/session/outbound.ts'
import { seeds } from '../../sim/seeds.ts'
import { FakeTarget } from './fake-target.ts'
import { messageOf } from './values.ts'

class FakeFeed implements Feed {
  readonly acknowledged: number[] = []
  /** Markers that are not committed yet. */
  readonly pending: { sequence: number; packetId: number; done: (error: Error | null) => void }[] = []

  acknowledge(sequence: number): void {
    this.acknowledged.push(sequence)
  }

  received(sequence: number, packetId: number, done: (error: Error | null) => void): void {
    this.pending.push({ sequence, packetId, done })
  }

  close(): void {}
}

function setup(fields: { clientReceiveMaximum?: number; clientPacketBytesMax?: number; nowMs?: () => number } = {}) {
  const target = new FakeTarget(5)
  const drops: string[] = []
  const outbound = new Outbound({
    version: 5,
    clientReceiveMaximum: 65_535,
    clientPacketBytesMax: 1000,
    clientTopicAliasMax: 0,
    persistent: true,
    waitingBytesMax: 100_000,
    nowMs: () => 0,
    dropped: (_count, reason) => drops.push(reason),
    ...fields,
    target,
  })
  return { target, outbound, drops, feed: new FakeFeed() }
}

function entryOf(sequence: number, fields: Partial<FeedEntry> = {}): FeedEntry {
  const message = messageOf({ payload: `m${sequence}` })
  const plain = { dup: false, released: false, message, retain: false, subscriptionIds: [] }
  return { sequence, packetId: 1 + (sequence % 32_767), qos: 1, ...plain, ...fields }
}

const show = (packets: readonly Packet[]) =>
  packets.map((packet) => {
    if (packet.type !== 'publish') return `${packet.type} ${'packetId' in packet ? packet.packetId : ''}`
    return `${packet.payload} ${packet.packetId}${packet.dup ? ' dup' : ''}${packet.retain ? ' retain' : ''}`
  })

describe('entries of a queue', () => {
  test('keep their packet id, DUP and RETAIN, and end at the feed', () => {
    const { outbound, target, feed } = setup()
    outbound.deliverEntries(feed, [entryOf(40_000, { dup: true }), entryOf(40_001, { qos: 2, retain: true })])
    expect(show(target.take())).toEqual(['m40000 7234 dup', 'm40001 7235 retain'])
    expect(outbound.onPuback(7235)).toBe(false)
    expect(outbound.onPubrec(7234, false)).toBe(false)
    expect(outbound.onPuback(7234)).toBe(true)
    expect(feed.acknowledged).toEqual([40_000])
    expect(outbound.sentUpTo).toBe(40_001)
  })

  test('QoS 0 passes without an id and without an acknowledgement', () => {
    const { outbound, target, feed } = setup()
    outbound.deliverEntries(feed, [entryOf(0, { qos: 0, packetId: 0 })])
    expect(show(target.take())).toEqual(['m0 0'])
    expect([outbound.inFlight, feed.acknowledged]).toEqual([0, []])
  })

  test('PUBREL leaves once the marker is committed, and not before', () => {
    const { outbound, target, feed } = setup()
    outbound.deliverEntries(feed, [entryOf(5, { qos: 2 })])
    target.take()
    expect(outbound.onPubrec(6, false)).toBe(true)
    expect(outbound.onPubcomp(6)).toBe(false)
    expect(target.take()).toEqual([])
    expect(feed.pending).toMatchObject([{ sequence: 5, packetId: 6 }])
    feed.pending[0]!.done(null)
    expect(show(target.take())).toEqual(['pubrel 6'])
    expect(outbound.onPubrec(6, false)).toBe(true)
    expect(show(target.take())).toEqual(['pubrel 6'])
    expect(outbound.onPubcomp(6)).toBe(true)
    expect(feed.acknowledged).toEqual([5])
    expect(outbound.inFlight).toBe(0)
  })

  test('a marker that is not committed leaves the exchange open', () => {
    const { outbound, target, feed } = setup()
    outbound.deliverEntries(feed, [entryOf(5, { qos: 2 })])
    target.take()
    outbound.onPubrec(6, false)
    feed.pending[0]!.done(new Error('no quorum'))
    expect(target.take()).toEqual([])
    expect(outbound.inFlight).toBe(1)
    outbound.onPubrec(6, false)
    feed.pending[1]!.done(null)
    expect(show(target.take())).toEqual(['pubrel 6'])
  })

  test('a marker of an exchange that ended meanwhile says nothing', () => {
    const { outbound, target, feed } = setup()
    outbound.deliverEntries(feed, [entryOf(5, { qos: 2 })])
    outbound.onPubrec(6, false)
    expect(outbound.onPubrec(6, true)).toBe(true) // the client gave it up
    target.take()
    feed.pending[0]!.done(null)
    expect(target.take()).toEqual([])
    expect(feed.acknowledged).toEqual([5])
  })

  test('a released entry is owed its PUBREL, and counts as under way', () => {
    const { outbound, target, feed } = setup({ clientReceiveMaximum: 2 })
    const released = { released: true, message: null, qos: 2, dup: true } as const
    outbound.deliverEntries(feed, [entryOf(1, released), entryOf(2), entryOf(3)])
    expect(show(target.take())).toEqual(['pubrel 2', 'm2 3'])
    outbound.onPubcomp(2)
    expect(show(target.take())).toEqual(['m3 4'])
    expect(feed.acknowledged).toEqual([1])
  })

  test('those beyond the receive maximum wait, in their order, while QoS 0 goes on', () => {
    const { outbound, target, feed } = setup({ clientReceiveMaximum: 2 })
    outbound.deliverEntries(
      feed,
      [1, 2, 3, 4].map((sequence) => entryOf(sequence)),
    )
    outbound.deliverEntries(feed, [entryOf(5), entryOf(6, { qos: 0, packetId: 0 })])
    expect(show(target.take())).toEqual(['m1 2', 'm2 3', 'm6 0'])
    outbound.onPuback(3)
    outbound.onPuback(2)
    expect(show(target.take())).toEqual(['m3 4', 'm4 5'])
    expect(outbound.inFlight).toBe(2)
    expect(outbound.sentUpTo).toBe(4)
  })

  test('an expired one is dropped, but not when it may have been sent before', () => {
    const { outbound, target, feed, drops } = setup({ nowMs: () => 60_000 })
    const message = messageOf({ expirySeconds: 10, payload: 'old' })
    outbound.deliverEntries(feed, [entryOf(1, { message }), entryOf(2, { message, dup: true })])
    expect(show(target.take())).toEqual(['old 3 dup'])
    expect([drops, feed.acknowledged]).toEqual([['expired'], [1]])
    outbound.deliverEntries(feed, [entryOf(3, { message, qos: 0, packetId: 0 })])
    expect(feed.acknowledged).toEqual([1])
  })

  test('30,000 that are too large end one after the other, and not on the stack', () => {
    const { outbound, target, feed, drops } = setup({ clientReceiveMaximum: 1 })
    const message = messageOf({ payload: Buffer.alloc(2000) })
    const large = Array.from({ length: 30_000 }, (_, i) => entryOf(i + 2, { message }))
    outbound.deliverEntries(feed, [entryOf(1), ...large, entryOf(30_002)])
    target.take()
    outbound.onPuback(2)
    expect(drops).toHaveLength(30_000)
    expect(feed.acknowledged).toHaveLength(30_001)
    expect(show(target.take())).toEqual(['m30002 30003'])
    expect(outbound.inFlight).toBe(1)
  })

  test('wait while the client does not read, and none overtakes another', () => {
    const { outbound, target, feed } = setup()
    target.unsentBytes = 99_900
    outbound.deliverEntries(feed, [entryOf(1, { message: messageOf({ payload: 'm1'.padEnd(200) }) }), entryOf(2)])
    expect(target.take()).toEqual([])
    target.drain()
    expect(target.publishes().map(({ payload }) => payload.toString('utf8', 0, 2))).toEqual(['m1', 'm2'])
    expect(target.onRoom).toBeNull()
  })
})

describe("a group's entries", () => {
  test('get ids that no queue uses', () => {
    const { outbound, target, feed } = setup()
    outbound.deliverEntries(feed, [entryOf(1, { packetId: 0 }), entryOf(2, { packetId: 0, qos: 2 })])
    const [one, two] = target.publishes()
    expect([one!.packetId, two!.packetId]).toEqual([32_768, 32_769])
    expect(outbound.sentUpTo).toBe(0)
    outbound.onPuback(32_768)
    outbound.onPubrec(32_769, false)
    expect(feed.pending[0]).toMatchObject({ sequence: 2, packetId: 32_769 })
    feed.pending[0]!.done(null)
    outbound.onPubcomp(32_769)
    expect(feed.acknowledged).toEqual([1, 2])
  })

  test('that were given an id before keep it, and nobody else gets it', () => {
    const { outbound, target, feed } = setup()
    const owed = { qos: 2, dup: true } as const
    outbound.deliverEntries(feed, [
      entryOf(1, { ...owed, packetId: 32_768 }),
      entryOf(2, { ...owed, packetId: 32_770, released: true, message: null }),
      ...[3, 4, 5].map((sequence) => entryOf(sequence, { packetId: 0 })),
    ])
    const packets = show(target.take())
    expect(packets).toEqual(['m1 32768 dup', 'pubrel 32770', 'm3 32769', 'm4 32771', 'm5 32772'])
    expect(outbound.sentUpTo).toBe(0)
    outbound.onPubcomp(32_770)
    outbound.onPuback(32_769)
    expect(feed.acknowledged).toEqual([2, 3])
  })

  test('with an id that is in use by now wait until it is free', () => {
    const { outbound, target, feed } = setup()
    outbound.deliverEntries(feed, [entryOf(1, { packetId: 0 })])
    outbound.deliverEntries(feed, [entryOf(2, { packetId: 32_768, qos: 2, dup: true })])
    expect(show(target.take())).toEqual(['m1 32768'])
    outbound.onPuback(32_768)
    expect(show(target.take())).toEqual(['m2 32768 dup'])
    outbound.onPubrec(32_768, true)
    expect(feed.acknowledged).toEqual([1, 2])
  })

  test('an id that was taken and not used is free again; one in use stays', () => {
    const { outbound, feed, target } = setup()
    const id = outbound.groupIds.take()
    outbound.groupIds.free(id)
    outbound.groupIds.free(id)
    const used = outbound.groupIds.take()
    outbound.deliverEntries(feed, [entryOf(1, { packetId: used, qos: 2 })])
    outbound.groupIds.free(used)
    expect(outbound.onPubrec(used, false)).toBe(true)
    target.take()
    const taken = new Set(Array.from({ length: 32_767 }, () => outbound.groupIds.take()))
    expect(taken.size).toBe(32_767)
    expect(taken.has(used)).toBe(false)
    expect(outbound.groupIds.take()).toBe(0)
  })

  test('a stored id is in use until the group is rid of it: after a crash it would be owed again', () => {
    const { outbound, feed } = setup()
    const [done, tooLarge] = [outbound.groupIds.take(), outbound.groupIds.take()]
    const payload = 'x'.repeat(2_000)
    outbound.deliverEntries(feed, [
      entryOf(1, { packetId: done, qos: 2 }),
      entryOf(2, { packetId: tooLarge, qos: 2, message: messageOf({ payload }) }),
      entryOf(3, { packetId: 40_000, qos: 2, released: true, message: null }),
    ])
    expect(outbound.onPubrec(done, false)).toBe(true)
    feed.pending[0]!.done(null)
    for (const id of [done, 40_000]) {
      expect(outbound.onPubcomp(id)).toBe(true)
      expect(outbound.onPubcomp(id)).toBe(false)
      expect(outbound.onPubrec(id, false)).toBe(false)
    }
    expect(feed.acknowledged).toEqual([2, 1, 3])
    expect(outbound.inFlight).toBe(0)
    const others = new Set(Array.from({ length: 32_765 }, () => outbound.groupIds.take()))
    for (const id of [0, done, tooLarge, 40_000]) expect(others.has(id)).toBe(false)
    expect(outbound.groupIds.take()).toBe(0)
    outbound.groupIds.free(done)
    expect(outbound.groupIds.take()).toBe(done)
  })

  test('an id of an entry that expired on its way is in use until the group is rid of it', () => {
    const { outbound, feed, drops } = setup({ nowMs: () => 10_000 })
    const id = outbound.groupIds.take()
    const message = messageOf({ payload: 'old', expirySeconds: 1 })
    outbound.deliverEntries(feed, [entryOf(1, { packetId: id, qos: 2, message })])
    expect(drops).toEqual(['expired'])
    expect(feed.acknowledged).toEqual([1])
    const others = new Set(Array.from({ length: 32_767 }, () => outbound.groupIds.take()))
    expect(others.has(id)).toBe(false)
  })

  test('wait where every id is in use', () => {
    const { outbound, target, feed } = setup()
    for (let i = 0; i < 32_767; i++) outbound.groupIds.take()
    outbound.deliverEntries(feed, [entryOf(1, { packetId: 0 }), entryOf(2, { packetId: 0 })])
    expect(target.publishes().map(({ packetId }) => packetId)).toEqual([65_535])
    outbound.onPuback(65_535)
    expect(target.publishes().map(({ packetId }) => packetId)).toEqual([65_535])
  })
})

describe('queue and group together', () => {
  for (const seed of seeds(10)) {
    test(`never have an id twice under way, nor more than the receive maximum, seed=${seed}`, () => {
      const random = seededRandom(seed)
      const max = 1 + random.below(30)
      const { outbound, target, feed } = setup({ clientReceiveMaximum: max })
      const open = new Map<number, 'puback' | 'pubrec' | 'pubcomp'>()
      let sequence = 0
      let pushed = 0
      for (let i = 0; i < 2000 || open.size + feed.pending.length > 0; i++) {
        if (i < 2000 && random.below(3) === 0) {
          const qos = random.below(2) === 0 ? 1 : 2
          sequence++
          pushed++
          outbound.deliverEntries(feed, [entryOf(sequence, random.below(2) === 0 ? { qos } : { qos, packetId: 0 })])
        }
        if (feed.pending.length > 0 && random.below(2) === 0) {
          feed.pending.splice(random.below(feed.pending.length), 1)[0]!.done(random.below(5) === 0 ? new Error() : null)
        }
        const id = [...open.keys()][random.below(Math.max(1, open.size))]
        const awaited = id === undefined ? undefined : open.get(id)
        if (awaited === 'puback' && outbound.onPuback(id!)) open.delete(id!)
        else if (awaited === 'pubcomp' && outbound.onPubcomp(id!)) open.delete(id!)
        else if (awaited === 'pubrec') {
          const failed = random.below(10) === 0
          if (outbound.onPubrec(id!, failed) && failed) open.delete(id!)
        }
        for (const packet of target.take()) {
          if (packet.type === 'publish') {
            ok(!open.has(packet.packetId), 'an id in use was used again')
            open.set(packet.packetId, packet.qos === 1 ? 'puback' : 'pubrec')
          } else if (packet.type === 'pubrel' && open.has(packet.packetId)) open.set(packet.packetId, 'pubcomp')
        }
        ok(open.size <= max && outbound.inFlight === open.size)
      }
      expect(new Set(feed.acknowledged).size).toBe(pushed)
      expect(feed.acknowledged).toHaveLength(pushed)
    })
  }
})
