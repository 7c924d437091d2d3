import type { Random } from '../../base/clock.ts'
import { BrokerError } from '../../base/errors.ts'
import { leastInFlight, rendezvous, WeightedRoundRobin } from './choice.ts'
import type { ServiceInstance, ServiceRegistry } from './contract.ts'

/** Tenants whose name begins with `prefix` are served by instances with `tag`. */
export interface TrafficRule {
  /** Of several that fit, the longest counts. Empty: every tenant. */
  prefix: string
  tag: string
  /** Where no instance with the tag takes work: any other one, or none. */
  otherwise: 'any' | 'none'
}

export interface DirectoryOptions {
  registry: ServiceRegistry
  service: string
  rules: readonly TrafficRule[]
  random: Random
}

/** Which instance of one service to talk to. */
export class ServiceDirectory {
  readonly #options: DirectoryOptions
  #rules: readonly TrafficRule[]
  readonly #inFlight = new Map<string, number>()
  readonly #rounds = new Map<TrafficRule | null, WeightedRoundRobin>()
  /** By rule, for the instances of then. */
  #eligible = new Map<TrafficRule | null, readonly ServiceInstance[]>()
  #seen: readonly ServiceInstance[] | null = null

  constructor(options: DirectoryOptions) {
    this.#options = options
    this.#rules = sorted(options.rules)
  }

  setRules(rules: readonly TrafficRule[]): void {
    this.#rules = sorted(rules)
    this.#eligible.clear()
    this.#rounds.clear()
  }

  /** The instance of that id, also when it drains: somebody has to finish what it began there. */
  direct(id: string): ServiceInstance {
    const { registry, service } = this.#options
    const instance = registry.instances(service).find((each) => each.id === id)
    if (instance === undefined)
      throw new BrokerError('NOT_FOUND', `No instance "${id}" of service "${service}" is known`)
    return instance
  }

  byKey(tenant: string, key: string): ServiceInstance {
    return this.#found(tenant, rendezvous(this.#for(tenant), key))
  }

  inTurn(tenant: string): ServiceInstance {
    const rule = this.#rule(tenant)
    let round = this.#rounds.get(rule)
    if (round === undefined) this.#rounds.set(rule, (round = new WeightedRoundRobin()))
    return this.#found(tenant, round.next(this.#for(tenant)))
  }

  leastInFlight(tenant: string): ServiceInstance {
    const count = (id: string) => this.#inFlight.get(id) ?? 0
    return this.#found(tenant, leastInFlight(this.#for(tenant), count, this.#options.random.float()))
  }

  /** Work was given to the instance; {@link ended} once it is done. */
  began(id: string): void {
    this.#inFlight.set(id, (this.#inFlight.get(id) ?? 0) + 1)
  }

  ended(id: string): void {
    const count = (this.#inFlight.get(id) ?? 0) - 1
    if (count > 0) this.#inFlight.set(id, count)
    else this.#inFlight.delete(id)
  }

  /** Those that take new work of the tenant. */
  #for(tenant: string): readonly ServiceInstance[] {
    const { registry, service } = this.#options
    const instances = registry.instances(service)
    if (instances !== this.#seen) {
      this.#seen = instances
      this.#eligible = new Map()
    }
    const rule = this.#rule(tenant)
    let eligible = this.#eligible.get(rule)
    if (eligible === undefined) this.#eligible.set(rule, (eligible = narrow(instances, rule)))
    return eligible
  }

  #rule(tenant: string): TrafficRule | null {
    return this.#rules.find((rule) => tenant.startsWith(rule.prefix)) ?? null
  }

  #found(tenant: string, instance: ServiceInstance | null): ServiceInstance {
    if (instance !== null) return instance
    const { service } = this.#options
    throw new BrokerError('UNAVAILABLE', `No instance of service "${service}" takes work of tenant "${tenant}"`)
  }
}

function sorted(rules: readonly TrafficRule[]): readonly TrafficRule[] {
  return rules.toSorted((a, b) => b.prefix.length - a.prefix.length)
}

function narrow(instances: readonly ServiceInstance[], rule: TrafficRule | null): readonly ServiceInstance[] {
  const taking = instances.filter((instance) => !instance.draining && instance.weight > 0)
  if (rule === null) return taking
  const tagged = taking.filter((instance) => instance.tags.includes(rule.tag))
  return tagged.length > 0 || rule.otherwise === 'none' ? tagged : taking
}
