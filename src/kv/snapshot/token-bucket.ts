/**
 * Bandwidth that several streams share: bytes come at a steady rate, and are saved up to a burst. Whoever comes while
 * there is something gets all it asks for; the debt is paid before the next.
 */
export class TokenBucket {
  readonly #bytesPerSecond: number
  readonly #burstBytes: number
  #bytes: number
  #atMs: number

  constructor(bytesPerSecond: number, burstBytes: number, nowMs: number) {
    this.#bytesPerSecond = bytesPerSecond
    this.#burstBytes = burstBytes
    this.#bytes = burstBytes
    this.#atMs = nowMs
  }

  /** Until something can be taken, in ms; 0 = now. */
  waitMs(nowMs: number): number {
    this.#refill(nowMs)
    return this.#bytes > 0 ? 0 : Math.max(1, Math.ceil((-this.#bytes * 1000) / this.#bytesPerSecond))
  }

  take(bytes: number, nowMs: number): void {
    this.#refill(nowMs)
    this.#bytes -= bytes
  }

  #refill(nowMs: number): void {
    const gained = (Math.max(0, nowMs - this.#atMs) * this.#bytesPerSecond) / 1000
    this.#bytes = Math.min(this.#burstBytes, this.#bytes + gained)
    this.#atMs = Math.max(this.#atMs, nowMs)
  }
}
