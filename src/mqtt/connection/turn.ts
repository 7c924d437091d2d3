/**
 * How long one turn of the event loop may parse: a flood on some sockets must not keep timers, other clients or the
 * cluster waiting. Connections that find the turn used up stop reading and go on in later turns, each in its order.
 */
export class Turn {
  readonly #limitMs: number
  readonly #monotonic: () => number
  readonly #defer: (callback: () => void) => void
  #startMs = 0
  #running = false
  #waiting: Resumable[] = []
  readonly #onTurn = () => this.#next()
  /** Times a connection had to wait. */
  deferrals = 0

  constructor(limitMs: number, monotonic: () => number, defer: (callback: () => void) => void) {
    this.#limitMs = limitMs
    this.#monotonic = monotonic
    this.#defer = defer
  }

  /** Called when input arrives: the first call of a turn starts its clock. */
  begin(): void {
    if (this.#running) return
    this.#running = true
    this.#startMs = this.#monotonic()
    this.#defer(this.#onTurn)
  }

  /** True where no time is left. Asked every few dozen packets. */
  exhausted(): boolean {
    return this.#monotonic() - this.#startMs > this.#limitMs
  }

  /** True where connections wait already: newcomers queue up behind them. */
  get congested(): boolean {
    return this.#waiting.length > 0
  }

  /** Goes on with `connection` in a later turn. */
  later(connection: Resumable): void {
    this.deferrals++
    this.#waiting.push(connection)
  }

  #next(): void {
    this.#running = false
    if (this.#waiting.length === 0) return
    this.begin()
    const waiting = this.#waiting
    this.#waiting = []
    let next = 0
    while (next < waiting.length && !this.exhausted()) waiting[next++]!.resume()
    // Those that stopped again stand behind those that had no chance yet.
    if (next < waiting.length) this.#waiting = waiting.slice(next).concat(this.#waiting)
  }
}

export interface Resumable {
  resume(): void
}
