import { hashClaim } from './hash.ts'
import type { ClientMessage } from './message.ts'

export interface OwnerOptions {
  /** Claims that are kept; beyond, connections are granted without being kept. */
  claimsMax: number
  /** How long a CONNECT waits for the connections that it takes over. */
  closeMs: number
  /** A holder that does not close a connection is told again so often. */
  againMs: number
  /** Claims looked at in one tick for those of holders that are gone. */
  sweepSlice: number
}

/** What one life of a holder claims here. */
interface Holder {
  readonly node: string
  readonly run: number
  count: number
  hash: number
  /** Claims that were not kept: then its digest says nothing. */
  unkept: number
  /** Another life of it is known, it began anew, or it is gone: what it claims does not count. */
  dead: boolean
}

interface Claim {
  readonly holder: Holder
  readonly time: number
  /** Answered with `granted`, or taken over from another owner: it was here before what comes now. */
  settled: boolean
  /** Its CONNECT waits for others to close. */
  waits: boolean
  sinceMs: number
  toldMs: number
  /** Next one for the same key. */
  next: Claim | null
}

type Emit = (to: string, message: ClientMessage) => void

/**
 * The owner's side of the registry: which connections claim a client id. Of several the latest stands, by the time of its
 * CONNECT and then by its node; the others are told to close until they are gone.
 */
export class Owner {
  claims = 0
  readonly #options: OwnerOptions
  readonly #emit: Emit
  readonly #holders = new Map<string, Holder>()
  readonly #byKey = new Map<string, Claim>()
  /** Keys with more than one claim. */
  readonly #contested = new Set<string>()
  #sweep: Iterator<[string, Claim]> | null = null
  #deadHolders = false

  constructor(options: OwnerOptions, emit: Emit) {
    this.#options = options
    this.#emit = emit
  }

  /** False where the message is of an earlier life of its sender. */
  received(node: string, run: number, message: ClientMessage, nowMs: number): boolean {
    let holder = this.#holders.get(node)
    if (holder !== undefined && run < holder.run) return false
    if (holder === undefined || run > holder.run) holder = this.#begin(node, run, nowMs)
    switch (message.type) {
      case 'claim':
        this.#claim(holder, message, nowMs)
        break
      case 'withdraw':
        this.#withdraw(holder, message.key, message.time, nowMs)
        break
      case 'digest':
        if (holder.unkept === 0 && (holder.count !== message.count || holder.hash !== message.hash)) {
          this.#emit(node, { type: 'resync' })
        }
        break
      case 'reset':
        this.#begin(node, run, nowMs)
        break
      default:
    }
    return true
  }

  /** A node is gone: its connections count no more. If it is not, it claims them again. */
  gone(node: string, nowMs: number): void {
    const holder = this.#holders.get(node)
    if (holder === undefined) return
    this.#holders.delete(node)
    this.#bury(holder, nowMs)
  }

  tick(nowMs: number): void {
    for (const key of this.#contested) this.#judge(key, nowMs)
    this.#clean()
  }

  #begin(node: string, run: number, nowMs: number): Holder {
    const earlier = this.#holders.get(node)
    const holder: Holder = { node, run, count: 0, hash: 0, unkept: 0, dead: false }
    this.#holders.set(node, holder)
    if (earlier !== undefined) this.#bury(earlier, nowMs)
    return holder
  }

  #bury(holder: Holder, nowMs: number): void {
    holder.dead = true
    this.#deadHolders = true
    for (const key of this.#contested) this.#judge(key, nowMs)
  }

