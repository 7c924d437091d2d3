/**
 * What retained messages cost: time of a set, memory of a message, a walk through all of them, and the longest time
 * that one call of it keeps the thread.
 *
 *     npx tsc -p bench/tsconfig.json && node --expose-gc build/dev/bench/micro/retain.js [--rocksdb] [messages...]
 */
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import { systemClock, systemRandom } from '../../src/base/clock.ts'
import type { TenantId } from '../../src/base/ids.ts'
import { silentLogger } from '../../src/base/logging.ts'
import { type Message, NO_BYTES, NO_EXPIRY } from '../../src/base/message.ts'
import type { Engine } from '../../src/kv/engine/engine.ts'
import { MemoryEngine } from '../../src/kv/engine/memory/engine.ts'
import { Store } from '../../src/kv/store/store.ts'
import { createRetain, type Retain } from '../../src/retain/index.ts'

const TENANT = 'default' as TenantId
const NO_LIMITS = { topicsMax: Infinity, bytesMax: Infinity }
const PAYLOAD = Buffer.alloc(64, 0x78)
const IN_FLIGHT = 1_000

function topicOf(i: number): string {
  return `site${i % 100}/line${i % 1_000}/device${i}/state`
}

function retained(i: number, expirySeconds: number): Message {
  return {
    ...{ topic: topicOf(i), payload: PAYLOAD, qos: 1, retain: true, properties: NO_BYTES, expirySeconds },
    ...{ timestamp: Date.now() * 1024 + i, publisher: `client${i % 1_000}` },
  } as Message
}

function usedBytes(): number {
  globalThis.gc?.()
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

function cpuMs(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1_000
}

/** The longest time between two turns of the event loop while `work` runs, in ms. */
async function longestTurn(work: () => Promise<void>): Promise<number> {
  let longest = 0
  let last = performance.now()
  let running = true
  const watch = () => {
    const now = performance.now()
    longest = Math.max(longest, now - last)
    last = now
    if (running) setImmediate(watch)
  }
  setImmediate(watch)
  await work()
  running = false
  return longest
}

async function fill(retain: Retain, count: number, expirySeconds: number): Promise<void> {
  let next = 0
  const worker = async () => {
    while (next < count) await retain.set(TENANT, retained(next++, expirySeconds), NO_LIMITS)
  }
  await Promise.all(Array.from({ length: IN_FLIGHT }, worker))
}

async function walk(retain: Retain, filter: string): Promise<{ messages: number; pages: number }> {
  let messages = 0
  let after: Uint8Array | null = null
  for (let pages = 1; ; pages++) {
    const page = await retain.match(TENANT, filter, { after, messagesMax: 1_000, bytesMax: 1024 * 1024 })
    messages += page.messages.length
    after = page.next
    if (after === null) return { messages, pages }
  }
}

/** On a folder of its own, which stays for a look at it. */
async function openEngine(rocksdb: boolean): Promise<Engine> {
  if (!rocksdb) return new MemoryEngine()
  const { RocksEngine } = await import('../../src/kv/engine/rocksdb/engine.ts')
  return RocksEngine.open({ path: mkdtempSync(join(tmpdir(), 'flockmq-bench-')) })
}

async function measure(count: number, rocksdb: boolean): Promise<void> {
  console.log(`\n${count} retained messages, 64-byte payload, topics of 4 levels`)
  const before = usedBytes()
  const engine = await openEngine(rocksdb)
  const store = new Store({
    ...{ engine, clock: systemClock, random: systemRandom, storeId: 'bench', log: silentLogger },
  })
  const slices: number[] = []
  const retain = createRetain({
    serve: (coprocessor, observer, options) => {
      const query: typeof coprocessor.query = (...request) => {
        const started = performance.now()
        const answer = coprocessor.query(...request)
        slices.push(performance.now() - started)
        return answer
      }
      return store.serve({ ...coprocessor, query }, observer, options)
    },
  })
  const filled = cpuMs()
  const setTurn = await longestTurn(() => fill(retain, count, NO_EXPIRY))
  console.log(
    `  set                 ${(((cpuMs() - filled) * 1_000) / count).toFixed(2)} us, longest turn ${setTurn.toFixed(1)} ms`,
  )
  console.log(`  memory              ${Math.round((usedBytes() - before) / count)} bytes a message`)
  for (const filter of ['#', 'site7/#', '+/line7/#', '+/+/device77/state', '+/+/nowhere/state', '+/+/+/state/none']) {
    const started = performance.now()
    const cpu = cpuMs()
    let result = { messages: 0, pages: 0 }
    slices.length = 0
    const turn = await longestTurn(async () => {
      result = await walk(retain, filter)
    })
    slices.sort((a, b) => a - b)
    const slice = `${slices[slices.length >> 1]!.toFixed(2)}/${slices.at(-1)!.toFixed(2)}`
    console.log(
      `  ${filter.padEnd(19)} ${result.messages} messages in ${result.pages} pages, ${Math.round(performance.now() - started)} ms` +
        ` (${Math.round(cpuMs() - cpu)} ms CPU), query p50/max ${slice} ms, longest turn ${turn.toFixed(1)} ms`,
    )
  }
  const replaced = cpuMs()
  await fill(retain, count / 10, 3_600)
  console.log(`  replace, expiring   ${(((cpuMs() - replaced) * 1_000) / (count / 10)).toFixed(2)} us`)
  const split = cpuMs()
  const turn = await longestTurn(async () => {
    await store.split('retain', Buffer.from('default\x01site5'))
    const turns = () => new Promise((resolve) => setImmediate(resolve))
    while (retain.stats().topics === count) await turns()
    while (retain.stats().topics !== count) await turns()
  })
  console.log(`  books after a split ${Math.round(cpuMs() - split)} ms CPU, longest turn ${turn.toFixed(1)} ms`)
  const cleared = cpuMs()
  const clearTurn = await longestTurn(async () => {
    await retain.expire(TENANT, 0)
  })
  console.log(`  clear all           ${Math.round(cpuMs() - cleared)} ms CPU, longest turn ${clearTurn.toFixed(1)} ms`)
  await store.close()
  await engine.close()
}

const rocksdb = process.argv.includes('--rocksdb')
const counts = process.argv.slice(2).map(Number).filter(Number.isInteger)
for (const count of counts.length > 0 ? counts : [100_000, 1_000_000]) await measure(count, rocksdb)
