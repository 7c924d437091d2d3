import type { Random } from '../../../base/clock.ts'
import type { HostId } from '../../../base/ids.ts'
import type { OverlayCounters } from './counters.ts'
import type { OverlayEvent, Payload } from './effects.ts'
import type { Message, Position } from './message.ts'
import type { OverlayOptions } from './options.ts'
import { encodePayload } from './wire.ts'

/** What the parts of the machine share. */
export interface Context {
  readonly options: OverlayOptions
  readonly random: Random
  readonly counters: OverlayCounters
  readonly outbox: Outbox
}

/** What waits for the host to be sent and told. */
export class Outbox {
  payloads: Payload[] = []
  events: OverlayEvent[] = []
  readonly #counters: OverlayCounters

  constructor(counters: OverlayCounters) {
    this.#counters = counters
  }

  /** As one payload. */
  send(to: HostId, messages: readonly Message[]): void {
    if (messages.length > 0) this.sendEncoded(to, encodePayload(messages), messages)
  }

  /** The same bytes may go to several hosts. */
  sendEncoded(to: HostId, bytes: Uint8Array, messages: readonly Message[]): void {
    const counters = this.#counters
    for (const message of messages) {
      if (message.type === 'digest') counters.digestsSent++
      else if (message.type === 'delta') {
        counters.deltasSent++
        counters.entriesSent += message.entries.length
      } else if (message.type === 'hints') counters.hintsSent += message.hints.length
    }
    counters.payloadsSent++
    counters.payloadBytesSent += bytes.length
    this.payloads.push({ to, bytes })
  }
}

/** The answer to one payload, whatever is in that: one payload, too, and bounded. */
export class Reply {
  readonly #messages: Message[] = []
  readonly #wants: Position[] = []
  /** Bytes that may still be added. */
  room: number

  constructor(bytesMax: number) {
    this.room = bytesMax
  }

  /** What does not fit is left out: it is asked for again. */
  add(message: Message, bytes: number): void {
    if (bytes > this.room) return
    this.room -= bytes
    this.#messages.push(message)
  }

  /** Asks for what comes after this position. */
  want(position: Position): void {
    if (this.room < POSITION_BYTES_MAX) return
    this.room -= POSITION_BYTES_MAX
    this.#wants.push(position)
  }

  get messages(): Message[] {
    if (this.#wants.length === 0) return this.#messages
    return [...this.#messages, { type: 'digest', asks: false, positions: this.#wants, hints: null }]
  }
}

/** Three varints: 48 bits, and two versions. */
const POSITION_BYTES_MAX = 21
