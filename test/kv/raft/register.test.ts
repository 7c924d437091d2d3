import { describe, expect, test } from 'vitest'
import { type Call, checkRegister, RegisterHistory } from './register.ts'

const never = Number.POSITIVE_INFINITY
const write = (value: string, start: number, end: number): Call => ({ kind: 'write', value, start, end })
const read = (value: string, start: number, end: number): Call => ({ kind: 'read', value, start, end })

describe('a register', () => {
  const good: [string, Call[]][] = [
    ['reads what was written', [write('a', 1, 2), read('a', 3, 4), write('b', 5, 6), read('b', 7, 8)]],
    ['takes writes at the same time in any order', [write('a', 1, 5), write('b', 2, 6), read('b', 7, 8)]],
    ['shows one while it is being written', [write('a', 1, 2), write('b', 3, 9), read('b', 4, 5), read('b', 6, 7)]],
    ['still shows the one before', [write('a', 1, 2), write('b', 3, 9), read('a', 4, 5), read('b', 6, 7)]],
    ['may forget a write that nobody heard of', [write('a', 1, 2), write('b', 3, never), read('a', 4, 5)]],
    ['may do so late', [write('a', 1, 2), write('b', 3, never), read('a', 4, 5), read('b', 6, 7)]],
    [
      'may have had a value between two reads',
      [write('a', 1, 2), write('b', 3, 9), write('c', 3, 9), read('c', 10, 11)],
    ],
  ]
  test.each(good)('%s', (_, calls) => expect(() => checkRegister(calls)).not.toThrow())

  const bad: [string, Call[]][] = [
    ['a stale read', [write('a', 1, 2), write('b', 3, 4), read('a', 5, 6)]],
    ['two reads that go back', [write('a', 1, 2), write('b', 3, 9), read('b', 4, 5), read('a', 6, 7)]],
    ['a value from nowhere', [write('a', 1, 2), read('x', 3, 4)]],
    ['a value before its write', [write('a', 5, 6), read('a', 1, 2)]],
    ['a write that was heard of and lost', [write('a', 1, 2), write('b', 3, 4), write('c', 5, never), read('a', 6, 7)]],
    ['two that alternate', [write('a', 1, 9), write('b', 1, 9), read('a', 2, 3), read('b', 4, 5), read('a', 6, 7)]],
  ]
  test.each(bad)('%s is seen', (_, calls) => expect(() => checkRegister(calls)).toThrow('Linearizability'))

  test('what was refused is not read', () => {
    const history = new RegisterHistory()
    history.begin(1, 'write', 'a')
    history.refused(1)
    history.begin(2, 'read')
    history.end(2, 'a')
    expect(() => history.check('')).toThrow('refused')
  })
})
