import type { HostId } from '../../base/ids.ts'
import type { Agent, AgentMember, Overlay } from '../../cluster/overlay/index.ts'
import type { Metadata, UnderlayPort } from '../../cluster/underlay/index.ts'
import type { ServiceAnnouncer, ServiceInstance, ServiceRegistry } from '../../rpc/registry/contract.ts'
import { rpcAddressOf } from './identity.ts'

interface Service {
  agent: Agent
  /** Null: something changed since. */
  instances: readonly ServiceInstance[] | null
  watchers: Set<() => void>
}

/**
 * Instances of services as members of agents of the overlay: one agent a service, one instance a node. An instance is
 * gone with its node; its address is what the node's host tells.
 */
export class OverlayRegistry implements ServiceRegistry, ServiceAnnouncer {
  readonly #overlay: Overlay
  readonly #underlay: UnderlayPort
  readonly #services = new Map<string, Service>()
  readonly #unwatch: () => void

  constructor(overlay: Overlay, underlay: UnderlayPort) {
    this.#overlay = overlay
    this.#underlay = underlay
    this.#unwatch = underlay.on((notice) => {
      if (notice.type !== 'changed') return
      for (const service of this.#services.values()) changed(service)
    })
  }

  instances(service: string): readonly ServiceInstance[] {
    const known = this.#service(service)
    known.instances ??= known.agent
      .members()
      .map((member) => this.#instance(service, member))
      .filter((instance) => instance !== null)
    return known.instances
  }

  watch(service: string, watcher: () => void): () => void {
    const { watchers } = this.#service(service)
    watchers.add(watcher)
    return () => watchers.delete(watcher)
  }

  announce(instance: ServiceInstance): void {
    this.#service(instance.service).agent.join(metadataOf(instance))
  }

  withdraw(service: string): void {
    this.#service(service).agent.leave()
  }

  stop(): void {
    this.#unwatch()
  }

  #service(name: string): Service {
    const known = this.#services.get(name)
    if (known !== undefined) return known
    const service: Service = { agent: this.#overlay.agent(name), instances: null, watchers: new Set() }
    service.agent.watch(() => changed(service))
    this.#services.set(name, service)
    return service
  }

  /** Null: it cannot be reached, or what it tells is not understood. */
  #instance(service: string, { host, metadata }: AgentMember): ServiceInstance | null {
    const { self } = this.#underlay
    const record = host === self.id ? self : this.#underlay.member(host)
    const address = record === null ? null : rpcAddressOf(record)
    return address === null ? null : instanceOf(service, host, address, metadata)
  }
}

function changed(service: Service): void {
  service.instances = null
  for (const watcher of service.watchers) watcher()
}

function metadataOf({ id, version, tags, weight, draining, load }: ServiceInstance): Metadata {
  return new Map([
    ['id', id],
    ['version', version],
    ['tags', tags.join('\n')],
    ['weight', String(weight)],
    ['draining', String(draining)],
    ['load', String(load)],
  ])
}

function instanceOf(service: string, node: HostId, address: string, metadata: Metadata): ServiceInstance | null {
  const id = metadata.get('id')
  if (id === undefined) return null
  return {
    ...{ service, id, node, address },
    version: metadata.get('version') ?? '',
    tags: (metadata.get('tags') ?? '').split('\n').filter((tag) => tag !== ''),
    weight: numberOf(metadata.get('weight'), 1),
    draining: metadata.get('draining') === 'true',
    load: numberOf(metadata.get('load'), 0),
  }
}

/** What is no number from 0 up counts as not told. */
function numberOf(text: string | undefined, absent: number): number {
  const value = Number(text)
  return text !== undefined && text !== '' && Number.isFinite(value) && value >= 0 ? value : absent
}
