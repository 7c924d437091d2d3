import type { RangeView } from './contract.ts'

/** How many voters, or leaders, each store has, of a service and of all. */
export class Tally {
  readonly #all = new Map<string, number>()
  readonly #byService = new Map<string, Map<string, number>>()

  /** `service` '' = of all services. */
  of(store: string, service = ''): number {
    const counts = service === '' ? this.#all : this.#byService.get(service)
    return counts?.get(store) ?? 0
  }

  add(store: string, service: string, by: number): void {
    let counts = this.#byService.get(service)
    if (counts === undefined) this.#byService.set(service, (counts = new Map()))
    counts.set(store, (counts.get(store) ?? 0) + by)
    this.#all.set(store, (this.#all.get(store) ?? 0) + by)
  }

  move(from: string, to: string, service: string): void {
    this.add(from, service, -1)
    this.add(to, service, 1)
  }
}

/** Replicas being copied to stores, and how many more may be. */
export class Copies {
  readonly #max: number
  readonly #perStoreMax: number
  readonly #byStore = new Map<string, number>()
  #sum = 0

  constructor(max: number, perStoreMax: number) {
    this.#max = max
    this.#perStoreMax = perStoreMax
  }

  /** Counts one that is under way. */
  add(store: string): void {
    this.#sum++
    this.#byStore.set(store, (this.#byStore.get(store) ?? 0) + 1)
  }

  /** Counts one more if there is room for it. */
  take(store: string): boolean {
    if (this.#sum >= this.#max || (this.#byStore.get(store) ?? 0) >= this.#perStoreMax) return false
    this.add(store)
    return true
  }
}

/** 1 for less than 1: a range without voters would be lost. */
export function oddAtMost(count: number): number {
  return Math.max(1, count % 2 === 0 ? count - 1 : count)
}

interface Stores {
  voter: readonly string[]
  learner: readonly string[]
}

/** By descriptor, which is never changed: asked for many times in one look. */
const known = new WeakMap<RangeView['descriptor'], Stores>()

export function storesOf(range: RangeView, role: 'voter' | 'learner'): readonly string[] {
  const { descriptor } = range
  let stores = known.get(descriptor)
  if (stores === undefined) {
    const of = (wanted: string) => descriptor.replicas.flatMap((it) => (it.role === wanted ? [it.store] : []))
    known.set(descriptor, (stores = { voter: of('voter'), learner: of('learner') }))
  }
  return stores[role]
}

export function holds(range: RangeView, store: string): boolean {
  return range.descriptor.replicas.some((replica) => replica.store === store)
}
