import { expect, test } from 'vitest'
import type { Group } from '../../../src/kv/store/group.ts'
import { memberChanges } from '../../../src/kv/store/replica-change.ts'

const REPLICAS = [
  { store: 's1', replica: 1, role: 'voter' },
  { store: 's2', replica: 2, role: 'learner' },
] as const

/** A leader whose log ends at 30,000, and what it knows of the other one. */
function changes(peer: { match: number; active?: boolean; state?: string }, leads = true) {
  const group = {
    ...{ replica: 1, nextReplica: 3, leads, storeOf: (id: number) => `s${id}` },
    status: () => ({ lastIndex: 30_000, config: { voters: [1] } }),
    peers: () => [{ id: 2, active: true, state: 'replicate', ...peer }],
  } as unknown as Group
  const descriptor = { id: 'r', service: 'inbox', epoch: { version: 1, confVersion: 1 }, replicas: REPLICAS } as const
  return () => memberChanges(descriptor, group, [{ store: 's2', role: 'voter' }]).members
}

test('a learner becomes a voter when it has come near, and is heard, and has its state', () => {
  const voter = [{ id: 2, type: 'add-voter' }]
  expect(changes({ match: 30_000 })()).toEqual(voter)
  expect(changes({ match: 20_000 })()).toEqual(voter)
  expect(changes({ match: 19_999 })).toThrow('Cannot let store "s2" vote in range "r": it lacks 10001 entries')
  expect(changes({ match: 30_000, active: false })).toThrow('it has not been heard of late')
  expect(changes({ match: 30_000, state: 'snapshot' })).toThrow('waits for its state')
  expect(changes({ match: 0 })).toThrow('waits for its state')
  // Who does not lead knows nothing of it, and will be told so.
  expect(changes({ match: 0 }, false)()).toEqual(voter)
})

test('a change that would leave the group without a majority that is heard is refused', () => {
  const replicas = [1, 2, 3, 4, 5].map((replica) => ({ store: `s${replica}`, replica, role: 'voter' as const }))
  const dead = [4, 5]
  const group = {
    ...{ replica: 1, nextReplica: 6, leads: true, storeOf: (id: number) => `s${id}` },
    status: () => ({ lastIndex: 9, config: { voters: [1, 2, 3, 4, 5] } }),
    peers: () => [2, 3, 4, 5].map((id) => ({ id, match: 9, active: !dead.includes(id), state: 'replicate' })),
  } as unknown as Group
  const descriptor = { id: 'r', service: 'inbox', epoch: { version: 1, confVersion: 1 }, replicas } as const
  const remove = (...stores: string[]) =>
    memberChanges(
      descriptor,
      group,
      stores.map((store) => ({ store, role: 'none' })),
    ).members.length
  const demote = (store: string) => memberChanges(descriptor, group, [{ store, role: 'learner' }])
  expect(remove('s4')).toBe(1)
  expect(remove('s4', 's3')).toBe(2)
  expect(() => remove('s3')).toThrow('2 of its 4 voters would be heard')
  expect(() => demote('s2')).toThrow('2 of its 4 voters would be heard')
  // The leader itself is heard, and may go where the others are enough.
  dead.length = 0
  expect(remove('s1')).toBe(1)
})
