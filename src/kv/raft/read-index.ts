import { Fifo } from '../../base/fifo.ts'

/**
 * Linearizable reads without a log entry. The leader notes its commit index, asks a majority whether it still leads, and
 * grants the read at that index. All reads that came since the last round share the next one; rounds overlap.
 *
 * Source: Ongaro, thesis, 6.4.
 */
export class ReadIndex {
  /** Number of the last round that was begun. */
  round = 0
  /** Not in a round yet. */
  #queued: number[] = []
  readonly #rounds = new Fifo<{ round: number; index: number; contexts: readonly number[] }>()
  #count = 0

  /** Reads that are not granted. */
  get count(): number {
    return this.#count
  }

  request(context: number): void {
    this.#queued.push(context)
    this.#count++
  }

  /** Begins a round for what is queued; false where there is nothing. */
  begin(commit: number): boolean {
    if (this.#queued.length === 0) return false
    this.#rounds.push({ round: ++this.round, index: commit, contexts: this.#queued })
    this.#queued = []
    return true
  }

  /** A majority answered `round`, which confirms all before it too. */
  confirm(round: number, grant: (context: number, index: number) => void): void {
    for (let first = this.#rounds.peek(); first !== undefined && first.round <= round; first = this.#rounds.peek()) {
      this.#rounds.shift()
      this.#count -= first.contexts.length
      for (const context of first.contexts) grant(context, first.index)
    }
  }

  /** Gives up all of them. */
  abandon(refuse: (context: number) => void): void {
    this.confirm(this.round, refuse)
    this.#count = 0
    for (const context of this.#queued) refuse(context)
    this.#queued = []
  }
}
