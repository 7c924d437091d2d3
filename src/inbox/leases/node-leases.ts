import type { Clock } from '../../base/clock.ts'
import type { Logger } from '../../base/logging.ts'
import type { InboxRanges } from '../feed-host.ts'
import type { Incarnations, LeasePorts } from './contract.ts'
import { FrontLeases } from './front-leases.ts'
import { RangeLeaders } from './range-leaders.ts'

export interface NodeLeasesOptions {
  /** Host id of this node. */
  node: string
  incarnations: Incarnations
  clock: Clock
  defer: (callback: () => void) => void
  log: Logger
  ports: LeasePorts
  nodeGone: (node: string, incarnation: number) => Promise<void>
}

const TICK_MS = 250

/** Both sides of the node leases of this node: those that it gives out, and those that it holds. */
export class NodeLeases {
  readonly leaders: RangeLeaders
  readonly front: FrontLeases
  readonly #clock: Clock
  #stopTick: () => void = () => {}

  constructor(options: NodeLeasesOptions) {
    const { node, incarnations, clock, log, ports } = options
    this.#clock = clock
    this.leaders = new RangeLeaders(options)
    this.front = new FrontLeases({
      ...{ node, incarnations, clock, log, ports },
      here: () => this.leaders.landscape(),
      slept: () => this.leaders.doubt(),
      askHere: (range, ask, reply) => this.leaders.ask(range, ask, reply),
    })
    this.leaders.onChange = () => this.front.ledAnew()
  }

  start(ranges: InboxRanges): void {
    this.leaders.start(ranges)
    this.front.start(ranges)
    this.#tick()
  }

  async leave(): Promise<void> {
    await this.front.leave()
    this.#stopTick()
    this.leaders.stop()
  }

  #tick(): void {
    this.#stopTick = this.#clock.after(TICK_MS, () => {
      this.front.tick()
      this.leaders.look()
      this.#tick()
    })
  }
}
