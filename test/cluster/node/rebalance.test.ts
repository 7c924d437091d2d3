import { connectAsync, type IDisconnectPacket, type MqttClient } from 'mqtt'
import { expect, test } from 'vitest'
import type { RebalanceInfo } from '../../../src/node/rebalance/rebalance.ts'
import { freePorts } from '../../support/free-ports.ts'
import { eventually, type NodeProcess, using } from './fleet.ts'

interface Client {
  id: string
  mqtt: MqttClient
  told: IDisconnectPacket | null
  got: string[]
}

/** With a persistent session. */
async function connect(port: number, id: string, protocolVersion: 4 | 5): Promise<Client> {
  const properties = protocolVersion === 5 ? { properties: { sessionExpiryInterval: 60 } } : {}
  const options = { clientId: id, protocolVersion, clean: false, reconnectPeriod: 0, ...properties }
  const mqtt = await connectAsync(`mqtt://127.0.0.1:${port}`, options, false)
  const client: Client = { id, mqtt, told: null, got: [] }
  mqtt.on('message', (_topic, payload) => client.got.push(String(payload)))
  mqtt.on('disconnect', (packet) => {
    client.told = packet
  })
  mqtt.on('error', () => {})
  return client
}

const counts = (info: RebalanceInfo) => info.nodes.map(({ connections }) => connections)

/** Both nodes take part, as that one sees it. */
async function ready(node: NodeProcess): Promise<void> {
  await eventually(async () => {
    const { nodes } = (await node.get('/api/v1/rebalance')) as RebalanceInfo
    return nodes.length === 2 && nodes.every(({ error }) => error === null)
  }, 'two nodes that are ready')
}

test('a node that joins gets clients of the first one, with their sessions', { timeout: 120_000 }, async () => {
  await using(async (fleet) => {
    const [first, second] = (await freePorts(2)) as [number, number]
    const at = (port: number) =>
      [`mqtt.listeners.tcp.port=${port}`, `mqtt.rebalance.reference=127.0.0.1:${port}`].flatMap((set) => ['--set', set])
    const n1 = fleet.add(at(first))
    await n1.start()
    const clients: Client[] = []
    for (let i = 0; i < 12; i++) clients.push(await connect(first, `c${i}`, i % 3 === 0 ? 4 : 5))
    for (const { id, mqtt } of clients) await mqtt.subscribeAsync(`to/${id}`, { qos: 1 })
    const n2 = fleet.add(['--seed', n1.address, ...at(second)])
    await n2.start()
    await ready(n2)

    const look = await n2.run('rebalance', '--dry-run')
    expect(look).toMatchObject({ code: 0, stderr: '' })
    expect(look.stdout).toMatch(/^n1 +12 +6 +-$/m)
    expect(look.stdout).toMatch(/^n2 +0 +- +-$/m)
    expect(clients.every(({ mqtt }) => mqtt.connected)).toBe(true)

    // The node that is asked is not the one that gives.
    const done = await n2.run('rebalance', '--rate', '40')
    expect(done).toMatchObject({ code: 0, stderr: '' })
    const moved = () => clients.filter(({ mqtt }) => !mqtt.connected)
    await eventually(async () => moved().length === 6, 'six are sent away')
    for (const { told } of moved()) {
      expect(told).toMatchObject({ reasonCode: 0x9c, properties: { serverReference: `127.0.0.1:${second}` } })
    }
    expect(await n1.metric('flockmq_mqtt_moved_total')).toBe(6)

    // What comes while they are on their way is theirs as well.
    const publisher = clients.find(({ mqtt }) => mqtt.connected)!
    const away = moved()
    for (const { id } of away) await publisher.mqtt.publishAsync(`to/${id}`, id, { qos: 1 })
    for (const client of away) {
      const port = Number(client.told!.properties!.serverReference!.split(':')[1])
      Object.assign(client, await connect(port, client.id, 5))
      await eventually(async () => client.got.includes(client.id), `what waits for ${client.id}`)
    }
    const even = (await n1.get('/api/v1/rebalance')) as RebalanceInfo
    expect(counts(even)).toEqual([6, 6])
    expect(even.nodes.every(({ excess, error }) => excess === 0 && error === null)).toBe(true)

    expect((await n1.run('rebalance')).stdout).toContain('No node is more than 20 % above the mean.')
    expect(moved()).toEqual([])
    await Promise.all(clients.map(({ mqtt }) => mqtt.endAsync(true)))
  })
})

test('3.x clients go too, at the rate; it can be stopped; wrong wishes are refused', { timeout: 120_000 }, async () => {
  await using(async (fleet) => {
    const [n1, n2] = (await fleet.star(2)) as [NodeProcess, NodeProcess]
    await ready(n2)
    const port = Number(n1.listener('tcp').split(':')[1])
    const clients: Client[] = []
    for (let i = 0; i < 20; i++) clients.push(await connect(port, `c${i}`, 4))
    const gone = () => clients.filter(({ mqtt }) => !mqtt.connected).length
    const post = (body: object) => {
      const headers = { 'content-type': 'application/json' }
      return fetch(`${n2.api}/api/v1/rebalance`, { method: 'POST', headers, body: JSON.stringify(body) })
    }
    for (const wrong of [{ perSecond: 0 }, { spreadPercent: 'much' }]) {
      expect((await post(wrong)).status).toBe(400)
    }
    const begun = (await (await post({ perSecond: 1 })).json()) as RebalanceInfo
    expect(begun.nodes[0]).toMatchObject({ name: 'n1', excess: 10, moving: { left: 9, moved: 1 } })
    await eventually(async () => gone() === 2, 'a second one')
    const cancelled = await n2.run('rebalance', '--cancel')
    expect(cancelled).toMatchObject({ code: 0, stderr: '' })
    const left = ((await n1.get('/api/v1/rebalance')) as RebalanceInfo).nodes[0]!
    expect(left.moving.left).toBe(0)
    expect(left.moving.moved).toBeLessThan(10)
    await eventually(async () => left.moving.moved === gone(), 'all that went are known')
    await Promise.all(clients.map(({ mqtt }) => mqtt.endAsync(true)))
  })
})
