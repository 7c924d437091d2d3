import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { dirname, resolve } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { systemRandom } from '../../../src/base/clock.ts'
import type { Engine, Family } from '../../../src/kv/engine/engine.ts'
import { LmdbEngine } from '../../../src/kv/engine/lmdb/engine.ts'
import { RocksEngine } from '../../../src/kv/engine/rocksdb/engine.ts'
import { builtMain } from '../../build.ts'
import { newFolder, SMALL } from './disk-engine.ts'
import { smallDisk } from './small-disk.ts'

const CHILD = resolve('test/kv/engine/disk-child.js')
let build = ''

beforeAll(async () => {
  build = dirname(await builtMain())
}, 60_000)

type Kind = 'rocksdb' | 'lmdb'
const open = (kind: Kind, path: string): Promise<Engine> =>
  kind === 'lmdb' ? LmdbEngine.open({ path }) : RocksEngine.open({ path, tuning: SMALL })

const decode = (data: Uint8Array | undefined) => (data === undefined ? undefined : new TextDecoder().decode(data))
const get = (engine: Engine, family: Family, key: string) => decode(engine.get(family, new TextEncoder().encode(key)))

function rows(engine: Engine, family: Family): [string, string][] {
  const cursor = engine.cursor(family, {})
  const all: [string, string][] = []
  while (cursor.next()) all.push([decode(cursor.key)!, decode(cursor.value)!])
  cursor.close()
  return all
}

/** Runs a child until it ends; `line` hears of each line that it printed. */
async function run(command: string, args: string[], line: (text: string, child: ChildProcess) => void): Promise<void> {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  let rest = ''
  child.stdout.on('data', (chunk: Buffer) => {
    const parts = (rest + chunk.toString()).split('\n')
    rest = parts.pop()!
    for (const part of parts) line(part, child)
  })
  await once(child, 'close')
}

/** Runs the child and kills it once it has acknowledged so many batches; returns the numbers acknowledged. */
async function runAndKill(kind: Kind, path: string, from: number, acknowledged: number): Promise<number[]> {
  const numbers: number[] = []
  await run(process.execPath, [CHILD, build, kind, path, String(from)], (line, child) => {
    numbers.push(Number(line))
    if (numbers.length === acknowledged) child.kill('SIGKILL')
  })
  return numbers
}

/** What a crash must not change. Returns the number of the last batch. */
function checkWhole(engine: Engine, acknowledged: number): number {
  const inbox = rows(engine, 'inbox')
  const last = inbox.length
  expect(last).toBeGreaterThanOrEqual(acknowledged)
  expect(inbox.map(([key]) => Number(key))).toEqual(Array.from({ length: last }, (_, i) => i + 1))
  expect(rows(engine, 'retain').map(([, value]) => value)).toEqual(inbox.map((_, i) => `retain ${i + 1}`))
  if (last > 0) expect(get(engine, 'meta', 'last')).toBe(String(last))
  const fill = rows(engine, 'dist')
  const filled = last - (last % 10)
  if (last >= 10 && last % 10 === 0)
    expect(fill.filter(([, value]) => value === `${filled}`.padEnd(500, '.'))).toHaveLength(1_200)
  else if (last > 10) expect(fill).toEqual([['fill ', String(filled + 1)]])
  expect(engine.durable()).toBe(last)
  return last
}

describe.each(['rocksdb', 'rocksdb', 'lmdb', 'lmdb'] as const)('kill -9 of %s', (kind) => {
  test('nothing acknowledged is lost, nothing is there in part, five times', { timeout: 120_000 }, async () => {
    const path = newFolder()
    let last = 0
    for (let round = 0; round < 5; round++) {
      const numbers = await runAndKill(kind, path, last + 1, 1 + systemRandom.below(200))
      expect(numbers.length).toBeGreaterThan(0)
      const engine = await open(kind, path)
      last = checkWhole(engine, numbers.at(-1)!)
      await engine.close()
    }
  })
})

/** What a child says that goes on until the disk refuses a write. */
async function untilRefused(kind: Kind, path: string, limit = ''): Promise<string[]> {
  const command = `${limit}exec "${process.execPath}" "${CHILD}" "${build}" ${kind} "${path}" 1`
  const lines: string[] = []
  await run('sh', ['-c', command], (line) => lines.push(line))
  return lines
}

test.each([
  // No file longer than 256 KiB: the log meets that first.
  ['rocksdb', 'ulimit -f 512; ', () => newFolder()],
  ['lmdb', '', () => smallDisk(24)],
] as const)(
  'a disk that refuses a write ends %s, and what it had acknowledged is there',
  {
    timeout: 60_000,
  },
  async (kind, limit, newPath) => {
    const path = newPath()
    if (path === null) return
    const lines = await untilRefused(kind, path, limit)
    expect(lines.slice(-3)).toEqual(['failed', 'then STORAGE_FAILED', 'closed'])
    expect(lines.filter((line) => line === 'failed')).toHaveLength(1)
    const engine = await open(kind, path)
    checkWhole(engine, Number(lines.at(-4)))
    await engine.close()
  },
)
