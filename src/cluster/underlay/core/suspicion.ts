import type { HostId } from '../../../base/ids.ts'
import { remainingSuspicionMs, type SuspicionRange } from './formulas.ts'

/** The time that one suspect has left, shortened by each further host that accuses it. */
export class Suspicion {
  readonly #range: SuspicionRange
  readonly #accusers: Set<HostId>
  #startMs: number

  constructor(range: SuspicionRange, accuser: HostId, now: number) {
    this.#range = range
    this.#accusers = new Set([accuser])
    this.#startMs = now
  }

  get deadlineMs(): number {
    return this.#startMs + remainingSuspicionMs(this.#accusers.size - 1, 0, this.#range)
  }

  /** No further confirmation would shorten it. */
  get confirmed(): boolean {
    return this.#accusers.size > this.#range.confirmations
  }

  /** True where this is news: an accuser more, and one more is needed. */
  confirm(by: HostId): boolean {
    if (this.confirmed || this.#accusers.has(by)) return false
    this.#accusers.add(by)
    return true
  }

  /** Our own stall is no time that the suspect had. */
  shift(ms: number): void {
    this.#startMs += ms
  }
}
