import { describe, expect, test } from 'vitest'
import type { Batch } from '../../../src/kv/engine/engine.ts'
import { MemoryEngine } from '../../../src/kv/engine/memory/engine.ts'
import { Batches } from '../../../src/kv/store/batches.ts'
import { Pace } from '../../../src/kv/store/pace.ts'
import { World } from '../../sim/world.ts'

const WRITE = { type: 'put', key: new Uint8Array(1), value: new Uint8Array(1) } as const

describe('pace', () => {
  test('little begins at once', () => {
    const pace = new Pace(3)
    for (let nowMs = 0; nowMs < 100; nowMs += 2) {
      expect(pace.waitMs(nowMs)).toBe(0)
      pace.note(1, nowMs)
      pace.began(nowMs)
    }
  })

  test('much waits until the gap is over, and little again at once', () => {
    const pace = new Pace(3)
    for (let nowMs = 0; nowMs <= 32; nowMs++) pace.note(2, nowMs)
    expect(pace.waitMs(32)).toBe(0)
    pace.began(32)
    expect([32, 33, 34, 35].map((nowMs) => pace.waitMs(nowMs))).toEqual([3, 2, 1, 0])
    pace.began(60)
    expect(pace.waitMs(60)).toBe(0)
  })
})

function setup(gatherMs = 3) {
  const world = new World({ seed: 1 })
  const written: Batch[] = []
  let land: (() => void)[] = []
  const engine = new MemoryEngine()
  engine.write = (batch) => {
    written.push(batch)
    return new Promise((resolve) => land.push(resolve))
  }
  let wakes = 0
  const batches = new Batches({
    ...{ engine, clock: world.clock, gatherMs },
    wake: () => wakes++,
    landed: () => batches.follow(),
    failed: () => {},
  })
  const turn = (sync: boolean, ends = false) => {
    const { open, gathered } = batches
    gathered.meta.push(WRITE)
    gathered.landings.push(() => {})
    if (sync) gathered.sync = true
    batches.turned(open, ends)
    batches.plan(false)
  }
  const landAll = () => {
    for (const each of land.splice(0)) each()
    land = []
  }
  return { world, batches, written, turn, landAll, wakes: () => wakes }
}

describe('batches', () => {
  test('in a crowd the next one begins after the gap, with all that came', async () => {
    const { world, batches, written, turn, landAll, wakes } = setup()
    batches.note(100)
    turn(true)
    landAll()
    await world.run(1)
    turn(true)
    turn(true)
    expect(written).toHaveLength(1)
    expect(batches.open).toBe(false)
    await world.run(3)
    expect(wakes()).toBe(1)
    expect(batches.open).toBe(true)
    batches.turned(true, false)
    expect(written.map(({ writes }) => writes.length)).toEqual([1, 2])
  })

  test('what began while the disk was busy follows as soon as it is free', async () => {
    const { world, written, turn, landAll } = setup()
    turn(true)
    turn(true)
    expect(written).toHaveLength(1)
    landAll()
    await world.run(0)
    expect(written).toHaveLength(2)
  })

  test('effects that nobody waits for go with the next batch, or after a while', async () => {
    const { world, batches, written, turn, landAll, wakes } = setup()
    turn(false)
    turn(true)
    expect(written.map(({ writes }) => writes.length)).toEqual([2])
    landAll()
    await world.run(1)
    turn(false)
    await world.run(19)
    expect([written.length, wakes()]).toEqual([1, 0])
    await world.run(2)
    expect(wakes()).toBe(1)
    batches.turned(true, false)
    expect(written.map(({ sync }) => sync)).toEqual([true, false])
  })

  test('what has waited long enough is not asked for in a circle while the gap lasts', async () => {
    const { world, batches, written, turn, landAll, wakes } = setup(30)
    turn(true)
    landAll()
    await world.run(1)
    turn(false)
    await world.run(17)
    batches.note(100)
    await world.run(4)
    const before = wakes()
    batches.turned(batches.open, false)
    batches.plan(false)
    expect([wakes(), batches.open, written.length]).toEqual([before, false, 1])
    await world.run(10)
    expect([wakes(), batches.open]).toEqual([before + 1, true])
    batches.turned(true, false)
    expect(written).toHaveLength(2)
  })

  test('at the end nothing waits', () => {
    const { batches, written, turn } = setup()
    batches.note(100)
    turn(false, true)
    expect(written).toHaveLength(1)
  })
})
