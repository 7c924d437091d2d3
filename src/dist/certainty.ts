import type { Clock } from '../base/clock.ts'
import { BrokerError } from '../base/errors.ts'
import { Fifo } from '../base/fifo.ts'
import type { TenantId } from '../base/ids.ts'
import { compareBytes } from '../kv/engine/bytes.ts'
import { tiles } from '../kv/lease/index.ts'
import type { LeasedSpan, MatchLeases } from '../kv/store/match-leases.ts'
import { tenantEnd, tenantStart } from './store/schema.ts'

/** The match leases of this node's replicas of `dist`. */
export type RouteLeases = Pick<MatchLeases, 'watch' | 'now' | 'spans' | 'onChange' | 'want'>

export interface CertaintyOptions {
  leases: RouteLeases
  /** Every route of this range here can match. */
  isLoaded(range: string): boolean
  clock: Clock
  /** Runs a callback after what runs now. */
  defer(callback: () => void): void
}

/** Enough for the others to elect a leader who gives out leases, and less than publishers wait for an answer. */
const WAIT_MS = 4_500
/** Leases say when they count; that routes are loaded is looked for. */
const LOOK_MS = 50
const WAITING_MAX = 10_000
const WAITING_BYTES_MAX = 64 * 1024 * 1024
/** Tenants whose leases are remembered while not all keys have one. */
const TENANTS_MAX = 10_000

const FIRST_KEY = new Uint8Array(0)
/** After all keys: they begin with UTF-8. */
const LAST_KEY = Uint8Array.of(0xff)

interface Waiting {
  tenant: TenantId
  bytes: number
  untilMs: number
  done: (error: Error | null) => void
}

/**
 * Whether a match in this node's table is a match in the cluster's: then QoS 1 and 2 may be published here. It is while
 * leases hold all keys of the tenant, and their routes are loaded.
 *
 * Hot: {@link isSure} is once a publish with QoS 1 or 2: two looks at clocks and a comparison.
 */
export class Certainty {
  /** Publishes that waited. */
  waited = 0
  /** Of those, the ones that were refused. */
  refused = 0
  readonly #options: CertaintyOptions
  /** All keys may be matched until then; monotonic ms. */
  #untilMs = Number.NEGATIVE_INFINITY
  /** While not all may: until when those of a tenant. */
  readonly #tenants = new Map<TenantId, number>()
  readonly #waiting = new Fifo<Waiting>()
  readonly #waitingOf = new Map<TenantId, number>()
  #waitingBytes = 0
  #scheduled = false
  #stopLook: (() => void) | null = null

  constructor(options: CertaintyOptions) {
    this.#options = options
    options.leases.onChange(() => {
      this.#forget()
      if (this.#waiting.length > 0) this.#schedule()
    })
  }

  get waiting(): number {
    return this.#waiting.length
  }

  /** Not while others of the tenant wait: nothing overtakes them. */
  isSure(tenant: TenantId): boolean {
    const nowMs = this.#options.leases.now()
    return nowMs < this.#untilMs || (!this.#waitingOf.has(tenant) && this.#holds(tenant, nowMs))
  }

  whenSure(tenant: TenantId, bytes: number, done: (error: Error | null) => void): void {
    this.waited++
    if (this.#waiting.length >= WAITING_MAX || this.#waitingBytes + bytes > WAITING_BYTES_MAX) {
      this.refused++
      return done(refusal(tenant, 'too many publishes wait for that'))
    }
    this.#waitingBytes += bytes
    this.#waiting.push({ tenant, bytes, untilMs: this.#options.leases.now() + WAIT_MS, done })
    this.#waitingOf.set(tenant, (this.#waitingOf.get(tenant) ?? 0) + 1)
    this.#forget()
    this.#schedule()
  }

  #holds(tenant: TenantId, nowMs: number): boolean {
    if (nowMs < (this.#tenants.get(tenant) ?? Number.NEGATIVE_INFINITY) || this.#look(tenant, nowMs)) return true
    // Who is alone has a new lease at once.
    this.#options.leases.want()
    return this.#look(tenant, nowMs)
  }

  #look(tenant: TenantId, nowMs: number): boolean {
    const { leases, isLoaded } = this.#options
    const held = leases.spans().filter(({ untilMs, range }) => untilMs > nowMs && isLoaded(range))
    const all = untilOf(held, FIRST_KEY, LAST_KEY)
    if (all !== null && this.#waiting.length === 0) {
      this.#untilMs = all
      return true
    }
    const untilMs = all ?? untilOf(held, tenantStart(tenant), tenantEnd(tenant))
    if (untilMs === null) return false
    if (this.#tenants.size >= TENANTS_MAX) this.#tenants.clear()
    this.#tenants.set(tenant, untilMs)
    return true
  }

  #forget(): void {
    this.#untilMs = Number.NEGATIVE_INFINITY
    this.#tenants.clear()
  }

  #schedule(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    this.#options.defer(() => {
      this.#scheduled = false
      this.#serve()
    })
  }

  /** Lets those go on that may, in their order, and refuses those that waited for too long. */
  #serve(): void {
    for (let left = this.#waiting.length; left > 0; left--) {
      const waiting = this.#waiting.shift()!
      // Each is matched after this look at the clock.
      const nowMs = this.#options.leases.now()
      const sure = this.#holds(waiting.tenant, nowMs)
      if (sure || nowMs >= waiting.untilMs) this.#end(waiting, sure)
      else this.#waiting.push(waiting)
    }
    if (this.#waiting.length === 0) return
    this.#stopLook ??= this.#options.clock.after(LOOK_MS, () => {
      this.#stopLook = null
      this.#serve()
    })
  }

  #end({ tenant, bytes, done }: Waiting, sure: boolean): void {
    this.#waitingBytes -= bytes
    const others = this.#waitingOf.get(tenant)! - 1
    if (others === 0) this.#waitingOf.delete(tenant)
    else this.#waitingOf.set(tenant, others)
    if (!sure) this.refused++
    done(sure ? null : refusal(tenant, `there was none for ${WAIT_MS} ms`))
  }
}

/** Until when these keys may be matched; null = they may not. */
function untilOf(held: readonly LeasedSpan[], start: Uint8Array, end: Uint8Array): number | null {
  const spans = held.filter((span) => {
    const isBefore = span.end !== undefined && compareBytes(span.end, start) <= 0
    return !isBefore && (span.start === undefined || compareBytes(span.start, end) < 0)
  })
  if (
    !tiles(
      spans.map((span) => ({ start: span.start, end: span.end, held: true })),
      start,
      end,
    )
  )
    return null
  return Math.min(...spans.map(({ untilMs }) => untilMs))
}

function refusal(tenant: TenantId, reason: string): BrokerError {
  const message = `Cannot match a publish of tenant "${tenant}": a lease must say that all its routes are known here, and ${reason}`
  return new BrokerError('NO_QUORUM', `${message}; try again, or publish to another node`)
}
