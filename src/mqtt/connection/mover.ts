import type { Clock } from '../../base/clock.ts'
import { REASON } from '../codec/index.ts'
import type { Connection } from './connection.ts'

/** Connections that are to go to other nodes. */
export interface MoveOrder {
  /** At most so many are ended. */
  count: number
  /** It is enough as soon as no more than so many are left. */
  keep: number
  perSecond: number
  /** Where they should go. Those beyond the last count are not told where. */
  to: readonly { reference: string; count: number }[]
}

const TICK_MS = 100
/** Connections that are looked at in one go: about 1 ms. */
const SLICE = 16_384

/**
 * Ends connections of this node, a few at a time, so that their clients come back at another one. MQTT 5 clients are told
 * why, and where to; others only lose their connection. A client whose will fires at once comes last, and none is asked
 * twice by one order, though it may have come back here.
 */
export class Mover {
  readonly #connections: ReadonlySet<Connection>
  readonly #clock: Clock
  #order: MoveOrder | null = null
  #beganMs = 0
  #candidates: Iterator<Connection | null> = [].values()
  #allowance = 0
  #stopTimer: () => void = () => {}
  #moved = 0
  /** Since the process began. */
  movedTotal = 0

  constructor(connections: ReadonlySet<Connection>, clock: Clock) {
    this.#connections = connections
    this.#clock = clock
  }

  /** How many the order under way may still end, and how many it has ended. */
  get progress(): { left: number; moved: number } {
    return { left: this.#order === null ? 0 : this.#order.count - this.#moved, moved: this.#moved }
  }

  /** Instead of the order before, if there is one. */
  begin(order: MoveOrder): void {
    this.stop()
    this.#order = order
    this.#beganMs = this.#clock.monotonic()
    this.#candidates = this.#inTurn()
    this.#moved = 0
    // The first goes at once, however low the rate.
    this.#allowance = 1
    this.#tick()
  }

  stop(): void {
    this.#order = null
    this.#stopTimer()
  }

  #tick(): void {
    const order = this.#order!
    while (this.#allowance >= 1) {
      const next = this.#connections.size <= order.keep || this.#moved >= order.count ? null : this.#candidates.next()
      if (next === null || next.done) return this.stop()
      if (next.value === null) break
      this.#allowance--
      this.#move(next.value, order)
    }
    this.#allowance += (order.perSecond * TICK_MS) / 1_000
    this.#stopTimer = this.#clock.after(TICK_MS, () => this.#tick())
  }

  #move(connection: Connection, order: MoveOrder): void {
    const reference = referenceAt(order, this.#moved)
    this.#moved++
    this.movedTotal++
    void connection.control.leave(REASON.USE_ANOTHER_SERVER, 'Another node has fewer connections', reference)
  }

  /**
   * Those whose CONNECT was accepted before the order came: first who understands it, last who would be taken for dead.
   * Null: a pause is due.
   */
  *#inTurn(): Generator<Connection | null> {
    let seen = 0
    for (const willFires of [false, true]) {
      for (const understands of [true, false]) {
        for (const connection of this.#connections) {
          if (++seen % SLICE === 0) yield null
          const { session, control } = connection
          if (session.state !== 'open' || control.openedAtMs >= this.#beganMs) continue
          if (control.willFires === willFires && (session.agreement!.version === 5) === understands) yield connection
        }
      }
    }
  }
}

/** Of the connection that is the `index`th to go. */
function referenceAt({ to }: MoveOrder, index: number): string | undefined {
  let before = 0
  for (const { reference, count } of to) {
    before += count
    if (index < before) return reference
  }
  return undefined
}
