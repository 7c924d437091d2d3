import { describe, expect, test } from 'vitest'
import { BrokerError } from '../../../src/base/errors.ts'
import { Harness } from './harness.ts'

const PERSISTENT = { cleanStart: false, properties: { sessionExpiryInterval: 60 } }

describe('takeover', () => {
  test('the older connection gets 0x8E, the newer one the session', async () => {
    const harness = await new Harness().start()
    const older = await harness.connect({ clientId: 'c' })
    const newer = await harness.connect({ clientId: 'c' })
    expect(await older.expectDisconnect()).toBe(0x8e)
    expect(newer.closed).toBe(false)
    expect(harness.server.connections).toBe(1)
    expect(harness.metric('flockmq_mqtt_takeovers_total')).toBe(1)
    expect(harness.metric('flockmq_mqtt_connections')).toBe(1)
  })

  test('the newer one waits until the publishes of the older are settled, and no longer', async () => {
    const harness = await new Harness().start()
    await harness.subscriber('t', 1, { clientId: 's', ...PERSISTENT })
    const older = await harness.connect({ clientId: 'c', ...PERSISTENT })
    harness.inbox.inserts.shut()
    older.publish('t', 'x', { qos: 1 })
    older.publish('t', 'y', { qos: 1 })
    await harness.settle()
    harness.inbox.calls.length = 0
    const newer = harness.begin({ clientId: 'c', ...PERSISTENT })
    await older.expectClose()
    await harness.settle(50)
    expect([newer.lines(), harness.inbox.calls]).toEqual([[], []])
    harness.inbox.inserts.one()
    await harness.settle(50)
    expect(newer.lines()).toEqual([])
    harness.inbox.inserts.one()
    expect(await newer.expect('connack')).toMatchObject({ reasonCode: 0, sessionPresent: true })
    expect(harness.inbox.calls).toEqual(['detach c', 'attach c'])
    expect(older.lines()).toEqual(['disconnect'])
  })

  test('nor longer than a second', async () => {
    const harness = await new Harness().start()
    await harness.subscriber('t', 1, { clientId: 's', ...PERSISTENT })
    const older = await harness.connect({ clientId: 'c' })
    harness.inbox.inserts.shut()
    older.publish('t', 'x', { qos: 1 })
    await harness.settle()
    const newer = harness.begin({ clientId: 'c' })
    await harness.run(990)
    expect(newer.lines()).toEqual([])
    await harness.run(20)
    await newer.expect('connack')
  })

  test('a failed publish is settled too', async () => {
    const harness = await new Harness().start()
    await harness.subscriber('t', 1, { clientId: 's', ...PERSISTENT })
    const older = await harness.connect({ clientId: 'c' })
    harness.inbox.inserts.shut()
    harness.inbox.insertError = new BrokerError('NO_QUORUM', 'no')
    older.publish('t', 'x', { qos: 1 })
    await harness.settle()
    const newer = harness.begin({ clientId: 'c' })
    await harness.settle()
    harness.inbox.inserts.open()
    await newer.expect('connack')
  })

  test('of three contenders the last one wins, and each waits for the one before', async () => {
    const harness = await new Harness().start()
    await harness.subscriber('t', 1, { clientId: 's', ...PERSISTENT })
    const first = await harness.connect({ clientId: 'c', ...PERSISTENT })
    harness.inbox.inserts.shut()
    first.publish('t', 'x', { qos: 1 })
    await harness.settle()
    const second = harness.begin({ clientId: 'c', ...PERSISTENT })
    await harness.settle()
    const third = harness.begin({ clientId: 'c', ...PERSISTENT })
    await harness.settle(50)
    harness.inbox.calls.length = 0
    // The second one was refused, but the third still waits for what the first one had read.
    expect((await second.expect('connack')).reasonCode).toBe(0x88)
    expect(third.lines()).toEqual([])
    harness.inbox.inserts.open()
    expect((await third.expect('connack')).reasonCode).toBe(0)
    expect(harness.inbox.calls).toEqual(['detach c', 'attach c'])
    expect(await first.expectDisconnect()).toBe(0x8e)
    expect(harness.server.connections).toBe(2)
  })
})

