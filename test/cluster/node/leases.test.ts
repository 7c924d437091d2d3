import { connectAsync, type IClientOptions, type MqttClient } from 'mqtt'
import { expect, test } from 'vitest'
import { eventually, type Fleet, type NodeProcess, using } from './fleet.ts'

type Nodes = [NodeProcess, NodeProcess, NodeProcess]

interface Client {
  mqtt: MqttClient
  /** Topics and payloads that came. */
  got: string[]
  /** Reason code of the DISCONNECT that the node sent; null: it sent none. */
  disconnected(): number | null
}

async function connect(node: NodeProcess, clientId: string, options: IClientOptions = {}): Promise<Client> {
  const all = { clientId, protocolVersion: 5, reconnectPeriod: 0, connectTimeout: 30_000, ...options } as const
  const got: string[] = []
  let reason: number | null = null
  const mqtt = await connectAsync(`mqtt://${node.listener('tcp')}`, all, false)
  mqtt.on('message', (topic, payload) => got.push(`${topic} ${payload}`))
  mqtt.on('disconnect', (packet) => {
    reason = packet.reasonCode ?? 0
  })
  mqtt.on('error', () => {})
  return { mqtt, got, disconnected: () => reason }
}

/** With a session that outlives the connection. */
const KEPT: IClientOptions = { clean: false, properties: { sessionExpiryInterval: 3_600 } }

function will(topic: string, delaySeconds: number): IClientOptions {
  const properties = { willDelayInterval: delaySeconds }
  return { will: { topic, payload: 'dead', qos: 1, retain: false, properties } }
}

async function three(fleet: Fleet): Promise<Nodes> {
  const nodes = (await fleet.star(3)) as Nodes
  await fleet.replicated(3)
  await eventually(async () => {
    const held = await Promise.all(nodes.map((node) => node.metric('flockmq_node_leases')))
    return held.every((count) => count === 1)
  }, 'every node has its lease')
  return nodes
}

const count = (got: readonly string[], what: string) => got.filter((each) => each === what).length

test('what a node held that was killed is given up, and its wills fire once', async () => {
  await using(async (fleet) => {
    const [a, b, c] = await three(fleet)
    const watcher = await connect(a, 'watcher')
    await watcher.mqtt.subscribeAsync('will/#', { qos: 1 })
    const publisher = await connect(b, 'publisher')
    const kept = await connect(c, 'kept', { ...KEPT, ...will('will/now', 0) })
    await kept.mqtt.subscribeAsync('queue/#', { qos: 1 })
    await connect(c, 'late', { ...KEPT, ...will('will/late', 2) })
    await connect(c, 'plain', will('will/plain', 0))
    const lost = await connect(c, 'lost')
    await lost.mqtt.subscribeAsync('lost/#')
    const routes = await a.metric('flockmq_dist_routes')

    await c.kill()
    await publisher.mqtt.publishAsync('queue/1', 'x', { qos: 1 })
    // The dead node may still act, as far as the others know: whoever comes for the session waits.
    const again = await connect(b, 'kept', KEPT)
    await again.mqtt.subscribeAsync('queue/2', { qos: 1 })
    await eventually(async () => again.got.includes('queue/1 x'), 'the queue goes on')
    await eventually(async () => watcher.got.length >= 3, 'all wills')
    await eventually(async () => (await a.metric('flockmq_dist_routes')) === routes, 'the route is taken back')
    expect(watcher.got.toSorted()).toEqual(['will/late dead', 'will/now dead', 'will/plain dead'])

    await c.start()
    await fleet.whole()
    const back = await connect(c, 'late', KEPT)
    await publisher.mqtt.publishAsync('will/after', '', { qos: 1 })
    await eventually(async () => watcher.got.includes('will/after '), 'what comes after')
    expect(count(watcher.got, 'will/late dead')).toBe(1)
    for (const { mqtt } of [watcher, publisher, again, back]) mqtt.end(true)
  })
})

test('a node that stood still acts for nobody when it goes on, and its subscribers receive again', async () => {
  await using(async (fleet) => {
    const [a, b, c] = await three(fleet)
    const watcher = await connect(a, 'watcher')
    await watcher.mqtt.subscribeAsync('will/#', { qos: 1 })
    const publisher = await connect(b, 'publisher')
    const kept = await connect(c, 'kept', { ...KEPT, ...will('will/kept', 0) })
    await kept.mqtt.subscribeAsync('queue/#', { qos: 1 })
    const plain = await connect(c, 'plain')
    await plain.mqtt.subscribeAsync('plain/#')

    c.signal('SIGSTOP')
    await eventually(async () => watcher.got.length > 0, 'the will fires while its node stands still')
    const again = await connect(b, 'kept', KEPT)
    await publisher.mqtt.publishAsync('queue/1', 'x', { qos: 1 })
    await eventually(async () => again.got.includes('queue/1 x'), 'the session goes on elsewhere')
    c.signal('SIGCONT')

    await eventually(async () => !kept.mqtt.connected, 'the connection of before is closed')
    expect([0x8b, 0x8e, null]).toContain(kept.disconnected())
    await eventually(async () => {
      await publisher.mqtt.publishAsync('plain/again', '', { qos: 0 })
      return plain.got.includes('plain/again ')
    }, 'subscribers of the node receive again')
    expect(plain.mqtt.connected).toBe(true)
    expect(await c.metric('flockmq_node_held_for_gone_total')).toBeGreaterThan(0)
    await publisher.mqtt.publishAsync('queue/2', 'x', { qos: 1 })
    await publisher.mqtt.publishAsync('will/after', '', { qos: 1 })
    await eventually(async () => again.got.includes('queue/2 x') && watcher.got.includes('will/after '), 'what follows')
    expect(kept.got).toEqual([])
    expect(watcher.got).toEqual(['will/kept dead', 'will/after '])
    for (const { mqtt } of [watcher, publisher, plain, again]) mqtt.end(true)
  })
})

test('a node that is cut off refuses sessions, and serves plain clients', async () => {
  await using(async (fleet) => {
    const [a, b, c] = await three(fleet)
    const kept = await connect(c, 'kept', KEPT)
    const plain = await connect(c, 'plain')
    await plain.mqtt.subscribeAsync('plain/#')
    await Promise.all([a.kill(), b.kill()])

    await eventually(async () => !kept.mqtt.connected, 'the connection is closed when its lease ends')
    expect(kept.disconnected()).toBe(0x8b)
    const refusal = (clientId: string, options: IClientOptions) =>
      connect(c, clientId, options).then(
        () => 'accepted',
        (error: { code?: number }) => error.code,
      )
    expect(await refusal('kept', KEPT)).toBe(0x88)
    expect(await refusal('other', will('will/x', 0))).toBe(0x88)
    expect(await refusal('old', { protocolVersion: 4, clean: false })).toBe(3)
    const later = await connect(c, 'later')
    await eventually(async () => {
      later.mqtt.publish('plain/1', 'x')
      return plain.got.includes('plain/1 x')
    }, 'QoS 0 goes on')
    for (const { mqtt } of [plain, later]) mqtt.end(true)
  })
})
