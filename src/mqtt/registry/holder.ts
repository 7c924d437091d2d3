import { hashClaim, Rendezvous } from './hash.ts'
import type { ClientMessage } from './message.ts'

export interface HolderOptions {
  /** A CONNECT waits so long for its owner; then it goes on without the answer. */
  answerMs: number
  /** Owners are told a digest of what is claimed there so often. */
  digestMs: number
  /** Claims looked at in one tick after the members changed. */
  sweepSlice: number
}

/** What is claimed at one owner. */
interface Claims {
  readonly owner: string
  count: number
  hash: number
}

interface Own<Token> {
  readonly token: Token
  time: number
  at: Claims | null
  /** Its CONNECT waits. */
  asks: boolean
  askedMs: number
  restamps: number
  closing: boolean
}

export interface HolderOutcome<Token> {
  granted(token: Token): void
  /** A later CONNECT took the place before this one was answered. */
  refused(token: Token): void
  /** A later CONNECT took the place: close the connection, then release it. */
  evicted(token: Token): void
}

type Emit = (to: string, message: ClientMessage) => void

/** How often a CONNECT whose clock is behind may take a later time: each one stands for another CONNECT in between. */
const RESTAMPS_MAX = 8

/** This node's connections as it claims them at the owners of their client ids. */
export class Holder<Token> {
  members = new Rendezvous([])
  readonly #options: HolderOptions
  readonly #emit: Emit
  readonly #outcome: HolderOutcome<Token>
  readonly #own = new Map<string, Own<Token>>()
  /** Those whose CONNECT waits. */
  readonly #asking = new Map<string, Own<Token>>()
  readonly #claims = new Map<string, Claims>()
  #sweep: Iterator<[string, Own<Token>]> | null = null
  #sweepAgain = false
  #digestAtMs = 0

  constructor(options: HolderOptions, emit: Emit, outcome: HolderOutcome<Token>) {
    this.#options = options
    this.#emit = emit
    this.#outcome = outcome
  }

  get size(): number {
    return this.#own.size
  }

  /** True while claims move to other owners. */
  get sweeping(): boolean {
    return this.#sweep !== null || this.#sweepAgain
  }

  /** Members by their names; the same on every node, sooner or later. */
  setMembers(members: readonly string[]): void {
    this.members = new Rendezvous(members)
    for (const owner of this.#claims.keys()) if (!members.includes(owner)) this.#claims.delete(owner)
    this.#sweepAgain = true
    for (const [key, own] of this.#asking) this.#place(key, own)
  }

  /** @param time of the CONNECT: a hybrid timestamp */
  claim(key: string, token: Token, time: number, nowMs: number): void {
    const earlier = this.#own.get(key)
    if (earlier !== undefined) this.#withdraw(key, earlier)
    const later = earlier === undefined ? time : Math.max(time, earlier.time + 1)
    const own = { token, time: later, at: null, asks: true, askedMs: nowMs, restamps: 0, closing: false }
    this.#own.set(key, own)
    this.#asking.set(key, own)
    this.#place(key, own)
  }

  release(key: string, token: Token): void {
    const own = this.#own.get(key)
    if (own === undefined || own.token !== token) return
    this.#own.delete(key)
    this.#asking.delete(key)
    this.#withdraw(key, own)
  }

  received(from: string, message: ClientMessage): void {
    if (message.type === 'resync') {
      this.#claims.delete(from)
      this.#emit(from, { type: 'reset' })
      this.#sweepAgain = true
      return
    }
    if (!('key' in message)) return
    const own = this.#own.get(message.key)
    if (own === undefined || own.time !== message.time || own.at?.owner !== from) return
    if (message.type === 'granted') this.#answer(message.key, own, true)
    else if (message.type === 'close') this.#close(message.key, own)
    else if (message.type === 'behind') this.#restamp(message.key, own, message.by)
  }

  tick(nowMs: number): void {
    for (const [key, own] of this.#asking) {
      if (nowMs - own.askedMs >= this.#options.answerMs) this.#answer(key, own, true)
    }
    this.#moveSome()
    if (nowMs < this.#digestAtMs) return
    this.#digestAtMs = nowMs + this.#options.digestMs
    for (const owner of this.members.members) {
      const { count, hash } = this.#claims.get(owner) ?? { count: 0, hash: 0 }
      this.#emit(owner, { type: 'digest', count, hash })
    }
  }

  #answer(key: string, own: Own<Token>, granted: boolean): void {
    if (!own.asks) return
    own.asks = false
    this.#asking.delete(key)
    if (granted) this.#outcome.granted(own.token)
    else this.#outcome.refused(own.token)
  }

  #close(key: string, own: Own<Token>): void {
    if (own.closing) return
    own.closing = true
    if (own.asks) this.#answer(key, own, false)
    else this.#outcome.evicted(own.token)
  }

  #restamp(key: string, own: Own<Token>, by: number): void {
    // One that went on without an answer stood before nobody: by its time it is the earlier.
    if (!own.asks || ++own.restamps > RESTAMPS_MAX) return this.#close(key, own)
    this.#withdraw(key, own)
    own.time = by + 1
    this.#place(key, own)
  }

  /** Claims at the owner of the key; where that was done, nothing happens. */
  #place(key: string, own: Own<Token>): void {
    const owner = this.members.ownerOf(key)
    const at = owner === null ? null : this.#claimsAt(owner)
    if (own.at === at && at !== null) return
    this.#withdraw(key, own)
    if (at === null) return
    own.at = at
    at.count++
    at.hash = (at.hash ^ hashClaim(key, own.time)) >>> 0
    this.#emit(at.owner, { type: 'claim', key, time: own.time, fresh: own.asks })
  }

  #claimsAt(owner: string): Claims {
    let claims = this.#claims.get(owner)
    if (claims === undefined) this.#claims.set(owner, (claims = { owner, count: 0, hash: 0 }))
    return claims
  }

  #withdraw(key: string, own: Own<Token>): void {
    const { at } = own
    own.at = null
    // Where the owner left, or was told that all begins anew, nothing is to be taken back.
    if (at === null || this.#claims.get(at.owner) !== at) return
    at.count--
    at.hash = (at.hash ^ hashClaim(key, own.time)) >>> 0
    this.#emit(at.owner, { type: 'withdraw', key, time: own.time })
  }

  #moveSome(): void {
    if (this.#sweepAgain) {
      this.#sweepAgain = false
      this.#sweep = this.#own.entries()
    }
    if (this.#sweep === null) return
    for (let i = 0; i < this.#options.sweepSlice; i++) {
      const next = this.#sweep.next()
      if (next.done) {
        this.#sweep = null
        return
      }
      this.#place(next.value[0], next.value[1])
    }
  }
}
