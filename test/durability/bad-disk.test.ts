import { execFileSync } from 'node:child_process'
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statfsSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { builtMain } from '../build.ts'
import { smallDisk } from '../kv/engine/small-disk.ts'
import { endAll, runCli } from '../node/run-cli.ts'
import { ProcessNode, untilReal } from './process-node.ts'
import { Talker } from './talker.ts'

// A real process on a disk that fails, hangs, fills up or lost something.

vi.setConfig({ testTimeout: 180_000 })

const root = mkdtempSync(join(tmpdir(), 'flockmq-bad-disk-'))
const MIB = 1024 * 1024
let count = 0
const newPath = () => `${root}/${++count}`

beforeAll(async () => {
  await builtMain()
}, 60_000)
afterEach(endAll)
afterAll(() => rmSync(root, { recursive: true, force: true }))

/** Runs in the node: RocksDB's write does as a file says, `fail` or `hang`, as long as that is there. */
function diskPreload(order: string): string {
  return `
    import { existsSync, readFileSync } from 'node:fs'
    import { createRequire } from 'node:module'
    const binding = createRequire(${JSON.stringify(pathToFileURL(resolve('package.json')).href)})('rocksdb/binding.js')
    const write = binding.batch_write
    const order = () => (existsSync(${JSON.stringify(order)}) ? readFileSync(${JSON.stringify(order)}, 'utf8') : '')
    binding.batch_write = (...args) => {
      if (order() === 'fail') throw new Error('IO error: While fdatasync: Input/output error')
      while (order() === 'hang') Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20)
      return write(...args)
    }`
}

/** A client of the node; with a session that stays. */
async function talk(node: ProcessNode, clientId: string): Promise<{ talker: Talker; present: boolean }> {
  const talker = new Talker(node.dial, untilReal)
  const { sessionPresent } = await talker.connect(clientId)
  return { talker, present: sessionPresent }
}

/** Publishes with QoS 1 and gives the reason code of the PUBACK. */
async function publish(talker: Talker, id: number, payload: string, topic = 't'): Promise<number> {
  send(talker, id, payload, topic)
  return (await talker.expect('puback', id)).reasonCode ?? 0
}

function send(talker: Talker, messageId: number, payload: string, topic = 't'): void {
  talker.send({ cmd: 'publish', topic, payload, qos: 1, retain: false, dup: false, messageId, properties: {} })
}

/** A node with a session `away` that is subscribed to `t` and not here, and a publisher. */
async function withQueue(node: ProcessNode): Promise<Talker> {
  await node.start()
  const { talker: away } = await talk(node, 'away')
  await away.subscribe('t', 1)
  away.drop()
  return (await talk(node, 'publisher')).talker
}

/** All that waits for `away`, taken and acknowledged, up to `last`. */
async function takeAll(node: ProcessNode, last: string): Promise<string[]> {
  const { talker } = await talk(node, 'away')
  let acked = 0
  const ack = () => {
    for (const packet of talker.heard.slice(acked)) {
      acked++
      if (packet.cmd === 'publish') talker.send({ cmd: 'puback', messageId: packet.messageId!, reasonCode: 0 })
    }
    return talker.payloads.includes(last)
  }
  await untilReal(ack, 10_000)
  const { payloads } = talker
  talker.drop()
  return payloads
}

describe('a write that the disk refuses', () => {
  test('ends the process with one clear line, and what was acknowledged is there', async () => {
    const order = `${root}/order-fail`
    const node = new ProcessNode(newPath(), ['store.engine=rocksdb'], diskPreload(order))
    const talker = await withQueue(node)
    expect(await publish(talker, 1, 'kept')).toBe(0)
    writeFileSync(order, 'fail')
    send(talker, 2, 'lost')
    const { code } = await node.finished
    expect(code).toBe(1)
    expect(node.output).toMatch(/The disk failed: the process ends.*\n?.*Input\/output error/)
    expect(talker.heard.filter(({ cmd }) => cmd === 'puback')).toEqual([])
    rmSync(order)
    await node.start()
    expect((await takeAll(node, 'kept'))[0]).toBe('kept')
  })

  test('so does a disk without any space, for LMDB', async () => {
    const order = `${root}/order-full`
    // What the storage thread looks at before it writes.
    const preload = `
      import fs from 'node:fs'
      import { syncBuiltinESMExports } from 'node:module'
      const { existsSync, statfsSync } = fs
      const full = { bavail: 0, bsize: 4_096 }
      fs.statfsSync = (path) => (existsSync(${JSON.stringify(order)}) ? full : statfsSync(path))
      syncBuiltinESMExports()`
    const node = new ProcessNode(newPath(), ['store.engine=lmdb'], preload)
    const talker = await withQueue(node)
    expect(await publish(talker, 1, 'kept')).toBe(0)
    writeFileSync(order, '')
    send(talker, 2, 'lost')
    expect((await node.finished).code).toBe(1)
    expect(node.output).toMatch(/The disk failed: the process ends.*no space left on device/)
    rmSync(order)
    await node.start()
    expect(await takeAll(node, 'kept')).toEqual(['kept'])
  })

  test('so does a log that may not grow', async () => {
    const node = new ProcessNode(newPath(), ['store.engine=rocksdb'])
    const talker = await withQueue(node)
    expect(await publish(talker, 1, 'kept')).toBe(0)
    try {
      execFileSync('prlimit', [`--pid=${node.pid}`, `--fsize=${MIB}`])
    } catch {
      return
    }
    for (let id = 2; id < 100; id++) send(talker, id, 'x'.repeat(50_000))
    expect((await node.finished).code).toBe(1)
    expect(node.output).toMatch(/The disk failed: the process ends.*\n?.*File too large/)
    const acked = talker.heard.filter(({ cmd }) => cmd === 'puback').length
    await node.start()
    const { talker: next } = await talk(node, 'publisher')
    expect(await publish(next, 1_000, 'last')).toBe(0)
    const payloads = await takeAll(node, 'last')
    expect(payloads[0]).toBe('kept')
    expect(payloads.length).toBeGreaterThanOrEqual(1 + acked + 1)
  })
})

