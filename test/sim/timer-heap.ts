interface Timer {
  readonly atMs: number
  readonly order: number
  readonly callback: () => void
  cancelled: boolean
}

/** Timers by time, then by the order in which they were set. A binary heap. */
export class TimerHeap {
  readonly #timers: Timer[] = []
  #order = 0

  /** The returned function cancels it. */
  add(atMs: number, callback: () => void): () => void {
    const timer = { atMs, order: this.#order++, callback, cancelled: false }
    let at = this.#timers.push(timer) - 1
    while (at > 0) {
      const parent = (at - 1) >>> 1
      if (before(this.#timers[parent]!, timer)) break
      this.#timers[at] = this.#timers[parent]!
      at = parent
    }
    this.#timers[at] = timer
    return () => {
      timer.cancelled = true
    }
  }

  /** Takes the next one; null where there is none. */
  shift(): Timer | null {
    for (let timer = this.#pop(); timer !== null; timer = this.#pop()) if (!timer.cancelled) return timer
    return null
  }

  #pop(): Timer | null {
    const first = this.#timers[0]
    if (first === undefined) return null
    const last = this.#timers.pop()!
    const length = this.#timers.length
    if (length === 0) return first
    let at = 0
    for (let child = 1; child < length; child = at * 2 + 1) {
      if (child + 1 < length && before(this.#timers[child + 1]!, this.#timers[child]!)) child++
      if (before(last, this.#timers[child]!)) break
      this.#timers[at] = this.#timers[child]!
      at = child
    }
    this.#timers[at] = last
    return first
  }
}

function before(a: Timer, b: Timer): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order)
}
