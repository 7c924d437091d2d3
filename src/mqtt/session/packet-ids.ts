import { assert } from '../../base/assert.ts'

/** States of a packet id that the broker gave out; 0 = free. */
export const AWAITS_PUBACK = 1
export const AWAITS_PUBREC = 2
export const AWAITS_PUBCOMP = 3
/** Acknowledged to the end by the client, and not yet where the id is stored. */
export const AWAITS_TRIM = 4

const FIRST_SIZE = 32
const NO_STATES = new Uint8Array(0)

/**
 * The packet ids of outgoing messages and what each waits for. A byte an id, grown as the window fills, so that an idle
 * connection costs next to nothing.
 */
export class PacketIds {
  readonly #first: number
  readonly #sizeMax: number
  #states = NO_STATES
  #next = 0
  /** Ids that are not free. */
  used = 0

  /** Ids from `first` to `last`, 1 to 65,535. */
  constructor(first: number, last: number) {
    assert(first >= 1 && last <= 65_535 && last - first >= FIRST_SIZE, 'Packet ids are 1 to 65,535')
    this.#first = first
    this.#sizeMax = last - first + 1
  }

  /** True where every id is taken. */
  get full(): boolean {
    return this.used === this.#sizeMax
  }

  /** A free id, now in `state`; 0 where every id is taken. [MQTT-2.2.1-4] */
  take(state: number): number {
    if (this.used * 2 >= this.#states.length && !this.#grow() && this.used === this.#states.length) return 0
    const states = this.#states
    let at = this.#next
    while (states[at] !== 0) at = at + 1 === states.length ? 0 : at + 1
    states[at] = state
    this.#next = at + 1 === states.length ? 0 : at + 1
    this.used++
    return at + this.#first
  }

  /** Takes a certain id, one that a session brought along; nothing where it is taken already. */
  reserve(id: number, state: number): void {
    while (id - this.#first >= this.#states.length) assert(this.#grow(), 'A packet id is within its range')
    if (this.#states[id - this.#first] !== 0) return
    this.#states[id - this.#first] = state
    this.used++
  }

  state(id: number): number {
    return this.#states[id - this.#first] ?? 0
  }

  set(id: number, state: number): void {
    this.#states[id - this.#first] = state
  }

  free(id: number): void {
    this.#states[id - this.#first] = 0
    this.used--
  }

  #grow(): boolean {
    const size = Math.min(Math.max(FIRST_SIZE, this.#states.length * 2), this.#sizeMax)
    if (size === this.#states.length) return false
    const states = new Uint8Array(size)
    states.set(this.#states)
    this.#states = states
    return true
  }
}
