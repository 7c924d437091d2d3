import { Asks } from './asks.ts'
import type { Answer, AppliedReport, Ask } from './contract.ts'
import { type LeaseOptions, MATCH_LEASE } from './options.ts'

/**
 * A match replica's side of match leases, for one range: whether its table may be matched against for QoS 1 and 2.
 *
 * The time given to {@link holds} is read after the message that is to be matched, and it is matched in the same turn:
 * then a process that stands still in between does no harm.
 */
export class MatchHolder {
  readonly #asks: Asks
  #applied: number
  /** Granted, but not applied yet, by index. */
  #pending: { index: number; untilMs: number }[] = []
  #untilMs = Number.NEGATIVE_INFINITY

  constructor(holder: string, incarnation: number, applied: number, options: LeaseOptions = MATCH_LEASE) {
    this.#asks = new Asks(holder, incarnation, options)
    this.#applied = applied
  }

  /** What to send to the leader now; null = nothing, until {@link Asks.nextMs}. */
  tick(nowMs: number): Ask | null {
    return this.#asks.tick(nowMs, this.#applied)
  }

  nextMs(): number {
    return this.#asks.nextMs()
  }

  /** Another leader is known: it is asked at once. */
  soon(): void {
    this.#asks.soon()
  }

  answered(answer: Answer, nowMs: number): void {
    const askedMs = this.#asks.answered(answer, nowMs)
    if (askedMs === null || answer.type === 'refused') return
    const untilMs = askedMs + answer.forMs
    if (answer.index <= this.#applied) this.#untilMs = Math.max(this.#untilMs, untilMs)
    else this.#pending = [...this.#pending.filter((other) => other.untilMs > nowMs), { index: answer.index, untilMs }]
  }

  /** The table shows everything up to `index`. What to send to the leader; null = it need not know. */
  applied(index: number, nowMs: number): AppliedReport | null {
    this.#applied = Math.max(this.#applied, index)
    for (const { index: from, untilMs } of this.#pending) {
      if (from <= this.#applied) this.#untilMs = Math.max(this.#untilMs, untilMs)
    }
    this.#pending = this.#pending.filter((grant) => grant.index > this.#applied && grant.untilMs > nowMs)
    if (!this.holds(nowMs) && this.#pending.length === 0) return null
    return { holder: this.#asks.holder, incarnation: this.#asks.incarnation, applied: this.#applied }
  }

  holds(nowMs: number): boolean {
    return nowMs < this.#untilMs
  }

  /** The lease that counts ends then; in the past where none does. */
  get untilMs(): number {
    return this.#untilMs
  }

  /** The clock may have stood still (the machine slept): all leases are given up. */
  doubt(): void {
    this.#untilMs = Number.NEGATIVE_INFINITY
    this.#pending = []
    this.#asks.forget()
  }
}
