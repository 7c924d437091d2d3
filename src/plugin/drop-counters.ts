import type { TenantId } from '../base/ids.ts'
import type { MetricSink, MetricSource } from '../base/metrics.ts'
import { DROP_REASONS, type DropReason } from './events.ts'

/** The label of all tenants above the bound together; no tenant has such a name. */
export const OTHER_TENANTS = '(other)'

/**
 * Dropped messages by tenant and reason: plain numbers, counted whether or not anybody listens to events.
 *
 * The first `tenantsMax` tenants that lose something are counted by name, the others together, so that no client
 * can make the metrics grow without bound.
 */
export class DropCounters implements MetricSource {
  readonly #tenantsMax: number
  readonly #byTenant = new Map<string, Float64Array>()
  /** The last one counted: losses come in runs. */
  #lastTenant: string | null = null
  #lastCounts: Float64Array = new Float64Array(DROP_REASONS.length)

  constructor(tenantsMax = 1_000) {
    this.#tenantsMax = tenantsMax
  }

  add(tenant: TenantId, reason: DropReason, count: number): void {
    if (tenant !== this.#lastTenant) {
      this.#lastCounts = this.#countsOf(tenant)
      this.#lastTenant = tenant
    }
    this.#lastCounts[DROP_REASONS.indexOf(reason)]! += count
  }

  /** Calls back for every pair that lost something. */
  forEach(callback: (tenant: string, reason: DropReason, count: number) => void): void {
    for (const [tenant, counts] of this.#byTenant) {
      for (const [index, reason] of DROP_REASONS.entries()) {
        if (counts[index]! > 0) callback(tenant, reason, counts[index]!)
      }
    }
  }

  collect(sink: MetricSink): void {
    const help = 'Messages given up for somebody, by reason.'
    this.forEach((tenant, reason, count) => {
      sink.counter('flockmq_messages_dropped_total', help, count, { tenant, reason })
    })
  }

  #countsOf(tenant: string): Float64Array {
    const name = this.#byTenant.has(tenant) || this.#byTenant.size < this.#tenantsMax ? tenant : OTHER_TENANTS
    let counts = this.#byTenant.get(name)
    if (counts === undefined) this.#byTenant.set(name, (counts = new Float64Array(DROP_REASONS.length)))
    return counts
  }
}