describe('a client that leaves while it is attached', () => {
  for (const stage of ['heads', 'attaches'] as const) {
    test(`leaves nothing behind (${stage})`, async () => {
      const harness = await new Harness().start()
      harness.inbox[stage].shut()
      const fields = stage === 'heads' ? {} : PERSISTENT
      const client = harness.begin({ clientId: 'c', ...fields })
      await harness.until(() => harness.inbox[stage].waiting === 1)
      client.transport.close()
      await harness.settle()
      expect(harness.server.connections).toBe(1) // not given up yet
      harness.inbox[stage].open()
      await harness.until(() => harness.server.connections === 0)
      expect(harness.inbox.calls).toEqual(stage === 'heads' ? [] : ['attach c', 'detach c'])
      // Its place is free: the next one takes nobody over.
      await harness.connect({ clientId: 'c', ...fields })
      expect(harness.metric('flockmq_mqtt_takeovers_total')).toBe(0)
    })
  }

  test('does not take its place in the registry after all', async () => {
    const pending: ((allowed: boolean) => void)[] = []
    const publish = () => new Promise<boolean>((resolve) => pending.push(resolve))
    const permissions = { all: false, publish, subscribe: () => true, receive: () => true }
    const identity = { tenant: 'default' as never, user: 'u', attributes: {}, permissions }
    const auth = { authenticate: () => ({ result: 'accepted' as const, identity }) }
    const harness = await new Harness({ auth, settings: { connectionsMax: 2 } }).start()
    const older = await harness.connect({ clientId: 'c' })
    const payload = Buffer.from('bye')
    const will = { topic: 'w', payload, qos: 0, retain: false, properties: {}, rawProperties: payload } as const
    const client = harness.begin({ clientId: 'c', will })
    await harness.until(() => pending.length === 1)
    client.transport.close()
    pending[0]!(true)
    await harness.until(() => harness.server.connections === 1)
    expect(harness.inbox.calls).toEqual([])
    expect(older.closed).toBe(false) // whoever is there stays
    expect((await harness.begin({ clientId: 'other' }).expect('connack')).reasonCode).toBe(0)
  })

  test('does not take the session from one that came later', async () => {
    const harness = await new Harness().start()
    harness.inbox.heads.shut()
    const first = harness.begin({ clientId: 'c' })
    await harness.until(() => harness.inbox.heads.waiting === 1)
    const second = harness.begin({ clientId: 'c', ...PERSISTENT })
    expect((await first.expect('connack')).reasonCode).toBe(0x88)
    await harness.settle()
    harness.inbox.heads.open()
    expect((await second.expect('connack')).reasonCode).toBe(0)
    expect(harness.inbox.calls).toEqual(['attach c'])
  })
})

describe('attachment', () => {
  test('a session service that is not available refuses with 0x88 and leaves no trace', async () => {
    const harness = await new Harness().start()
    harness.inbox.attachError = new BrokerError('NO_QUORUM', 'no')
    const client = harness.begin({ clientId: 'c', ...PERSISTENT })
    expect((await client.expect('connack')).reasonCode).toBe(0x88)
    await client.expectClose()
    expect(harness.server.connections).toBe(0)
    harness.inbox.attachError = null
    await harness.connect({ clientId: 'c' })
    expect(harness.metric('flockmq_mqtt_takeovers_total')).toBe(0)
  })

  test('a plain session leaves no trace in the inbox service', async () => {
    const harness = await new Harness().start()
    const client = await harness.connect({ clientId: 'c' })
    client.transport.close()
    await harness.settle()
    expect(harness.inbox.calls).toEqual([])
  })

  test('a session that another one took at the inbox ends with 0x8E', async () => {
    const harness = await new Harness().start()
    const client = await harness.connect({ clientId: 'c', ...PERSISTENT })
    harness.inbox.sinks.get('c')!.lost('taken-over')
    expect(await client.expectDisconnect()).toBe(0x8e)
  })
})

describe('stop', () => {
  test('tells version 5 clients, and resolves when every session is given up', async () => {
    const harness = await new Harness().start()
    const clients = [
      await harness.connect({ clientId: 'a', ...PERSISTENT }),
      await harness.connect({ clientId: 'b', version: 4, cleanStart: false }),
      await harness.connect({ clientId: 'd' }),
    ]
    harness.inbox.attaches.shut()
    const attaching = harness.begin({ clientId: 'e', ...PERSISTENT })
    await harness.until(() => harness.inbox.attaches.waiting === 1)
    const silent = harness.open()
    // One that is leaving already counts as well.
    harness.inbox.detaches.shut()
    const leaving = await harness.connect({ clientId: 'f' })
    clients[0]!.transport.close()
    await harness.settle()
    let stopped = false
    const stop = harness.server.stop().then(() => {
      stopped = true
    })
    await harness.settle(50)
    expect(stopped).toBe(false)
    expect(clients[1]!.arrived()).toEqual([])
    expect(await leaving.expectDisconnect()).toBe(0x8b)
    expect((await attaching.expect('connack')).reasonCode).toBe(0x88)
    expect(silent.ended).toBe(true)
    harness.inbox.attaches.open()
    await harness.settle(50)
    expect(stopped).toBe(false)
    harness.inbox.detaches.open()
    await stop
    expect(harness.inbox.calls.filter((call) => call.startsWith('detach')).sort()).toEqual([
      'detach a',
      'detach b',
      'detach e',
    ])
    expect(harness.server.connections).toBe(0)
    expect(harness.open().ended).toBe(true)
    // Nothing is planned any more.
    expect(harness.world.step()).toBe(false)
  })
})
