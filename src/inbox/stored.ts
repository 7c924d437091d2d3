import type { Cursor } from '../kv/engine/engine.ts'
import type { Reader } from '../kv/range/coprocessor.ts'
import type { CountEffect } from './store/command.ts'
import { decodeSession, decodeTally } from './store/records.ts'
import { inboxEnd, KIND_INDEX, KIND_SESSION, KIND_TALLY, ownEnd, startOf, withKind } from './store/schema.ts'

/** Inboxes counted at a time: about 4 ms of reads. */
const SLICE = 256

/** What the sessions of a range hold. */
export interface Stored {
  sessions: number
  attached: number
  messages: number
  bytes: number
}

export function noneStored(): Stored {
  return { sessions: 0, attached: 0, messages: 0, bytes: 0 }
}

export function addStored(stored: Stored, { sessions, attached, messages, bytes }: Stored | CountEffect): void {
  stored.sessions += sessions
  stored.attached += attached
  stored.messages += messages
  stored.bytes += bytes
}

/**
 * Adds up what was in a range when it was opened, in slices, so that a start waits for none of it: a cursor keeps that
 * moment, and what is applied since adds to it. Queues are not read.
 */
export class StoredCount {
  readonly #cursor: Cursor
  readonly #stored: Stored
  readonly #defer: (callback: () => void) => void
  #found: boolean
  #ended = false

  /** Counts into `stored`; a range of few inboxes at once. */
  constructor(reader: Reader, stored: Stored, defer: (callback: () => void) => void) {
    this.#stored = stored
    this.#defer = defer
    this.#cursor = reader.cursor({})
    this.#found = this.#cursor.next()
    this.#slice()
  }

  end(): void {
    if (this.#ended) return
    this.#ended = true
    this.#cursor.close()
  }

  #slice(): void {
    if (this.#ended) return
    for (let left = SLICE; this.#found && left > 0; left--) this.#countOne()
    if (this.#found) this.#defer(() => this.#slice())
    else this.end()
  }

  #countOne(): void {
    const cursor = this.#cursor
    const start = startOf(cursor.key)
    if (start === null) {
      this.#found = cursor.seek(ownEnd(undefined)) // the first range's own records
      return
    }
    const end = inboxEnd(start)
    const length = start.length
    let kind = cursor.key[length]!
    // The time index of a range stands before its first inbox, and its keys begin like those of that one.
    if (kind === KIND_INDEX) {
      this.#found = cursor.seek(withKind(start, KIND_SESSION))
      return
    }
    // An inbox begins with its session and its tally.
    if (kind === KIND_SESSION) {
      this.#stored.sessions++
      if (decodeSession(cursor.value).attached) this.#stored.attached++
      kind = cursor.next() ? cursor.key[length]! : 0
    }
    if (kind === KIND_TALLY && startOf(cursor.key)?.equals(end.subarray(0, length))) {
      const { messages, bytes } = decodeTally(cursor.value)
      this.#stored.messages += messages
      this.#stored.bytes += bytes
    }
    this.#found = cursor.seek(end)
  }
}
