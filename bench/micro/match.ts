/**
 * What a match costs: bytes a filter, nanoseconds a match, and what route changes cost while topics are cached.
 *
 *     npx tsc -p bench/tsconfig.json && node --expose-gc build/dev/bench/micro/match.js [filters...]
 */
import type { InboxId, TenantId } from '../../src/base/ids.ts'
import type { RouteChange } from '../../src/dist/index.ts'
import { Interner, LevelBuffer } from '../../src/dist/match/interner.ts'
import { RouteTable } from '../../src/dist/match/table.ts'
import { RouteTrie } from '../../src/dist/match/trie.ts'
import type { RangeDescriptor, Reader } from '../../src/kv/range/coprocessor.ts'

const TENANT = 'default' as TenantId
const OPTIONS = { qos: 1 as const, noLocal: false, retainAsPublished: false, subscriptionId: 0 }
const RANGE: RangeDescriptor = { id: 'r1', service: 'dist', epoch: { version: 1, confVersion: 1 }, replicas: [] }
/** Keeps the compiler from leaving out what is measured. */
export let sink = 0
const EMPTY: Reader = {
  get: () => undefined,
  cursor: () => ({
    valid: false,
    key: new Uint8Array(0),
    value: new Uint8Array(0),
    seek: () => false,
    seekBefore: () => false,
    next: () => false,
    close: () => {},
  }),
}

/** A third without wildcard, a third with `+` in the middle, a third with `#` at the end. */
function filterOf(i: number): string {
  const line = `site${i % 100}/line${i % 1_000}`
  if (i % 3 === 0) return `${line}/device${i}/state`
  return i % 3 === 1 ? `${line}/+/${i}/state` : `${line}/device${i}/#`
}

function topicOf(i: number): string {
  return `site${i % 100}/line${i % 1_000}/device${i}/${i % 3 === 1 ? i : 'state'}${i % 3 === 1 ? '/state' : ''}`
}

