import type { HostId } from '../../base/ids.ts'

/** One running instance of a service, as its member of the service's agent says. A hint: it may be gone by now. */
export interface ServiceInstance {
  /** Such as `dist`, `inbox`, `retain`, `mqtt`. */
  service: string
  /** Unique within the service, and never used again. */
  id: string
  node: HostId
  /** `host:port` of the node's rpc listener. */
  address: string
  /** Of the program. */
  version: string
  /** What tenant traffic rules choose by. */
  tags: readonly string[]
  /** Share of the work relative to the others; 0 = only when asked for by id. */
  weight: number
  /** True: finishes what it has, gets no new work. */
  draining: boolean
  /** What the instance says about itself, 0 (idle) to 1 (full). */
  load: number
}

/** What is known about instances, of every node. The overlay implements it; tests use the one in memory. */
export interface ServiceRegistry {
  /** All instances of the service, draining ones too, by id. The same array until something changes. */
  instances(service: string): readonly ServiceInstance[]
  /** Called after each change. The returned function ends it. */
  watch(service: string, changed: () => void): () => void
}

/** The own instances. */
export interface ServiceAnnouncer {
  /** Announces, or replaces what was announced under that id. */
  announce(instance: ServiceInstance): void
  withdraw(service: string, id: string): void
}
