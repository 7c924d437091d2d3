import fc from 'fast-check'

/** Few words, so that topics share levels; with the bytes that keys treat specially. */
const WORDS = ['a', 'b', 'ab', '', '$', '$SYS', '%', ' ', '\x01', '\x02', '\x02\x02', 'ü', '😀', 'x']
const word = fc.constantFrom(...WORDS)
export const topicArbitrary = fc
  .array(word, { minLength: 1, maxLength: 5 })
  .map((levels) => levels.join('/'))
  .filter((topic) => topic !== '')
export const filterArbitrary = fc
  .tuple(fc.array(fc.oneof(word, fc.constant('+')), { maxLength: 5 }), fc.boolean())
  .map(([levels, hash]) => (hash ? [...levels, '#'] : levels).join('/'))
  .filter((filter) => filter !== '')
