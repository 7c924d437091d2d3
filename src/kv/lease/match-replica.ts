import { assert } from '../../base/assert.ts'
import { Fifo } from '../../base/fifo.ts'
import type { Answer, AppliedReport, Ask } from './contract.ts'
import { MatchHolder } from './match-holder.ts'
import { MatchLeader } from './match-leader.ts'
import { type LeaseOptions, MATCH_LEASE } from './options.ts'

/** Between the match replicas of one range; may be lost, late, doubled and overtaken. */
export type MatchMessage =
  | { type: 'ask'; ask: Ask }
  | { type: 'answer'; answer: Answer }
  | { type: 'applied'; report: AppliedReport }

export interface MatchReplicaOptions {
  /** This replica, as the others name it: messages to this name are for it. */
  name: string
  /** Of its process: another one after each start. */
  incarnation: number
  /** What its table shows. */
  applied: number
  /** Answers that are held back, at most; what is more is given up at once. */
  heldMax: number
  lease?: LeaseOptions
}

/** What the host must do, in this order. */
export interface MatchReady<Held> {
  messages: { to: string; message: MatchMessage }[]
  /** Mutations that may be answered: no node matches without them any more. */
  released: Held[]
  /**
   * Mutations that are committed, and that this replica cannot vouch for: it leads no more, or holds too many. They are
   * to be sent again, which their next leader answers when it may.
   */
  givenUp: Held[]
}

/**
 * One replica's part in the match leases of its range: it holds a lease, so that its table may be matched against; and
 * while it leads, it gives them out, and holds back the answers to mutations of routes until each node that may match has
 * them in its table. So a SUBACK is a route wherever QoS 1 and 2 are published.
 *
 * The host tells it what Raft says (see the README), passes messages on, and asks {@link holds} for each match, with the
 * time read after the message that is to be matched.
 */
export class MatchReplica<Held> {
  readonly #options: MatchReplicaOptions
  readonly #lease: LeaseOptions
  readonly #holder: MatchHolder
  #leader: MatchLeader | null = null
  /** In the order of their indexes. */
  readonly #held = new Fifo<{ index: number; held: Held }>()
  #ready: MatchReady<Held> = { messages: [], released: [], givenUp: [] }
  /** Who leads, as far as is known. */
  #leaderName: string | null = null
  #lastHeld = 0
  #commit = 0

  constructor(options: MatchReplicaOptions) {
    const { name, incarnation, applied, lease = MATCH_LEASE } = options
    this.#options = options
    this.#lease = lease
    this.#holder = new MatchHolder(name, incarnation, applied, lease)
    this.#commit = applied
  }

  /** QoS 1 and 2 may be matched against the table now. */
  holds(nowMs: number): boolean {
    return this.#holder.holds(nowMs)
  }

  /** When {@link holds} ends, unless the lease is renewed; in the past where none counts. */
  get untilMs(): number {
    return this.#holder.untilMs
  }

  get heldAnswers(): number {
    return this.#held.length
  }

  /** Leases run that this replica gave out: the range must not sleep (the `lease` input of Raft). */
  leasesOut(nowMs: number): boolean {
    return this.#leader?.held(nowMs) ?? false
  }

