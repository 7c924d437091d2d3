import { describe, expect, test } from 'vitest'
import { checkLinearizable, checkList, type ListCall, type Operation } from './linearizable.ts'

const NEVER = Number.POSITIVE_INFINITY

const blank = { value: '', expect: '', result: null, done: true }
const put = (value: string, start: number, end = NEVER): Operation => ({
  ...blank,
  kind: 'put',
  value,
  start,
  end,
  result: value,
})
const read = (result: string, start: number, end: number): Operation => ({ ...blank, kind: 'read', start, end, result })
const cas = (expect: string, value: string, found: string | null, start: number, end = NEVER): Operation => ({
  ...{ kind: 'cas', expect, value, start, end, result: found },
  done: found === value,
})
const add = (value: string, result: string | null, start: number, end = NEVER): Operation => ({
  ...{ ...blank, kind: 'add', value, start, end, result },
})

const verdict = (...operations: Operation[]) => checkLinearizable(operations, '').verdict

describe('the checker of registers', () => {
  test('an order that explains everything', () => {
    expect(verdict(put('a', 1, 2), read('a', 3, 4))).toBe('linearizable')
    expect(verdict(put('a', 1, 4), read('', 2, 3), read('a', 5, 6))).toBe('linearizable')
    expect(verdict(put('a', 1, 10), put('b', 2, 9), read('a', 3, 4), read('b', 5, 6))).toBe('linearizable')
    expect(verdict(cas('', 'a', 'a', 1, 4), cas('', 'b', 'a', 2, 3))).toBe('linearizable')
    expect(verdict(add('1', '3', 1, 4), add('2', '2', 2, 3))).toBe('linearizable')
  })

  test('a read that is stale, or sees what is over again', () => {
    expect(verdict(put('a', 1, 2), read('', 3, 4))).toBe('not linearizable')
    expect(verdict(put('a', 1, 10), read('a', 2, 3), read('', 4, 5))).toBe('not linearizable')
    expect(verdict(put('a', 1, 2), put('b', 3, 4), read('b', 5, 6), read('a', 7, 8))).toBe('not linearizable')
  })

  test('two that both found what only one can have found', () => {
    expect(verdict(cas('', 'a', 'a', 1, 4), cas('', 'b', 'b', 2, 3))).toBe('not linearizable')
    expect(verdict(add('1', '1', 1, 4), add('2', '2', 2, 3))).toBe('not linearizable')
  })

  test('what nobody knows may have happened, now or much later, or never', () => {
    expect(verdict(put('a', 1), read('', 2, 3), read('a', 4, 5))).toBe('linearizable')
    expect(verdict(put('a', 1), put('b', 2, 3), read('b', 4, 5))).toBe('linearizable')
    expect(verdict(put('a', 3), read('a', 1, 2))).toBe('not linearizable')
    expect(verdict(cas('a', 'c', null, 1), put('a', 2, 3), read('c', 4, 5))).toBe('linearizable')
    expect(verdict(put('a', 1), read('a', 2, 3), put('b', 4, 5), read('a', 6, 7))).toBe('not linearizable')
  })

  test('gives up beyond its bound', () => {
    const many = Array.from({ length: 12 }, (_, i) => put(`${i}`, i))
    expect(checkLinearizable([...many, read('x', 20, 21)], '', 1_000).verdict).toBe('undecided')
  })
})

const append = (word: string, start: number, end = NEVER, length: number | null = null): ListCall => ({
  ...{ kind: 'append', word, start, end, length },
  words: [],
})
const look = (words: string[], start: number, end: number): ListCall => ({
  ...{ kind: 'read', word: '', words, start, end, length: words.length },
})

describe('the checker of lists', () => {
  test('calls that the list explains', () => {
    const calls = [append('a', 1, 2, 1), append('b', 3), look(['a'], 4, 5), look(['a', 'b'], 6, 7), append('c', 8)]
    expect(checkList(calls, ['a', 'b'])).toBeNull()
  })

  test('what is lost, twice there, or elsewhere', () => {
    expect(checkList([append('a', 1, 2)], [])).toContain('is lost')
    expect(checkList([], ['a', 'a'])).toContain('twice')
    expect(checkList([append('a', 1, 2, 2)], ['a'])).toContain('place 2')
    expect(checkList([look(['b'], 1, 2)], ['a', 'b'])).toContain('found "b"')
  })

  test('what was asked later sees what was answered before', () => {
    expect(checkList([append('a', 1, 2, 1), look([], 3, 4)], ['a'])).toContain('did not see')
    expect(checkList([append('a', 1, 2, 2), append('b', 3, 4, 1)], ['b', 'a'])).toContain('did not see')
    expect(checkList([look(['a'], 2, 3), look([], 4, 5), append('a', 1)], ['a'])).toContain('did not see')
  })
})
