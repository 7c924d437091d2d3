import type { Clock } from '../base/clock.ts'
import type { InboxRanges } from './feed-host.ts'
import { nameOf } from './store/schema.ts'

export type Qos0Answer = 'absent' | 'drop' | 'queue' | { type: 'online'; nodes: string[]; queue: boolean }

type Decided = (error: Error | null, answer: Qos0Answer | null) => void

interface Known {
  incarnation: number
  untilMs: number
  answer: Qos0Answer | null
  /** Those who wait for the first answer; at most {@link WAITING_MAX}, then the message is dropped. */
  waiting: Decided[]
}

/** Milliseconds that an answer is good for. */
const KNOWN_MS = 1_000
const KNOWN_MAX = 10_000
/** Longest wait for an answer: a message that comes late may come behind what its publisher sent from elsewhere. */
const WAIT_MS = 1_000
const WAITING_MAX = 1_000

/** Remembers for a moment where QoS 0 messages for sessions go that are not here: none of them is logged. */
export class Qos0Gate {
  readonly #ranges: InboxRanges
  readonly #clock: Clock
  readonly #known = new Map<string, Known>()

  constructor(ranges: InboxRanges, clock: Clock) {
    this.#ranges = ranges
    this.#clock = clock
  }

  decide(key: Uint8Array, incarnation: number, decided: Decided): void {
    const name = nameOf(key)
    const nowMs = this.#clock.monotonic()
    const known = this.#known.get(name)
    if (known === undefined || known.incarnation !== incarnation || known.untilMs <= nowMs) {
      this.#ask(key, name, incarnation, decided)
    } else if (known.answer !== null) decided(null, known.answer)
    else if (known.waiting.length < WAITING_MAX) known.waiting.push(decided)
    else decided(null, 'drop')
  }

  #ask(key: Uint8Array, name: string, incarnation: number, decided: Decided): void {
    if (this.#known.size >= KNOWN_MAX) this.#known.clear()
    const untilMs = this.#clock.monotonic() + KNOWN_MS
    const known: Known = { incarnation, untilMs, answer: null, waiting: [decided] }
    this.#known.set(name, known)
    const settle = (error: Error | null, answer: Qos0Answer | null) => {
      if (error !== null) this.#known.delete(name)
      known.answer = answer
      for (const each of known.waiting.splice(0)) each(error, answer)
    }
    this.#ranges.query(key, { type: 'qos0', key, incarnation }, { linearizable: false, deadlineMs: WAIT_MS }).then(
      (answer) => settle(null, answer as Qos0Answer),
      (error: unknown) => settle(error as Error, null),
    )
  }
}
