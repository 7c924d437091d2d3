/**
 * What an engine does on this disk: durable puts by writers in flight, batches, reads, scans, restart.
 *
 *   npx tsc -p bench/tsconfig.json; node --expose-gc build/dev/bench/micro/rocksdb.js [folder [lmdb]]
 *
 * Takes about half a minute and up to 1 GB of the folder, which is removed at the end.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Write } from '../../src/kv/engine/engine.ts'
import { LmdbEngine } from '../../src/kv/engine/lmdb/engine.ts'
import { RocksEngine } from '../../src/kv/engine/rocksdb/engine.ts'

declare const gc: () => void

const VALUE = new Uint8Array(100).fill(7)
const ROUND_MS = 1_500
const KEYS = 1_000_000
const encoder = new TextEncoder()
const path = mkdtempSync(join(process.argv[2] ?? tmpdir(), 'flockmq-bench-'))
const keyOf = (n: number) => encoder.encode(`tenant-a/sensors/${String((n * 7919) % KEYS).padStart(7, '0')}`)
let next = 0
const put = (): { family: 'inbox'; write: Write } => ({
  family: 'inbox',
  write: { type: 'put', key: keyOf(next++), value: VALUE },
})

const open = () => (process.argv[3] === 'lmdb' ? LmdbEngine.open({ path }) : RocksEngine.open({ path }))
let engine = await open()
console.log(`in ${path}`)
for (const writers of [1, 16, 64, 256, 1024]) await writeRound(`${writers} writers`, writers, 1)
for (const writers of [1, 4, 16]) await writeRound(`${writers} writers, batches of 100`, writers, 100)
await fill()
readRounds()
await restart()
await engine.close()
rmSync(path, { recursive: true })

async function writeRound(name: string, writers: number, size: number): Promise<void> {
  const times: number[] = []
  const { syncs } = engine.stats()
  const cpu = process.cpuUsage()
  const start = performance.now()
  const end = start + ROUND_MS
  const writer = async () => {
    for (let from = performance.now(); from < end; ) {
      await engine.write({ writes: Array.from({ length: size }, put), sync: true })
      const now = performance.now()
      times.push(now - from)
      from = now
    }
  }
  await Promise.all(Array.from({ length: writers }, writer))
  const seconds = (performance.now() - start) / 1_000
  const { user, system } = process.cpuUsage(cpu)
  times.sort((a, b) => a - b)
  const at = (part: number) => times[Math.floor(times.length * part)]!.toFixed(2)
  const puts = times.length * size
  const rate = Math.round(puts / seconds)
  const perPut = ((user + system) / puts).toFixed(1)
  const perSync = (puts / (engine.stats().syncs - syncs)).toFixed(0)
  console.log(
    `${name}: ${rate} durable puts/s, p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, ${perPut} us CPU a put, ${perSync} puts a sync`,
  )
}

/** Everything is there once, and nothing else. */
async function fill(): Promise<void> {
  next = 0
  const start = performance.now()
  for (let i = 0; i < KEYS; i += 1_000) {
    await engine.write({ writes: Array.from({ length: 1_000 }, put), sync: i % 10_000 === 0 })
  }
  const rate = Math.round(KEYS / ((performance.now() - start) / 1_000))
  console.log(`fill of ${KEYS} keys: ${rate} puts/s; log ${logMebibytes()} MiB; rss ${rssMebibytes()} MiB`)
  console.log(engine.stats())
}

function readRounds(): void {
  const round = (name: string, count: number, work: (i: number) => void) => {
    const fromNs = threadNs()
    for (let i = 0; i < count; i++) work(i)
    console.log(`${name}: ${((threadNs() - fromNs) / 1_000 / count).toFixed(2)} us CPU`)
  }
  round('get, random', 30_000, (i) => engine.get('inbox', keyOf(i * 31)))
  round('get, random of 1,000', 30_000, (i) => engine.get('inbox', keyOf(i % 1_000)))
  round('get, missing', 30_000, (i) => engine.get('inbox', encoder.encode(`tenant-a/sensors/${i}x`)))
  round('cursor open, seek, 3 steps, close', 10_000, (i) => {
    const cursor = engine.cursor('inbox', { start: keyOf(i * 31) })
    for (let step = 0; step < 3; step++) cursor.next()
    cursor.close()
  })
  const cursor = engine.cursor('inbox', {})
  round('scan, an entry', KEYS, () => cursor.next())
  cursor.close()
  gc()
  console.log(`rss ${rssMebibytes()} MiB`)
}

async function restart(): Promise<void> {
  await engine.close()
  const start = performance.now()
  engine = await open()
  console.log(`restart: ${(performance.now() - start).toFixed(0)} ms; log ${logMebibytes()} MiB`)
}

/** CPU time of this thread alone: RocksDB compacts meanwhile. Linux only. */
function threadNs(): number {
  return Number(readFileSync(`/proc/self/task/${process.pid}/schedstat`, 'latin1').split(' ')[0])
}

function logMebibytes(): number {
  const folder = join(path, process.argv[3] === 'lmdb' ? 'lmdb' : 'rocksdb')
  const logs = readdirSync(folder).filter((name) => name.endsWith('.log') || name === 'data.mdb')
  return Math.round(logs.reduce((sum, name) => sum + statSync(join(folder, name)).size, 0) / 2 ** 20)
}

function rssMebibytes(): number {
  return Math.round(process.memoryUsage().rss / 2 ** 20)
}
