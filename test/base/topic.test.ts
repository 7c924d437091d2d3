import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  hasWildcard,
  isValidTopicFilter,
  isValidTopicName,
  parseSharedFilter,
  topicMatches,
} from '../../src/base/topic.ts'

describe('topic names', () => {
  test.each(['a', '/', '//', 'a/b', '/a/', ' ', '$SYS/x', '$share/g/t', 'é/日本/😀', 'x'.repeat(65_535)])(
    'accepts %j',
    (topic) => expect(isValidTopicName(topic)).toBe(true),
  )
  test.each(['', '+', '#', 'a/+', 'a+b', 'a/#', 'a\0b', 'x'.repeat(65_536), 'é'.repeat(32_768)])(
    'refuses %j',
    (topic) => expect(isValidTopicName(topic)).toBe(false),
  )
})

describe('topic filters', () => {
  test.each([
    ...['a', '/', '#', '+', '+/+', '/+', '+/', 'a/#', '/#', '+/#', 'a/+/b', '$SYS/#', '$share', '$sharex/g', '$'],
    ...['$share/g/a', '$share/g/#', '$share/g//', '$oshare/g/+/b', '$share/$g/a', '$share/g/$SYS/#'],
  ])('accepts %j', (filter) => expect(isValidTopicFilter(filter)).toBe(true))
  test.each([
    ...['', 'a#', '#/a', 'a/#/b', '##', 'a+', '+a', 'a/b+/c', 'a/+b', '++', '#+', 'a\0', 'x'.repeat(65_536)],
    ...['$share/', '$share/g', '$share/g/', '$share//a', '$share/g+/a', '$share/#/a', '$share/+/a', '$share/g/a#'],
    ...['$oshare/g', '$oshare//a', '$oshare/g/', '$share/g\0/a', '$share/g/$share/h/a', '$oshare/g/$share/h/a'],
  ])('refuses %j', (filter) => expect(isValidTopicFilter(filter)).toBe(false))

  test('takes shared filters apart', () => {
    expect(parseSharedFilter('$share/g/a/b')).toEqual({ group: 'g', filter: 'a/b', ordered: false })
    expect(parseSharedFilter('$oshare/g1//#')).toEqual({ group: 'g1', filter: '/#', ordered: true })
    for (const filter of ['a/b', '$share', '$share/g', '$share//a', '$SHARE/g/a', 'x$share/g/a']) {
      expect(parseSharedFilter(filter)).toBeNull()
    }
  })

  test('knows wildcards', () => {
    expect(['a', 'a/b', ''].map(hasWildcard)).toEqual([false, false, false])
    expect(['+', 'a/#', 'a/+/b'].map(hasWildcard)).toEqual([true, true, true])
  })
})

describe('matching', () => {
  test.each([
    ['a', 'a'],
    ['a/b', 'a/b'],
    ['#', 'a'],
    ['#', '/'],
    ['#', 'a/b/c'],
    ['a/#', 'a'],
    ['a/#', 'a/'],
    ['a/#', 'a/b/c'],
    ['+', 'a'],
    ['+/+', '/'],
    ['/+', '/a'],
    ['+/#', 'a'],
    ['a/+/c', 'a/b/c'],
    ['a/+/c', 'a//c'],
    ['a/+/#', 'a/b'],
    ['$SYS/#', '$SYS'],
    ['$SYS/+', '$SYS/x'],
    ['a/+', 'a/$x'],
    ['é/+', 'é/日'],
  ])('%s matches %s', (filter, topic) => expect(topicMatches(filter, topic)).toBe(true))
  test.each([
    ['a', 'A'],
    ['a', 'a/'],
    ['a/', 'a'],
    ['a', '/a'],
    ['+', '/a'],
    ['+', 'a/b'],
    ['a/+', 'a'],
    ['a/+', 'a/b/c'],
    ['a/+/#', 'a'],
    ['a/#', 'ab'],
    ['a/b/#', 'a'],
    ['#', '$SYS/x'],
    ['+/x', '$SYS/x'],
    ['+', '$SYS'],
    ['ab', 'a'],
    ['a', 'ab'],
  ])('%s does not match %s', (filter, topic) => expect(topicMatches(filter, topic)).toBe(false))

  test('agrees with a match level by level', () => {
    const level = fc.constantFrom('', 'a', 'b', 'ab', '$s', '+')
    const filters = fc
      .tuple(fc.array(level, { minLength: 1, maxLength: 4 }), fc.boolean())
      .map(([levels, hash]) => (hash ? [...levels, '#'] : levels).join('/'))
      .filter((filter) => filter !== '')
    const topics = fc
      .array(fc.constantFrom('', 'a', 'b', 'ab', '$s'), { minLength: 1, maxLength: 4 })
      .map((levels) => levels.join('/'))
      .filter((topic) => topic !== '')
    fc.assert(
      fc.property(filters, topics, (filter, topic) => topicMatches(filter, topic) === matchesByLevel(filter, topic)),
      { numRuns: 3000, seed: 1 },
    )
  })
})

function matchesByLevel(filter: string, topic: string): boolean {
  if (topic.startsWith('$') && /^[+#]/.test(filter)) return false
  const levels = topic.split('/')
  const wanted = filter.split('/')
  for (const [i, want] of wanted.entries()) {
    if (want === '#') return levels.length >= i
    if (i >= levels.length || (want !== '+' && want !== levels[i])) return false
  }
  return levels.length === wanted.length
}
