import type { Clock, Random } from '../../src/base/clock.ts'

export interface NetworkOptions {
  /** Each message takes a random time between these, so that datagrams overtake each other. Default 0.2 and 5 ms. */
  delayMsMin: number
  delayMsMax: number
  /** Of datagrams. Default 0. */
  lossPercent: number
  duplicatePercent: number
}

export type Receive = (from: string, message: unknown) => void

/**
 * Messages between named endpoints. A datagram may be lost, doubled and overtaken; a message of a stream comes in order
 * and once, or not at all where the way is cut. Cuts are directed: what a sends may be lost while b is heard.
 */
export class Network {
  readonly options: NetworkOptions
  readonly #clock: Clock
  readonly #random: Random
  readonly #endpoints = new Map<string, { receive: Receive }>()
  readonly #cuts = new Set<string>()
  /** When the last message of each stream arrives. */
  readonly #streams = new Map<string, number>()
  sent = 0
  lost = 0

  constructor(clock: Clock, random: Random, options: Partial<NetworkOptions> = {}) {
    this.#clock = clock
    this.#random = random
    this.options = { delayMsMin: 0.2, delayMsMax: 5, lossPercent: 0, duplicatePercent: 0, ...options }
  }

  /** From now on `receive` gets what is sent to `name`; an endpoint before it gets nothing any more. */
  attach(name: string, receive: Receive): void {
    this.#endpoints.set(name, { receive })
  }

  detach(name: string): void {
    this.#endpoints.delete(name)
  }

  /** A datagram. */
  send(from: string, to: string, message: unknown): void {
    this.sent++
    if (this.#percent(this.options.lossPercent)) {
      this.lost++
      return
    }
    const copies = this.#percent(this.options.duplicatePercent) ? 2 : 1
    for (let copy = 0; copy < copies; copy++) this.#deliver(from, to, message, this.#delayMs())
  }

  /** A message of the stream between the two: in order. */
  stream(from: string, to: string, message: unknown): void {
    this.sent++
    const way = `${from}>${to}`
    const nowMs = this.#clock.monotonic()
    const atMs = Math.max(nowMs + this.#delayMs(), this.#streams.get(way) ?? 0)
    this.#streams.set(way, atMs)
    this.#deliver(from, to, message, atMs - nowMs)
  }

  /** Cuts the way from one to the other; what is on it is lost. */
  cut(from: string, to: string): void {
    this.#cuts.add(`${from}>${to}`)
  }

  /** Undoes {@link cut}. */
  join(from: string, to: string): void {
    this.#cuts.delete(`${from}>${to}`)
  }

  /** Cuts both ways between everyone in `left` and everyone in `right`. */
  partition(left: readonly string[], right: readonly string[]): void {
    for (const a of left) {
      for (const b of right) {
        this.cut(a, b)
        this.cut(b, a)
      }
    }
  }

  heal(): void {
    this.#cuts.clear()
  }

  #deliver(from: string, to: string, message: unknown, delayMs: number): void {
    const target = this.#endpoints.get(to)
    this.#clock.after(delayMs, () => {
      const same = target !== undefined && this.#endpoints.get(to) === target
      if (same && !this.#cuts.has(`${from}>${to}`)) target.receive(from, message)
      else this.lost++
    })
  }

  #delayMs(): number {
    const { delayMsMin, delayMsMax } = this.options
    return delayMsMin + this.#random.float() * (delayMsMax - delayMsMin)
  }

  #percent(percent: number): boolean {
    return percent > 0 && this.#random.float() * 100 < percent
  }
}
