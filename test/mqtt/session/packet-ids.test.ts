import { ok } from 'node:assert/strict'
import { describe, expect, test } from 'vitest'
import { seededRandom } from '../../../src/base/clock.ts'
import { AWAITS_PUBACK, AWAITS_PUBCOMP, AWAITS_PUBREC, PacketIds } from '../../../src/mqtt/session/packet-ids.ts'
import { seeds } from '../../sim/seeds.ts'

describe('packet ids', () => {
  for (const seed of seeds(20)) {
    test(`agree with a map of what is taken, seed=${seed}`, () => {
      const random = seededRandom(seed)
      const first = random.below(2) === 0 ? 1 : 32_768
      const last = first + 40 + random.below(200)
      const ids = new PacketIds(first, last)
      const model = new Map<number, number>()
      for (let i = 0; i < 3000; i++) act(ids, model, random.below(100), first, last, random)
    })
  }

  test('an id is given again only after it is free, and then not at once', () => {
    const ids = new PacketIds(1, 65_535)
    const id = ids.take(AWAITS_PUBACK)
    ids.free(id)
    expect(ids.take(AWAITS_PUBACK)).not.toBe(id)
  })

  test('every id is given before one is refused', () => {
    const ids = new PacketIds(32_768, 65_535)
    const taken = new Set<number>()
    for (let i = 0; i < 32_768; i++) taken.add(ids.take(AWAITS_PUBREC))
    expect(taken.size).toBe(32_768)
    expect([Math.min(...taken), Math.max(...taken)]).toEqual([32_768, 65_535])
    expect(ids.full).toBe(true)
    expect(ids.take(AWAITS_PUBREC)).toBe(0)
    ids.free(40_000)
    expect(ids.take(AWAITS_PUBREC)).toBe(40_000)
  })

  test('the two ends of the range belong to it', () => {
    const ids = new PacketIds(1, 65_535)
    ids.reserve(65_535, AWAITS_PUBCOMP)
    expect(ids.state(65_535)).toBe(AWAITS_PUBCOMP)
    expect(ids.take(AWAITS_PUBACK)).toBe(1)
    expect(ids.state(0)).toBe(0)
  })

  test('bounds outside of what a packet can hold are refused', () => {
    expect(() => new PacketIds(0, 100)).toThrow('Packet ids')
    expect(() => new PacketIds(1, 65_536)).toThrow('Packet ids')
  })
})

function act(
  ids: PacketIds,
  model: Map<number, number>,
  dice: number,
  first: number,
  last: number,
  random: ReturnType<typeof seededRandom>,
): void {
  const state = 1 + random.below(3)
  const known = [...model.keys()]
  const some = known[random.below(Math.max(1, known.length))]
  if (dice < 50) {
    const id = ids.take(state)
    if (model.size === last - first + 1) ok(id === 0)
    else {
      ok(!model.has(id))
      ok(id >= first && id <= last)
      model.set(id, state)
    }
  } else if (dice < 60) {
    const id = first + random.below(last - first + 1)
    ids.reserve(id, state)
    if (!model.has(id)) model.set(id, state)
  } else if (dice < 70 && some !== undefined) {
    ids.set(some, state)
    model.set(some, state)
  } else if (some !== undefined) {
    ids.free(some)
    model.delete(some)
  }
  const probe = first + random.below(last - first + 1)
  ok(ids.state(probe) === (model.get(probe) ?? 0))
  ok(ids.used === model.size)
  ok(ids.full === (model.size === last - first + 1))
}
