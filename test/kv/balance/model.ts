import type { Landscape, Proposal, RangeView, ReplicaChange, StoreView } from '../../../src/kv/balance/index.ts'
import { compareBytes } from '../../../src/kv/engine/bytes.ts'
import type { Replica, ServiceName } from '../../../src/kv/range/coprocessor.ts'

type Mutable<T> = { -readonly [K in keyof T]: T[K] }
export type ModelStore = Mutable<StoreView>
export interface ModelRange extends Omit<Mutable<RangeView>, 'lag'> {
  lag: Record<string, number>
}

/** Entries that a new replica is behind. */
const EMPTY_LAG = 1_000_000

/** A cluster that does what is proposed, and insists that no proposal ever takes a quorum away. */
export class Cluster {
  readonly stores = new Map<string, ModelStore>()
  readonly ranges = new Map<string, ModelRange>()
  nowMs = 0
  #children = 0
  #replica = 100

  addStore(id: string, options: Partial<StoreView> = {}): void {
    const roles = ['mqtt', 'dist', 'inbox', 'retain']
    const flags = { alive: true, deadForMs: 0, decommissioning: false, draining: false, full: false }
    this.stores.set(id, { id, zone: '', roles, freeBytes: 100 * 2 ** 30, ...flags, ...options })
  }

  addRange(id: string, service: ServiceName, voters: string[], learners: string[] = []): ModelRange {
    const replicas: Replica[] = [
      ...voters.map((store, i) => ({ store, replica: i + 1, role: 'voter' as const })),
      ...learners.map((store, i) => ({ store, replica: voters.length + i + 1, role: 'learner' as const })),
    ]
    const range: ModelRange = {
      descriptor: { id, service, epoch: { version: 1, confVersion: 1 }, replicas },
      leaderStore: voters[0]!,
      sizeBytes: 2 ** 20,
      writeLoad: 0,
      queryLoad: 0,
      splitHint: null,
      middleKey: null,
      lag: Object.fromEntries(replicas.map(({ store }) => [store, 0])),
      busy: false,
      changedForMs: 3_600_000,
      ledForMs: 3_600_000,
    }
    this.ranges.set(id, range)
    return range
  }

  landscape(self: string | null = null): Landscape {
    return { self, stores: [...this.stores.values()], ranges: [...this.ranges.values()] }
  }

  /** Time passes; learners of live stores catch up if `copied`. */
  pass(ms: number, copied = true): void {
    this.nowMs += ms
    for (const store of this.stores.values()) if (!store.alive) store.deadForMs += ms
    for (const range of this.ranges.values()) {
      range.changedForMs += ms
      range.ledForMs += ms
      range.busy = false
      for (const { store } of range.descriptor.replicas) {
        if (this.stores.get(store)?.alive) {
          if (copied) range.lag[store] = 0
        } else delete range.lag[store]
      }
    }
    this.elect()
  }

  /** Ranges whose leader died get another, where a majority of voters lives; others have none. */
  elect(): void {
    for (const range of this.ranges.values()) {
      if (range.leaderStore !== null && this.stores.get(range.leaderStore)?.alive && this.hasQuorum(range)) continue
      const heir = votersOf(range).find((id) => this.stores.get(id)?.alive && (range.lag[id] ?? 0) === 0)
      range.leaderStore = this.hasQuorum(range) ? (heir ?? null) : null
      range.ledForMs = 0
    }
  }

  hasQuorum(range: ModelRange): boolean {
    const voters = votersOf(range)
    return voters.filter((id) => this.stores.get(id)?.alive).length * 2 > voters.length
  }

  apply(proposal: Proposal): void {
    const range = this.ranges.get(proposal.range)!
    if (proposal.store !== range.leaderStore) throw new Error(`${proposal.store} does not lead ${proposal.range}`)
    const { action } = proposal
    if (action.type === 'transfer') this.#transfer(range, action.to)
    else if (action.type === 'split') this.#split(range, action.key)
    else if (action.type === 'merge') this.#merge(range, this.ranges.get(action.right)!)
    else this.#change(range, action.changes)
  }

  #transfer(range: ModelRange, to: string): void {
    if (!votersOf(range).includes(to)) throw new Error(`${to} is no voter of ${range.descriptor.id}`)
    if (!this.stores.get(to)?.alive || (range.lag[to] ?? 1) > 0) throw new Error(`${to} could not lead`)
    range.leaderStore = to
    range.ledForMs = 0
  }

  #change(range: ModelRange, changes: readonly ReplicaChange[]): void {
    const before = votersOf(range)
    const { descriptor } = range
    const replicas = [...descriptor.replicas]
    for (const { store, to } of changes) {
      const at = replicas.findIndex((replica) => replica.store === store)
      const old = replicas[at]
      if (at >= 0) replicas.splice(at, 1)
      if (to === 'none') delete range.lag[store]
      else {
        if (old === undefined && to === 'voter') throw new Error(`${store} would vote with an empty log`)
        if (to === 'voter' && (range.lag[store] ?? 1) > 1_000) throw new Error(`${store} would vote and lags`)
        if (old === undefined) range.lag[store] = EMPTY_LAG
        replicas.push({ store, replica: old?.replica ?? ++this.#replica, role: to })
      }
    }
    const epoch = { ...descriptor.epoch, confVersion: descriptor.epoch.confVersion + 1 }
    range.descriptor = { ...descriptor, epoch, replicas: replicas.sort((a, b) => (a.store < b.store ? -1 : 1)) }
    range.changedForMs = 0
    const after = votersOf(range)
    const joined = after.filter((id) => !before.includes(id)).length
    const left = before.filter((id) => !after.includes(id)).length
    if (joined > 3) throw new Error(`${joined} voters join ${descriptor.id} at once`)
    if (joined + left > 0) {
      range.busy = true
      if (after.length % 2 === 0) throw new Error(`${descriptor.id} would have ${after.length} voters`)
      if (!this.hasQuorum(range)) throw new Error(`${descriptor.id} would lose its quorum`)
    }
    if (!after.includes(range.leaderStore!)) {
      range.leaderStore = null
      this.elect()
    }
  }

  #split(range: ModelRange, key: Uint8Array): void {
    const { descriptor } = range
    const epoch = { ...descriptor.epoch, version: descriptor.epoch.version + 1 }
    const id = `${descriptor.id}.${++this.#children}`
    const child = { ...range, lag: { ...range.lag }, descriptor: { ...descriptor, id, epoch, start: key } }
    range.descriptor = { ...descriptor, epoch, end: key }
    this.ranges.set(id, child)
    for (const half of [range, child]) {
      half.sizeBytes /= 2
      half.writeLoad /= 2
      half.queryLoad /= 2
      half.splitHint = half.middleKey = null
      half.changedForMs = 0
      half.busy = true
    }
  }

  #merge(range: ModelRange, right: ModelRange): void {
    const { start, end, id, epoch } = right.descriptor
    if (range.descriptor.end === undefined || start === undefined) throw new Error('no neighbours')
    if (compareBytes(range.descriptor.end, start) !== 0) throw new Error('no neighbours')
    const version = Math.max(range.descriptor.epoch.version, epoch.version) + 1
    range.descriptor = { ...range.descriptor, epoch: { ...range.descriptor.epoch, version }, end }
    range.sizeBytes += right.sizeBytes
    range.writeLoad += right.writeLoad
    range.queryLoad += right.queryLoad
    range.changedForMs = 0
    range.busy = true
    this.ranges.delete(id)
  }
}

export function votersOf(range: RangeView): string[] {
  return range.descriptor.replicas.filter(({ role }) => role === 'voter').map(({ store }) => store)
}
