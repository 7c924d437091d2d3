/**
 * Hybrid logical clock: a timestamp near wall time that never goes back and is unique on its node.
 *
 * One number: milliseconds since 1970 times 1024 plus a 10-bit counter. It stays below 2^53 until the year 2248,
 * so it is an exact JavaScript number, cheap to compare and to store.
 * Source: Kulkarni et al., "Logical Physical Clocks", 2014.
 */
export class HybridClock {
  #last = 0

  /** The next timestamp: greater than every earlier one and every observed one. */
  next(nowMs: number): number {
    const physical = nowMs * 1024
    this.#last = physical > this.#last ? physical : this.#last + 1
    return this.#last
  }

  /** Learns another node's timestamp, so that what follows it is later. */
  observe(timestamp: number): void {
    if (timestamp > this.#last) this.#last = timestamp
  }
}

/** Milliseconds since 1970 of a hybrid timestamp. */
export function hlcToMs(timestamp: number): number {
  return Math.floor(timestamp / 1024)
}
