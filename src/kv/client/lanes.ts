import type { RangeDescriptor } from '../range/coprocessor.ts'
import type { Landscape } from './landscape.ts'
import type { Call, Lane } from './lane.ts'

/**
 * The lanes of a client: for each range one that takes new calls, and those that finish what a split or merge has moved.
 *
 * Calls of one key are answered in their order: a range's new calls wait until those that came to it from elsewhere are
 * answered, and of these the older ones go first.
 */
export class Lanes<Command, Response> {
  /** By range. */
  readonly #open = new Map<string, Lane<Command, Response>>()
  /** The oldest first. */
  #finishing: Lane<Command, Response>[] = []
  #ages = 0

  /** The lane that takes the range's new calls. */
  of(range: string): Lane<Command, Response> | undefined {
    return this.#open.get(range)
  }

  add(lane: Lane<Command, Response>): void {
    this.#open.set(lane.descriptor.id, lane)
  }

  *all(): Iterable<Lane<Command, Response>> {
    yield* this.#finishing
    yield* this.#open.values()
  }

  /** Whether it must wait for calls of older lanes. */
  isHeld(lane: Lane<Command, Response>): boolean {
    const { id } = lane.descriptor
    for (const each of this.#finishing) {
      if (lane.age > 0 && each.age >= lane.age) return false
      if (each.descriptor.id === id && each.length > 0) return true
    }
    return false
  }

  /** Drops lanes that have nothing left to finish; true where others may go on. */
  settle(): boolean {
    if (!this.#finishing.some((lane) => lane.length === 0)) return false
    for (const lane of this.#finishing) if (lane.length === 0) lane.close()
    this.#finishing = this.#finishing.filter((lane) => lane.length > 0)
    return true
  }

  clear(): void {
    this.#open.clear()
    this.#finishing = []
  }

  /** Moves calls whose keys belong to another range now; order and numbers stay. */
  reroute(landscape: Landscape): void {
    const current = newest(landscape.list())
    const age = ++this.#ages
    const arrived: Lane<Command, Response>[] = []
    for (const lane of [...this.all()]) {
      const own = current.get(lane.descriptor.id)
      if (own === undefined || own.epoch.version !== lane.descriptor.epoch.version) lane.rewind()
      if (own !== undefined) lane.descriptor = own
      arrived.push(...this.#moved(lane, landscape, age))
      if (own === undefined && lane.length === 0 && lane.age === 0) this.#close(lane)
    }
    // Who comes has been waiting for longer than what is called from now on.
    for (const { descriptor } of arrived) {
      const taking = this.#open.get(descriptor.id)
      if (taking === undefined || taking.length === 0) continue
      this.#open.delete(descriptor.id)
      taking.age = age
      this.#finishing.push(taking)
    }
    this.#finishing = [...this.#finishing, ...arrived].sort((a, b) => a.age - b.age)
  }

  #moved(lane: Lane<Command, Response>, landscape: Landscape, age: number): Iterable<Lane<Command, Response>> {
    const { id } = lane.descriptor
    const forks = new Map<string, Lane<Command, Response>>()
    const calls: Call<Command, Response>[] = lane.extract((call) => (landscape.locate(call.key)?.id ?? id) !== id)
    for (const call of calls) {
      const descriptor = landscape.locate(call.key)!
      let fork = forks.get(descriptor.id)
      if (fork === undefined) {
        fork = lane.fork(descriptor, lane.age === 0 ? age : lane.age)
        fork.progressMs = lane.progressMs
        fork.answeredMs = lane.answeredMs
        forks.set(descriptor.id, fork)
      }
      fork.adopt(call)
    }
    return forks.values()
  }

  #close(lane: Lane<Command, Response>): void {
    this.#open.delete(lane.descriptor.id)
    lane.close()
  }
}

/** What is left of an old descriptor may stand beside the new one of the same range. */
function newest(ranges: readonly RangeDescriptor[]): Map<string, RangeDescriptor> {
  const current = new Map<string, RangeDescriptor>()
  for (const each of ranges) {
    const known = current.get(each.id)
    if (known === undefined || known.epoch.version < each.epoch.version) current.set(each.id, each)
  }
  return current
}
