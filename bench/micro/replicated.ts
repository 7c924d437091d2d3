/**
 * Mutations that a majority of three stores has on disk: three processes, RocksDB with fdatasync, real links.
 *
 *     npx tsc -p bench/tsconfig.json && node build/dev/bench/micro/replicated.js [--stores 3] [--rate 5000] [--seconds 10]
 *
 * 8 ranges, 200-byte values, 512 in flight from a client beside the first store; `--stores 1`: one voter. CPU and
 * fdatasyncs are those of all processes together.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { systemClock, systemRandom } from '../../src/base/clock.ts'
import type { HostId } from '../../src/base/ids.ts'
import { silentLogger } from '../../src/base/logging.ts'
import { RoutedClient } from '../../src/kv/client/routed-client.ts'
import type { Write } from '../../src/kv/engine/engine.ts'
import { RocksEngine } from '../../src/kv/engine/rocksdb/engine.ts'
import type { Coprocessor } from '../../src/kv/range/coprocessor.ts'
import { ByteReader, ByteWriter } from '../../src/kv/range/wire.ts'
import { RangeCalls } from '../../src/kv/remote/range-calls.ts'
import { StoreLinks } from '../../src/kv/remote/store-links.ts'
import { ANSWERS, Store } from '../../src/kv/store/store.ts'
import { startRpc } from '../../src/rpc/node.ts'

interface Put {
  key: Uint8Array
  value: Uint8Array
}

const RANGES = 8
const IN_FLIGHT = 512
const VALUE_BYTES = 200
const WARM_MS = 3_000

const puts: Coprocessor<Put, number, null, null, null> = {
  service: 'inbox',
  version: 1,
  encode(commands) {
    const writer = new ByteWriter(commands.length * (VALUE_BYTES + 32))
    writer.varint(commands.length)
    for (const { key, value } of commands) {
      writer.bytes(key)
      writer.bytes(value)
    }
    return writer.finish()
  },
  decode(entry) {
    const reader = new ByteReader(entry)
    return Array.from({ length: reader.varint() }, () => ({ key: reader.bytes(), value: reader.bytes() }))
  },
  mutate(commands, _reader, { index }) {
    const writes = commands.map(({ key, value }): Write => ({ type: 'put', key, value }))
    return { writes, responses: commands.map(() => index), effects: [] }
  },
  query: () => null,
  due: () => [],
  nextDueMs: () => null,
}

/** One store, told by its parent what to do. */
async function serve(name: string, folder: string, names: string[]): Promise<void> {
  const common = { clock: systemClock, random: systemRandom, log: silentLogger }
  const engine = await RocksEngine.open({ path: folder })
  const rpc = await startRpc({
    ...{ cluster: 'bench', node: name as HostId, incarnation: 1, host: '127.0.0.1', port: 0 },
    ...{ secrets: ['bench'], tls: null, ...common },
  })
  const links = new StoreLinks(rpc.peers)
  const store = new Store({ engine, storeId: name, send: links.send, ...common })
  links.attach(store)
  const splits = Array.from({ length: RANGES - 1 }, (_, i) => Uint8Array.of(Math.round(((i + 1) * 256) / RANGES)))
  process.on(
    'message',
    async (message: { type: string; ports?: Record<string, number>; rate?: number; ms?: number }) => {
      if (message.type === 'begin') {
        for (const [node, port] of Object.entries(message.ports!)) {
          if (node !== name) rpc.peers.join({ node: node as HostId, address: `127.0.0.1:${port}` })
        }
        const local = store.open(puts, { opened() {}, applied() {}, closed() {} }, { splits, stores: names })
        const codec = { encode: puts.encode, decode: puts.decode, values: ANSWERS }
        const transport = new RangeCalls(rpc.peers).join('inbox', local, codec, () => [])
        if (name === names[0]) {
          const client = new RoutedClient<Put, number, null, null>({
            ...{ service: 'inbox', transport, incarnation: `${name}-1`, ...common },
            commandBytes: () => VALUE_BYTES + 16,
          })
          // Every range has a leader that has answered.
          const firsts = [Uint8Array.of(0), ...splits].map((key) => ({ key, value: key }))
          await Promise.all(firsts.map((put) => client.mutate(put.key, put, { deadlineMs: 60_000 })))
          await drive(client, WARM_MS, message.rate!)
          process.send!({ type: 'warm' })
          process.send!({ type: 'result', ...(await drive(client, message.ms!, message.rate!)) })
        }
      } else if (message.type === 'figures') {
        const { user, system } = process.cpuUsage()
        const leaders = store.ranges().filter(({ leads }) => leads).length
        process.send!({ type: 'figures', cpuMicros: user + system, syncs: engine.stats().syncs, leaders })
      }
    },
  )
  process.send!({ type: 'port', name, port: rpc.port })
}