  #claim(holder: Holder, message: ClientMessage & { type: 'claim' }, nowMs: number): void {
    const { key, time, fresh } = message
    let claim = this.#find(holder, key, time)
    if (claim === null) {
      if (this.claims >= this.#options.claimsMax) {
        holder.unkept++
        if (fresh) this.#emit(holder.node, { type: 'granted', key, time })
        return
      }
      claim = {
        holder,
        time,
        settled: !fresh,
        waits: false,
        sinceMs: nowMs,
        toldMs: Number.NEGATIVE_INFINITY,
        next: null,
      }
      this.#add(key, claim)
    }
    const latest = this.#latest(key)!
    if (latest !== claim && fresh && latest.settled) {
      // It stood before this CONNECT came, so this one is the later, whatever the clocks say.
      claim.toldMs = nowMs
      this.#emit(holder.node, { type: 'behind', key, time, by: latest.time })
      return
    }
    if (fresh && !claim.settled) claim.waits = true
    else if (fresh) this.#emit(holder.node, { type: 'granted', key, time })
    this.#judge(key, nowMs)
  }

  /** Tells all but the latest to close; grants it when they are gone, or do not go in time. */
  #judge(key: string, nowMs: number): void {
    this.#dropDead(key)
    const latest = this.#latest(key)
    if (latest === null) return
    let others = 0
    for (let claim = this.#byKey.get(key) ?? null; claim !== null; claim = claim.next) {
      if (claim === latest) continue
      others++
      if (nowMs - claim.toldMs < this.#options.againMs) continue
      claim.toldMs = nowMs
      claim.waits = false
      this.#emit(claim.holder.node, { type: 'close', key, time: claim.time })
    }
    if (others === 0) this.#contested.delete(key)
    if (!latest.waits || (others > 0 && nowMs - latest.sinceMs < this.#options.closeMs)) return
    latest.waits = false
    latest.settled = true
    this.#emit(latest.holder.node, { type: 'granted', key, time: latest.time })
  }

  #withdraw(holder: Holder, key: string, time: number, nowMs: number): void {
    const claim = this.#find(holder, key, time)
    if (claim === null) {
      if (holder.unkept > 0) holder.unkept--
      return
    }
    this.#remove(key, claim)
    if (this.#contested.has(key)) this.#judge(key, nowMs)
  }

  #add(key: string, claim: Claim): void {
    const first = this.#byKey.get(key)
    if (first === undefined) this.#byKey.set(key, claim)
    else {
      claim.next = first.next
      first.next = claim
      this.#contested.add(key)
    }
    this.claims++
    claim.holder.count++
    claim.holder.hash = (claim.holder.hash ^ hashClaim(key, claim.time)) >>> 0
  }

  #remove(key: string, gone: Claim): void {
    this.claims--
    gone.holder.count--
    gone.holder.hash = (gone.holder.hash ^ hashClaim(key, gone.time)) >>> 0
    let before = this.#byKey.get(key)!
    if (before === gone) {
      if (gone.next === null) this.#byKey.delete(key)
      else this.#byKey.set(key, gone.next)
      return
    }
    while (before.next !== gone) before = before.next!
    before.next = gone.next
  }

  #find(holder: Holder, key: string, time: number): Claim | null {
    for (let claim = this.#byKey.get(key) ?? null; claim !== null; claim = claim.next) {
      if (claim.holder === holder && claim.time === time) return claim
    }
    return null
  }

  #latest(key: string): Claim | null {
    let latest: Claim | null = null
    for (let claim = this.#byKey.get(key) ?? null; claim !== null; claim = claim.next) {
      if (!claim.holder.dead && (latest === null || isLater(claim, latest))) latest = claim
    }
    return latest
  }

  #dropDead(key: string): void {
    for (let claim = this.#byKey.get(key) ?? null; claim !== null; claim = claim.next) {
      if (claim.holder.dead) this.#remove(key, claim)
    }
    if (!this.#byKey.has(key)) this.#contested.delete(key)
  }

  /** Claims of those that are gone are found a slice at a time. */
  #clean(): void {
    if (this.#sweep === null) {
      if (!this.#deadHolders) return
      this.#deadHolders = false
      this.#sweep = this.#byKey.entries()
    }
    for (let i = 0; i < this.#options.sweepSlice; i++) {
      const next = this.#sweep.next()
      if (next.done) {
        this.#sweep = null
        return
      }
      this.#dropDead(next.value[0])
    }
  }
}

function isLater(a: Claim, b: Claim): boolean {
  return a.time > b.time || (a.time === b.time && a.holder.node > b.holder.node)
}