test('a write that hangs: what needs space is refused, then served again', async () => {
  const order = `${root}/order-hang`
  const node = new ProcessNode(newPath(), ['store.engine=rocksdb', 'store.hangMs=300'], diskPreload(order))
  const talker = await withQueue(node)
  const { talker: live } = await talk(node, 'live')
  await live.subscribe('live', 1)
  const { talker: other } = await talk(node, 'other')
  writeFileSync(order, 'hang')
  send(talker, 1, 'hangs')
  await expect.poll(async () => (await node.readiness()).text, { timeout: 10_000 }).toContain('not come back')
  expect(await publish(other, 1, 'refused')).toBe(0x97)
  expect((await node.readiness()).ready).toBe(false)
  // What needs no disk goes on.
  talker.send({ cmd: 'publish', topic: 'live', payload: 'now', qos: 0, retain: false, dup: false, properties: {} })
  expect((await live.expect('publish')).payload.toString()).toBe('now')
  rmSync(order)
  expect((await talker.expect('puback', 1)).reasonCode ?? 0).toBe(0)
  await expect.poll(async () => (await node.readiness()).ready, { timeout: 30_000 }).toBe(true)
  expect(await publish(other, 2, 'after')).toBe(0)
  expect(await takeAll(node, 'after')).toEqual(['hangs', 'after'])
})

describe('a disk that lost something', () => {
  /** A node killed after `publishes` acknowledged ones, whose side file has caught up with the log. */
  async function killed(publishes: number): Promise<ProcessNode> {
    const node = new ProcessNode(newPath(), ['store.engine=rocksdb'])
    const talker = await withQueue(node)
    for (let id = 1; id <= publishes; id++) expect(await publish(talker, id, `${id}`)).toBe(0)
    // The side file is written at most every 100 ms.
    await delay(300)
    await node.kill()
    return node
  }

  const logOf = (node: ProcessNode): string => {
    const folder = join(node.data, 'store', 'rocksdb')
    const logs = readdirSync(folder).filter((name) => name.endsWith('.log'))
    return logs.map((name) => join(folder, name)).sort((a, b) => statSync(b).size - statSync(a).size)[0]!
  }

  test.each([
    [
      'a log with other bytes in its middle',
      (log: string) => {
        const data = readFileSync(log)
        data.fill(0xa5, data.length >> 1, (data.length >> 1) + 40)
        writeFileSync(log, data)
      },
    ],
    ['a log that was cut', (log: string) => truncateSync(log, statSync(log).size >> 1)],
  ])('%s is named and not served, unless the loss is accepted', async (_name, damage) => {
    const node = await killed(60)
    damage(logOf(node))
    const named =
      /^flockmq: Cannot open the database in ".*": batch \d+ was durable, but the database ends at batch \d+/
    const start = await runCli(['start', '--data', node.data, '--set', 'log.level=error'])
    expect([start.code, start.stdout]).toEqual([1, ''])
    expect(start.stderr).toMatch(named)
    expect(start.stderr).toContain('acknowledged writes are lost; --accept-loss starts without them')
    const check = await runCli(['check', node.data])
    expect([check.code, check.stdout]).toEqual([1, ''])
    expect(check.stderr).toMatch(named)
    await node.start(['--accept-loss'])
    // What is left is a beginning of what was acknowledged.
    const { talker } = await talk(node, 'publisher')
    expect(await publish(talker, 1_000, 'last')).toBe(0)
    const payloads = await takeAll(node, 'last')
    expect(payloads.pop()).toBe('last')
    expect(payloads.length).toBeLessThan(60)
    expect(payloads).toEqual(payloads.map((_, i) => `${i + 1}`))
    await node.stop()
    await node.start()
    await node.stop()
  })

  const payloadOf = (id: number) => `${id} `.padEnd(50_000, String(id))

  /** A node, stopped, whose queue lies in tables; gives those, the longest first. */
  async function tabled(): Promise<{ node: ProcessNode; tables: string[] }> {
    const node = new ProcessNode(newPath(), ['store.engine=rocksdb', 'store.memtableBytes=4MiB'])
    const talker = await withQueue(node)
    for (let id = 1; id <= 200; id++) expect(await publish(talker, id, payloadOf(id))).toBe(0)
    talker.drop()
    await node.stop()
    const folder = join(node.data, 'store', 'rocksdb')
    const paths = readdirSync(folder).map((name) => join(folder, name))
    const tables = paths.filter((path) => path.endsWith('.sst') && statSync(path).size > 100_000)
    expect(tables.length).toBeGreaterThan(0)
    return { node, tables: tables.sort((a, b) => statSync(b).size - statSync(a).size) }
  }

  test('tables that are damaged all over are named, and the node does not start', async () => {
    const { node, tables } = await tabled()
    for (const path of tables) damageBytes(path, 1_000, 4_000)
    const start = await runCli(['start', '--data', node.data, '--set', 'log.level=error'])
    expect([start.code, start.stdout]).toEqual([1, ''])
    expect(start.stderr).toMatch(/^flockmq: Cannot read the database: Corruption: block checksum mismatch.*\.sst/)
    const check = await runCli(['check', node.data])
    expect(check.code).toBe(1)
    expect(check.stderr + check.stdout).toContain('Corruption: block checksum mismatch')
  })

  test('one damaged block is named, and what it holds is never served', async () => {
    const { node, tables } = await tabled()
    for (const path of tables) damageBytes(path, statSync(path).size >> 1, 10_000_000)
    const heard: string[] = []
    let told = ''
    try {
      await node.start()
      heard.push(...(await takeAll(node, payloadOf(200))))
      told = node.output + (await node.readiness()).text
    } catch (error) {
      told = (error as Error).message
    }
    expect(told).toMatch(/Corruption: block checksum mismatch/)
    expect(heard.length).toBeLessThan(200)
    for (const each of heard) expect(each).toBe(payloadOf(Number.parseInt(each, 10)))
    const check = await runCli(['check', node.data])
    expect(check.code).toBe(1)
    expect(check.stderr + check.stdout).toContain('Corruption: block checksum mismatch')
  })
})

