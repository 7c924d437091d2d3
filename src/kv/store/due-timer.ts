import type { Clock } from '../../base/clock.ts'

/** Longest sleep: a wall clock that jumps is noticed then. */
const WAIT_MS_MAX = 60_000

/** One timer for the timed work of all ranges. It may ring too early, never too late. */
export class DueTimer {
  readonly #clock: Clock
  readonly #ring: () => void
  #stop: (() => void) | null = null
  #dueMs = Number.POSITIVE_INFINITY

  constructor(clock: Clock, ring: () => void) {
    this.#clock = clock
    this.#ring = ring
  }

  /** Rings at `dueMs`, wall clock, or before. */
  set(dueMs: number): void {
    if (dueMs >= this.#dueMs) return
    this.#dueMs = dueMs
    this.#stop?.()
    const delayMs = Math.min(WAIT_MS_MAX, Math.max(0, dueMs - this.#clock.now()))
    this.#stop = this.#clock.after(delayMs, () => {
      this.#stop = null
      this.#dueMs = Number.POSITIVE_INFINITY
      this.#ring()
    })
  }

  stop(): void {
    this.#stop?.()
  }
}
