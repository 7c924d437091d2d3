import type { TenantId } from '../../base/ids.ts'

/** A connection as the registry sees it. */
export interface Registered {
  /** Ends the connection because another one came for its client id. Resolves once its session is given up. */
  takeOver(): Promise<void>
}

/**
 * Who is connected here, by tenant and client id: at most one connection each. A newcomer takes the place at once, so
 * that of several the last wins, and waits until the one before has given its session up.
 */
export class Registry {
  readonly #tenants = new Map<TenantId, Map<string, Registered>>()

  get(tenant: TenantId, clientId: string): Registered | undefined {
    return this.#tenants.get(tenant)?.get(clientId)
  }

  /** Connections of a tenant. */
  count(tenant: TenantId): number {
    return this.#tenants.get(tenant)?.size ?? 0
  }

  /** Takes the place; resolves true when the connection before is gone, null at once where there was none. */
  claim(tenant: TenantId, clientId: string, who: Registered): Promise<void> | null {
    let clients = this.#tenants.get(tenant)
    if (clients === undefined) {
      clients = new Map()
      this.#tenants.set(tenant, clients)
    }
    const before = clients.get(clientId)
    clients.set(clientId, who)
    return before === undefined || before === who ? null : before.takeOver()
  }

  release(tenant: TenantId, clientId: string, who: Registered): void {
    const clients = this.#tenants.get(tenant)
    if (clients?.get(clientId) !== who) return
    clients.delete(clientId)
    if (clients.size === 0) this.#tenants.delete(tenant)
  }

  *all(): Iterable<Registered> {
    for (const clients of this.#tenants.values()) yield* clients.values()
  }
}
