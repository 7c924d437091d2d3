import { execFileSync } from 'node:child_process'
import { mkdirSync, readdirSync, rmdirSync, statSync } from 'node:fs'
import { resolve } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'

const MAIN = resolve('build/main.js')
const LOCK = resolve('node_modules/.flockmq-build')
const LOCK_MS_MAX = 60_000

/**
 * The path of the built command line, built again where a source is newer. Tests that start real processes begin
 * with `await builtMain()`; of several test files only one builds.
 */
export async function builtMain(): Promise<string> {
  while (!takeLock()) await delay(50)
  try {
    // Errors of types are the check's business: the compiler writes its output in spite of them.
    if (isStale())
      execFileSync(process.execPath, ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.json', '--noCheck'], {
        stdio: 'inherit',
      })
  } finally {
    rmdirSync(LOCK)
  }
  return MAIN
}

function takeLock(): boolean {
  try {
    mkdirSync(LOCK)
    return true
  } catch {
    // Left by a run that was killed.
    if (Date.now() - modifiedMs(LOCK) > LOCK_MS_MAX) rmdirSync(LOCK)
    return false
  }
}

function isStale(): boolean {
  const builtMs = modifiedMs(MAIN)
  return readdirSync('src', { recursive: true, withFileTypes: true }).some(
    (entry) => entry.name.endsWith('.ts') && modifiedMs(`${entry.parentPath}/${entry.name}`) > builtMs,
  )
}

function modifiedMs(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0
}
