import type { SubscriptionOptions } from '../../dist/index.ts'
import { REASON } from '../codec/index.ts'
import type { FilterOutcome, FilterRequest } from '../session/effects.ts'
import type { Connection } from './connection.ts'
import { groupOf } from './session-routes.ts'
import { refusalOf, type Subscriptions } from './subscriptions.ts'

/** Subscriptions that end with the connection: in the node's local table, behind one route a filter. */
export class TransientSubscriptions implements Subscriptions {
  readonly #connection: Connection
  readonly #filters = new Set<string>()

  constructor(connection: Connection) {
    this.#connection = connection
  }

  subscribe(filters: readonly FilterRequest[]): Promise<FilterOutcome[]> {
    return Promise.all(filters.map((request) => this.#subscribe(request)))
  }

  async unsubscribe(filters: readonly string[]): Promise<boolean[]> {
    return filters.map((filter) => {
      const known = this.#filters.delete(filter)
      if (known) this.#remove(filter)
      return known
    })
  }

  close(): void {
    for (const filter of this.#filters) this.#remove(filter)
    this.#filters.clear()
  }

  async #subscribe(request: FilterRequest): Promise<FilterOutcome> {
    const fresh = !this.#filters.has(request.filter)
    const refusal = request.refusal !== 0 ? request.refusal : this.#overQuota(fresh)
    if (refusal !== 0) return { request, refusal, fresh }
    this.#filters.add(request.filter)
    try {
      await this.#add(request.filter, request.options)
      return { request, refusal: 0, fresh }
    } catch (error) {
      // A refused filter is no subscription, also where its route comes late.
      if (this.#filters.delete(request.filter)) this.#remove(request.filter)
      return { request, refusal: refusalOf(error), fresh }
    }
  }

  #overQuota(fresh: boolean): number {
    const max = this.#connection.session.settings!.filtersPerSessionMax
    return fresh && this.#filters.size >= max ? REASON.QUOTA_EXCEEDED : 0
  }

  #add(filter: string, options: SubscriptionOptions): Promise<void> {
    const { front, tenant } = this.#connection
    const group = groupOf(tenant, filter)
    return new Promise((resolve, reject) => {
      const done = (error: Error | null) => (error === null ? resolve() : reject(error))
      if (group !== null) front.table.join(group, this.#connection, options, done)
      else front.table.subscribe(tenant, filter, this.#connection, options, done)
    })
  }

  #remove(filter: string): void {
    const { front, tenant } = this.#connection
    const group = groupOf(tenant, filter)
    if (group !== null) front.table.leave(group, this.#connection)
    else front.table.unsubscribe(tenant, filter, this.#connection)
  }
}
