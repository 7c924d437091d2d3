import { describe, expect, test } from 'vitest'
import { seededRandom } from '../../../src/base/clock.ts'
import {
  type ConfigChange,
  type ConfState,
  type MemberChange,
  Membership,
  NO_CONFIG,
} from '../../../src/kv/raft/index.ts'
import { Quorum } from '../../../src/kv/raft/quorum.ts'

function config(state: Partial<ConfState>): ConfState {
  return { ...NO_CONFIG, ...state }
}

function change(words: string, leave: ConfigChange['leave'] = 'auto'): ConfigChange {
  const types = { '+': 'add-voter', '?': 'add-learner', '-': 'remove' } as const
  const members = words
    .split(' ')
    .filter(Boolean)
    .map((word): MemberChange => ({ type: types[word[0] as '+' | '?' | '-'], id: Number(word.slice(1)) }))
  return { members, leave }
}

describe('a majority', () => {
  const cases: [string, Partial<ConfState>, number[], number][] = [
    ['of one', { voters: [1] }, [7], 7],
    ['of two is both', { voters: [1, 2] }, [7, 5], 5],
    ['of three is two', { voters: [1, 2, 3] }, [7, 5, 3], 5],
    ['of four is three', { voters: [1, 2, 3, 4] }, [7, 5, 3, 2], 3],
    ['of five is three', { voters: [1, 2, 3, 4, 5] }, [1, 9, 8, 2, 7], 7],
    ['of both halves is the lower', { voters: [1, 2, 3], outgoing: [3, 4, 5] }, [9, 9, 1, 4, 5], 4],
    ['counts no learners', { voters: [1, 2, 3], learners: [4, 5] }, [1, 1, 1, 9, 9], 1],
    ['of nobody has reached nothing', {}, [], 0],
  ]
  test.each(cases)('%s', (_, state, numbers, agreed) => {
    expect(new Quorum(config(state)).agreed((id) => numbers[id - 1]!)).toBe(agreed)
  })

  test('of votes is won, lost or open', () => {
    const quorum = new Quorum(config({ voters: [1, 2, 3], outgoing: [3, 4, 5] }))
    const outcome = (votes: [number, boolean][]) => quorum.outcome(new Map(votes))
    expect(
      outcome([
        [1, true],
        [2, true],
      ]),
    ).toBe('open')
    expect(
      outcome([
        [1, true],
        [3, true],
        [4, true],
      ]),
    ).toBe('won')
    expect(
      outcome([
        [1, true],
        [2, true],
        [4, false],
        [5, false],
      ]),
    ).toBe('lost')
    expect(
      outcome([
        [1, false],
        [4, false],
      ]),
    ).toBe('open')
  })
})

describe('a change', () => {
  const three = { voters: [1, 2, 3] }
  const cases: [string, Partial<ConfState>, ConfigChange, Partial<ConfState>][] = [
    ['of one voter is made at once', three, change('+4'), { voters: [1, 2, 3, 4] }],
    ['of learners is made at once', three, change('?4 ?5'), { voters: [1, 2, 3], learners: [4, 5] }],
    ['promotes', { voters: [1, 2], learners: [3] }, change('+3'), { voters: [1, 2, 3] }],
    ['demotes', three, change('?2'), { voters: [1, 3], learners: [2] }],
    ['of two voters is joint', three, change('+4 -1'), { voters: [2, 3, 4], outgoing: [1, 2, 3], autoLeave: true }],
    ['may be joint by wish', three, change('-3', 'explicit'), { voters: [1, 2], outgoing: [1, 2, 3] }],
    [
      'demotes in two steps where it is joint',
      { voters: [1, 2, 3], learners: [4] },
      change('+4 ?1 ?5'),
      { voters: [2, 3, 4], outgoing: [1, 2, 3], learners: [5], learnersNext: [1], autoLeave: true },
    ],
    [
      'ends what was joint',
      { voters: [2, 3, 4], outgoing: [1, 2, 3], learners: [5], learnersNext: [1], autoLeave: true },
      change(''),
      { voters: [2, 3, 4], learners: [1, 5] },
    ],
  ]
  test.each(cases)('%s', (_, before, by, after) => {
    const membership = new Membership(config(before))
    expect(membership.objection(by)).toBeNull()
    expect(membership.after(by).state).toEqual(config(after))
  })

  const refused: [string, Partial<ConfState>, ConfigChange][] = [
    ['without a voter left', three, change('-1 -2 -3')],
    ['naming one twice', three, change('+4 ?4')],
    ['of an id that is none', three, change('+0')],
    ['to what is', { ...three, learners: [4] }, change('+1 ?4')],
    ['of nothing', three, change('')],
    ['within a joint configuration', { voters: [1], outgoing: [2] }, change('+4')],
    ['removing who is not there', three, change('-9')],
  ]
  test.each(refused)('%s is refused', (_, before, by) => {
    expect(new Membership(config(before)).objection(by)).not.toBeNull()
  })

  test('leaves no two majorities apart, before and after, whatever is changed', () => {
    const random = seededRandom(7)
    let membership = new Membership(config({ voters: [1, 2, 3] }))
    for (let step = 0; step < 300; step++) {
      const types = ['+', '?', '-']
      const words = Array.from({ length: 1 + random.below(3) }, () => `${types[random.below(3)]}${1 + random.below(6)}`)
      const by = change(membership.joint ? '' : words.join(' '), random.below(3) === 0 ? 'explicit' : 'auto')
      if (membership.objection(by) !== null) continue
      const next = membership.after(by)
      expect(majoritiesMeet(membership.state, next.state)).toBe(true)
      membership = next
    }
  })
})

/** Tries every set of six replicas: two sets that are majorities, one of each configuration, have a member in common. */
function majoritiesMeet(a: ConfState, b: ConfState): boolean {
  const sets = Array.from({ length: 64 }, (_, bits) => [1, 2, 3, 4, 5, 6].filter((id) => bits & (1 << (id - 1))))
  const majorities = (state: ConfState) => sets.filter((set) => new Quorum(state).has((id) => set.includes(id)))
  const right = majorities(b)
  return majorities(a).every((one) => right.every((other) => one.some((id) => other.includes(id))))
}
