import { describe, expect, test } from 'vitest'
import { seeds } from '../../sim/seeds.ts'
import type { GroupOptions } from './group.ts'
import { type MatchMistake, MatchWorld } from './match-world.ts'

const ROUGH: Omit<GroupOptions, 'seed'> = {
  voters: 3,
  learners: 2,
  clients: 0,
  driftPercent: 1,
  lossPercent: 5,
  crashMs: 12_000,
  partitionMs: 6_000,
  pauseMs: 5_000,
  transferMs: 6_000,
  lastsMs: 6_000,
}

describe('no node matches by a table without a route whose SUBACK is out', () => {
  for (const seed of seeds(25)) {
    test(`seed=${seed}`, { timeout: 30_000 }, () => {
      const world = new MatchWorld({ ...ROUGH, seed })
      world.group.run(60_000)
      world.calm()
      world.group.run(12_000)
      expect(world.able()).toBe(5)
      const { subacks } = world
      world.waits = []
      world.group.run(3_000)
      expect(world.subacks).toBeGreaterThan(subacks)
      expect(Math.max(...world.waits)).toBeLessThan(200)
      expect(world.matched).toBeGreaterThan(1_000)
    })
  }
})

describe('mistakes are found', () => {
  const mistakes: MatchMistake[] = [
    'index-ignored',
    'leader-waits-not',
    'unconfirmed',
    'holders-forgotten',
    'sleep-unnoticed',
  ]
  test.each(mistakes)('%s', { timeout: 60_000 }, (mistake) => {
    const found = seeds(40).some((seed) => {
      try {
        new MatchWorld({ ...ROUGH, seed }, mistake).group.run(60_000)
        return false
      } catch (error) {
        expect((error as Error).message).toContain('the SUBACK of')
        return true
      }
    })
    expect(found).toBe(true)
  })
})
