/**
 * Stops asking what keeps failing, for a while; then asks once, and goes on if that succeeds. A pure machine.
 *
 * Source: Nygard, "Release It!", chapter 5 (Circuit Breaker).
 */
export class CircuitBreaker {
  failuresTotal = 0
  /** Calls that were not made since the circuit was open. */
  sparedTotal = 0
  readonly #failuresMax: number
  readonly #openMs: number
  #failuresInARow = 0
  #openUntilMs = 0
  #probing = false

  /** @param failuresMax failures in a row that open the circuit, >= 1 */
  constructor(failuresMax: number, openMs: number) {
    this.#failuresMax = failuresMax
    this.#openMs = openMs
  }

  get open(): boolean {
    return this.#failuresInARow >= this.#failuresMax
  }

  /** May the call be made? After the time, one call is let through at a time until one succeeds. */
  allows(nowMs: number): boolean {
    if (!this.open) return true
    if (nowMs >= this.#openUntilMs && !this.#probing) {
      this.#probing = true
      return true
    }
    this.sparedTotal++
    return false
  }

  succeeded(): void {
    this.#failuresInARow = 0
    this.#probing = false
  }

  failed(nowMs: number): void {
    this.failuresTotal++
    this.#failuresInARow++
    this.#probing = false
    if (this.open) this.#openUntilMs = nowMs + this.#openMs
  }
}
