import type { TenantId } from '../base/ids.ts'
import { compareBytes } from '../kv/engine/bytes.ts'
import type { RetainRanges } from './client.ts'
import type { RetainLimits } from './contract.ts'
import type { Usage } from './store/books.ts'
import { afterSubtree, tenantStart } from './store/schema.ts'

/** After this many messages of a tenant the other ranges are asked again. */
const ASK_EVERY = 256
const TENANTS_MAX = 1_024
/** Ranges of one tenant that are asked. */
const RANGES_MAX = 1_024

interface Known {
  /** By range id. */
  usages: Map<string, Usage>
  messages: number
  asking: Promise<void> | null
}

/**
 * How much of a tenant's limits a range may give out: what the tenant's other ranges do not hold.
 *
 * A range counts its own messages exactly. Only for a tenant that is spread over several ranges the others are asked
 * now and then, so that nodes that write at the same time may pass its limits by what they write between two questions.
 */
export class Allowance {
  readonly #ranges: RetainRanges
  readonly #known = new Map<TenantId, Known>()

  constructor(ranges: RetainRanges) {
    this.#ranges = ranges
  }

  /** The limits for the range of `key`; a promise only where its other ranges must be asked first. */
  limitsFor(tenant: TenantId, key: Uint8Array, limits: RetainLimits): RetainLimits | Promise<RetainLimits> {
    if (limits.topicsMax === Infinity && limits.bytesMax === Infinity) return limits
    const start = tenantStart(tenant)
    const { end } = this.#ranges.locate(start)
    if (end === undefined || compareBytes(end, afterSubtree(start)) >= 0) return limits
    const known = this.#of(tenant)
    if (known.asking === null && known.messages++ % ASK_EVERY === 0) {
      known.asking = this.#ask(tenant, start, known).finally(() => {
        known.asking = null
      })
    }
    if (known.asking === null || known.messages > 1) return this.#rest(key, known, limits)
    return known.asking.then(() => this.#rest(key, known, limits))
  }

  /** What the range of `key` said it holds. */
  note(tenant: TenantId, key: Uint8Array, usage: Usage): void {
    const known = this.#known.get(tenant)
    if (known !== undefined) known.usages.set(this.#ranges.locate(key).id, usage)
  }

  #rest(key: Uint8Array, { usages }: Known, { topicsMax, bytesMax }: RetainLimits): RetainLimits {
    const own = this.#ranges.locate(key).id
    for (const [range, { topics, bytes }] of usages) {
      if (range === own) continue
      topicsMax = Math.max(0, topicsMax - topics)
      bytesMax = Math.max(0, bytesMax - bytes)
    }
    return { topicsMax, bytesMax }
  }

  #of(tenant: TenantId): Known {
    let known = this.#known.get(tenant)
    if (known === undefined) {
      known = { usages: new Map(), messages: 0, asking: null }
      this.#known.set(tenant, known)
      const oldest = this.#known.keys().next().value
      if (this.#known.size > TENANTS_MAX && oldest !== undefined) this.#known.delete(oldest)
    }
    return known
  }

  /** Never rejects: what cannot be asked is taken as before. */
  async #ask(tenant: TenantId, start: Uint8Array, known: Known): Promise<void> {
    const usages = new Map<string, Usage>()
    const tenantEnd = afterSubtree(start)
    let from: Uint8Array | undefined = start
    try {
      for (let i = 0; i < RANGES_MAX && from !== undefined && compareBytes(from, tenantEnd) < 0; i++) {
        const { id, end } = this.#ranges.locate(from)
        const answer = await this.#ranges.query(from, { type: 'usage', tenant })
        if (answer.type === 'usage') usages.set(id, answer.usage)
        from = end
      }
      known.usages = usages
    } catch {
      // Its ranges are being moved or do not answer: the next message's own range decides.
    }
  }
}
