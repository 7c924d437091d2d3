import { assert } from '../../base/assert.ts'

const FIRST_SIZE = 16
const NO_TYPES = new Uint8Array(0)
const NO_IDS = new Uint16Array(0)
const NO_REASONS = new Int16Array(0)

/** Called with an ack whose turn has come. */
export type AckWriter = (type: number, packetId: number, reasonCode: number) => void

/**
 * Acks in the order in which the publishes came [MQTT-4.6.0-2], although their commits end in any order.
 *
 * An ack that is ready at once and has none before it passes by without being stored.
 */
export class AckOrder {
  // Made when they are first needed: most connections never publish with QoS.
  #types = NO_TYPES
  #ids = NO_IDS
  /** -1 = not ready yet. */
  #reasons = NO_REASONS
  #first = 0
  #end = 0
  readonly #write: AckWriter

  constructor(write: AckWriter) {
    this.#write = write
  }

  get waiting(): number {
    return this.#end - this.#first
  }

  /** An ack that is ready already. */
  ready(type: number, packetId: number, reasonCode: number): void {
    if (this.#first === this.#end) return this.#write(type, packetId, reasonCode)
    this.settle(this.open(type, packetId), reasonCode)
  }

  /** Keeps a place for an ack; give the ticket to {@link settle}. */
  open(type: number, packetId: number): number {
    if (this.#end - this.#first === this.#ids.length) this.#grow()
    const at = this.#end & (this.#ids.length - 1)
    this.#types[at] = type
    this.#ids[at] = packetId
    this.#reasons[at] = -1
    return this.#end++
  }

  settle(ticket: number, reasonCode: number): void {
    assert(ticket >= this.#first && ticket < this.#end, 'An ack is settled once')
    this.#reasons[ticket & (this.#ids.length - 1)] = reasonCode
    while (this.#first < this.#end) {
      const at = this.#first & (this.#ids.length - 1)
      const reason = this.#reasons[at]!
      if (reason < 0) return
      this.#first++
      this.#write(this.#types[at]!, this.#ids[at]!, reason)
    }
  }

  #grow(): void {
    const size = Math.max(FIRST_SIZE, this.#ids.length * 2)
    const types = new Uint8Array(size)
    const ids = new Uint16Array(size)
    const reasons = new Int16Array(size)
    for (let ticket = this.#first; ticket < this.#end; ticket++) {
      const from = ticket & (this.#ids.length - 1)
      const to = ticket & (size - 1)
      types[to] = this.#types[from]!
      ids[to] = this.#ids[from]!
      reasons[to] = this.#reasons[from]!
    }
    this.#types = types
    this.#ids = ids
    this.#reasons = reasons
  }
}
