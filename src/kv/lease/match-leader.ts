import type { Answer, AppliedReport, Ask } from './contract.ts'
import { Grants } from './grants.ts'
import { type LeaseOptions, MATCH_LEASE } from './options.ts'

/**
 * The leader's side of match leases, for one term: who may match by which state of the routes, and which mutations of
 * routes may therefore be answered.
 *
 * The answer to a mutation waits, for every holder, until it has applied the mutation or its leases from before it have
 * run out. So no node matches by a table without a route whose SUBACK is out.
 */
export class MatchLeader {
  readonly #grants: Grants
  /** By holder: the highest index that any incarnation of it has applied. */
  readonly #applied = new Map<string, number>()

  /** @param electedMs see {@link Grants} */
  constructor(electedMs: number, options: LeaseOptions = MATCH_LEASE) {
    this.#grants = new Grants(electedMs, options)
  }

  confirmed(sentMs: number): void {
    this.#grants.confirmed(sentMs)
  }

  ready(): void {
    this.#grants.ready()
  }

  /** The clock may have stood still (the machine slept). */
  doubt(nowMs: number): void {
    this.#grants.doubt(nowMs)
  }

  /** See {@link Grants.adopt}. */
  adopt(nowMs: number): void {
    this.#grants.adopt(nowMs)
  }

  /** @param commit all that is committed, as the leader knows */
  ask(ask: Ask, commit: number, nowMs: number): Answer {
    const { holder, incarnation } = ask
    const forMs = this.#grants.grant(holder, commit, nowMs)
    if (forMs === null) return { type: 'refused', holder, incarnation, ask: ask.ask, reason: 'not-ready' }
    this.applied({ holder, incarnation, applied: ask.applied })
    return { type: 'granted', holder, incarnation, ask: ask.ask, index: commit, forMs }
  }

  /**
   * A report may come from an older incarnation, which had applied more. That does no harm: leases of a new one count
   * only from an index that was committed then, and what an older one had applied was committed before.
   */
  applied({ holder, applied }: AppliedReport): void {
    if (this.#grants.countsFrom(holder, Number.NEGATIVE_INFINITY) === Number.POSITIVE_INFINITY) return
    this.#applied.set(holder, Math.max(applied, this.#applied.get(holder) ?? 0))
  }

  /** Mutations of routes up to this index may be answered, once committed; -1 = none, Infinity = all. */
  releasable(nowMs: number): number {
    if (this.#grants.isYoung(nowMs)) return -1
    let least = Number.POSITIVE_INFINITY
    for (const holder of [...this.#applied.keys()]) {
      const from = this.#grants.countsFrom(holder, nowMs)
      // What was committed when a lease was granted, its holder applies before it counts.
      least = Math.min(least, Math.max(from, this.#applied.get(holder)!))
      if (from === Number.POSITIVE_INFINITY) this.#applied.delete(holder)
    }
    return least
  }

  /** When {@link releasable} may grow although nothing is heard; null = it does not. */
  nextMs(nowMs: number): number | null {
    return this.#grants.nextMs(nowMs)
  }

  /** Leases run: the range does not sleep. */
  held(nowMs: number): boolean {
    return this.#grants.nextMs(nowMs) !== null
  }
}
