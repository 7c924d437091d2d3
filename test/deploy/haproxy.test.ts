import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { setTimeout as delay } from 'node:timers/promises'
import { MqttClient } from 'mqtt'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type CliProcess, endAll, runCli, spawnCli } from '../node/run-cli.ts'
import { freePorts } from '../support/free-ports.ts'
import { SECRETS, textOf } from './examples.ts'

/** Debian keeps it where only root looks. */
const PATH = `${process.env.PATH}:/usr/sbin`
const hasHaproxy = spawnSync('haproxy', ['-v'], { env: { ...process.env, PATH } }).status === 0

interface Node {
  name: string
  cli: CliProcess
  ports: { mqtt: number; ws: number; api: number }
}

interface Behind {
  nodes: Node[]
  haproxy: ChildProcess
  /** Where clients connect. */
  port: number
  /** Of its command socket. */
  socket: string
}

describe.skipIf(!hasHaproxy)('three nodes behind haproxy, as in deploy/docker (skipped without haproxy)', () => {
  const folder = mkdtempSync(join(tmpdir(), 'flockmq-haproxy-'))
  let behind: Behind

  beforeAll(async () => {
    behind = await start(folder)
  }, 120_000)

  afterAll(async () => {
    behind?.haproxy.kill('SIGKILL')
    await endAll()
    rmSync(folder, { recursive: true, force: true })
  })

  test('clients are spread, and each node sees the address of its clients', { timeout: 60_000 }, async () => {
    const clients: MqttClient[] = []
    // A node that is busy may be left out for a second; each gets its share in the end.
    await until(async () => {
      if (behind.nodes.every((node) => addressesOf(node).length > 0)) return true
      clients.push(await client(behind.port, `127.0.1.${clients.length + 1}`))
      await until(() => (seen(behind) >= clients.length ? true : null))
      return null
    })
    const addresses = behind.nodes.flatMap(addressesOf)
    expect(addresses.sort()).toEqual(clients.map((_, i) => `127.0.1.${i + 1}`).sort())
    let arrived = ''
    clients[0]!.on('message', (_topic, payload) => {
      arrived = String(payload)
    })
    await clients[0]!.subscribeAsync('a/b', { qos: 1 })
    // The route may come to another node a moment later.
    await until(async () => {
      await clients[1]!.publishAsync('a/b', 'hello', { qos: 1 })
      return arrived === 'hello' ? true : null
    })
    await Promise.all(clients.map((each) => each.endAsync(true)))
  })

  test('a node that is killed leaves the rotation, and its clients go on elsewhere', { timeout: 60_000 }, async () => {
    const before = behind.nodes.map((node) => addressesOf(node).length)
    const all = seen(behind)
    const clients = await Promise.all([1, 2, 3].map((i) => client(behind.port, `127.0.2.${i}`)))
    await until(() => (seen(behind) >= all + 3 ? true : null))
    const victim = behind.nodes.find((node, i) => addressesOf(node).length > before[i]!)!
    victim.cli.kill('SIGKILL')
    await until(async () => ((await stateOf(behind.socket, victim.name)) === 'DOWN' ? true : null))
    await until(() => (clients.every((each) => each.connected) ? true : null))
    const then = addressesOf(victim).length
    await Promise.all(clients.map((each) => each.publishAsync('a/b', 'still', { qos: 1 })))
    const more = await Promise.all([1, 2, 3, 4].map((i) => client(behind.port, `127.0.3.${i}`)))
    // The clients of the dead node, and those that are new, are all at the others.
    await until(() => {
      const others = behind.nodes.filter((node) => node !== victim).flatMap(addressesOf)
      const wanted = [...clients, ...more].map(({ options }) => options.clientId!.slice('from-'.length))
      return wanted.every((address) => others.includes(address)) ? true : null
    })
    expect(addressesOf(victim).length).toBe(then)
    await Promise.all([...clients, ...more].map((each) => each.endAsync(true)))
  })
})

