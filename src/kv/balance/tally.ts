import type { RangeView } from './contract.ts'

/** How many voters, or leaders, each store has, of a service and of all. */
export class Tally {
  readonly #counts = new Map<string, number>()

  /** `service` '' = of all services. */
  of(store: string, service = ''): number {
    return this.#counts.get(`${service}\0${store}`) ?? 0
  }

  add(store: string, service: string, by: number): void {
    this.#counts.set(`${service}\0${store}`, this.of(store, service) + by)
    this.#counts.set(`\0${store}`, this.of(store) + by)
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

export function storesOf(range: RangeView, role: 'voter' | 'learner'): string[] {
  return range.descriptor.replicas.filter((replica) => replica.role === role).map(({ store }) => store)
}

export function holds(range: RangeView, store: string): boolean {
  return range.descriptor.replicas.some((replica) => replica.store === store)
}
