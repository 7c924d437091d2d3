/** Connections open in the whole process, counted by all listeners together. */
export class Admission {
  open = 0
  /** May be changed while running: the connections that are open stay. */
  connectionsMax: number

  constructor(connectionsMax: number) {
    this.connectionsMax = connectionsMax
  }
}

/**
 * How many may enter a second: `ratePerSecond` on average, and as many at once after a quiet second.
 * Time is an argument.
 */
export class TokenBucket {
  readonly ratePerSecond: number
  #tokens: number
  #filledAtMs: number

  constructor(ratePerSecond: number, nowMs: number) {
    this.ratePerSecond = ratePerSecond
    this.#tokens = ratePerSecond
    this.#filledAtMs = nowMs
  }

  /** True where one more may enter. @param nowMs monotonic */
  take(nowMs: number): boolean {
    if (this.#tokens < 1) this.#fill(nowMs)
    if (this.#tokens < 1) return false
    this.#tokens--
    return true
  }

  #fill(nowMs: number): void {
    const elapsedMs = nowMs - this.#filledAtMs
    this.#filledAtMs = nowMs
    this.#tokens = Math.min(this.ratePerSecond, this.#tokens + (elapsedMs * this.ratePerSecond) / 1000)
  }
}
