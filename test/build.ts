import { execFileSync } from 'node:child_process'
import { mkdirSync, readdirSync, rmdirSync, statSync } from 'node:fs'
import { resolve } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'

const MAIN = resolve('build/main.js')
const FLEET = resolve('build/dev/bench/kv/process.js')
const CLUSTER = resolve('build/dev/deploy/local/main.js')
const LOCK = resolve('node_modules/.flockmq-build')
const LOCK_MS_MAX = 60_000

/**
 * The path of the built command line, built again where a source is newer. Tests that start real processes begin
 * with `await builtMain()`; of several test files only one builds.
 */
export function builtMain(): Promise<string> {
  return built(MAIN, 'tsconfig.json', ['src'])
}

/** The path of a process of the fleet in `bench/kv`, with all that it needs. */
export function builtFleet(): Promise<string> {
  return built(FLEET, 'bench/tsconfig.json', ['src', 'bench'])
}

/** The path of `npm run cluster`, with the command line that it starts. */
export async function builtCluster(): Promise<string> {
  await builtMain()
  return built(CLUSTER, 'deploy/local/tsconfig.json', ['deploy/local'])
}

async function built(program: string, project: string, sources: readonly string[]): Promise<string> {
  while (!takeLock()) await delay(50)
  try {
    // Errors of types are the check's business: the compiler writes its output in spite of them.
    if (sources.some((folder) => isStale(program, folder)))
      execFileSync(process.execPath, ['node_modules/typescript/bin/tsc', '-p', project, '--noCheck'], {
        stdio: 'inherit',
      })
  } finally {
    rmdirSync(LOCK)
  }
  return program
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

function isStale(program: string, folder: string): boolean {
  const builtMs = modifiedMs(program)
  return readdirSync(folder, { recursive: true, withFileTypes: true }).some(
    (entry) => entry.name.endsWith('.ts') && modifiedMs(`${entry.parentPath}/${entry.name}`) > builtMs,
  )
}

function modifiedMs(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0
}
