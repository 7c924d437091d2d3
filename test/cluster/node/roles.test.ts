import { connectAsync, type IClientOptions, type MqttClient } from 'mqtt'
import { beforeAll, expect, test, vi } from 'vitest'
import { builtMain } from '../../build.ts'
import { eventually, type Fleet, type NodeProcess, using } from './fleet.ts'

vi.setConfig({ testTimeout: 120_000 })

beforeAll(async () => {
  await builtMain()
}, 60_000)

const FRONT = ['--set', 'node.roles=mqtt,api']
const STORES = ['--set', 'node.roles=dist,inbox,retain,api']

interface Client {
  mqtt: MqttClient
  got: string[]
}

async function connect(node: NodeProcess, options: IClientOptions): Promise<Client> {
  const mqtt = await connectAsync(`mqtt://${node.listener('tcp')}`, { reconnectPeriod: 0, ...options }, false)
  const got: string[] = []
  mqtt.on('message', (topic, payload) => got.push(`${topic} ${payload}`))
  return { mqtt, got }
}

interface ReplicaInfo {
  node: string
  kind: 'voter' | 'learner'
}

interface RangeInfo {
  id: string
  leader: { node: string } | null
  replicas: ReplicaInfo[]
}

async function ranges(node: NodeProcess): Promise<RangeInfo[]> {
  return ((await node.get('/api/v1/ranges')) as { ranges: RangeInfo[] }).ranges
}

/** The nodes with a voter of each range, as `node` shows them. */
async function voters(node: NodeProcess): Promise<string[]> {
  return (await ranges(node)).map(({ id, leader, replicas }) => {
    const names = replicas.filter(({ kind }) => kind === 'voter').map((replica) => replica.node)
    return `${id}${leader === null ? '?' : ''} ${names.sort().join()}`
  })
}

async function ready(node: NodeProcess): Promise<boolean> {
  return (await fetch(`${node.api}/readyz`)).ok
}

/** Three nodes that hold everything behind two that have the clients. */
async function workloads(fleet: Fleet): Promise<{ fronts: NodeProcess[]; stores: NodeProcess[] }> {
  const first = fleet.add(STORES)
  await first.start()
  const seed = ['--seed', first.address]
  const stores = [first, fleet.add([...STORES, ...seed]), fleet.add([...STORES, ...seed])]
  const fronts = [fleet.add([...FRONT, ...seed]), fleet.add([...FRONT, ...seed])]
  await Promise.all([...stores.slice(1), ...fronts].map((node) => node.start()))
  await fleet.whole()
  await eventually(async () => {
    const expected = ['cluster-1', 'dist-1', 'inbox-1', 'retain-1'].map((id) => `${id} n1,n2,n3`)
    const seen = await Promise.all(fleet.nodes.map((node) => voters(node)))
    return seen.every((each) => each.join('; ') === expected.join('; '))
  }, 'three voters of each range, on the nodes that are to have them')
  await eventually(async () => (await Promise.all(fleet.nodes.map(ready))).every((each) => each), 'all ready')
  return { fronts, stores }
}

test('two nodes with clients before three with ranges are one broker', async () => {
  await using(async (fleet) => {
    const { fronts, stores } = await workloads(fleet)
    const [a, b] = fronts as [NodeProcess, NodeProcess]
    for (const store of stores) expect(store.output).not.toMatch(/\(tcp\)/)

    // They follow subscriptions, and no queues.
    for (const front of fronts) {
      expect(await front.metric('flockmq_range_voters', '"dist-1"')).toBe(3)
      expect(await front.metric('flockmq_range_voters', '"inbox-1"')).toBe(0)
    }

    // Live subscribers and persistent ones, here and there, all three qualities.
    const live = await connect(b, { clientId: 'live' })
    await live.mqtt.subscribeAsync('t/#', { qos: 2 })
    const held = await connect(b, { clientId: 'held', clean: false })
    await held.mqtt.subscribeAsync('t/#', { qos: 2 })
    const publisher = await connect(a, { clientId: 'publisher' })
    await eventually(async () => {
      await publisher.mqtt.publishAsync('t/probe', '', { qos: 1 })
      return live.got.length > 0 && held.got.length > 0
    }, 'the routes are known at both')
    live.got.length = held.got.length = 0
    for (let n = 0; n < 30; n++) await publisher.mqtt.publishAsync(`t/${n % 3}`, String(n), { qos: (n % 3) as 0 })
    const all = (qos: number) => Array.from({ length: 30 }, (_, n) => n).filter((n) => n % 3 === qos)
    const came = (got: readonly string[], qos: number | 'away') => got.filter((each) => each.startsWith(`t/${qos} `))
    await eventually(async () => [0, 1, 2].every((qos) => came(held.got, qos).length >= 10), 'what is persistent')
    await eventually(async () => live.got.filter((each) => !each.includes('probe')).length >= 30, 'what is live')
    for (const qos of [0, 1, 2]) expect(came(live.got, qos)).toEqual(all(qos).map((n) => `t/${qos} ${n}`))
    expect(await b.metric('flockmq_inbox_feeds_watching')).toBe(1)
    for (const qos of [0, 1, 2]) expect(came(held.got, qos)).toEqual(all(qos).map((n) => `t/${qos} ${n}`))

    // The session goes on at the other one, and when the node is gone that its queue comes from.
    await held.mqtt.endAsync()
    await publisher.mqtt.publishAsync('t/away', '1', { qos: 1 })
    const back = await connect(a, { clientId: 'held', clean: false })
    await eventually(async () => came(back.got, 'away').length > 0, 'what was sent meanwhile')
    const inboxes = (await ranges(a)).find(({ id }) => id === 'inbox-1')!
    const leader = stores.find(({ name }) => name === inboxes.leader?.node)!
    await leader.kill()
    for (const payload of ['2', '3']) await publisher.mqtt.publishAsync('t/away', payload, { qos: 1 })
    await eventually(async () => came(back.got, 'away').length >= 3, 'what is sent from then on')
    expect(came(back.got, 'away')).toEqual(['t/away 1', 't/away 2', 't/away 3'])
    await publisher.mqtt.publishAsync('kept/x', 'k', { qos: 1, retain: true })
    await leader.start()
    await fleet.whole()
    const late = await connect(b, { clientId: 'late' })
    await late.mqtt.subscribeAsync('kept/#', { qos: 1 })
    await eventually(async () => late.got.includes('kept/x k'), 'what is retained')
    await Promise.all([live, back, publisher, late].map(({ mqtt }) => mqtt.endAsync()))
  })
})

test('a service that no node has is named, until one has it; a node without api shows its health alone', async () => {
  await using(async (fleet) => {
    const first = fleet.add(['--set', 'node.roles=mqtt,dist,inbox,api'])
    await first.start()
    const reasons = async () => JSON.stringify(await (await fetch(`${first.api}/readyz`)).json())
    expect(await ready(first)).toBe(false)
    expect(await reasons()).toMatch(/No node that lives has \\"retain\\" among its node.roles: start one/)
    const second = fleet.add(['--set', 'node.roles=retain', '--seed', first.address])
    await second.start()
    await eventually(() => ready(first), 'ready with the other')
    await eventually(async () => (await voters(first)).includes('retain-1 n2'), 'the range moves there')
    await eventually(() => ready(second), 'the other is ready')
    const refused = await fetch(`${second.api}/api/v1/status`)
    expect(refused.status).toBe(404)
    expect(await refused.text()).toMatch(/node.roles of this node is without .*api/)
    expect(await second.metric('flockmq_range_voters', '"retain-1"')).toBe(1)
  })
})
