import type { MetaAnswer, MetaChange, MetaQuery } from './contract.ts'
import { difference, MetaState } from './state.ts'

/** Of one page. */
const PAGE_BYTES = 256 * 1024

/**
 * The memory of a node without a replica: it asks for pages of a snapshot until it has one of a single revision, and
 * then whether there is a newer one. Its host sends what {@link next} says, now and then, and hands over the answers.
 */
export class MetaWatch {
  #state = new MetaState()
  /** Pages of the snapshot under way. */
  #pages: MetaChange[] = []
  #revision: number | null = null
  #from: Uint8Array | null = null

  get state(): MetaState {
    return this.#state
  }

  /** A snapshot is under way: ask at once. */
  get busy(): boolean {
    return this.#from !== null
  }

  next(): MetaQuery {
    const known = this.#state.revision === 0 ? null : this.#state.revision
    return { type: 'snapshot', from: this.#from, bytesMax: PAGE_BYTES, unless: this.#from === null ? known : null }
  }

  /** What has changed; empty until a snapshot is whole. */
  answered(answer: MetaAnswer): MetaChange[] {
    if (answer.type !== 'page') return []
    // A replica may be behind the one that was asked before.
    if (answer.revision < this.#state.revision || (this.#from !== null && answer.revision !== this.#revision)) {
      this.#begin()
      return []
    }
    this.#revision = answer.revision
    this.#pages.push(...answer.changes)
    this.#from = answer.next
    if (answer.next !== null) return []
    const state = new MetaState()
    state.revision = answer.revision
    for (const change of this.#pages) state.apply(change)
    const changes = difference(this.#state, state)
    this.#state = state
    this.#begin()
    return changes
  }

  #begin(): void {
    this.#pages = []
    this.#revision = null
    this.#from = null
  }
}
