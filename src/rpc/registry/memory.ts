import type { ServiceAnnouncer, ServiceInstance, ServiceRegistry } from './contract.ts'

/** A registry of one process: for tests, and for a node that is alone. */
export class MemoryRegistry implements ServiceRegistry, ServiceAnnouncer {
  readonly #services = new Map<string, readonly ServiceInstance[]>()
  readonly #watchers = new Map<string, Set<() => void>>()

  instances(service: string): readonly ServiceInstance[] {
    return this.#services.get(service) ?? NOBODY
  }

  watch(service: string, changed: () => void): () => void {
    let watchers = this.#watchers.get(service)
    if (watchers === undefined) this.#watchers.set(service, (watchers = new Set()))
    watchers.add(changed)
    return () => void watchers.delete(changed)
  }

  announce(instance: ServiceInstance): void {
    const others = this.instances(instance.service).filter((each) => each.id !== instance.id)
    const all = [...others, instance].sort((a, b) => (a.id < b.id ? -1 : 1))
    this.#replace(instance.service, all)
  }

  withdraw(service: string, id: string): void {
    const left = this.instances(service).filter((each) => each.id !== id)
    if (left.length < this.instances(service).length) this.#replace(service, left)
  }

  #replace(service: string, instances: readonly ServiceInstance[]): void {
    this.#services.set(service, instances)
    for (const changed of this.#watchers.get(service) ?? []) changed()
  }
}

const NOBODY: readonly ServiceInstance[] = []
