import { World } from '../sim/world.ts'
import { type History, newHistory } from './checker.ts'
import type { Until } from './fleet.ts'
import type { Surroundings } from './peer.ts'
import { SimulatedNode, type SimulatedNodeOptions } from './simulated-node.ts'
import type { Stage } from './stage.ts'
import { Talker } from './talker.ts'

/** One simulated node, and what its clients need. */
export class Simulation implements Stage {
  readonly world: World
  readonly node: SimulatedNode
  readonly history: History = newHistory()
  readonly surroundings: Surroundings

  constructor(seed: number, options: Omit<SimulatedNodeOptions, 'world'> = {}) {
    this.world = new World({ seed })
    this.node = new SimulatedNode({ world: this.world, ...options })
    const { world, node, history } = this
    this.surroundings = {
      ...{ dial: node.dial, history, random: world.random },
      now: () => world.elapsedMs,
      later: (ms, callback) => void world.clock.after(ms, callback),
    }
  }

  /** Waits in simulated time. */
  readonly until: Until = async (condition, msMax = 120_000) => {
    let over = false
    this.world.clock.after(msMax, () => {
      over = true
    })
    await this.world.runUntil(() => over || condition(), msMax + 1)
    return condition()
  }

  async crash(): Promise<void> {
    this.node.crash()
  }

  async start(): Promise<void> {
    this.node.start()
  }

  pause(ms: number): Promise<void> {
    return this.world.run(ms)
  }

  /** A connection without CONNECT. */
  talker(): Talker {
    return new Talker(this.node.dial, this.until)
  }
}
