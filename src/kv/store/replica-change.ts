import { assert } from '../../base/assert.ts'
import { BrokerError } from '../../base/errors.ts'
import type { ConfState, MemberChange } from '../raft/index.ts'
import type { RangeDescriptor, Replica } from '../range/coprocessor.ts'
import type { Group } from './group.ts'
import type { Place } from './raft-schema.ts'

/** What a store is to be to a range. */
export interface ReplicaChange {
  store: string
  role: 'voter' | 'learner' | 'none'
}

/** The change of the group that makes it so. A store that comes gets a number that no replica has had. */
export function memberChanges(
  { replicas, id: range }: RangeDescriptor,
  nextReplica: number,
  changes: readonly ReplicaChange[],
): { members: MemberChange[]; places: Place[] } {
  const members: MemberChange[] = []
  const places: Place[] = []
  let next = nextReplica
  for (const { store, role } of changes) {
    const known = replicas.find((replica) => replica.store === store)
    if (known === undefined && role === 'none') {
      throw new BrokerError('NOT_FOUND', `Cannot remove store "${store}" from range "${range}": it holds no replica`)
    }
    const id = known?.replica ?? next++
    if (known === undefined) places.push({ replica: id, store })
    members.push({ id, type: role === 'none' ? 'remove' : role === 'voter' ? 'add-voter' : 'add-learner' })
  }
  return { members, places }
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
