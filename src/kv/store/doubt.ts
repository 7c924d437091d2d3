import type { RangeDescriptor } from '../range/coprocessor.ts'
import type { Hosted } from './hosted.ts'
import type { Packet } from './packet.ts'

export interface DoubtOptions {
  storeId: string
  send(store: string, packet: Packet): void
}

/**
 * Asks the others whether a replica that nobody talks to is still one of the group. A voter finds out when it campaigns;
 * a learner, or who sleeps or waits for its state, would stay for ever where it missed its removal. A leader that sleeps
 * tells of its range: who has lost its replica says so, and need not wait until somebody asks the range for something.
 */
export class Doubt {
  readonly #options: DoubtOptions
  #rounds = 0

  constructor(options: DoubtOptions) {
    this.#options = options
  }

  /** Of all replicas here; false where none has others to ask. */
  ask(replicas: Iterable<Hosted>): boolean {
    let any = false
    this.#rounds++
    for (const host of replicas) {
      const { group } = host
      if (group.alone) continue
      any = true
      if (group.leads && group.quiescent) this.#tell(host.descriptor)
      const silent = !group.leads && !group.heard
      group.heard = false
      if (silent) this.#ask(host, host.descriptor.replicas)
    }
    return any
  }

  /** A sleeping group is silent by right: one of them is asked, another one each time. */
  #ask({ id, group }: Hosted, replicas: RangeDescriptor['replicas']): void {
    const others = replicas.filter(({ store }) => store !== this.#options.storeId)
    const asked = group.quiescent ? this.#oneOf(others) : others
    for (const { store } of asked) {
      this.#options.send(store, { type: 'stranger', range: id, replica: group.replica })
    }
  }

  #tell(descriptor: RangeDescriptor): void {
    const others = descriptor.replicas.filter(({ store }) => store !== this.#options.storeId)
    for (const { store } of this.#oneOf(others)) this.#options.send(store, { type: 'introduction', descriptor })
  }

  #oneOf<Item>(items: readonly Item[]): readonly Item[] {
    const at = this.#rounds % Math.max(1, items.length)
    return items.slice(at, at + 1)
  }
}
