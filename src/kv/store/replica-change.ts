import { BrokerError } from '../../base/errors.ts'
import type { MemberChange } from '../raft/index.ts'
import type { RangeDescriptor } from '../range/coprocessor.ts'
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
