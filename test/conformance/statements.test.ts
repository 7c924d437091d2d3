/** The table of statements is complete, and the README is in step with it. */
import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { knownTags, listTests, render, tagsOf } from './coverage.ts'
import { REASONS, STATEMENTS } from './statements.ts'

const FOLDER = 'test/conformance'
const tests = listTests(FOLDER)
const tagged = new Set(tests.flatMap(({ title }) => tagsOf(title)))

test('every statement has a test or a reason, and not both', () => {
  expect(STATEMENTS.map(({ id }) => id).filter((id) => tagged.has(id) === id in REASONS)).toEqual([])
  expect(new Set(STATEMENTS.map(({ id }) => id)).size).toBe(STATEMENTS.length)
})

test('the numbers of MQTT 5.0 and MQTT 3.1.1 are all there', () => {
  const old = STATEMENTS.filter(({ id }) => id.startsWith('v3:'))
  expect({ five: STATEMENTS.length - old.length, three: old.length }).toEqual({ five: 251, three: 137 })
})

test('reasons are given to statements that exist', () => {
  const ids = new Set(STATEMENTS.map(({ id }) => id))
  expect(Object.keys(REASONS).filter((id) => !ids.has(id))).toEqual([])
})

test('what brokers most often fail, and the ground of the Paho suites, is covered', () => {
  expect([...knownTags()].filter((tag) => !tagged.has(tag) && !(tag in REASONS))).toEqual([])
})

test('titles name only what exists, once', () => {
  const known = knownTags()
  const brackets = tests.flatMap(({ title }) => [...title.matchAll(/\[([^\]]*)\]/g)].map(([, tag]) => tag!))
  expect(brackets.filter((tag) => !known.has(tag))).toEqual([])
  const titles = tests.map(({ title }) => title)
  expect(titles.filter((title, index) => titles.indexOf(title) !== index)).toEqual([])
})

test('README.md is in step: run `npm run conformance:table`', () => {
  expect(readFileSync(`${FOLDER}/README.md`, 'utf8')).toBe(render(tests))
})