describe.each(['rocksdb', 'lmdb'])('little space for %s', (engine) => {
  test('growth is refused, acks and deletes are not; space that is freed means service, without a restart', async () => {
    const path = smallDisk(1_200)
    if (path === null) return
    const node = new ProcessNode(path, [`store.engine=${engine}`])
    const talker = await withQueue(node)
    const { talker: busy } = await talk(node, 'busy')
    await busy.subscribe('b', 1)
    for (let id = 1; id <= 5; id++) expect(await publish(talker, id, `${id}`)).toBe(0)
    expect(await publish(talker, 6, 'unacknowledged', 'b')).toBe(0)
    const unacknowledged = await busy.expect('publish')
    fillTo(path, 1_000)
    await expect.poll(async () => (await node.readiness()).ready, { timeout: 30_000 }).toBe(false)
    expect((await node.readiness()).text).toContain('the disk is nearly full')
    // A queued message, a retained one, a subscription and a new session need space.
    expect(await publish(talker, 7, 'refused')).toBe(0x97)
    talker.send({
      cmd: 'publish',
      topic: 'r',
      payload: 'r',
      qos: 1,
      retain: true,
      dup: false,
      messageId: 8,
      properties: {},
    })
    expect((await talker.expect('puback', 8)).reasonCode).toBe(0x97)
    talker.send({ cmd: 'subscribe', messageId: 9, subscriptions: [{ topic: 'more', qos: 1 }] })
    expect([...(await talker.expect('suback', 9)).granted]).toEqual([0x97])
    // Acks, the queue of a session that returns, and leaving need none.
    busy.send({ cmd: 'puback', messageId: unacknowledged.messageId!, reasonCode: 0 })
    busy.send({ cmd: 'unsubscribe', messageId: 10, unsubscriptions: ['b'] })
    expect([...((await busy.expect('unsuback', 10)).granted as number[])]).toEqual([0])
    expect(await takeAll(node, '5')).toEqual(['1', '2', '3', '4', '5'])
    rmSync(join(path, 'filler'))
    await expect.poll(async () => (await node.readiness()).ready, { timeout: 30_000 }).toBe(true)
    expect(await publish(talker, 11, 'again')).toBe(0)
    expect(await takeAll(node, 'again')).toEqual(['again'])
    await node.stop()
  })
})

/** Writes a file until so many MiB are free. */
function fillTo(path: string, freeMebibytes: number): void {
  const { bavail, bsize } = statfsSync(path)
  const bytes = Math.max(0, bavail * bsize - freeMebibytes * MIB)
  const filler = join(path, 'filler')
  expect(existsSync(filler)).toBe(false)
  try {
    writeFileSync(filler, new Uint8Array(bytes))
  } catch {
    // As much as there was.
  }
}

/** Changes a byte at `from` and at each `distance` after it. */
function damageBytes(path: string, from: number, distance: number): void {
  const data = readFileSync(path)
  for (let at = from; at < data.length - 20_000; at += distance) data[at]! ^= 0x55
  writeFileSync(path, data)
}
