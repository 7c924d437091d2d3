import { describe, expect, test } from 'vitest'
import { seeds } from '../../sim/seeds.ts'
import type { GroupOptions } from './group.ts'
import { type NodeMistake, NodeWorld } from './node-world.ts'

const ROUGH: Omit<GroupOptions, 'seed'> = {
  voters: 3,
  learners: 0,
  clients: 4,
  driftPercent: 1,
  lossPercent: 5,
  crashMs: 20_000,
  partitionMs: 15_000,
  pauseMs: 15_000,
  transferMs: 15_000,
  lastsMs: 25_000,
}
const totals = { fences: 0, closes: 0, fencedAlive: 0 }

describe('whoever acts on a session is the one that the log names', () => {
  for (const seed of seeds(15)) {
    test(`seed=${seed}`, { timeout: 30_000 }, () => {
      const world = new NodeWorld({ ...ROUGH, seed }, seed % 2 === 0 ? 0 : 2_000)
      world.group.run(200_000)
      world.group.calm()
      world.group.run(40_000)
      expect(world.able()).toBe(4)
      const { acts } = world
      world.group.run(10_000)
      expect(world.acts).toBeGreaterThan(acts + 20)
      totals.fences += world.fences
      totals.closes += world.closes
      totals.fencedAlive += world.fencedAlive
    })
  }

  test('nodes were fenced, closed in time, and came back', () => {
    if (process.env.SEED !== undefined) return
    expect(totals.fences).toBeGreaterThan(20)
    expect(totals.closes).toBeGreaterThan(20)
    expect(totals.fencedAlive).toBeGreaterThan(5)
  })
})

describe('mistakes are found', () => {
  const mistakes: NodeMistake[] = ['fences-early', 'leader-waits-not', 'acts-unasked', 'sleep-unnoticed']
  test.each(mistakes)('%s', { timeout: 60_000 }, (mistake) => {
    const found = seeds(60).some((seed) => {
      try {
        new NodeWorld({ ...ROUGH, seed }, 0, mistake).group.run(200_000)
        return false
      } catch (error) {
        expect((error as Error).message).toContain('acts on')
        return true
      }
    })
    expect(found).toBe(true)
  })
})
