import { Holder, type HolderOptions } from './holder.ts'
import type { ClientMessage } from './message.ts'
import { Owner, type OwnerOptions } from './owner.ts'

export interface RegistryOptions extends HolderOptions, OwnerOptions {}

export const REGISTRY: RegistryOptions = {
  answerMs: 3_000,
  digestMs: 1_000,
  // 25,000 a second: a node's share of a million moves in less than two seconds.
  sweepSlice: 2_500,
  claimsMax: 2_000_000,
  closeMs: 1_500,
  againMs: 500,
}

/** {@link ClientRegistry.tick} is due so often. */
export const TICK_MS = 100

/** What the host must do. */
export interface RegistryOutcomes<Token> {
  /** Their CONNECT may be answered. */
  granted: Token[]
  /** Their CONNECT is refused: a later one took the place. They are to be released. */
  refused: Token[]
  /** They are to be closed with 0x8E, and released when they have given their session up. */
  evicted: Token[]
}

/**
 * The registry of connected clients, as one node has it: a pure state machine, both holder of its own connections and
 * owner of the client ids that fall to it.
 *
 * A client id belongs to one of the alive nodes, by rendezvous. Each connection is claimed there with the time of its
 * CONNECT; of several claims the latest stands, and the others are closed before the latest is granted. When the members
 * change, claims move to their new owners at a bounded rate, and meet there.
 *
 * Views of the members may differ for a while: then there may be two connections, until the views agree again.
 */
export class ClientRegistry<Token> {
  readonly #node: string
  readonly #run: number
  readonly #holder: Holder<Token>
  readonly #owner: Owner
  #outcomes: RegistryOutcomes<Token> = { granted: [], refused: [], evicted: [] }
  #messages = new Map<string, ClientMessage[]>()
  #toSelf: ClientMessage[] = []
  /** Messages of earlier runs of their senders. */
  stale = 0

  /** @param run of this process: each start of the node has a higher one */
  constructor(node: string, run: number, options: RegistryOptions = REGISTRY) {
    this.#node = node
    this.#run = run
    const emit = (to: string, message: ClientMessage) => this.#emit(to, message)
    this.#owner = new Owner(options, emit)
    this.#holder = new Holder(options, emit, {
      granted: (token) => this.#outcomes.granted.push(token),
      refused: (token) => this.#outcomes.refused.push(token),
      evicted: (token) => this.#outcomes.evicted.push(token),
    })
  }

  /** Connections of this node. */
  get held(): number {
    return this.#holder.size
  }

  /** Claims that this node owns the keys of. */
  get owned(): number {
    return this.#owner.claims
  }

  get sweeping(): boolean {
    return this.#holder.sweeping
  }

  /** Who is alive and has clients, this node among them. */
  setMembers(members: readonly string[], nowMs: number): void {
    const before = this.#holder.members.members
    for (const member of before) if (!members.includes(member)) this.#owner.gone(member, nowMs)
    this.#holder.setMembers(members)
    this.#settle(nowMs)
  }

  /** A CONNECT came: {@link RegistryOutcomes.granted} or `refused` follows, at once where this node is the owner. */
  claim(key: string, token: Token, time: number, nowMs: number): void {
    this.#holder.claim(key, token, time, nowMs)
    this.#settle(nowMs)
  }

  /** A connection is gone. Does nothing where another one of this node has taken its place. */
  release(key: string, token: Token, nowMs: number): void {
    this.#holder.release(key, token)
    this.#settle(nowMs)
  }

  /** @param run of the sender */
  received(from: string, run: number, messages: readonly ClientMessage[], nowMs: number): void {
    for (const message of messages) if (!this.#handle(from, run, message, nowMs)) this.stale++
    this.#settle(nowMs)
  }

  tick(nowMs: number): void {
    this.#holder.tick(nowMs)
    this.#owner.tick(nowMs)
    this.#settle(nowMs)
  }

  outcomes(): RegistryOutcomes<Token> {
    const outcomes = this.#outcomes
    this.#outcomes = { granted: [], refused: [], evicted: [] }
    return outcomes
  }

  get hasMessages(): boolean {
    return this.#messages.size > 0
  }

  /** What to send, by node; in order. Losing some heals within a few digests. */
  messages(): Map<string, ClientMessage[]> {
    const messages = this.#messages
    this.#messages = new Map()
    return messages
  }

  #handle(from: string, run: number, message: ClientMessage, nowMs: number): boolean {
    switch (message.type) {
      case 'claim':
      case 'withdraw':
      case 'digest':
      case 'reset':
        return this.#owner.received(from, run, message, nowMs)
      default:
        this.#holder.received(from, message)
        return true
    }
  }

  #emit(to: string, message: ClientMessage): void {
    if (to === this.#node) {
      this.#toSelf.push(message)
      return
    }
    const known = this.#messages.get(to)
    if (known === undefined) this.#messages.set(to, [message])
    else known.push(message)
  }

  /** What this node tells itself is heard at once. */
  #settle(nowMs: number): void {
    while (this.#toSelf.length > 0) {
      const messages = this.#toSelf
      this.#toSelf = []
      for (const message of messages) this.#handle(this.#node, this.#run, message, nowMs)
    }
  }
}
