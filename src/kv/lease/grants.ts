import { assert } from '../../base/assert.ts'
import { checkOptions, grantMaxMs, type LeaseOptions, onLeadersClock } from './options.ts'

interface Grant {
  /** The holder counts it once this index is applied. */
  index: number
  /** On the leader's clock: has ended by then. */
  endMs: number
}

/** Of one holder. It asks but a few times in the time of one lease. */
const GRANTS_MAX = 16

/**
 * The leases that one leader gave out in one term, and those that leaders before it may have given out.
 *
 * No lease runs longer than {@link grantMaxMs} after the sending of a heartbeat that a majority acknowledged. Whoever
 * becomes leader later was voted for by one of those after it had acknowledged; so by `leaseMs` after that, on the new
 * leader's clock, all leases of the old one have ended.
 */
export class Grants {
  readonly options: LeaseOptions
  /** Leases of others, given out by then, may run still. */
  #othersMs: number
  readonly #byHolder = new Map<string, Grant[]>()
  #confirmedMs = Number.NEGATIVE_INFINITY
  #doubtMs = Number.NEGATIVE_INFINITY
  #ready = false

  /**
   * @param electedMs when this replica became leader; -Infinity where nobody else can hold a lease: the only replica is
   * here, and has never fed anybody.
   */
  constructor(electedMs: number, options: LeaseOptions) {
    this.options = checkOptions(options)
    this.#othersMs = electedMs
  }

  /** A majority (of both halves of a joint configuration) has acknowledged a heartbeat that was sent at `sentMs`. */
  confirmed(sentMs: number): void {
    if (sentMs > this.#doubtMs) this.#confirmedMs = Math.max(this.#confirmedMs, sentMs)
  }

  /** The term's first entry is committed and applied: the commit index is now no less than any leader's before. */
  ready(): void {
    this.#ready = true
  }

  /**
   * The clock may have stood still: a heartbeat that was sent by `nowMs` says nothing any more, whenever it was
   * acknowledged. Leases given out before end later by this clock than in truth, which is safe.
   */
  doubt(nowMs: number): void {
    this.#confirmedMs = Number.NEGATIVE_INFINITY
    this.#doubtMs = nowMs
  }

  /** Gives out a lease; how long it runs on the holder's clock, null = not now. */
  grant(holder: string, index: number, nowMs: number): number | null {
    assert(this.#confirmedMs <= nowMs, 'A heartbeat is acknowledged after it was sent')
    if (!this.#ready) return null
    const max = grantMaxMs(this.options)
    const forMs = Math.min(max, this.#confirmedMs + max - nowMs)
    if (forMs < max / 4) return null
    const grants = this.#running(holder, nowMs)
    if (grants.length === 0 && !this.#byHolder.has(holder) && this.#byHolder.size >= this.options.holdersMax)
      return null
    const grant = { index, endMs: nowMs + onLeadersClock(forMs, this.options) }
    // One of the same index that ends sooner says nothing more.
    const kept = grants.filter((other) => other.index < index || other.endMs > grant.endMs)
    this.#byHolder.set(holder, bounded([...kept, grant]))
    return forMs
  }

  /** Holders with leases that may run still. */
  holders(nowMs: number): string[] {
    return [...this.#byHolder.keys()].filter((holder) => this.#running(holder, nowMs).length > 0)
  }

  /** Least index that a running lease of the holder counts from; Infinity = none runs. */
  countsFrom(holder: string, nowMs: number): number {
    return this.#running(holder, nowMs).reduce((least, { index }) => Math.min(least, index), Number.POSITIVE_INFINITY)
  }

  /** When the last running lease of the holder ends, at the latest; null = none runs. */
  endMs(holder: string, nowMs: number): number | null {
    const ends = this.#running(holder, nowMs).map(({ endMs }) => endMs)
    return ends.length === 0 ? null : Math.max(...ends)
  }

  /** When the next lease ends, or the wait for those of others; null = there is nothing to wait for. */
  nextMs(nowMs: number): number | null {
    const ends = this.holders(nowMs).flatMap((holder) => this.#running(holder, nowMs).map(({ endMs }) => endMs))
    if (this.isYoung(nowMs)) ends.push(this.oldEndMs)
    return ends.length === 0 ? null : Math.min(...ends)
  }

  /** Leases of older leaders, or of a range that was taken over, may run still. */
  isYoung(nowMs: number): boolean {
    return nowMs < this.oldEndMs
  }

  get oldEndMs(): number {
    return this.#othersMs + this.options.leaseMs
  }

  /** The range has taken over the keys of another one, of which leases may run that were given out by `nowMs`. */
  adopt(nowMs: number): void {
    this.#othersMs = Math.max(this.#othersMs, nowMs)
  }

  /** Takes those that have ended away, so that what is kept is bounded by the asks of one lease. */
  #running(holder: string, nowMs: number): Grant[] {
    const grants = this.#byHolder.get(holder)
    if (grants === undefined) return []
    const running = grants.filter(({ endMs }) => endMs > nowMs)
    if (running.length === 0) this.#byHolder.delete(holder)
    else if (running.length < grants.length) this.#byHolder.set(holder, running)
    return running
  }
}

/** The two oldest become one that holds back what either would. */
function bounded(grants: Grant[]): Grant[] {
  if (grants.length <= GRANTS_MAX) return grants
  const [a, b, ...rest] = grants
  return [{ index: Math.min(a!.index, b!.index), endMs: Math.max(a!.endMs, b!.endMs) }, ...rest]
}
