import { expect, test } from 'vitest'
import type { Packet } from '../../../src/mqtt/codec/index.ts'
import { willOf } from '../session/values.ts'
import { type Client, Harness } from './harness.ts'

const order = { keep: 0, perSecond: 10, to: [] }
async function connected(harness: Harness, ...fields: Parameters<Harness['connect']>[0][]): Promise<Client[]> {
  const clients: Client[] = []
  for (const each of fields) clients.push(await harness.connect(each))
  // The order comes later than they did.
  await harness.run(1)
  return clients
}

const closed = (clients: readonly Client[]) => clients.map((client) => client.closed)

test('no more a second than the rate, no more than the count, and the first at once', async () => {
  const harness = await new Harness().start()
  const clients = await connected(harness, ...Array.from({ length: 20 }, () => ({})))
  const gone = () => closed(clients).filter(Boolean).length
  harness.server.mover.begin({ ...order, count: 15 })
  await harness.run(0)
  expect(gone()).toBe(1)
  await harness.run(1_050)
  expect(gone()).toBe(11)
  expect(harness.server.mover.progress).toEqual({ left: 4, moved: 11 })
  await harness.run(2_000)
  expect(gone()).toBe(15)
  expect(harness.server.mover.progress).toEqual({ left: 0, moved: 15 })
  expect(harness.metric('flockmq_mqtt_moved_total')).toBe(15)
})

test('it is enough when no more than those to keep are left, whoever went', async () => {
  const harness = await new Harness().start()
  const clients = await connected(harness, {}, {}, {}, {}, {}, {})
  harness.server.mover.begin({ ...order, count: 4, keep: 3 })
  clients[5]!.send({ type: 'disconnect', reasonCode: 0, properties: {} })
  await harness.run(5_000)
  expect(harness.server.connections).toBe(3)
  expect(harness.server.mover.progress.left).toBe(0)
})

test('MQTT 5 clients learn why and where to; others lose their connection', async () => {
  const harness = await new Harness().start()
  const clients = await connected(harness, { version: 4 }, {}, {}, {})
  const to = [
    { reference: 'n2:1883', count: 1 },
    { reference: 'n3:1883', count: 1 },
  ]
  harness.server.mover.begin({ ...order, count: 4, perSecond: 1_000, to })
  await harness.run(1_000)
  const told = clients.map((client) => client.arrived().find(({ type }) => type === 'disconnect'))
  const gave = (packet: Packet | undefined) =>
    packet?.type === 'disconnect' ? [packet.reasonCode, packet.properties.serverReference] : null
  expect(told.map(gave)).toEqual([null, [0x9c, 'n2:1883'], [0x9c, 'n3:1883'], [0x9c, undefined]])
  expect(closed(clients)).toEqual([true, true, true, true])
  const reasons = harness.eventsOf('client.disconnected').map(({ detail }) => detail.reason)
  expect(reasons).toEqual(['redirected', 'redirected', 'redirected', 'redirected'])
})

test('who understands goes first; whose will fires at once goes last', async () => {
  const harness = await new Harness().start()
  const delayed = willOf({ properties: { willDelayInterval: 30 } })
  const clients = await connected(
    harness,
    { will: willOf(), clientId: 'fires' },
    // A will with a delay waits for the client to come back, where the session does.
    { will: delayed, properties: { sessionExpiryInterval: 60 }, clientId: 'waits' },
    { will: delayed, clientId: 'ends' },
    { version: 4, clientId: 'older' },
    { clientId: 'newer' },
  )
  harness.server.mover.begin({ ...order, count: 5, perSecond: 10 })
  const went: string[] = []
  for (let i = 0; i < 5; i++) {
    for (const client of clients) if (client.closed && !went.includes(client.id)) went.push(client.id)
    await harness.run(100)
  }
  for (const client of clients) if (client.closed && !went.includes(client.id)) went.push(client.id)
  expect(went.slice(0, 3).sort()).toEqual(['newer', 'older', 'waits'])
  expect(went.indexOf('older')).toBe(2)
  expect(went.slice(3)).toEqual(['fires', 'ends'])
})

test('a client that comes back here is left alone, and one that is moved is not taken for flapping', async () => {
  const flapping = { enabled: true, disconnectsMax: 2, windowSeconds: 60, banSeconds: 300, clientsMax: 100 }
  const harness = await new Harness({ options: { flapping } }).start()
  for (let round = 0; round < 4; round++) {
    const [client] = await connected(harness, { clientId: 'a' })
    harness.server.mover.begin({ ...order, count: 5, perSecond: 10 })
    await harness.run(0)
    expect(client!.closed).toBe(true)
    const again = await harness.connect({ clientId: 'a' })
    await harness.run(1_000)
    expect(again.closed).toBe(false)
    again.send({ type: 'disconnect', reasonCode: 0, properties: {} })
    await harness.settle()
  }
})

test('a later order takes the place of the earlier; a stop ends it', async () => {
  const harness = await new Harness().start()
  const clients = await connected(harness, ...Array.from({ length: 8 }, () => ({})))
  harness.server.mover.begin({ ...order, count: 8 })
  harness.server.mover.begin({ ...order, count: 2 })
  await harness.run(5_000)
  expect(closed(clients).filter(Boolean)).toHaveLength(3)
  harness.server.mover.begin({ ...order, count: 5 })
  harness.server.mover.stop()
  await harness.run(5_000)
  expect(closed(clients).filter(Boolean)).toHaveLength(4)
})
