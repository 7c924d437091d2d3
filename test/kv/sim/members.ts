import type { Random } from '../../../src/base/clock.ts'
import type { RangeDescriptor } from '../../../src/kv/range/coprocessor.ts'
import type { ReplicaChange } from '../../../src/kv/store/replica-change.ts'
import { oneOf } from './plan.ts'

/** Any change of a range's replicas that an operator or a balancer might make; null: none comes to mind. */
export function anyChange(
  { replicas }: RangeDescriptor,
  stores: readonly string[],
  random: Random,
): ReplicaChange[] | null {
  const voters = replicas.filter(({ role }) => role === 'voter').map(({ store }) => store)
  const learners = replicas.filter(({ role }) => role === 'learner').map(({ store }) => store)
  const free = stores.filter((store) => !voters.includes(store) && !learners.includes(store))
  const is = (role: ReplicaChange['role']) => (store: string) => ({ store, role })
  if (voters.length < 3) {
    const more = learners.slice(0, 3 - voters.length)
    if (voters.length + more.length === 3) return more.map(is('voter'))
    return free.length === 0 ? null : free.slice(0, 3 - voters.length).map(is('learner'))
  }
  const ways: ReplicaChange[][] = []
  if (free.length > 0) ways.push([is('learner')(oneOf(random, free))])
  if (learners.length > 0) {
    const learner = oneOf(random, learners)
    ways.push([is('none')(learner)], [is('voter')(learner)])
    // One for another, in one step.
    ways.push([is('voter')(learner), is('none')(oneOf(random, voters))])
    ways.push([is('voter')(learner), is('learner')(oneOf(random, voters))])
  }
  if (learners.length > 1 && voters.length === 3) ways.push(learners.slice(0, 2).map(is('voter')))
  if (voters.length > 3) {
    const gone = oneOf(random, voters)
    ways.push([is('none')(gone)], [is('learner')(gone)])
    if (voters.length > 4) ways.push([gone, voters.find((store) => store !== gone)!].map(is('none')))
  }
  return ways.length === 0 ? null : oneOf(random, ways)
}

/** The next step by which a range gets rid of replicas on disks that are lost; null: there are none. */
export function repair(
  { replicas }: RangeDescriptor,
  lost: ReadonlySet<string>,
  stores: readonly string[],
): ReplicaChange[] | null {
  const dead = replicas.find(({ store }) => lost.has(store))
  if (dead === undefined) return null
  const away: ReplicaChange = { store: dead.store, role: 'none' }
  if (dead.role === 'learner') return [away]
  const learner = replicas.find(({ store, role }) => role === 'learner' && !lost.has(store))
  if (learner !== undefined) return [{ store: learner.store, role: 'voter' }, away]
  const free = stores.find((store) => !replicas.some((each) => each.store === store))
  if (free !== undefined) return [{ store: free, role: 'learner' }]
  return replicas.filter(({ role }) => role === 'voter').length > 1 ? [away] : null
}
