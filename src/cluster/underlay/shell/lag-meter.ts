import type { Clock } from '../../../base/clock.ts'

const PERIOD_MS = 200
/** Below this, lag is part of a busy day, in ms. */
const LAG_MIN_MS = 100

/**
 * How late this process's timers are, whether or not the protocol had something to do meanwhile.
 * A stall between two deadlines of the protocol would be unseen otherwise, and its pings would be late.
 */
export class LagMeter {
  readonly #clock: Clock
  readonly #late: (lagMs: number) => void
  #dueMs = 0
  #cancel: () => void = () => {}

  constructor(clock: Clock, late: (lagMs: number) => void) {
    this.#clock = clock
    this.#late = late
  }

  start(): void {
    this.#dueMs = this.#clock.monotonic() + PERIOD_MS
    this.#cancel = this.#clock.after(PERIOD_MS, () => this.#fire())
  }

  stop(): void {
    this.#cancel()
  }

  #fire(): void {
    const lagMs = this.#clock.monotonic() - this.#dueMs
    if (lagMs >= LAG_MIN_MS) this.#late(lagMs)
    this.start()
  }
}
