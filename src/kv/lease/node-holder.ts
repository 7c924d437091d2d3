import { assert } from '../../base/assert.ts'
import { Asks } from './asks.ts'
import type { Answer, Ask } from './contract.ts'
import { type LeaseOptions, NODE_LEASE } from './options.ts'

export type NodeState =
  /** Acts, and answers. */
  | 'serving'
  /** Some range holds this incarnation for gone. It needs a new one. */
  | 'fenced'
  /** Has a new incarnation, and is registering again what it serves. */
  | 'registering'

export interface NodeEffects {
  asks: { range: string; ask: Ask }[]
  /** Close the persistent and will-bearing connections of these ranges' sessions, now. */
  close: string[]
}

interface Held {
  asks: Asks
  version: number
  /** Leases end then. */
  untilMs: number
  /** Connections may rest on the lease. */
  open: boolean
}

/**
 * A front-end node's side of node leases, over all ranges of `inbox` that it has sessions in.
 *
 * It stops acting on a range's sessions `closeMs` before the lease ends, and closes their connections in that time, so
 * that the leader, which waits until the lease has ended, never fences a node that acts. A node that finds itself fenced
 * by one range closes all it has, takes a new incarnation, and registers everything again before it acknowledges
 * anything.
 */
export class NodeHolder {
  readonly #host: string
  readonly #options: LeaseOptions
  readonly #ranges = new Map<string, Held>()
  #incarnation: number
  #state: NodeState = 'serving'

  constructor(host: string, incarnation: number, options: LeaseOptions = NODE_LEASE) {
    this.#host = host
    this.#incarnation = incarnation
    this.#options = options
  }

  get state(): NodeState {
    return this.#state
  }

  get incarnation(): number {
    return this.#incarnation
  }

  /** False from the moment that a fence is known until everything is registered again. */
  get mayAcknowledge(): boolean {
    return this.#state === 'serving'
  }

  /**
   * The node has sessions in this range, or wants to attach one.
   *
   * @param from the range that held these sessions before it was split or merged: its lease covers them still
   */
  enter(range: string, version: number, from: string | null = null): void {
    const known = this.#ranges.get(range)
    if (known !== undefined) {
      known.version = version
      return
    }
    const parent = from === null ? undefined : this.#ranges.get(from)
    this.#ranges.set(range, {
      asks: this.#newAsks(),
      version,
      untilMs: parent?.untilMs ?? Number.NEGATIVE_INFINITY,
      open: parent?.open ?? false,
    })
  }

  /** No session is left there. */
  leave(range: string): void {
    this.#ranges.delete(range)
  }

  /** Another leader of this range is known: it is asked at once. */
  soon(range: string): void {
    this.#ranges.get(range)?.asks.soon()
  }

  tick(nowMs: number): NodeEffects {
    const effects: NodeEffects = { asks: [], close: [] }
    for (const [range, held] of this.#ranges) {
      if (held.open && !this.#actsUntil(held, nowMs)) {
        held.open = false
        effects.close.push(range)
      }
      const ask = this.#state === 'fenced' ? null : held.asks.tick(nowMs, 0, held.version)
      if (ask !== null) effects.asks.push({ range, ask })
    }
    return effects
  }

  /** When {@link tick} has something to do; null = nothing ever. */
  nextMs(): number | null {
    let next = Number.POSITIVE_INFINITY
    for (const held of this.#ranges.values()) {
      if (this.#state !== 'fenced') next = Math.min(next, held.asks.nextMs())
      if (held.open) next = Math.min(next, held.untilMs - this.#options.closeMs)
    }
    return next === Number.POSITIVE_INFINITY ? null : next
  }

  /** The first connections are to be closed then, if no lease comes; Infinity = none are open. */
  endsMs(): number {
    let first = Number.POSITIVE_INFINITY
    for (const held of this.#ranges.values()) {
      if (held.open) first = Math.min(first, held.untilMs - this.#options.closeMs)
    }
    return first
  }

  /** What to close in consequence; then {@link state} says whether a new incarnation is needed. */
  answered(range: string, answer: Answer, nowMs: number): string[] {
    const held = this.#ranges.get(range)
    if (held === undefined || this.#state === 'fenced') return []
    const askedMs = held.asks.answered(answer, nowMs)
    if (askedMs === null) return []
    if (answer.type === 'refused') return answer.reason === 'fenced' ? this.fence(answer.incarnation) : []
    held.untilMs = Math.max(held.untilMs, askedMs + answer.forMs)
    if (this.#actsUntil(held, nowMs)) held.open = true
    return []
  }

  /** A range's answer, to an ask or to a command, says that this incarnation is held for gone. What to close. */
  fence(incarnation: number): string[] {
    if (incarnation !== this.#incarnation || this.#state === 'fenced') return []
    this.#state = 'fenced'
    const open = [...this.#ranges].filter(([, held]) => held.open).map(([range]) => range)
    for (const held of this.#ranges.values()) {
      held.open = false
      held.untilMs = Number.NEGATIVE_INFINITY
    }
    return open
  }

  /** All connections that rested on the old incarnation are closed. */
  reincarnate(incarnation: number): void {
    assert(this.#state === 'fenced', 'Only a fenced node takes a new incarnation while it runs')
    assert(incarnation > this.#incarnation, `Incarnation ${incarnation} is not after ${this.#incarnation}`)
    this.#incarnation = incarnation
    this.#state = 'registering'
    for (const held of this.#ranges.values()) held.asks = this.#newAsks()
  }

  /** Every route and session of this node is registered under its incarnation. */
  registered(incarnation: number): void {
    if (incarnation === this.#incarnation && this.#state === 'registering') this.#state = 'serving'
  }

  /**
   * Whether the node may act on sessions of this range: on what they send, and towards their clients. The time is read
   * after the message that is acted on.
   */
  holds(range: string, nowMs: number): boolean {
    const held = this.#ranges.get(range)
    return held?.open === true && this.#actsUntil(held, nowMs)
  }

  /** The clock may have stood still (the machine slept). What to close. */
  doubt(): string[] {
    const open = [...this.#ranges].filter(([, held]) => held.open).map(([range]) => range)
    for (const held of this.#ranges.values()) {
      held.open = false
      held.untilMs = Number.NEGATIVE_INFINITY
      held.asks.forget()
    }
    return open
  }

  #actsUntil(held: Held, nowMs: number): boolean {
    return nowMs < held.untilMs - this.#options.closeMs
  }

  #newAsks(): Asks {
    return new Asks(this.#host, this.#incarnation, this.#options)
  }
}
