/**
 * Decides when a group may sleep: no heartbeats, no ticks. It is the leader's decision, when nobody has asked for
 * anything for some time and everybody has everything; a member that sleeps relies on its host to suspect the leader's.
 */
export class Idleness {
  readonly #ticksMin: number
  #ticks = 0
  /** The host has leases out, which only a beating group can renew. */
  leaseHeld: boolean

  constructor(ticksMin: number, leaseHeld: boolean) {
    this.#ticksMin = ticksMin
    this.leaseHeld = leaseHeld
  }

  disturb(): void {
    this.#ticks = 0
  }

  tick(): void {
    this.#ticks++
  }

  get isLong(): boolean {
    return this.#ticksMin > 0 && this.#ticks >= this.#ticksMin && !this.leaseHeld
  }
}
