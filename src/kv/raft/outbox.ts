import type { ErrorCode } from '../../base/errors.ts'
import type { Accepted, Message, ReadGrant, Refused } from './contract.ts'

const NONE: readonly never[] = []

/** Effects that wait for the next Ready, besides what the log and the hard state hold. */
export class Outbox {
  #messages: Message[] = []
  #afterPersist: Message[] = []
  #accepted: Accepted[] = []
  #refused: Refused[] = []
  #reads: ReadGrant[] = []

  /** Promises nothing: goes out at once. */
  send(message: Message): void {
    this.#messages.push(message)
  }

  /** Speaks of what must be on disk first: a vote, the wish for one, or that entries have arrived. */
  promise(message: Message): void {
    this.#afterPersist.push(message)
  }

  accept(context: number, index: number, term: number): void {
    this.#accepted.push({ context, index, term })
  }

  refuse(context: number, code: ErrorCode, message: string): void {
    this.#refused.push({ context, code, message })
  }

  grant(context: number, index: number): void {
    this.#reads.push({ context, index })
  }

  take() {
    const taken = {
      messages: orNone(this.#messages),
      afterPersist: orNone(this.#afterPersist),
      accepted: orNone(this.#accepted),
      refused: orNone(this.#refused),
      reads: orNone(this.#reads),
    }
    if (taken.messages !== NONE) this.#messages = []
    if (taken.afterPersist !== NONE) this.#afterPersist = []
    if (taken.accepted !== NONE) this.#accepted = []
    if (taken.refused !== NONE) this.#refused = []
    if (taken.reads !== NONE) this.#reads = []
    return taken
  }
}

/** A Ready of an idle group allocates no arrays. */
function orNone<Item>(items: Item[]): readonly Item[] {
  return items.length === 0 ? NONE : items
}
