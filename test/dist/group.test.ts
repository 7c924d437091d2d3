import { describe, expect, test } from 'vitest'
import { seededRandom } from '../../src/base/clock.ts'
import type { InboxId } from '../../src/base/ids.ts'
import { type GroupMember, type PickOptions, pickMember } from '../../src/dist/index.ts'

const node = (name: string, count = 1): GroupMember => ({ kind: 'node', node: name, count })
const inbox: GroupMember = { kind: 'inbox', inbox: 'i' as InboxId, incarnation: 1 }
const random = seededRandom(5)

function name(member: GroupMember | null): string {
  return member === null ? '-' : member.kind === 'node' ? member.node : 'inbox'
}

function pick(members: readonly GroupMember[], options: Partial<PickOptions> = {}): string {
  const all = { ordered: false, publisherKey: 'p', random, localNode: 'n1', creditOf: () => 10, ...options }
  return name(pickMember(members, all))
}

function shares(members: readonly GroupMember[], options: (i: number) => Partial<PickOptions>): Record<string, number> {
  const counts: Record<string, number> = {}
  for (let i = 0; i < 20_000; i++) {
    const picked = pick(members, options(i))
    counts[picked] = (counts[picked] ?? 0) + 1
  }
  return counts
}

describe('unordered', () => {
  test('the local node comes first, while it has credit', () => {
    const members = [node('n2', 50), node('n1'), node('n3')]
    expect(shares(members, () => ({}))).toEqual({ n1: 20_000 })
    const elsewhere = shares(members, () => ({ creditOf: (each) => (each === 'n1' ? 0 : 1) }))
    expect(Object.keys(elsewhere).sort()).toEqual(['n2', 'n3'])
  })

  test('the others by their members', () => {
    const counts = shares([node('a', 1), node('b', 3), node('c', 6), node('d', 9)], () => ({
      creditOf: (each) => (each === 'd' ? -1 : 1),
    }))
    expect(counts.a! / 20_000).toBeCloseTo(0.1, 1)
    expect(counts.b! / 20_000).toBeCloseTo(0.3, 1)
    expect(counts.c! / 20_000).toBeCloseTo(0.6, 1)
    expect(counts.d).toBeUndefined()
  })

  test("the group's inbox takes part beside the local node, and alone where nobody has credit", () => {
    const counts = shares([inbox, node('n1', 3), node('n2')], () => ({}))
    expect(counts.inbox! / 20_000).toBeCloseTo(0.25, 1)
    expect(counts.n2).toBeUndefined()
    expect(pick([node('n1'), inbox], { creditOf: () => 0 })).toBe('inbox')
  })

  test('nobody with credit, nobody at all', () => {
    expect(pick([node('n1'), node('n2')], { creditOf: () => 0 })).toBe('-')
    expect(pick([node('n2', 0)])).toBe('-')
    expect(pick([])).toBe('-')
  })
})

describe('ordered', () => {
  const members = ['a', 'b', 'c', 'd', 'e'].map((each) => node(each))
  const of = (list: readonly GroupMember[], publisher: number) =>
    pick(list, { ordered: true, publisherKey: `client-${publisher}`, creditOf: () => 0 })

  test('one publisher, one member, in any order of the members', () => {
    for (let i = 0; i < 100; i++) expect(of([...members].reverse(), i)).toBe(of(members, i))
    expect(pick([], { ordered: true })).toBe('-')
  })

  test('spreads by weight', () => {
    const counts = shares([node('a', 1), node('b', 4)], (i) => ({ ordered: true, publisherKey: `client-${i}` }))
    expect(counts.b! / 20_000).toBeCloseTo(0.8, 1)
    const even = shares(members, (i) => ({ ordered: true, publisherKey: `client-${i}` }))
    for (const each of 'abcde') expect(even[each]! / 20_000).toBeCloseTo(0.2, 1)
  })

  test('a member that leaves or joins moves only its own publishers', () => {
    const without = members.filter((each) => name(each) !== 'c')
    for (let i = 0; i < 2_000; i++) {
      const before = of(members, i)
      if (before !== 'c') expect(of(without, i)).toBe(before)
    }
    const [more, fewer] = [
      [node('a', 3), node('b', 2)],
      [node('a', 2), node('b', 2)],
    ]
    for (let i = 0; i < 2_000; i++) if (of(fewer, i) === 'a') expect(of(more, i)).toBe('a')
  })
})
