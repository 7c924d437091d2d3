/** The list of mutations fits the sources and the tests; `run.ts` tries them, which takes minutes. */
import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { listTests, plainTitle } from '../coverage.ts'
import { MUTATIONS } from './list.ts'

test('there are at least 50, none twice', () => {
  expect(MUTATIONS.length).toBeGreaterThanOrEqual(50)
  expect(new Set(MUTATIONS.map(({ file, before }) => `${file}: ${before}`)).size).toBe(MUTATIONS.length)
})

test('the line of each stands once in its file', () => {
  const counts = MUTATIONS.map(({ file, before }) => {
    const lines = readFileSync(`src/${file}`, 'utf8').split('\n')
    return { file, before, count: lines.filter((line) => line.trim() === before).length }
  })
  expect(counts.filter(({ count }) => count !== 1)).toEqual([])
})

test('the test of each exists', () => {
  const titles = new Set(listTests('test/conformance').map(({ title }) => plainTitle(title)))
  expect(MUTATIONS.map(({ caughtBy }) => caughtBy).filter((title) => !titles.has(title))).toEqual([])
})
