import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { isValidTopicFilter, topicMatches } from '../../src/base/topic.ts'
import { filterCovers, filtersOverlap } from '../../src/plugin/auth/filter-relation.ts'

/**
 * Filters of up to 3 levels over {a, b, ''} are told apart by the topics of up to 4 levels over these: one letter that
 * no filter names, and a level that begins with `$`. So the slow comparison of the sets is exact. The empty topic counts.
 */
const LEVELS = ['a', 'b', '', 'z', '$a']
const TOPICS = [1, 2, 3, 4]
  .flatMap((depth) =>
    Array.from({ length: depth }).reduce<string[][]>(
      (paths) => paths.flatMap((path) => LEVELS.map((level) => [...path, level])),
      [[]],
    ),
  )
  .map((path) => path.join('/'))

const filters = fc
  .array(fc.constantFrom('a', 'b', '', '+', '+', '#', '$a'), { minLength: 1, maxLength: 3 })
  .map((levels) => levels.join('/'))
  .filter(isValidTopicFilter)

const matched = new Map<string, Set<string>>()
function topicsOf(filter: string): Set<string> {
  let topics = matched.get(filter)
  if (!topics) matched.set(filter, (topics = new Set(TOPICS.filter((topic) => topicMatches(filter, topic)))))
  return topics
}

test('one filter covers another exactly when it matches every topic of it', () => {
  fc.assert(
    fc.property(filters, filters, (outer, inner) => {
      const all = topicsOf(outer)
      expect(filterCovers(outer, inner)).toBe([...topicsOf(inner)].every((topic) => all.has(topic)))
    }),
    { numRuns: 3_000 },
  )
})

test('two filters overlap exactly when a topic matches both', () => {
  fc.assert(
    fc.property(filters, filters, (a, b) => {
      const all = topicsOf(a)
      expect(filtersOverlap(a, b)).toBe([...topicsOf(b)].some((topic) => all.has(topic)))
      expect(filtersOverlap(b, a)).toBe(filtersOverlap(a, b))
    }),
    { numRuns: 3_000 },
  )
})

describe('cases that are easily missed', () => {
  test.each([
    ['#', '#', true],
    ['+/#', '#', true],
    ['#', '+/#', true],
    ['a/#', 'a', true],
    ['a/+', 'a/#', false],
    ['a/+/#', 'a/#', false],
    ['+', '#', false],
    ['#', '$SYS/#', false],
    ['+/x', '$a/x', false],
    ['$SYS/#', '$SYS/+/x', true],
    ['a/b', 'a/+', false],
  ])('%s covers %s: %s', (outer, inner, expected) => expect(filterCovers(outer, inner)).toBe(expected))
})
