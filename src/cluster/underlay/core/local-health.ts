/**
 * How well we do ourselves: 0 is well. Missed acks, missed nacks, refutations and lag worsen it; each probe that is
 * answered betters it. All timeouts of probes are stretched by health + 1, so that a slow host blames itself first.
 *
 * Source: Lifeguard, IV-A; memberlist, awareness.
 */
export class LocalHealth {
  #score = 0
  readonly #max: number

  /** @param multiplierMax the largest stretch, >= 1 */
  constructor(multiplierMax: number) {
    this.#max = multiplierMax - 1
  }

  get score(): number {
    return this.#score
  }

  /** Stretches a timeout. */
  get multiplier(): number {
    return this.#score + 1
  }

  add(delta: number): void {
    this.#score = Math.min(this.#max, Math.max(0, this.#score + delta))
  }
}
