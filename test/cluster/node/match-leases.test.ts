import { connectAsync, type MqttClient } from 'mqtt'
import { expect, test } from 'vitest'
import { eventually, type Fleet, type NodeProcess, using } from './fleet.ts'

async function connect(node: NodeProcess, clientId: string): Promise<{ mqtt: MqttClient; got: string[] }> {
  const options = { clientId, protocolVersion: 5, reconnectPeriod: 0, keepalive: 0 } as const
  const mqtt = await connectAsync(`mqtt://${node.listener('tcp')}`, options, false)
  const got: string[] = []
  mqtt.on('message', (topic, payload) => got.push(`${topic} ${payload}`))
  return { mqtt, got }
}

/** Reason code of the answer. */
async function publish({ mqtt }: { mqtt: MqttClient }, topic: string, payload: string, qos: 1 | 2): Promise<number> {
  const answer = await mqtt.publishAsync(topic, payload, { qos }).catch((error: { code: number }) => error)
  return (
    (answer as { reasonCode?: number; code?: number } | undefined)?.reasonCode ??
    (answer as { code?: number })?.code ??
    0
  )
}

/** Three nodes, each with a lease on all routes. */
async function three(fleet: Fleet): Promise<[NodeProcess, NodeProcess, NodeProcess]> {
  const nodes = (await fleet.star(3)) as [NodeProcess, NodeProcess, NodeProcess]
  await fleet.replicated(3)
  const leases = () => Promise.all(nodes.map((node) => node.metric('flockmq_match_leases')))
  await eventually(async () => (await leases()).every((count) => count === 1), 'all hold leases')
  return nodes
}

test('a SUBACK is a route on every node, also on one that stood still meanwhile', async () => {
  await using(async (fleet) => {
    const nodes = await three(fleet)
    const clients = await Promise.all(nodes.map((node, i) => connect(node, `c${i}`)))
    for (let round = 0; round < 3; round++) {
      const still = round
      const [subscriber, publisher] = [clients[(still + 1) % 3]!, clients[still]!]
      nodes[still]!.signal('SIGSTOP')
      await subscriber.mqtt.subscribeAsync(`round/${round}`, { qos: 1 })
      // It is what the node finds first when it goes on.
      const published = publish(publisher, `round/${round}`, 'x', 1)
      nodes[still]!.signal('SIGCONT')
      expect(await published).toBe(0)
      await eventually(async () => subscriber.got.includes(`round/${round} x`), `the message of round ${round}`)
    }
    await Promise.all(clients.map(({ mqtt }) => mqtt.endAsync()))
  })
})

test('a SUBACK is a route at once where all is well, for persistent sessions and groups too', async () => {
  await using(async (fleet) => {
    const nodes = await three(fleet)
    const clients = await Promise.all(nodes.map((node, i) => connect(node, `c${i}`)))
    const refusedBefore = await Promise.all(nodes.map((node) => node.metric('flockmq_dist_publishes_refused_total')))
    for (let round = 0; round < 60; round++) {
      const [subscriber, publisher] = [clients[round % 3]!, clients[(round + 1 + (round % 2)) % 3]!]
      const filter = round % 5 === 0 ? `$share/g${round}/at/${round}` : `at/${round}`
      await subscriber.mqtt.subscribeAsync(filter, { qos: 1 })
      expect([round, await publish(publisher, `at/${round}`, 'x', round % 2 === 0 ? 1 : 2)]).toEqual([round, 0])
    }
    for (const [i, { got }] of clients.entries()) {
      const own = Array.from({ length: 60 }, (_, round) => round).filter((round) => round % 3 === i)
      await eventually(async () => own.every((round) => got.includes(`at/${round} x`)), `all of client ${i}`)
    }
    expect(await Promise.all(nodes.map((node) => node.metric('flockmq_dist_publishes_refused_total')))).toEqual(
      refusedBefore,
    )
    await Promise.all(clients.map(({ mqtt }) => mqtt.endAsync()))
  })
})

test('who is cut off from the majority refuses QoS 1, delivers QoS 0 here, and goes on when it is back', async () => {
  await using(async (fleet) => {
    const nodes = await three(fleet)
    const [only, ...others] = nodes
    const [publisher, subscriber] = [await connect(only, 'p'), await connect(only, 's')]
    await subscriber.mqtt.subscribeAsync('t', { qos: 1 })
    for (const node of others) node.signal('SIGSTOP')
    await eventually(async () => (await only.metric('flockmq_match_leases')) === 0, 'its lease ends')
    expect(await publish(publisher, 't', '1', 1)).toBe(0x83)
    await publisher.mqtt.publishAsync('t', '0', { qos: 0 })
    await eventually(async () => subscriber.got.includes('t 0'), 'QoS 0 is matched on what there is')
    expect(subscriber.got).not.toContain('t 1')
    for (const node of others) node.signal('SIGCONT')
    await eventually(async () => (await only.metric('flockmq_match_leases')) === 1, 'it has a lease again')
    await publisher.mqtt.publishAsync('t', '2', { qos: 1 })
    await eventually(async () => subscriber.got.includes('t 2'), 'QoS 1 again')
    await Promise.all([publisher, subscriber].map(({ mqtt }) => mqtt.endAsync()))
  })
})
