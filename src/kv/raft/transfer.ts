import type { ReplicaId } from './contract.ts'

/**
 * A handover of the leadership: the leader takes no more proposals, waits until the target has the whole log, and lets
 * it campaign at once. After an election timeout it gives up and leads on.
 *
 * Source: Ongaro, thesis, 3.10.
 */
export class Transfer {
  readonly #ticksMax: number
  #to: ReplicaId | null = null
  #ticks = 0
  #told = false

  constructor(ticksMax: number) {
    this.#ticksMax = ticksMax
  }

  get to(): ReplicaId | null {
    return this.#to
  }

  /** Asked again for the same target, it does not take longer: else proposals could be refused for ever. */
  start(to: ReplicaId): void {
    if (this.#to === to) return
    this.#to = to
    this.#ticks = 0
    this.#told = false
  }

  stop(): void {
    this.#to = null
  }

  tick(): void {
    if (this.#to !== null && ++this.#ticks >= this.#ticksMax) this.stop()
  }

  /** True, once, for the target that has everything. */
  isDue(match: number, lastIndex: number): boolean {
    if (this.#to === null || this.#told || match < lastIndex) return false
    this.#told = true
    return true
  }
}
