import type { Clock } from '../../base/clock.ts'

/** One timer for a machine that says when it wants to be woken. Set anew only when it wants it earlier. */
export class Wake {
  readonly #clock: Clock
  readonly #wake: () => void
  #cancel: (() => void) | null = null
  #atMs = Number.POSITIVE_INFINITY

  constructor(clock: Clock, wake: () => void) {
    this.#clock = clock
    this.#wake = wake
  }

  at(atMs: number): void {
    if (atMs >= this.#atMs) return
    this.#cancel?.()
    this.#atMs = atMs
    // Timers count whole milliseconds, and ring early rather than late.
    const delayMs = Math.max(1, Math.ceil(atMs - this.#clock.monotonic()))
    this.#cancel = this.#clock.after(delayMs, () => {
      this.#atMs = Number.POSITIVE_INFINITY
      this.#cancel = null
      this.#wake()
    })
  }

  cancel(): void {
    this.#cancel?.()
    this.#cancel = null
    this.#atMs = Number.POSITIVE_INFINITY
  }
}
