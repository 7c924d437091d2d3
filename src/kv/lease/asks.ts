import { assert } from '../../base/assert.ts'
import type { Answer, Ask } from './contract.ts'
import { checkOptions, type LeaseOptions } from './options.ts'

/** What a holder has asked and when, so that an answer is worth something from the moment of asking on. */
export class Asks {
  readonly holder: string
  readonly incarnation: number
  readonly #options: LeaseOptions
  /** By number. Those older than a lease are forgotten: their answers are worth nothing. */
  readonly #askedMs = new Map<number, number>()
  #last = 0
  #nextMs = Number.NEGATIVE_INFINITY

  constructor(holder: string, incarnation: number, options: LeaseOptions) {
    this.holder = holder
    this.incarnation = incarnation
    this.#options = checkOptions(options)
  }

  tick(nowMs: number, applied: number, version = 0): Ask | null {
    if (nowMs < this.#nextMs) return null
    this.#nextMs = nowMs + this.#options.askMs
    for (const [ask, askedMs] of this.#askedMs) {
      if (askedMs + this.#options.leaseMs > nowMs) break
      this.#askedMs.delete(ask)
    }
    this.#askedMs.set(++this.#last, nowMs)
    return { holder: this.holder, incarnation: this.incarnation, ask: this.#last, applied, version }
  }

  /** When {@link tick} has something to ask again. */
  nextMs(): number {
    return this.#nextMs
  }

  /** When this was asked; null where it was not by this incarnation, or too long ago. Each answer counts once. */
  answered({ holder, incarnation, ask }: Answer, nowMs: number): number | null {
    if (holder !== this.holder || incarnation !== this.incarnation) return null
    const askedMs = this.#askedMs.get(ask)
    if (askedMs === undefined) return null
    assert(askedMs <= nowMs, 'An answer comes after its question')
    this.#askedMs.delete(ask)
    return askedMs
  }

  /** Another leader is known: it is asked at once. */
  soon(): void {
    this.#nextMs = Number.NEGATIVE_INFINITY
  }

  forget(): void {
    this.#askedMs.clear()
    this.soon()
  }
}
