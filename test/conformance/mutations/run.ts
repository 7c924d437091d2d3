/**
 * Tries every mutation of the list in a copy of the checkout, never in place: `npm run conformance:mutations`, which
 * takes some minutes. A mutation that its test does not notice survives, and fails here. `-t` picks some of them.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { listTests, plainTitle } from '../coverage.ts'
import { MUTATIONS, type Mutation } from './list.ts'

/** How long the client of a mutated run waits for an answer: such a run mostly waits in vain. */
const ANSWER_MS = '3000'

const folder = mkdtempSync('/tmp/flockmq-mutations-')
const tests = new Map(listTests('test/conformance').map((each) => [plainTitle(each.title), each]))

interface Report {
  testResults: { assertionResults: { title: string; status: string }[] }[]
}

/** Runs tests in the copy; gives the status of each title that ran. */
async function run(filter: readonly string[], environment: NodeJS.ProcessEnv = {}): Promise<Map<string, string>> {
  const output = join(folder, 'report.json')
  rmSync(output, { force: true })
  const child = spawn(
    process.execPath,
    ['node_modules/vitest/vitest.mjs', 'run', ...filter, '--reporter=json', `--outputFile=${output}`],
    { cwd: folder, env: { ...process.env, ...environment }, stdio: 'ignore' },
  )
  await once(child, 'close')
  const report = JSON.parse(readFileSync(output, 'utf8')) as Report
  const results = report.testResults.flatMap(({ assertionResults }) => assertionResults)
  return new Map(results.map(({ title, status }) => [plainTitle(title), status]))
}

/** Status of the one test; `broken` where its file does not even load. */
async function statusOf(title: string): Promise<string> {
  const { file, title: full } = tests.get(title)!
  const pattern = full.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&')
  const statuses = await run([`test/conformance/${file}`, '-t', pattern], { CONFORMANCE_ANSWER_MS: ANSWER_MS })
  return statuses.get(title) ?? 'broken'
}

async function mutated<Value>({ file, before, after }: Mutation, run: () => Promise<Value>): Promise<Value> {
  const path = join(folder, 'src', file)
  const source = readFileSync(path, 'utf8')
  const lines = source.split('\n').map((line) => (line.trim() === before ? line.replace(before, () => after) : line))
  writeFileSync(path, lines.join('\n'))
  try {
    return await run()
  } finally {
    writeFileSync(path, source)
  }
}

beforeAll(() => {
  for (const name of ['src', 'test', 'conf', 'package.json', 'tsconfig.json']) {
    cpSync(name, join(folder, name), { recursive: true })
  }
  symlinkSync(resolve('node_modules'), join(folder, 'node_modules'))
})

afterAll(() => rmSync(folder, { recursive: true, force: true }))

test('without a mutation all of them pass', async () => {
  const statuses = await run(['test/conformance', '--exclude=**/mutations/**'])
  const titles = [...new Set(MUTATIONS.map(({ caughtBy }) => caughtBy))]
  expect(titles.filter((title) => statuses.get(title) !== 'passed')).toEqual([])
})

describe('caught', () => {
  for (const mutation of MUTATIONS) {
    test(`${mutation.file}: ${mutation.after}`, async () => {
      expect(await mutated(mutation, () => statusOf(mutation.caughtBy)), 'survived').toBe('failed')
    })
  }
})
