import { expect, test } from 'vitest'
import type { ClaimedConnection, ClusterClients } from '../../../src/mqtt/registry/index.ts'
import { Harness } from './harness.ts'

/** The other nodes' connections, as a test wants them. */
class FakeClients implements ClusterClients {
  readonly said: string[] = []
  readonly claims: { who: ClaimedConnection; time: number; answer: (granted: boolean) => void }[] = []

  claim(tenant: string, clientId: string, who: ClaimedConnection, time: number): Promise<boolean> {
    this.said.push(`claim ${tenant} ${clientId}`)
    return new Promise((answer) => this.claims.push({ who, time, answer }))
  }

  abandon(who: ClaimedConnection): void {
    this.said.push('abandon')
    this.claims.find((claim) => claim.who === who)?.answer(false)
  }

  release(): void {
    this.said.push('release')
  }
}

async function setup() {
  const clients = new FakeClients()
  const harness = await new Harness({ clients }).start()
  return { clients, harness }
}

test('CONNACK waits until the cluster knows of no other connection', async () => {
  const { clients, harness } = await setup()
  const client = harness.begin({ clientId: 'c' })
  await harness.settle()
  expect([client.lines(), clients.said]).toEqual([[], ['claim default c']])
  clients.claims[0]!.answer(true)
  expect((await client.expect('connack')).reasonCode).toBe(0)
  client.send({ type: 'disconnect', reasonCode: 0, properties: {} })
  await client.expectClose()
  await harness.settle()
  expect(clients.said).toEqual(['claim default c', 'release'])
})

test('it is refused where a later connection took the place meanwhile', async () => {
  const { clients, harness } = await setup()
  const client = harness.begin({ clientId: 'c' })
  await harness.settle()
  clients.claims[0]!.answer(false)
  expect((await client.expect('connack')).reasonCode).toBe(0x88)
  await harness.settle()
  expect(clients.said).toEqual(['claim default c', 'release'])
  expect(harness.server.connections).toBe(0)
})

test('a connection that is taken over gets 0x8E, and is released when it has given its session up', async () => {
  const { clients, harness } = await setup()
  const persistent = { clientId: 'c', cleanStart: false, properties: { sessionExpiryInterval: 60 } }
  const client = harness.begin(persistent)
  await harness.settle()
  clients.claims[0]!.answer(true)
  await client.expect('connack')
  harness.inbox.calls.length = 0
  await clients.claims[0]!.who.takeOver()
  expect(await client.expectDisconnect()).toBe(0x8e)
  expect([harness.inbox.calls, clients.said]).toEqual([['detach c'], ['claim default c', 'release']])
})

test('a second CONNECT here does not wait for the claim of the first; its own is later', async () => {
  const { clients, harness } = await setup()
  const first = harness.begin({ clientId: 'c' })
  await harness.settle()
  const second = harness.begin({ clientId: 'c' })
  await first.expectClose()
  await harness.settle(30)
  expect(clients.said).toEqual(['claim default c', 'abandon', 'release', 'claim default c'])
  expect(clients.claims[1]!.time).toBeGreaterThan(clients.claims[0]!.time)
  clients.claims[1]!.answer(true)
  expect((await second.expect('connack')).reasonCode).toBe(0)
})

test('a client that leaves meanwhile leaves nothing behind', async () => {
  const { clients, harness } = await setup()
  const client = harness.begin({ clientId: 'c' })
  await harness.settle()
  client.transport.close()
  await harness.settle(30)
  expect(clients.said).toEqual(['claim default c', 'abandon', 'release'])
  expect(harness.server.connections).toBe(0)
})