/** `rate` 0: as many as there is room for. */
async function drive(client: RoutedClient<Put, number, null, null>, ms: number, rate: number) {
  const latencies: number[] = []
  let failed = 0
  let underWay = 0
  let sent = 0
  const startMs = performance.now()
  const endMs = startMs + ms
  const value = new Uint8Array(VALUE_BYTES)
  await new Promise<void>((resolve) => {
    const send = (): void => {
      const at = performance.now()
      const key = new Uint8Array(16)
      key[0] = Math.floor(Math.random() * 256)
      new DataView(key.buffer).setUint32(4, Math.floor(Math.random() * 1_000_000))
      sent++
      underWay++
      client.mutateWith(key, { key, value }, (error) => {
        underWay--
        if (error !== null) failed++
        latencies.push(performance.now() - at)
        fill()
      })
    }
    const fill = (): void => {
      const nowMs = performance.now()
      if (nowMs >= endMs) {
        if (underWay === 0) resolve()
        return
      }
      if (rate === 0) while (underWay < IN_FLIGHT) send()
      else while (sent < ((nowMs - startMs) * rate) / 1_000 && underWay < IN_FLIGHT) send()
    }
    const timer = setInterval(() => {
      fill()
      if (performance.now() >= endMs && underWay === 0) clearInterval(timer)
    }, 1)
    fill()
  })
  latencies.sort((a, b) => a - b)
  const at = (share: number) => Number((latencies[Math.floor(latencies.length * share)] ?? 0).toFixed(2))
  const seconds = (performance.now() - startMs) / 1_000
  return {
    count: latencies.length,
    failed,
    perSecond: Math.round(latencies.length / seconds),
    p50: at(0.5),
    p99: at(0.99),
  }
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: { stores: { type: 'string' }, rate: { type: 'string' }, seconds: { type: 'string' } },
  })
  const count = Number(values.stores ?? 3)
  const folder = mkdtempSync(join(tmpdir(), 'flockmq-replicated-'))
  const names = Array.from({ length: count }, (_, i) => `s${i + 1}`)
  const children: ChildProcess[] = []
  const ports: Record<string, number> = {}
  for (const name of names) {
    const child = fork(fileURLToPath(import.meta.url), ['--child', name, join(folder, name), names.join(',')])
    children.push(child)
    const { port } = await said<{ port: number }>(child, 'port')
    ports[name] = port
  }
  const begin = { type: 'begin', ports, rate: Number(values.rate ?? 0), ms: Number(values.seconds ?? 10) * 1_000 }
  const warm = said(children[0]!, 'warm')
  const result = said<{ count: number }>(children[0]!, 'result')
  for (const child of children) child.send(begin)
  await warm
  const before = await figures(children)
  const measured = await result
  const after = await figures(children)
  console.log({
    ...measured,
    cpuMicrosEach: Number(((after.cpuMicros - before.cpuMicros) / measured.count).toFixed(2)),
    syncsEach: Number(((after.syncs - before.syncs) / measured.count).toFixed(4)),
    leaders: after.leaders.join('/'),
  })
  for (const child of children) child.kill()
  rmSync(folder, { recursive: true, force: true })
}

async function figures(children: readonly ChildProcess[]) {
  const all = await Promise.all(
    children.map((child) => {
      const answer = said<{ cpuMicros: number; syncs: number; leaders: number }>(child, 'figures')
      child.send({ type: 'figures' })
      return answer
    }),
  )
  const sum = (of: (each: (typeof all)[number]) => number) => all.reduce((total, each) => total + of(each), 0)
  return {
    cpuMicros: sum((each) => each.cpuMicros),
    syncs: sum((each) => each.syncs),
    leaders: all.map((each) => each.leaders),
  }
}

function said<Message extends object>(child: ChildProcess, type: string): Promise<Message & { type: string }> {
  return new Promise((resolve) => {
    const listen = (message: Message & { type: string }) => {
      if (message.type !== type) return
      child.off('message', listen)
      resolve(message)
    }
    child.on('message', listen)
  })
}

const [flag, name, folder, names] = process.argv.slice(2)
if (flag === '--child') await serve(name!, folder!, names!.split(','))
else await main()