  /**
   * This replica leads a new term.
   * @param electedMs now; -Infinity where nobody else can have led: the only replica is here, and never fed anybody
   */
  led(electedMs: number): void {
    this.#giveUp()
    this.#leader = new MatchLeader(electedMs, this.#lease)
    this.follows(this.#options.name)
  }

  /** It leads no more. */
  deposed(): void {
    this.#leader = null
    this.#leaderName = null
    this.#giveUp()
  }

  /** Who leads, as far as this replica knows; null = nobody. */
  follows(leader: string | null): void {
    if (leader === this.#leaderName) return
    this.#leaderName = leader
    this.#holder.soon()
  }

  /** Of the leader: a majority has acknowledged a heartbeat that was sent at `sentMs`. */
  confirmed(sentMs: number): void {
    this.#leader?.confirmed(sentMs)
  }

  /** Of the leader: its term's first entry is applied. */
  established(): void {
    this.#leader?.ready()
  }

  /**
   * The range has taken over its right neighbour's keys. Who holds leases on that one by what it was before it was frozen
   * may match by them still; so answers wait as those of a new leader do. From the freeze on, a holder of both matches the
   * right one's keys only while its lease on this one counts too.
   */
  adopt(nowMs: number): void {
    this.#leader?.adopt(nowMs)
  }

  /** A lease is wanted now: the next {@link tick} asks, whenever it asked last. */
  want(): void {
    this.#holder.soon()
  }

  /** All up to here is committed, as this replica knows. */
  committed(index: number): void {
    this.#commit = Math.max(this.#commit, index)
  }

  /** The table shows everything up to `index`. */
  applied(index: number, nowMs: number): void {
    this.committed(index)
    const report = this.#holder.applied(index, nowMs)
    if (report !== null && this.#leaderName !== null) {
      this.#send(this.#leaderName, { type: 'applied', report }, nowMs)
    }
    this.#release(nowMs)
  }

  /** A mutation of this leader's term is committed at `index`: its answer is held back until it may go. */
  hold(index: number, held: Held, nowMs: number): void {
    if (this.#leader === null || this.#held.length >= this.#options.heldMax) {
      this.#ready.givenUp.push(held)
      return
    }
    assert(this.#held.length === 0 || index >= this.#lastHeld, 'Mutations are committed in order')
    this.#lastHeld = index
    this.#held.push({ index, held })
    this.#release(nowMs)
  }

  received(from: string, message: MatchMessage, nowMs: number): void {
    this.#handle(from, message, nowMs)
    this.#release(nowMs)
  }

  /** What time brings: asks for a lease, and answers whose last holder's leases have run out. */
  tick(nowMs: number): void {
    if (this.#leaderName !== null) {
      const ask = this.#holder.tick(nowMs)
      if (ask !== null) this.#send(this.#leaderName, { type: 'ask', ask }, nowMs)
    }
    this.#release(nowMs)
  }

  /** When {@link tick} has something to do. */
  nextMs(nowMs: number): number {
    const ask = this.#leaderName === null ? Number.POSITIVE_INFINITY : this.#holder.nextMs()
    const release = this.#held.length === 0 ? null : (this.#leader?.nextMs(nowMs) ?? null)
    return Math.min(ask, release ?? Number.POSITIVE_INFINITY)
  }

  /** The clock may have stood still (the machine slept): said before anything else is done after it. */
  doubt(nowMs: number): void {
    this.#holder.doubt()
    this.#leader?.doubt(nowMs)
  }

  ready(): MatchReady<Held> {
    const ready = this.#ready
    this.#ready = { messages: [], released: [], givenUp: [] }
    return ready
  }

  #handle(from: string, message: MatchMessage, nowMs: number): void {
    if (message.type === 'answer') this.#holder.answered(message.answer, nowMs)
    else if (this.#leader === null) return
    else if (message.type === 'applied') this.#leader.applied(message.report)
    else {
      const answer = this.#leader.ask(message.ask, this.#commit, nowMs)
      this.#send(from, { type: 'answer', answer }, nowMs)
    }
  }

  /** What this replica tells itself is heard at once. */
  #send(to: string, message: MatchMessage, nowMs: number): void {
    if (to === this.#options.name) this.#handle(to, message, nowMs)
    else this.#ready.messages.push({ to, message })
  }

  #release(nowMs: number): void {
    if (this.#leader === null || this.#held.length === 0) return
    const upTo = this.#leader.releasable(nowMs)
    for (let first = this.#held.peek(); first !== undefined && first.index <= upTo; first = this.#held.peek()) {
      this.#held.shift()
      this.#ready.released.push(first.held)
    }
  }

  #giveUp(): void {
    for (let first = this.#held.shift(); first !== undefined; first = this.#held.shift()) {
      this.#ready.givenUp.push(first.held)
    }
  }
}
