import { describe, expect, test, vi } from 'vitest'
import { seeds } from '../sim/seeds.ts'
import { expiryScenario } from './expiry-scenario.ts'
import { HastyDisk } from './hasty-disk.ts'
import { retainScenario } from './retain-scenario.ts'
import { damageOf } from './simulated-node.ts'
import { Simulation } from './simulation.ts'
import { WillScenario } from './will-scenario.ts'

// Simulated time costs little; a busy machine costs more.
vi.setConfig({ testTimeout: 30_000 })

test.each(seeds(10))('every will that is due comes once, whatever crashes, seed %i', async (seed) => {
  const simulation = new Simulation(seed)
  simulation.node.start()
  const scenario = new WillScenario(simulation)
  expect(await scenario.run(5)).toEqual([])
  expect(scenario.due).toBeGreaterThan(5)
  simulation.node.crash()
  expect(damageOf(simulation.node.disk)).toEqual([])
})

test.each(seeds(5))('sessions end in their time over a crash, seed %i', async (seed) => {
  const simulation = new Simulation(seed)
  simulation.node.start()
  expect(await expiryScenario(simulation)).toEqual([])
  simulation.node.crash()
  expect(damageOf(simulation.node.disk)).toEqual([])
})

test.each(seeds(10))('retained messages stay as they were acknowledged, seed %i', async (seed) => {
  const simulation = new Simulation(seed)
  simulation.node.start()
  expect(await retainScenario(simulation, 5)).toEqual([])
  simulation.node.crash()
  expect(damageOf(simulation.node.disk)).toEqual([])
})

describe('negative control: an early answer is found', () => {
  async function firstWrong(
    writeMsMax: number,
    run: (simulation: Simulation) => Promise<readonly unknown[]>,
  ): Promise<number> {
    for (let seed = 1; seed <= 20; seed++) {
      const simulation = new Simulation(seed, { wrap: (disk) => new HastyDisk(disk), writeMsMax, loss: {} })
      simulation.node.start()
      if ((await run(simulation)).length > 0) return seed
    }
    return 0
  }

  test('of wills', async () => {
    expect(await firstWrong(100, (simulation) => new WillScenario(simulation).run(5))).toBeGreaterThan(0)
  })

  test('of retained messages', async () => {
    expect(await firstWrong(100, (simulation) => retainScenario(simulation, 10))).toBeGreaterThan(0)
  })
})
