import { describe, expect, test } from 'vitest'
import { type Auth, encodePacket, type Packet } from '../../../src/mqtt/codec/index.ts'
import type { ExtendedAuthRequest, ExtendedAuthResult } from '../../../src/plugin/index.ts'
import { connectOf, identityOf } from '../session/values.ts'
import { Client, Harness } from './harness.ts'

const SCRAM = { authenticationMethod: 'SCRAM' }

function auth(reasonCode: number, data?: string): Auth {
  const properties = data === undefined ? SCRAM : { ...SCRAM, authenticationData: Buffer.from(data) }
  return { type: 'auth', reasonCode, properties }
}

/** Accepts after `steps` steps, which it counts in the exchange. */
function counting(steps: number, seen: ExtendedAuthRequest[] = []) {
  return {
    authenticateExtended: async (request: ExtendedAuthRequest): Promise<ExtendedAuthResult> => {
      seen.push(request)
      const exchange = request.exchange as { steps?: number }
      exchange.steps = (exchange.steps ?? 0) + 1
      const data = Buffer.from(`step ${exchange.steps}`)
      return exchange.steps < steps
        ? { result: 'continue', data }
        : { result: 'accepted', identity: identityOf(), data }
    },
  }
}

describe('enhanced authentication', () => {
  test('goes on in AUTH packets until CONNACK, and begins anew on request', async () => {
    const seen: ExtendedAuthRequest[] = []
    const harness = await new Harness({ auth: counting(3, seen) }).start()
    const client = harness.begin({ properties: { ...SCRAM, authenticationData: Buffer.from('one') } })
    for (const data of ['two', 'three']) {
      expect((await client.expect('auth')).reasonCode).toBe(0x18)
      client.send(auth(0x18, data))
    }
    const connack = await client.expect('connack')
    expect([connack.reasonCode, String(connack.properties.authenticationData)]).toEqual([0, 'step 3'])
    client.send(auth(0x19, 'four'))
    for (const data of ['five', 'six']) {
      expect((await client.expect('auth')).reasonCode).toBe(0x18)
      client.send(auth(0x18, data))
    }
    const last = await client.expect('auth')
    expect([last.reasonCode, String(last.properties.authenticationData)]).toEqual([0, 'step 3'])
    expect(seen.map(({ data }) => String(data))).toEqual(['one', 'two', 'three', 'four', 'five', 'six'])
    expect(seen.map(({ reauthentication }) => reauthentication)).toEqual([false, false, false, true, true, true])
    expect(new Set(seen.map(({ exchange }) => exchange)).size).toBe(2)
    expect(client.closed).toBe(false)
  })

  test.each([
    ['UNSUBSCRIBE', { type: 'unsubscribe', packetId: 1, filters: ['f'], properties: {} }],
    ['PINGREQ', { type: 'pingreq' }],
    ['PUBACK', { type: 'puback', packetId: 1, reasonCode: 0, properties: {} }],
  ] as const)('%s has no place in it', async (_name, packet) => {
    const harness = await new Harness({ auth: counting(2) }).start()
    const client = harness.begin({ properties: SCRAM })
    await client.expect('auth')
    client.send(packet as never)
    expect((await client.expect('connack')).reasonCode).toBe(0x82)
    await client.expectClose()
    expect(client.arrived()).toEqual([])
  })

  test('a client may give it up', async () => {
    const harness = await new Harness({ auth: counting(2) }).start()
    const client = harness.begin({ properties: SCRAM })
    await client.expect('auth')
    client.send({ type: 'disconnect', reasonCode: 4, properties: { sessionExpiryInterval: 9 } })
    await client.expectClose()
    expect(harness.server.connections).toBe(0)
  })

  test('without a plugin for it there is no method (0x8C)', async () => {
    const harness = await new Harness().start()
    const client = harness.begin({ properties: SCRAM })
    expect((await client.expect('connack')).reasonCode).toBe(0x8c)
  })

  test('data that no packet can hold ends it', async () => {
    const authenticateExtended = async () => ({ result: 'continue' as const, data: Buffer.alloc(70_000) })
    const harness = await new Harness({ auth: { authenticateExtended } }).start()
    const client = harness.begin({ properties: SCRAM })
    expect((await client.expect('connack')).reasonCode).toBe(0x83)
  })

  test('a refused re-authentication closes the connection with a code that DISCONNECT may carry', async () => {
    let refuse = false
    const accepted = { result: 'accepted', identity: identityOf(), data: null } as const
    const authenticateExtended = async (): Promise<ExtendedAuthResult> =>
      refuse ? { result: 'refused', reasonCode: 0x86, reason: 'no' } : accepted
    const harness = await new Harness({ auth: { authenticateExtended } }).start()
    const client = await harness.connect({ properties: SCRAM })
    refuse = true
    client.send(auth(0x19))
    expect(await client.expectDisconnect()).toBe(0x87)
  })
})

describe('while the authentication is awaited', () => {
  test('nothing is handled, and then everything in its order', async () => {
    const pending: (() => void)[] = []
    const result = { result: 'accepted', identity: identityOf() } as const
    const authenticate = () => new Promise<typeof result>((resolve) => pending.push(() => resolve(result)))
    const harness = await new Harness({ auth: { authenticate } }).start()
    for (const chunks of [1, 4]) {
      const client = new Client(harness, harness.open(), 5)
      const rest: Packet[] = [
        { type: 'pingreq' },
        client.publishOf('t', 'x', { qos: 1 }),
        { type: 'disconnect', reasonCode: 0, properties: {} },
      ]
      if (chunks === 1) client.send(connectOf(), ...rest)
      else for (const packet of [connectOf(), ...rest]) client.send(packet)
      await harness.settle()
      expect(client.lines()).toEqual([])
      expect(client.transport.paused).toBe(true)
      pending.pop()!()
      await client.expectClose()
      expect(client.lines()).toEqual(['connack', 'pingresp', 'puback 1'])
    }
  })

  test('what comes in all the same is kept, and handled in its turn', async () => {
    const pending: (() => void)[] = []
    const result = { result: 'accepted', identity: identityOf() } as const
    const authenticate = () => new Promise<typeof result>((resolve) => pending.push(() => resolve(result)))
    const harness = await new Harness({ auth: { authenticate } }).start()
    const client = harness.begin()
    await harness.settle()
    const late = encodePacket({ type: 'pingreq' }, 5)
    client.transport.onData(late)
    late.fill(0xff) // the transport's buffer is its own again
    pending[0]!()
    await client.expect('pingresp')
    expect(client.lines()).toEqual(['connack'])
  })

  test('a client that goes away leaves nothing behind', async () => {
    const pending: (() => void)[] = []
    const result = { result: 'accepted', identity: identityOf() } as const
    const authenticate = () => new Promise<typeof result>((resolve) => pending.push(() => resolve(result)))
    const harness = await new Harness({ auth: { authenticate } }).start()
    const client = harness.begin()
    await harness.settle()
    client.transport.close(new Error('reset'))
    expect(harness.server.connections).toBe(0)
    pending[0]!()
    await harness.settle()
    expect([client.arrived(), harness.inbox.calls]).toEqual([[], []])
    expect(harness.metric('flockmq_mqtt_connections')).toBe(0)
  })
})
