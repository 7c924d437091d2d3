import { assert } from '../../base/assert.ts'
import { BrokerError } from '../../base/errors.ts'
import type { ConfState, MemberChange } from '../raft/index.ts'
import type { RangeDescriptor, Replica } from '../range/coprocessor.ts'
import { lagOf } from './figures.ts'
import type { Group } from './group.ts'
import type { Place } from './raft-schema.ts'

/** What a store is to be to a range. */
export interface ReplicaChange {
  store: string
  role: 'voter' | 'learner' | 'none'
}

/** Who lacks more must not vote: until it has that, nothing might be committed. Above any rule of balancers that makes sense. */
const VOTER_LAG_ENTRIES_MAX = 10_000

/**
 * The change of the group that makes it so. A store that comes gets a number that no replica has had; one that is to vote
 * must be a learner that has caught up, as the leader knows; and a majority must be there afterwards.
 *
 * Source: Ongaro, thesis, 4.2.1.
 */
export function memberChanges(
  { replicas, id: range }: RangeDescriptor,
  group: Group,
  changes: readonly ReplicaChange[],
): { members: MemberChange[]; places: Place[] } {
  const members: MemberChange[] = []
  const places: Place[] = []
  const lag = group.leads ? lagOf(group) : null
  let next = group.nextReplica
  for (const { store, role } of changes) {
    const known = replicas.find((replica) => replica.store === store)
    if (known === undefined && role === 'none') {
      throw new BrokerError('NOT_FOUND', `Cannot remove store "${store}" from range "${range}": it holds no replica`)
    }
    if (role === 'voter' && known?.role !== 'voter' && lag !== null) {
      const why = known === undefined ? 'make it a learner first' : whyLate(lag[store] ?? null)
      if (why !== null)
        throw new BrokerError('CONFLICT', `Cannot let store "${store}" vote in range "${range}": ${why}`)
    }
    const id = known?.replica ?? next++
    if (known === undefined) places.push({ replica: id, store })
    members.push({ id, type: role === 'none' ? 'remove' : role === 'voter' ? 'add-voter' : 'add-learner' })
  }
  if (lag !== null) checkMajority(range, group, members)
  return { members, places }
}

/** Of the voters that there will be, a majority must be heard now: else the group would wait for whoever may never come back. */
function checkMajority(range: string, group: Group, members: readonly MemberChange[]): void {
  const { voters: before } = group.status().config
  const voters = new Set(before)
  for (const { id, type } of members) {
    if (type === 'add-voter') voters.add(id)
    else voters.delete(id)
  }
  const heard = new Set([group.replica, ...group.peers().flatMap(({ id, active }) => (active ? [id] : []))])
  const there = [...voters].filter((id) => heard.has(id)).length
  if (voters.size === 0 || there * 2 > voters.size) return
  const message = `Cannot change the replicas of range "${range}" so: ${there} of its ${voters.size} voters would be heard`
  throw new BrokerError('CONFLICT', `${message}; bring others back first, or remove those that are dead`)
}

function whyLate(entries: number | null): string | null {
  if (entries === null) return 'it has not been heard of late, or waits for its state; try again when it has caught up'
  if (entries <= VOTER_LAG_ENTRIES_MAX) return null
  return `it lacks ${entries} entries; try again when it has caught up`
}

/** The replicas that a configuration of the group speaks of. */
export function replicasOf(config: ConfState, group: Group, range: string): Replica[] {
  const voters = new Set([...config.voters, ...config.outgoing])
  const ids = new Set([...voters, ...config.learners, ...config.learnersNext])
  return [...ids]
    .sort((a, b) => a - b)
    .map((replica) => {
      const store = group.storeOf(replica)
      assert(store !== undefined, `Replica ${replica} of range "${range}" has a place`)
      return { store, replica, role: voters.has(replica) ? 'voter' : 'learner' }
    })
}

/** Changes of a group that are in its log, and not known to be committed. */
export class PendingChanges {
  readonly #range: string
  readonly #byIndex = new Map<number, { term: number; answer: (error: BrokerError | null) => void }>()

  constructor(range: string) {
    this.#range = range
  }

  get size(): number {
    return this.#byIndex.size
  }

  add({ index, term }: { index: number; term: number }, answer: (error: BrokerError | null) => void): void {
    this.#byIndex.set(index, { term, answer })
  }

  committed({ index, term }: { index: number; term: number }): void {
    const change = this.#byIndex.get(index)
    this.#byIndex.delete(index)
    const lost = `Range "${this.#range}" has another entry in the place of this change`
    change?.answer(change.term === term ? null : new BrokerError('NOT_LEADER', lost))
  }

  fail(error: BrokerError): void {
    for (const { answer } of this.#byIndex.values()) answer(error)
    this.#byIndex.clear()
  }
}
