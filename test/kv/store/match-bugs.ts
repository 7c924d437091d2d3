import { MatchReplica } from '../../../src/kv/lease/index.ts'
import { LeasedReplica } from '../../../src/kv/store/leased-replica.ts'
import type { HeldAnswer } from '../../../src/kv/store/watch.ts'

/** Replaces a method, or a getter, of a class. */
function replace<Class extends object>(prototype: Class, name: keyof Class & string, by: PropertyDescriptor) {
  const before = Object.getOwnPropertyDescriptor(prototype, name)!
  Object.defineProperty(prototype, name, { ...before, ...by })
  return () => Object.defineProperty(prototype, name, before)
}

/** Mistakes in what the host owes the machines. `plant` makes one; what that returns takes it back. */
export const MATCH_BUGS: Record<string, () => () => void> = {
  'answers wait for nobody': () =>
    replace(LeasedReplica.prototype, 'answers', {
      value: (_index: number, answer: HeldAnswer) => answer.release(),
    }),
  'a new leader does not wait for the leases of the one before': () => {
    const { led } = MatchReplica.prototype
    return replace(MatchReplica.prototype, 'led', {
      value(this: MatchReplica<never>) {
        led.call(this, Number.NEGATIVE_INFINITY)
      },
    })
  },
  'after a merge nobody waits for leases on the right range': () =>
    replace(LeasedReplica.prototype, 'merged', { value: () => {} }),
  'a machine that slept goes on with its leases': () => replace(LeasedReplica.prototype, 'doubt', { value: () => {} }),
  'a lease counts before what it was granted for is applied': () =>
    replace(MatchReplica.prototype, 'committed', { value: () => {} }),
}
