import type { Random } from '../../base/clock.ts'
import type { RaftLimits } from './options.ts'

/**
 * When to give a leader up. The timeout is drawn anew each time, so that two candidates seldom meet twice; a suspicion
 * shortens it until the leader is heard again.
 *
 * Source: Ongaro, thesis, 3.4 and 9.3.
 */
export class ElectionTimer {
  readonly #limits: RaftLimits
  readonly #random: Random
  #elapsedTicks = 0
  #timeoutTicks = 0
  #suspected = false

  constructor(limits: RaftLimits, random: Random) {
    this.#limits = limits
    this.#random = random
    this.reset()
  }

  reset(): void {
    this.#elapsedTicks = 0
    this.#suspected = false
    this.#timeoutTicks = this.#limits.electionTicks + this.#random.below(this.#limits.electionTicks)
  }

  /** A campaign begins. Where the leader's host is suspected, the next one follows soon, should nobody win this one. */
  campaign(): void {
    const suspected = this.#suspected
    this.reset()
    if (!suspected) return
    const { suspectTicksMax } = this.#limits
    this.#timeoutTicks = Math.min(this.#timeoutTicks, suspectTicksMax + this.#random.below(2 * suspectTicksMax))
    this.#suspected = true
  }

  heard(): void {
    if (this.#suspected) this.reset()
    else this.#elapsedTicks = 0
  }

  suspect(): void {
    if (this.#suspected) return
    const { suspectTicksMin, suspectTicksMax } = this.#limits
    const drawn = suspectTicksMin + this.#random.below(suspectTicksMax - suspectTicksMin + 1)
    this.#timeoutTicks = Math.min(this.#timeoutTicks, this.#elapsedTicks + drawn)
    this.#suspected = true
  }

  /** True when the time is up. */
  tick(): boolean {
    return ++this.#elapsedTicks >= this.#timeoutTicks
  }

  /** The leader was heard so recently that nobody should campaign. */
  get leaderHeard(): boolean {
    return !this.#suspected && this.#elapsedTicks < this.#limits.electionTicks
  }
}
