/** More ticks with writes under way than this are remembered as one: older is the cautious side. */
const TICKS_KEPT_MAX = 64

/** How long this replica's own writes have been under way, in ticks. */
export class Writes {
  #tick = 0
  /** The last write handed out in each tick, oldest first. */
  #pending: { tick: number; write: number }[] = []

  tick(): void {
    this.#tick++
  }

  started(write: number): void {
    const last = this.#pending.at(-1)
    if (last !== undefined && (last.tick === this.#tick || this.#pending.length >= TICKS_KEPT_MAX)) last.write = write
    else this.#pending.push({ tick: this.#tick, write })
  }

  /** A write stands for all before it. */
  finished(write: number): void {
    while (this.#pending.length > 0 && this.#pending[0]!.write <= write) this.#pending.shift()
  }

  /** Age of the oldest write that is not on disk; 0 where there is none. */
  get oldestTicks(): number {
    return this.#pending.length === 0 ? 0 : this.#tick - this.#pending[0]!.tick
  }
}
