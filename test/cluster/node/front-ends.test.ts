import { connectAsync, type MqttClient } from 'mqtt'
import { expect, test } from 'vitest'
import { eventually, type NodeProcess, using } from './fleet.ts'

interface Client {
  mqtt: MqttClient
  /** Topics and payloads that came. */
  got: string[]
  /** Reason code of the DISCONNECT that the node sent; null: it sent none. */
  disconnected(): number | null
}

async function connect(node: NodeProcess, clientId: string): Promise<Client> {
  const options = { clientId, protocolVersion: 5, reconnectPeriod: 0 } as const
  const mqtt = await connectAsync(`mqtt://${node.listener('tcp')}`, options, false)
  const got: string[] = []
  let reason: number | null = null
  mqtt.on('message', (topic, payload) => got.push(`${topic} ${payload}`))
  mqtt.on('disconnect', (packet) => {
    reason = packet.reasonCode ?? 0
  })
  return { mqtt, got, disconnected: () => reason }
}

test('clients of three nodes are clients of one broker', async () => {
  await using(async (fleet) => {
    const nodes = (await fleet.star(3)) as [NodeProcess, NodeProcess, NodeProcess]
    await fleet.replicated(3)
    const clients = await Promise.all(nodes.map((node, i) => connect(node, `c${i}`)))
    for (const { mqtt } of clients) await mqtt.subscribeAsync('all/#', { qos: 2 })
    await Promise.all(clients.slice(1).map(({ mqtt }) => mqtt.subscribeAsync('$share/g/job/+', { qos: 1 })))
    for (let n = 0; n < 50; n++) {
      const qos = (n % 3) as 0 | 1 | 2
      await Promise.all(clients.map(({ mqtt }, i) => mqtt.publishAsync(`all/${i}/${qos}`, String(n), { qos })))
    }
    const expected = (i: number, qos: number) =>
      Array.from({ length: 50 }, (_, n) => n)
        .filter((n) => n % 3 === qos)
        .map((n) => `all/${i}/${qos} ${n}`)
    // The last probes may come late.
    const own = ({ got }: Client) => got.filter((each) => !each.startsWith('all/probe')).length
    await eventually(async () => clients.every((client) => own(client) >= 150), 'everything')
    for (const { got } of clients) {
      for (const i of [0, 1, 2]) {
        for (const qos of [0, 1, 2]) {
          // Each once, in the order of its publisher and topic.
          expect(got.filter((each) => each.startsWith(`all/${i}/${qos} `))).toEqual(expected(i, qos))
        }
      }
      got.length = 0
    }

    for (let n = 0; n < 20; n++) await clients[0]!.mqtt.publishAsync(`job/${n}`, 'x', { qos: 1 })
    await eventually(async () => clients[1]!.got.length + clients[2]!.got.length >= 20, 'all jobs')
    const jobs = [...clients[1]!.got, ...clients[2]!.got]
    expect(new Set(jobs).size).toBe(20)
    expect(jobs.length).toBe(20)

    const again = await connect(nodes[2], 'c0')
    await eventually(async () => clients[0]!.disconnected() === 0x8e, 'the older connection is told')
    await eventually(async () => !clients[0]!.mqtt.connected, 'and closed')
    expect(again.mqtt.connected).toBe(true)
    await Promise.all([again, clients[1]!, clients[2]!].map(({ mqtt }) => mqtt.endAsync()))
  })
})
