import { expect, test } from 'vitest'
import type { HostId } from '../../../src/base/ids.ts'
import type { RangeDescriptor } from '../../../src/kv/range/coprocessor.ts'
import type { RangeStats } from '../../../src/kv/store/figures.ts'
import { formatExplained, formatRanges } from '../../../src/node/cli/ranges.ts'
import type { HeardRange } from '../../../src/node/ranges/tidings.ts'
import { type AskedNode, mergePages, pageOf, type RangeQuery, rangeOf } from '../../../src/node/ranges/views.ts'

const ALL: RangeQuery = { service: null, id: null, after: '', limit: 1_000 }

function descriptor(id: string, confVersion = 4): RangeDescriptor {
  const replicas = ['A', 'B', 'C'].map((store, at) => {
    return { store, replica: at + 1, role: store === 'C' ? ('learner' as const) : ('voter' as const) }
  })
  return { id, service: 'dist', epoch: { version: 1, confVersion }, start: undefined, end: undefined, replicas }
}

function stats(id: string, given: Partial<RangeStats> = {}): RangeStats {
  return {
    ...{ descriptor: descriptor(id), role: 'follower', replica: 1, leads: false, term: 3, leaderStore: 'A' },
    ...{ lastIndex: 20, commit: 19, index: 18, hash: 0, joint: false, quiescent: false, commands: 0, bytes: 0 },
    ...{
      streams: 0,
      halted: null,
      logBytes: 3_000,
      taken: { commands: 0, queries: 0 },
      splitHint: null,
      lag: {},
      refused: 0,
    },
    ...given,
  }
}

const leading = (id: string) => stats(id, { role: 'leader', leads: true, lag: { B: 7, C: null } })

function heard(id: string): HeardRange {
  return {
    ...{ descriptor: descriptor(id), term: 3, sizeBytes: 2_048, writeLoad: 12, queryLoad: 3, splitHint: null },
    ...{ middleKey: null, lag: {}, busy: false, leader: 'A' as HostId, changedForMs: 0, ledForMs: 0 },
  }
}

const nameOf = (store: string) => `n${store}`

test('pages of many ranges: each is shown once, whole, and in order', () => {
  const ids = Array.from({ length: 25 }, (_, i) => `dist-${String(i).padStart(2, '0')}`)
  const onA = ids.map(leading)
  // The other store holds every third one, so that its pages reach further.
  const onB = ids.filter((_, i) => i % 3 === 0).map((id) => stats(id))
  const seen: string[] = []
  let after: string | null = ''
  while (after !== null) {
    const query: RangeQuery = { ...ALL, after, limit: 4 }
    const pages = new Map([
      ['A', pageOf(onA, query)],
      ['B', pageOf(onB, query)],
    ])
    expect(pages.get('A')!.ranges.length).toBeLessThanOrEqual(4)
    const { groups, next } = mergePages(pages, ids.map(heard), query)
    for (const group of groups) {
      seen.push(group.id)
      const held = onB.some((each) => each.descriptor.id === group.id)
      expect([...group.told.keys()]).toEqual(held ? ['A', 'B'] : ['A'])
    }
    after = next
  }
  expect(seen).toEqual(ids)
})

test('a service alone, a range alone', () => {
  const all = [leading('dist-1'), stats('dist-2')]
  expect(pageOf(all, { ...ALL, service: 'inbox' })).toEqual({ ranges: [], more: false })
  expect(pageOf(all, { ...ALL, id: 'dist-2' }).ranges.map(({ id }) => id)).toEqual(['dist-2'])
})

test('the newest descriptor, the leader of the highest term, what each replica says of itself', () => {
  const pages = new Map([
    ['A', pageOf([leading('dist-1')], ALL)],
    ['B', pageOf([stats('dist-1', { descriptor: descriptor('dist-1', 3), halted: 'It differs' })], ALL)],
    ['D', pageOf([stats('dist-1', { leads: true, term: 2 })], ALL)],
  ])
  const { groups } = mergePages(pages, [heard('dist-1')], ALL)
  const range = rangeOf(groups[0]!, nameOf, (store) => store !== 'C')
  expect(range).toMatchObject({ epoch: { confVersion: 4 }, term: 3, leader: { node: 'nA', id: 'A' }, sizeBytes: 2_048 })
  expect(range.replicas).toEqual([
    expect.objectContaining({ node: 'nA', kind: 'voter', role: 'leader', lag: 0, applied: 18, note: 'ok' }),
    expect.objectContaining({ node: 'nB', role: 'follower', lag: 7, halted: 'It differs', note: 'It differs' }),
    expect.objectContaining({ node: 'nC', kind: 'learner', role: null, lag: null, note: 'node does not answer' }),
  ])
})

test('a range whose nodes are all silent is shown as its leader told it', () => {
  const { groups, next } = mergePages(new Map(), [heard('dist-1')], ALL)
  const range = rangeOf(groups[0]!, nameOf, () => false)
  expect(range).toMatchObject({ leader: { node: 'nA' }, term: 3, writeLoad: 12 })
  expect(range.replicas.map(({ note }) => note)).toEqual(new Array(3).fill('node does not answer'))
  expect(next).toBeNull()
})

test('what was heard of a range that none of its nodes knows any more is not shown', () => {
  const pages = new Map(['A', 'B', 'C'].map((store) => [store, pageOf([], ALL)]))
  expect(mergePages(pages, [heard('dist-1')], ALL)).toEqual({ groups: [], next: null })
})

test('a replica that has no state yet, and one that its leader does not hear', () => {
  const pages = new Map([
    ['A', pageOf([leading('dist-1')], ALL)],
    ['C', pageOf([stats('dist-1', { role: 'learner' })], ALL)],
  ])
  const { groups } = mergePages(pages, [], ALL)
  const range = rangeOf(groups[0]!, nameOf, () => true)
  expect(range.replicas.map(({ note }) => note)).toEqual(['ok', 'waits for a state', 'not heard by the leader'])
  expect(range.sizeBytes).toBeNull()
})

test('the table, and what is said of one range', () => {
  const pages = new Map([
    ['A', pageOf([leading('dist-1')], ALL)],
    ['B', pageOf([stats('dist-1')], ALL)],
  ])
  const { groups } = mergePages(pages, [heard('dist-1')], ALL)
  const range = rangeOf(groups[0]!, nameOf, (store) => store !== 'C')
  const node = (id: string, error: string | null): AskedNode => {
    return { name: nameOf(id), id: id as HostId, state: 'alive', error }
  }
  const nodes = [node('A', null), node('B', null), node('C', 'too late')]
  expect(formatRanges({ nodes, ranges: [range] })).toBe(
    `1 ranges on 3 nodes, * leads
node nC did not answer: too late
RANGE   NODE  KIND     ROLE      TERM  EPOCH  COMMIT  APPLIED  LAG      LOG     SIZE  WRITES/S  QUERIES/S  NOTE
dist-1  nA*   voter    leader       3  1/4        19       18    0  2.9 KiB  2.0 KiB        12          3  ok
dist-1  nB    voter    follower     3  1/4        19       18    7  2.9 KiB        -         -          -  ok
dist-1  nC    learner  -            3  1/4         -        -    -        -        -         -          -  node does not answer
`,
  )
  expect(formatExplained({ range: { ...range, start: '61', end: null }, nodes: [], sentences: ['It waits'] })).toBe(
    'range dist-1 of dist: keys from 61\n  term 3, epoch 1/4, nA leads\n  It waits\n',
  )
})
