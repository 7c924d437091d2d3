import type { RangeDescriptor } from '../range/coprocessor.ts'
import type { Hosted } from './hosted.ts'
import type { Packet } from './packet.ts'

/** A replica with a state. */
interface Audited extends Hosted {
  readonly range: { readonly latest: RangeDescriptor; readonly applied: { index: number; hash: number } }
}

export interface AuditOptions {
  storeId: string
  send(store: string, packet: Packet): void
  /** Hands the leadership to that store's replica; whether it succeeds shows later. */
  transfer(range: string, store: string): void
  /** Takes the replica of that store out of a group that is led here. */
  replace(range: string, store: string): void
}

/** What a replica's data came to, by the leader's word: waits until as much is applied here. */
export class Expected {
  readonly #range: { readonly applied: { index: number; hash: number }; halt(reason: string): void }
  #index = 0
  #hash = 0

  constructor(range: { readonly applied: { index: number; hash: number }; halt(reason: string): void }) {
    this.#range = range
  }

  expect(index: number, hash: number): void {
    this.#index = index
    this.#hash = hash
    this.check()
  }

  /** A replica that differs serves no more. */
  check(): void {
    const { index, hash } = this.#range.applied
    if (this.#index === 0 || index < this.#index) return
    if (index === this.#index && hash !== this.#hash) {
      this.#range.halt(`after entry ${index} its data are not those of the leader`)
    }
    this.#index = 0
  }
}

/**
 * Compares the replicas of each group by the rolling hash of their writes, and has those replaced that are halted: by a
 * hash that differs, by data that cannot be read. A leader that is halted hands over first. Where all are halted, as by an
 * entry that none can apply, nobody is replaced.
 */
export class Audit {
  readonly #options: AuditOptions
  /** Index of the last comparison, by range: who sleeps is not compared again. */
  readonly #compared = new Map<string, number>()
  /** Replicas that denied what they once had, when last looked at: `range/id`. */
  #deny = new Set<string>()
  #rounds = 0

  constructor(options: AuditOptions) {
    this.#options = options
  }

  round(hosts: Iterable<Audited>): void {
    this.#rounds++
    const seen = new Set<string>()
    const denied = this.#deny
    this.#deny = new Set()
    for (const host of hosts) {
      seen.add(host.id)
      if (!host.group.alone) this.#look(host, denied)
    }
    for (const id of this.#compared.keys()) if (!seen.has(id)) this.#compared.delete(id)
  }

  #look(host: Audited, denied: ReadonlySet<string>): void {
    const { id, group, range, halted } = host
    const { send, storeId, transfer } = this.#options
    const others = range.latest.replicas.filter(({ store }) => store !== storeId)
    if (halted !== null) {
      const voters = others.filter(({ role }) => role === 'voter')
      if (group.leads && voters.length > 0) transfer(id, voters[this.#rounds % voters.length]!.store)
      else if (group.leaderStore !== null) {
        send(group.leaderStore, { type: 'damaged', range: id, replica: group.replica })
      }
      return
    }
    if (group.leads) this.#lookForLoss(host, denied)
    const { index, hash } = range.applied
    if (!group.leads || this.#compared.get(id) === index) return
    this.#compared.set(id, index)
    for (const { store } of others) send(store, { type: 'audit', range: id, index, hash })
  }

  /** One that lacks what it once said to have on disk, and lasts in that, may have voted twice: it is no member to keep. */
  #lookForLoss({ id, group }: Audited, denied: ReadonlySet<string>): void {
    for (const peer of group.peers()) {
      const store = group.storeOf(peer.id)
      if (!peer.lost || peer.id === group.replica || store === undefined) continue
      const name = `${id}/${peer.id}`
      if (denied.has(name)) this.#options.replace(id, store)
      else this.#deny.add(name)
    }
  }
}
