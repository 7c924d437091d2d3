import { expect, test } from 'vitest'
import type { HostId } from '../../../src/base/ids.ts'
import { silentLogger } from '../../../src/base/logging.ts'
import type { RangeStats } from '../../../src/kv/store/figures.ts'
import type { Answerer, Control, Question } from '../../../src/node/cluster/control.ts'
import { type Act, ByHand } from '../../../src/node/ranges/by-hand.ts'
import type { Gather } from '../../../src/node/ranges/gather.ts'
import { Names } from '../../../src/node/ranges/names.ts'

const [A, B, C] = ['A', 'B', 'C'] as HostId[] as [HostId, HostId, HostId]

/** Store A, on which a range is led unless `leader` says otherwise. */
function world(leader: HostId | null = A) {
  const did: unknown[] = []
  const note =
    (name: string) =>
    async (...args: unknown[]) =>
      void did.push([name, ...args])
  const stats = {
    descriptor: {
      ...{
        id: 'dist-1',
        service: 'dist',
        epoch: { version: 1, confVersion: 1 },
        start: Uint8Array.of(5),
        end: undefined,
      },
      replicas: [A, B].map((store, at) => ({ store, replica: at + 1, role: 'voter' })),
    },
    ...{ leads: leader === A, lag: { B: 0, C: 1 }, lastIndex: 9 },
  } as unknown as RangeStats
  let answerer: Answerer | null = null
  const control = {
    handle: (_ask: string, given: Answerer) => {
      answerer = given
    },
    ask: async (to: HostId, question: Question) => {
      did.push(['ask', to, question.act])
      return { done: true, message: 'told' }
    },
  } as unknown as Control
  const range = { leader: leader === null ? null : { node: `n${leader}`, id: leader } }
  const byHand = new ByHand({
    ...{ control, self: A, log: silentLogger, names: new Names(() => []) },
    gather: {
      range: async () => ({ range, nodes: [] }),
      list: async () => ({ ranges: [], next: null, nodes: [] }),
    } as unknown as Gather,
    store: {
      ranges: () => [stats],
      split: note('split'),
      transfer: note('transfer'),
      change: note('change'),
      merge: note('merge'),
    },
    cutNear: (_range, key) => (key[0]! % 2 === 0 ? key : null),
    middleOf: async () => Uint8Array.of(8),
    hold: () => {},
    clock: { now: () => 0, monotonic: () => 0, after: () => () => {} },
  })
  return { byHand, did, asked: (question: Question) => answerer!(question) }
}

test('what is asked is done on the leader, wherever that is', async () => {
  const here = world()
  expect(await here.byHand.act('dist-1', { type: 'transfer', to: B })).toMatchObject({ done: true })
  await here.byHand.act('dist-1', { type: 'split', key: '0a' })
  await here.byHand.act('dist-1', { type: 'split', key: null })
  expect(here.did).toEqual([
    ['transfer', 'dist-1', 'B'],
    ['split', 'dist', Uint8Array.of(10)],
    ['split', 'dist', Uint8Array.of(8)],
  ])
  const there = world(B)
  const act: Act = { type: 'move', from: B, to: C }
  expect(await there.byHand.act('dist-1', act)).toEqual({ done: true, message: 'told' })
  expect(there.did).toEqual([['ask', 'B', act]])
})

test('a move adds a copy, waits for it, and exchanges the two at once', async () => {
  const { byHand, did } = world()
  expect(await byHand.act('dist-1', { type: 'move', from: B, to: C })).toMatchObject({ done: true })
  expect(did).toEqual([
    ['change', 'dist-1', [{ store: 'C', role: 'learner' }]],
    [
      ...['change', 'dist-1'],
      [
        { store: 'C', role: 'voter' },
        { store: 'B', role: 'none' },
      ],
    ],
  ])
})

test.each<[string, Act, RegExp]>([
  ['a key outside', { type: 'split', key: '01' }, /Key 01 is not inside range "dist-1"/],
  ['the first key', { type: 'split', key: '05' }, /Key 05 is not inside range "dist-1"/],
  ['through what belongs together', { type: 'split', key: '07' }, /cannot be cut at 07/],
  ['no voter', { type: 'transfer', to: C }, /Node C holds no voter of range "dist-1"/],
  ['no replica', { type: 'move', from: C, to: B }, /Node C holds no replica/],
  ['there already', { type: 'move', from: A, to: B }, /Node B holds a voter of range "dist-1" already/],
  ['the last range', { type: 'merge' }, /no right neighbour/],
])('refused: %s', async (_what, act, message) => {
  const { byHand, did } = world()
  await expect(byHand.act('dist-1', act)).rejects.toThrow(message)
  expect(did).toEqual([])
})

test('nobody leads; somebody else leads by now; a question that is not understood', async () => {
  await expect(world(null).byHand.act('dist-1', { type: 'merge' })).rejects.toMatchObject({ code: 'NO_QUORUM' })
  const { asked } = world(B)
  await expect(asked({ ask: 'act', range: 'dist-1', act: { type: 'merge' } })).rejects.toMatchObject({
    code: 'NOT_LEADER',
  })
  for (const act of [null, {}, { type: 'transfer' }, { type: 'move', to: 'A' }, { type: 'split' }]) {
    expect(() => asked({ ask: 'act', range: 'dist-1', act })).toThrow('This version knows no such act')
  }
})