function usedBytes(): number {
  for (let i = 0; i < 3; i++) globalThis.gc?.()
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

/** CPU time, so that neighbours on the machine do not count. */
function nanoseconds(count: number, work: () => void): number {
  const before = process.cpuUsage()
  work()
  const { user, system } = process.cpuUsage(before)
  return Math.round(((user + system) * 1_000) / count)
}

/** Of several runs, the one that neighbours disturbed least. */
function best(count: number, work: () => void): number {
  let least = Number.POSITIVE_INFINITY
  for (let i = 0; i < 7; i++) least = Math.min(least, nanoseconds(count, work))
  return least
}

/** Strings as a decoder makes them: new each time, without a hash. */
function freshTopics(total: number, count: number): string[] {
  const bytes = Buffer.from(Array.from({ length: count }, (_, i) => topicOf((i * 7_919) % total)).join('\n'))
  return bytes
    .toString('latin1')
    .split('\n')
    .map((topic) => Buffer.from(topic).toString('latin1'))
}

function trie(filters: number): void {
  const before = usedBytes()
  const levels = new Interner(1)
  const routes = new RouteTrie(levels, 1)
  let slowestMs = 0
  const add = nanoseconds(filters, () => {
    for (let i = 0; i < filters; i++) {
      const start = performance.now()
      routes.add(TENANT, filterOf(i), { kind: 'node', node: 'n1' }, 1, 1)
      const took = performance.now() - start
      if (took > slowestMs) slowestMs = took
    }
  })
  const bytes = (usedBytes() - before) / filters
  const buffer = new LevelBuffer()
  const rounds = 200_000
  const topics = freshTopics(filters, rounds)
  let found = 0
  const match = () => {
    for (const topic of topics) {
      levels.levelsOf(topic, buffer)
      found += routes.match(TENANT, topic, buffer)
    }
  }
  const warm = best(rounds, match)
  const remove = nanoseconds(filters, () => {
    for (let i = 0; i < filters; i++) routes.remove(TENANT, filterOf(i), { kind: 'node', node: 'n1' })
  })
  const matches = (found / rounds / 7).toFixed(1)
  console.log(
    `trie ${filters} filters: ${bytes.toFixed(0)} B/filter, match ${warm} ns (${matches} filters), ` +
      `add ${add} ns (slowest ${slowestMs.toFixed(1)} ms), remove ${remove} ns`,
  )
}

function table(filters: number, cached: number): void {
  const routes = new RouteTable({
    defer: (work) => setImmediate(work),
    now: () => performance.now(),
    cacheBytesMax: 256 * 1024 * 1024,
    seed: 1,
  })
  routes.opened(RANGE, EMPTY)
  let index = 0
  const apply = (change: RouteChange) =>
    routes.applied(RANGE, { index: ++index, nowMs: 0, writes: [], effects: [change], leader: true, reader: EMPTY })
  const route = (filter: string, inbox: string): RouteChange => ({
    op: 'add',
    tenant: TENANT,
    filter,
    receiver: { kind: 'inbox', inbox: inbox as InboxId, options: OPTIONS },
    incarnation: 1,
  })
  for (let i = 0; i < filters; i++) apply(route(filterOf(i), `client${i}`))
  const keys = Array.from({ length: cached }, (_, i) => topicOf((i * 7_919) % filters))
  const before = usedBytes()
  const miss = nanoseconds(cached, () => {
    for (const topic of keys) routes.match(TENANT, topic)
  })
  const bytes = (usedBytes() - before) / cached
  const estimate = routes.stats().cacheEntries
  // As on the hot path: each PUBLISH decodes its topic anew; what decoding costs is taken off.
  const packets = keys.map((topic) => Buffer.from(topic))
  const rounds = 200_000
  const decode = () => {
    for (let i = 0; i < rounds; i++) sink = packets[i % cached]!.toString('latin1').length
  }
  const decodeAndMatch = () => {
    for (let i = 0; i < rounds; i++) routes.match(TENANT, packets[i % cached]!.toString('latin1'))
  }
  const matchAgain = () => {
    for (let i = 0; i < rounds; i++) routes.match(TENANT, keys[i % cached]!)
  }
  const hit = best(rounds, decodeAndMatch) - best(rounds, decode)
  const again = best(rounds, matchAgain)
  console.log(
    `table ${filters} filters, ${estimate} topics cached: miss ${miss} ns, ${bytes.toFixed(0)} B/entry, ` +
      `hit ${hit} ns (string of a new packet), ${again} ns (same string)`,
  )
  storm(routes, cached, 'own filter device/N/cmd/#', (i) => apply(route(`device/${i}/cmd/#`, `c${i}`)))
  storm(routes, cached, 'own filter site1/+/cmdN/#', (i) => apply(route(`site1/+/cmd${i}/#`, `c${i}`)))
  storm(routes, cached, 'one filter +/+/cmd', (i) => apply(route('+/+/cmd', `c${i}`)))
  storm(routes, cached, 'one filter +/+', (i) => apply(route('+/+', `c${i}`)))
  storm(routes, cached, 'touch +/+/+', () => routes.touch(TENANT, '+/+/+'))
  storm(routes, cached, 'topic and its filter, in turn', (i) => {
    const filter = filterOf((i * 3) % filters)
    routes.match(TENANT, topicOf((i * 3) % filters))
    apply(route(filter, `d${i}`))
  })
}

function storm(routes: RouteTable, cached: number, name: string, change: (i: number) => void): void {
  const count = 10_000
  for (let i = 0; i < count; i++) change(i + count)
  const before = routes.stats().invalidations
  const cost = nanoseconds(count, () => {
    for (let i = 0; i < count; i++) change(i)
  })
  const ended = routes.stats().invalidations - before
  console.log(`  ${count} changes, ${cached} topics cached, ${name}: ${cost} ns each, ${ended} entries ended`)
}

const sizes = process.argv.slice(2).map(Number)
for (const filters of sizes.length > 0 ? sizes : [10_000, 100_000, 1_000_000]) trie(filters)
table(1_000, 1_000)
table(100_000, 10_000)
table(100_000, 100_000)
