/** Something that ends at its deadline unless it is removed before. Belongs to one {@link Deadlines} at a time. */
export interface Timed {
  /** Monotonic milliseconds; set by {@link Deadlines.add}. */
  deadlineMs: number
  /** The wheel's own. */
  slot: number
  earlier: Timed | null
  later: Timed | null
  /** The deadline has come; it is not in the wheel any more. */
  expired(nowMs: number): void
}

const SLOT_MS = 16
const SLOTS = 512

/**
 * Deadlines of many calls with one timer: a wheel of lists, so that adding and removing cost a few writes. A deadline
 * is late by up to two slots, never early.
 * Source: Varghese and Lauck, "Hashed and Hierarchical Timing Wheels", 1987.
 */
export class Deadlines {
  readonly #slots: (Timed | null)[] = new Array(SLOTS).fill(null)
  #size = 0
  /** All slots before this one, counted since time zero, are done. */
  #turn: number

  constructor(nowMs: number) {
    this.#turn = Math.floor(nowMs / SLOT_MS)
  }

  get size(): number {
    return this.#size
  }

  add(timed: Timed, deadlineMs: number): void {
    timed.deadlineMs = deadlineMs
    // What is further away than the wheel is long is looked at on the way.
    const turn = Math.min(Math.max(Math.floor(deadlineMs / SLOT_MS) + 1, this.#turn), this.#turn + SLOTS - 1)
    const slot = turn % SLOTS
    const first = this.#slots[slot]!
    timed.slot = slot
    timed.earlier = null
    timed.later = first
    if (first !== null) first.earlier = timed
    this.#slots[slot] = timed
    this.#size++
  }

  remove(timed: Timed): void {
    if (timed.slot < 0) return
    if (timed.earlier !== null) timed.earlier.later = timed.later
    else this.#slots[timed.slot] = timed.later
    if (timed.later !== null) timed.later.earlier = timed.earlier
    timed.slot = -1
    timed.earlier = null
    timed.later = null
    this.#size--
  }

  /** Ends what is due. Call it every {@link SLOT_MS} or so while something is in it. */
  advance(nowMs: number): void {
    const end = Math.floor(nowMs / SLOT_MS)
    if (end - this.#turn >= SLOTS) this.#turn = end - SLOTS + 1
    for (; this.#turn <= end; this.#turn++) {
      const slot = this.#turn % SLOTS
      for (let timed = this.#slots[slot]!; timed !== null; timed = this.#slots[slot]!) {
        this.remove(timed)
        if (timed.deadlineMs <= nowMs) timed.expired(nowMs)
        else this.#later.push(timed)
      }
    }
    for (const timed of this.#later.splice(0)) this.add(timed, timed.deadlineMs)
  }

  readonly #later: Timed[] = []
}

export { SLOT_MS as DEADLINE_STEP_MS }
