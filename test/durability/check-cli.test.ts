import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import type { InboxId, TenantId } from '../../src/base/ids.ts'
import { inboxStart } from '../../src/inbox/index.ts'
import { KIND_TALLY, withKind } from '../../src/inbox/store/schema.ts'
import { RocksEngine } from '../../src/kv/engine/rocksdb/engine.ts'
import { builtMain } from '../build.ts'
import { ANY_PORTS, endAll, runCli, spawnCli } from '../node/run-cli.ts'
import { ProcessNode, untilReal } from './process-node.ts'
import { Talker } from './talker.ts'

const root = mkdtempSync('/tmp/flockmq-check-')
const data = `${root}/data`

/** A node with a session, its queue and retained messages, killed. */
beforeAll(async () => {
  await builtMain()
  const node = new ProcessNode(data)
  await node.start()
  const talker = new Talker(node.dial, untilReal)
  await talker.connect('c')
  await talker.subscribe('a', 1)
  for (const payload of ['1', '2']) await talker.publish('a', payload)
  await talker.publish('r', 'retained', { retain: true })
  const running = await runCli(['check', data])
  expect(running).toMatchObject({ code: 1, stdout: '' })
  expect(running.stderr).toMatch(/^flockmq: Cannot use the data folder .*: process \d+ runs on it/)
  await node.kill()
}, 60_000)

afterEach(endAll)
afterAll(() => rmSync(root, { recursive: true, force: true }))

test('what a killed node left is read and counted, and the node starts again', async () => {
  const { code, stdout, stderr } = await runCli(['check', data])
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  const hostId = JSON.parse(readFileSync(`${data}/flockmq.json`, 'utf8')).hostId
  expect(stdout).toMatch(new RegExp(`^${data}: format 1, host ${hostId}, \\d+ records\n`))
  expect(stdout).toMatch(/ {2}range inbox-1: all keys, version 1, [1-9]\d* entries applied\n/)
  expect(stdout).toMatch(/ {2}tenant default: .*sessions 1, attached 1, subscriptions 1, queued 2, queuedBytes \d+/)
  expect(stdout).toMatch(/\nno damage\n$/)
  const json = JSON.parse((await runCli(['check', data, '--json'])).stdout)
  expect(json).toMatchObject({ path: data, hostId, format: 1, ok: true, damaged: 0, damage: [] })
  expect(json.ranges.map(({ id }: { id: string }) => id)).toEqual(['dist-1', 'inbox-1', 'retain-1', 'cluster-1'])
  expect(json.tenants.default).toMatchObject({ routes: 1, sessions: 1, queued: 2, retained: 1 })
  const node = new ProcessNode(data)
  await node.start()
  await node.stop()
}, 60_000)

test('damage is named by its key, and the exit code tells', async () => {
  const tally = withKind(inboxStart('default' as TenantId, 'c' as InboxId), KIND_TALLY)
  const engine = await RocksEngine.open({ path: `${data}/store` })
  const put = { type: 'put', key: tally, value: Buffer.of(9) } as const
  await engine.write({ writes: [{ family: 'inbox', write: put }], sync: true })
  await engine.close()
  const { code, stdout } = await runCli(['check', data])
  expect(code).toBe(1)
  expect(stdout).toContain('  DAMAGED inbox inbox-1 default\\x00c\\x00\\x02: Cannot read a record of an inbox')
  expect(stdout).toMatch(/\n\d damaged\n$/)
  const json = JSON.parse((await runCli(['check', data, '--json'])).stdout)
  expect(json.damage).toContainEqual({
    ...{ family: 'inbox', range: 'inbox-1', key: tally.toString('hex') },
    reason: expect.stringContaining('a tally has version 9'),
  })
}, 60_000)

test('a database that lost what was durable is not read', async () => {
  const node = new ProcessNode(`${root}/lost`)
  await node.start()
  const talker = new Talker(node.dial, untilReal)
  await talker.connect('c')
  await node.stop()
  rmSync(`${root}/lost/store/rocksdb`, { recursive: true })
  const { code, stderr } = await runCli(['check', `${root}/lost`])
  expect(code).toBe(1)
  expect(stderr).toMatch(
    /^flockmq: Cannot open the database .* acknowledged writes are lost; --accept-loss starts without them\n$/,
  )
}, 60_000)

test('a folder that is none, and one that holds no store', async () => {
  mkdirSync(`${root}/other`)
  writeFileSync(`${root}/other/file`, '')
  for (const folder of [`${root}/other`, `${root}/missing`]) {
    const { code, stdout, stderr } = await runCli(['check', folder])
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
    expect(stderr).toBe(`flockmq: "${folder}" is no data folder: it holds no flockmq.json\n`)
  }
  const memory = await spawnCli(['start', '--data', `${root}/memory`, ...ANY_PORTS, '--set', 'store.engine=memory'])
  await memory.waitFor(/^ready /m)
  memory.kill('SIGKILL')
  await memory.finished
  expect(await runCli(['check', `${root}/memory`])).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/, 0 records\nno damage\n$/),
  })
}, 60_000)
