import type { Random } from '../../base/clock.ts'
import type { ErrorCode } from '../../base/errors.ts'
import type { Write } from '../engine/engine.ts'
import {
  type ConfState,
  type Entry,
  type Input,
  type PeerStatus,
  type Persisted,
  type RaftLimits,
  RaftNode,
  type Ready,
  type Role,
  type SnapshotMeta,
  type Status,
} from '../raft/index.ts'
import type { Replica } from '../range/coprocessor.ts'
import type { RangeLog } from './range-log.ts'
import type { ReplicaWatcher } from './watch.ts'

export interface GroupOptions {
  replica: number
  replicas: readonly Replica[]
  log: RangeLog
  config: ConfState
  /** No replica has had this number, or a higher one. */
  nextReplica: number
  /** See {@link RaftOptions.emptiedFor}. */
  emptiedFor?: { index: number; term: number } | null
  /** Index of the last entry applied. */
  applied: number
  random: Random
  limits?: Partial<RaftLimits>
}

/** What became of a request: the entry's place, or why there is none. */
export type Asked =
  | { type: 'accepted'; index: number; term: number }
  | { type: 'granted'; index: number }
  | { type: 'refused'; code: ErrorCode; message: string }

/** This store's part in the group of one range: the Raft machine, its log, and where the others are. */
export class Group {
  readonly replica: number
  readonly log: RangeLog
  nextReplica: number
  /** Somebody sent it a message since this was last set to false. */
  heard = false
  /** Hears what becomes of the group. */
  watcher: ReplicaWatcher | null = null
  readonly #raft: RaftNode
  readonly #stores = new Map<number, string>()
  readonly #asked = new Map<number, (asked: Asked) => void>()
  #config: ConfState
  #contexts = 0
  #role: Role = 'follower'
  #term: number
  #leader: number | null = null
  #established = false
  /** Why the group must not sleep. */
  readonly #awake = new Set<string>()