async function start(folder: string): Promise<Behind> {
  const users = join(folder, 'users.yml')
  const made = await runCli(['passwd', users, 'alice', '--stdin'], { input: 'secret\n' })
  expect(made).toMatchObject({ code: 0 })
  const [port, wsPort, ...ports] = await freePorts(2 + 3 * 5)
  const nodes: Node[] = []
  const seeds = [0, 1, 2].map((i) => `127.0.0.1:${ports[5 * i + 3]}`).join(',')
  for (let i = 0; i < 3; i++) {
    const [mqtt, ws, api, gossip, rpc] = ports.slice(5 * i) as [number, number, number, number, number]
    const sets = [
      ...[`node.name=node-${i + 1}`, `node.data=${join(folder, String(i))}`, `plugins.authFile.path=${users}`],
      ...['cluster.host=127.0.0.1', `cluster.seeds=${seeds}`, `cluster.port=${gossip}`, `rpc.port=${rpc}`],
      ...[`mqtt.listeners.tcp.port=${mqtt}`, `mqtt.listeners.ws.port=${ws}`, `api.port=${api}`],
      ...['log.format=pretty', 'log.level=debug'],
    ].flatMap((set) => ['--set', set])
    const cli = await spawnCli(['start', '-c', 'deploy/docker/flockmq.yml', ...sets], { env: SECRETS })
    nodes.push({ name: `node-${i + 1}`, cli, ports: { mqtt, ws, api } })
  }
  for (const { cli, ports } of nodes) {
    await cli.waitFor(/^(ready|started) /m)
    // Before haproxy starts, which takes nodes for ready until it has asked them.
    await until(async () => ((await fetch(`http://127.0.0.1:${ports.api}/readyz`)).ok ? true : null))
  }
  const socket = join(folder, 'haproxy.sock')
  const haproxy = await startHaproxy({ folder, socket, port: port!, wsPort: wsPort!, nodes })
  for (const { name } of nodes) await until(async () => ((await stateOf(socket, name)) === 'UP' ? true : null))
  return { nodes, haproxy, port: port!, socket }
}

/** With the file of the example; only addresses, and the number of connections, are those of this test. */
async function startHaproxy(given: {
  folder: string
  socket: string
  port: number
  wsPort: number
  nodes: readonly Node[]
}): Promise<ChildProcess> {
  const { folder, socket, port, wsPort, nodes } = given
  let config = textOf('docker/haproxy.cfg')
    .replace('    maxconn 100000', `    maxconn 200\n    stats socket ${socket}`)
    .replace('bind :1883', `bind 127.0.0.1:${port}`)
    .replace('bind :8083', `bind 127.0.0.1:${wsPort}`)
    .replaceAll(' port 8091 ', ' ')
  for (const { name, ports } of nodes) {
    config = config
      .replace(`${name}:1883 check`, `127.0.0.1:${ports.mqtt} check port ${ports.api}`)
      .replace(`${name}:8083 check`, `127.0.0.1:${ports.ws} check port ${ports.api}`)
  }
  const file = join(folder, 'haproxy.cfg')
  writeFileSync(file, config)
  const child = spawn('haproxy', ['-db', '-f', file], { stdio: 'ignore', env: { ...process.env, PATH } })
  await once(child, 'spawn')
  return child
}

/** `UP` or `DOWN`, as haproxy sees the node; null: haproxy does not answer yet. */
async function stateOf(socket: string, server: string): Promise<string | null> {
  const asked = connect(socket)
  asked.end('show stat\n')
  const table = await text(asked).catch(() => '')
  const row = table.split('\n').find((line) => line.startsWith(`mqtt-nodes,${server},`))
  return row?.split(',')[17]?.split(' ')[0] ?? null
}

async function client(port: number, localAddress: string): Promise<MqttClient> {
  const made = new MqttClient(() => connect({ host: '127.0.0.1', port, localAddress }), {
    ...{ protocolVersion: 5, username: 'alice', password: 'secret', clientId: `from-${localAddress}` },
    reconnectPeriod: 100,
  })
  made.on('error', () => {})
  await new Promise<void>((resolve) => made.once('connect', () => resolve()))
  return made
}

/** Connections that the nodes took until now. */
function seen({ nodes }: Behind): number {
  return nodes.flatMap(addressesOf).length
}

/** Of all clients that this node took, as its log tells. */
function addressesOf({ cli }: Node): string[] {
  return [...cli.stdout.matchAll(/client\.connected.* address=(\S+)/g)].map(([, address]) => address!)
}

async function until<Value>(check: () => Promise<Value | null> | Value | null): Promise<Value> {
  for (;;) {
    const value = await check()
    if (value !== null) return value
    await delay(50)
  }
}
