import fc from 'fast-check'
import { expect, test } from 'vitest'
import { globMatches } from '../../src/plugin/auth/glob.ts'

test('a star stands for any run of characters, as in the regular expression', () => {
  const texts = fc.string({ unit: fc.constantFrom('a', 'b', '.'), maxLength: 8 })
  const patterns = fc.string({ unit: fc.constantFrom('a', 'b', '.', '*', '*'), maxLength: 6 })
  fc.assert(
    fc.property(patterns, texts, (pattern, text) => {
      const expression = new RegExp(`^${pattern.replaceAll('.', '\\.').replaceAll('*', '.*')}$`, 's')
      expect(globMatches(pattern, text)).toBe(expression.test(text))
    }),
    { numRuns: 2_000 },
  )
})

test('a star fits the empty name of anonymous clients, and names with line breaks', () => {
  expect(globMatches('*', '')).toBe(true)
  expect(globMatches('a*', 'a\nb')).toBe(true)
  expect(globMatches('', 'a')).toBe(false)
})

test('many stars on a long text that does not fit take no long time', () => {
  const before = performance.now()
  expect(globMatches('*a*a*a*a*a*a*a*b', 'a'.repeat(65_535))).toBe(false)
  expect(performance.now() - before).toBeLessThan(1_000)
})