  constructor(options: GroupOptions) {
    const { replica, replicas, log, config, applied, random, limits, emptiedFor } = options
    this.nextReplica = options.nextReplica
    this.replica = replica
    this.log = log
    this.#config = config
    this.#term = log.hardState.term
    this.learnPlaces(replicas)
    const { hardState } = log
    this.#raft = new RaftNode({
      ...{ id: replica, storage: log, random, hardState, applied, config },
      ...{ limits: limits ?? {}, emptiedFor: emptiedFor ?? null },
    })
    log.cached = !this.alone
  }

  get config(): ConfState {
    return this.#config
  }

  get leads(): boolean {
    return this.#role === 'leader'
  }

  get term(): number {
    return this.#term
  }

  /** It leads, and knows all that the leaders before it have committed. */
  get established(): boolean {
    return this.#established
  }

  /** The only voter: what it has written is committed. */
  get sole(): boolean {
    const { voters, outgoing } = this.#config
    return voters.length === 1 && voters[0] === this.replica && outgoing.length === 0
  }

  /** Sole, and nobody follows: there is nothing to send, and nobody to hear from. */
  get alone(): boolean {
    return this.sole && this.#config.learners.length === 0
  }

  get quiescent(): boolean {
    return this.#raft.quiescent
  }

  /** Where the leader is, as far as known. */
  get leaderStore(): string | null {
    return this.#leader === null ? null : (this.#stores.get(this.#leader) ?? null)
  }

  storeOf(replica: number): string | undefined {
    return this.#stores.get(replica)
  }

  /** Places are only added: whoever was removed may still be told so. */
  learnPlaces(places: readonly { replica: number; store: string }[]): void {
    for (const { replica, store } of places) {
      this.#stores.set(replica, store)
      // Whoever proposed the change knew it; whoever leads next must know it too.
      this.nextReplica = Math.max(this.nextReplica, replica + 1)
    }
  }

  /** Where a message came from is where its sender is, also before this replica knows the group. */
  heardFrom(replica: number, store: string): void {
    this.heard = true
    if (!this.#stores.has(replica)) this.#stores.set(replica, store)
  }

  step(input: Exclude<Input, { context: number }>): void {
    this.#raft.step(input)
  }

  /** The store may be dead: where the leader is there, another one is looked for soon. True where it is. */
  suspect(store: string): boolean {
    if (this.#leader === null || this.leads || this.leaderStore !== store) return false
    this.#raft.step({ type: 'suspect', id: this.#leader })
    return true
  }

  /** Nobody else could lead, so a sole voter waits for no timeout; true where it has just asked itself. */
  elect(): boolean {
    if (!this.sole || this.#role !== 'follower') return false
    this.#raft.step({ type: 'campaign' })
    return true
  }

  /**
   * `asked` is called from within {@link take}; a handover is granted when this replica leads no more, and forgotten
   * where that never comes.
   */
  ask(
    request:
      | { type: 'propose'; data: Uint8Array }
      | Omit<Extract<Input, { type: 'change' }>, 'context'>
      | { type: 'read' }
      | { type: 'transfer'; to: number },
    asked: (asked: Asked) => void,
  ): void {
    const context = ++this.#contexts
    this.#asked.set(context, asked)
    this.#raft.step({ ...request, context } as Input)
  }

  /** Somebody is to hear of the commit index alone. */
  get hasNews(): boolean {
    return this.leads && this.#raft.hasNews
  }

  /**
   * Takes what is pending. Entries and hard state go to `writes`; whoever asked has an answer afterwards. `keepsNews`: see
   * {@link RaftNode.ready}.
   */
  take(writes: Write[], keepsNews = false): Ready {
    const ready = this.#raft.ready(keepsNews)
    if (ready.entries.length > 0 || ready.hardState !== null)
      writes.push(...this.log.append(ready.entries, ready.hardState))
    if (ready.leadership !== null) {
      const { role, term, leader } = ready.leadership
      this.#role = role
      if (!this.leads || term !== this.#term) this.#established = false
      this.#term = term
      this.#leader = leader
      this.watcher?.ledBy()
    }
    for (const { context, index, term } of ready.accepted) this.#answer(context, { type: 'accepted', index, term })
    for (const { context, code, message } of ready.refused) this.#answer(context, { type: 'refused', code, message })
    for (const { context, index } of ready.reads) this.#answer(context, { type: 'granted', index })
    if (!this.leads && this.#asked.size > 0) {
      for (const context of [...this.#asked.keys()]) this.#answer(context, { type: 'granted', index: 0 })
    }
    return ready
  }

  /** The host goes through committed entries in order: a leader's first own one settles what was before. */
  committed(entry: Entry): void {
    if (!this.#established && this.leads && entry.term === this.#term) {
      this.#established = true
      this.watcher?.ledBy()
    }
    this.watcher?.committed?.(entry)
  }

  configured(config: ConfState): void {
    this.#config = config
    this.log.cached = !this.alone
  }

  /** The log up to here is needed no more, of what is up to `applied`. */
  neededFrom(applied: number): number {
    let index = applied
    // Who is sent a snapshot goes on behind it, however long that takes: else it would be sent the next one, for ever.
    for (const { state, match, snapshotIndex } of this.#raft.peers()) {
      index = Math.min(index, state === 'snapshot' ? snapshotIndex : match)
    }
    return index
  }

  /** Somebody is sent a snapshot. */
  get sendsState(): boolean {
    return this.#raft.peers().some(({ state }) => state === 'snapshot')
  }

  persisted(report: Persisted): void {
    this.#raft.step(report)
  }

  /** Whether a snapshot of a leader of `term` would bring anything. */
  wants(snapshot: SnapshotMeta, term: number): boolean {
    return this.#raft.wants(snapshot, term)
  }

  /** Whether replica `id` was in the group once, and is not any more. */
  isGone(id: number): boolean {
    const { voters, outgoing, learners, learnersNext } = this.#config
    if (id >= this.nextReplica || voters.length === 0) return false
    return ![voters, outgoing, learners, learnersNext].some((ids) => ids.includes(id))
  }

  /** What is on every disk is committed, as a merge's commit tells. */
  learnCommitted(index: number, term: number): void {
    this.#raft.step({ type: 'committed', index, term })
  }

  /**
   * While something is under way that the group's leader must bring to its end, its death must be noticed; and leases run
   * only while its heart beats.
   */
  keepAwake(held: boolean, why: 'merge' | 'match leases' | 'node leases' = 'merge'): void {
    if (held === this.#awake.has(why)) return
    if (held) this.#awake.add(why)
    else this.#awake.delete(why)
    this.#raft.step({ type: 'lease', held: this.#awake.size > 0 })
  }

  status(): Status {
    return this.#raft.status()
  }

  peers(): PeerStatus[] {
    return this.#raft.peers()
  }

  #answer(context: number, asked: Asked): void {
    const answer = this.#asked.get(context)
    this.#asked.delete(context)
    answer?.(asked)
  }
}
