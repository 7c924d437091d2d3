import { connectAsync } from 'mqtt'
import { afterEach, expect, test } from 'vitest'
import { BASE_PORT_MAX, NODES_MAX, planNodes, portsOf } from '../../deploy/local/plan.ts'
import { builtCluster } from '../build.ts'
import { type CliProcess, endAll, spawnProgram } from '../node/run-cli.ts'
import { isFree } from '../support/free-ports.ts'

const clusters: CliProcess[] = []

afterEach(async () => {
  // By a signal that lets it end its nodes too.
  for (const cluster of clusters.splice(0)) {
    cluster.kill('SIGTERM')
    await cluster.finished
  }
  await endAll()
})

test('no two nodes share a port, and all ports are below 65536', () => {
  for (const base of [1, 1883, BASE_PORT_MAX]) {
    const ports = portsOf(base, NODES_MAX)
    expect(new Set(ports).size).toBe(5 * NODES_MAX)
    expect(Math.max(...ports)).toBeLessThan(65_536)
  }
  expect(Math.max(...portsOf(BASE_PORT_MAX, NODES_MAX))).toBe(65_535)
})

test('the nodes are told the ports that are planned; the settings of the caller come last', () => {
  const plans = planNodes({ nodes: 2, basePort: 2883, data: '/d', settings: ['log.level=debug'] })
  const told = plans.flatMap(({ args }) => args.filter((arg) => arg.includes('.port=')).map((arg) => arg.split('=')[1]))
  expect(told.map(Number)).toEqual(portsOf(2883, 2))
  expect(plans.map(({ args }) => args.includes('127.0.0.1:8946'))).toEqual([false, true])
  expect(plans[1]).toMatchObject({ name: 'n2', mqtt: 2884, ws: 9084, api: 9092, data: '/d/n2' })
  expect(plans[1]!.args.at(-1)).toBe('log.level=debug')
})

test('the help tells the ports, and a wrong number of nodes what is right', async () => {
  const help = await spawnProgram([await builtCluster(), '--help']).finished
  expect(help).toMatchObject({ code: 0, stderr: '' })
  expect(help.stdout).toContain('1883+i')
  const wrong = await spawnProgram([await builtCluster(), '99']).finished
  expect(wrong).toMatchObject({ code: 1, stdout: '' })
  expect(wrong.stderr).toContain(`from 1 to ${NODES_MAX}`)
})

test('three nodes are one broker until they are asked to stop', { timeout: 120_000 }, async () => {
  const { cluster, basePort } = await startCluster(3)
  await cluster.waitFor(/^ {3}\| {3}npx flockmq members/m)
  for (let i = 0; i < 3; i++) expect(cluster.stdout).toContain(`n${i + 1}: MQTT 127.0.0.1:${basePort + i}, `)
  const subscriber = await connectAsync(`mqtt://127.0.0.1:${basePort + 2}`, { protocolVersion: 5 })
  const publisher = await connectAsync(`mqtt://127.0.0.1:${basePort}`, { protocolVersion: 5 })
  let arrived = ''
  subscriber.on('message', (_topic, payload) => {
    arrived = payload.toString()
  })
  await subscriber.subscribeAsync('hello/#', { qos: 1 })
  // The route may come to another node a moment later.
  while (arrived === '') await publisher.publishAsync('hello/world', 'good morning', { qos: 1 })
  expect(arrived).toBe('good morning')
  await Promise.all([subscriber.endAsync(true), publisher.endAsync(true)])
  cluster.kill('SIGTERM')
  const { code, stdout } = await cluster.finished
  expect(code).toBe(0)
  const ends = stdout.split('\n').filter((line) => / stopping n|Stopped/.test(line))
  expect(ends.map((line) => /stopping n\d|^n\d/.exec(line)?.[0])).toEqual(
    ['n3', 'n2', 'n1'].flatMap((name) => [`stopping ${name}`, name]),
  )
})

test('a node that dies ends them all, with a failure', { timeout: 120_000 }, async () => {
  const { cluster } = await startCluster(2)
  const [, pid] = await cluster.waitFor(/^n2 \| (?:ready|started) .* pid (\d+)/m)
  await cluster.waitFor(/\| ready: 2 nodes/)
  process.kill(Number(pid), 'SIGKILL')
  const { code, stdout } = await cluster.finished
  expect(code).toBe(1)
  expect(stdout).toContain('n2 ended (SIGKILL)')
  expect(stdout).toMatch(/^n1 \| .*Stopped/m)
})

async function startCluster(nodes: number): Promise<{ cluster: CliProcess; basePort: number }> {
  const program = await builtCluster()
  const basePort = await freeBase(nodes)
  const cluster = spawnProgram([program, String(nodes), '--base-port', String(basePort)])
  clusters.push(cluster)
  return { cluster, basePort }
}

/** All ports of so many nodes are free from there. */
async function freeBase(nodes: number): Promise<number> {
  // Below those that the system gives to whoever connects.
  for (let base = 10_000 + (process.pid % 10_000); ; base = 10_000 + ((base + 61) % 10_000)) {
    const free = await Promise.all(portsOf(base, nodes).map(isFree))
    if (free.every(Boolean)) return base
  }
}
