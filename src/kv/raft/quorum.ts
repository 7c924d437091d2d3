import type { ConfState, ReplicaId } from './contract.ts'

export type Outcome = 'won' | 'lost' | 'open'

/**
 * Majorities of a configuration; of both its halves while it is joint.
 *
 * Source: Ongaro and Ousterhout, "In Search of an Understandable Consensus Algorithm", 6.
 */
export class Quorum {
  readonly #halves: readonly (readonly ReplicaId[])[]
  /** Reused by {@link agreed}, which runs once for each answer to an append. */
  readonly #scratch: number[] = []

  constructor(config: ConfState) {
    this.#halves = [config.voters, config.outgoing].filter((half) => half.length > 0)
  }

  /** The highest number that a majority has reached. */
  agreed(numberOf: (id: ReplicaId) => number): number {
    let least = Number.POSITIVE_INFINITY
    for (const half of this.#halves) least = Math.min(least, this.#median(half, numberOf))
    return least === Number.POSITIVE_INFINITY ? 0 : least
  }

  has(holds: (id: ReplicaId) => boolean): boolean {
    return this.agreed((id) => (holds(id) ? 1 : 0)) === 1
  }

  outcome(votes: ReadonlyMap<ReplicaId, boolean>): Outcome {
    if (this.has((id) => votes.get(id) === true)) return 'won'
    return this.has((id) => votes.get(id) !== false) ? 'open' : 'lost'
  }

  #median(half: readonly ReplicaId[], numberOf: (id: ReplicaId) => number): number {
    const sorted = this.#scratch
    sorted.length = 0
    for (const id of half) {
      const number = numberOf(id)
      let at = sorted.length
      for (; at > 0 && sorted[at - 1]! < number; at--) sorted[at] = sorted[at - 1]!
      sorted[at] = number
    }
    return sorted[half.length >> 1]!
  }
}
