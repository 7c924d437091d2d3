import { describe, expect, test, vi } from 'vitest'
import { seeds } from '../sim/seeds.ts'
import { check, type History, type Violation } from './checker.ts'
import { Fleet, skewed } from './fleet.ts'
import { HastyDisk } from './hasty-disk.ts'
import { damageOf, type SimulatedNodeOptions } from './simulated-node.ts'
import { Simulation } from './simulation.ts'

interface Run {
  /** On the disk, after the crashes. */
  damage: string[]
  history: History
  violations: Violation[]
  health: string[]
  acknowledged: number
}

// Simulated time costs little; a busy machine costs more.
vi.setConfig({ testTimeout: 120_000 })

type RunOptions = Omit<SimulatedNodeOptions, 'world'>

const ROUNDS = 4

/** Crashes the node at random moments while clients publish, then drains all sessions and judges. */
async function run(seed: number, options: RunOptions = {}): Promise<Run> {
  const { world, node, history, surroundings, until } = new Simulation(seed, options)
  const fleet = new Fleet(surroundings, until)
  const damage: string[] = []
  const crash = () => {
    node.crash()
    damage.push(...damageOf(node.disk))
  }
  node.start()
  await fleet.start()
  for (let round = 0; round < ROUNDS; round++) {
    await fleet.publish(skewed(world.random, 60))
    fleet.disturb()
    await world.run(world.random.float() * 20)
    crash()
    await world.run(world.random.float() * 50)
    node.start()
    // At times it dies again while it starts.
    if (world.random.below(4) > 0) continue
    await world.run(world.random.float() * 20)
    crash()
    node.start()
  }
  await fleet.drain()
  const health = node.health()
  crash()
  return { damage, history, violations: check(history), health, acknowledged: fleet.acknowledged }
}

test.each(seeds(20))('a disk that loses what was not synced loses nothing acknowledged, seed %i', async (seed) => {
  const { violations, damage, health, acknowledged } = await run(seed)
  expect(violations).toEqual([])
  expect(damage).toEqual([])
  expect(health).toEqual([])
  expect(acknowledged).toBeGreaterThan(20)
})

describe('negative controls: the same clients and the same checker find', () => {
  const bad: [string, RunOptions][] = [
    ['a broker that acknowledges before the disk has it', { wrap: (disk) => new HastyDisk(disk), loss: {} }],
    ['a tenant whose publishers are answered at once', { settings: { durability: 'none' } }],
    ['a disk that lies about what it synced', { loss: { tornDurable: 3 } }],
  ]
  test.each(bad)('%s', async (_name, options) => {
    const found = new Set<string>()
    for (let seed = 1; seed <= 20; seed++) {
      for (const { kind } of (await run(seed, options)).violations) found.add(kind)
      if (found.has('lost')) return
    }
    expect([...found]).toContain('lost')
  })
})

test('the same seed gives the same history', async () => {
  const [first, second] = [await run(7), await run(7)]
  expect(second.history.deliveries).toEqual(first.history.deliveries)
})
