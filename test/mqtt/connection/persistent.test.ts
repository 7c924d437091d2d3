import { describe, expect, test } from 'vitest'
import { BrokerError } from '../../../src/base/errors.ts'
import type { FeedEntry } from '../../../src/inbox/index.ts'
import { messageOf } from '../session/values.ts'
import { Harness } from './harness.ts'

const KEPT = { cleanStart: false, properties: { sessionExpiryInterval: 60 } }

function entryOf(fields: Partial<FeedEntry>): FeedEntry {
  const plain = { dup: false, released: false, retain: false, subscriptionIds: [] }
  return { sequence: 1, packetId: 2, qos: 1, message: messageOf(), ...plain, ...fields }
}

describe("a persistent session's subscriptions", () => {
  test('stand in its list and are routes, until they are given up', async () => {
    const harness = await new Harness().start()
    const client = await harness.subscriber('a', 1, { clientId: 'p', ...KEPT })
    expect([...harness.inbox.sessions.get('default/p')!.subscriptions.keys()]).toEqual(['a'])
    expect(harness.dist.match('default' as never, 'a').inboxes).toMatchObject([{ inbox: 'p', qos: 1 }])
    client.send({ type: 'unsubscribe', packetId: 9, filters: ['a', 'b'], properties: {} })
    expect((await client.expect('unsuback')).reasonCodes).toEqual([0, 0x11])
    expect(harness.dist.match('default' as never, 'a').inboxes).toEqual([])
  })

  test('cannot be changed by who lost the session meanwhile: it is told so', async () => {
    const harness = await new Harness().start()
    const client = await harness.subscriber('a', 1, { clientId: 'p', ...KEPT })
    harness.inbox.unsubscribe = () => Promise.reject(new BrokerError('CONFLICT', 'another connection owns it'))
    client.send({ type: 'unsubscribe', packetId: 9, filters: ['a'], properties: {} })
    expect(await client.expectDisconnect()).toBe(0x8e)
  })

  test('over the quota are refused with 0x97', async () => {
    const harness = await new Harness().start()
    harness.inbox.filtersMax = 1
    const client = await harness.subscriber('a', 1, { clientId: 'p', ...KEPT })
    expect(await client.subscribe('b', 1)).toBe(0x97)
    expect(await client.subscribe('a', 2)).toBe(2)
    expect(harness.dist.match('default' as never, 'b').inboxes).toEqual([])
  })

  test('that get no route are taken back from the list, and refused', async () => {
    const harness = await new Harness().start()
    harness.inbox.joinError = new BrokerError('NO_QUORUM', 'no')
    const client = await harness.connect({ clientId: 'p', ...KEPT })
    expect(await client.subscribe('$share/g/a', 1)).toBe(0x83)
    expect([...harness.inbox.sessions.get('default/p')!.subscriptions.keys()]).toEqual([])
    expect(client.closed).toBe(false)
  })

  test('whose route is not sure get one when the client comes back', async () => {
    const harness = await new Harness().start()
    const client = await harness.subscriber('$share/g/a', 1, { clientId: 'p', ...KEPT })
    client.transport.close()
    await harness.settle()
    const { subscriptions } = harness.inbox.sessions.get('default/p')!
    const options = { qos: 1, noLocal: false, retainAsPublished: false, subscriptionId: 0 } as const
    subscriptions.set('b', { filter: 'b', options, pending: true })
    await harness.connect({ clientId: 'p', ...KEPT })
    await harness.settle()
    expect(harness.dist.match('default' as never, 'b').inboxes).toMatchObject([{ inbox: 'p' }])
    expect(harness.inbox.sinks.has('p g')).toBe(true)
  })

  test('that cannot be resumed end the connection, and stay in the list', async () => {
    const harness = await new Harness().start()
    const client = await harness.subscriber('$share/g/a', 1, { clientId: 'p', ...KEPT })
    client.transport.close()
    await harness.settle()
    const { subscriptions } = harness.inbox.sessions.get('default/p')!
    subscriptions.set('$share/g/a', { ...subscriptions.get('$share/g/a')!, pending: true })
    harness.inbox.joinError = new BrokerError('NO_QUORUM', 'no')
    const again = await harness.connect({ clientId: 'p', ...KEPT })
    expect(await again.expectDisconnect()).toBe(0x89)
    expect([...subscriptions.keys()]).toEqual(['$share/g/a'])
  })
})

describe('feeds', () => {
  test('have the credit of the client, and end with the connection', async () => {
    const harness = await new Harness().start()
    const properties = { sessionExpiryInterval: 60, receiveMaximum: 7 }
    const client = await harness.subscriber('$share/g/a', 1, { clientId: 'p', properties })
    await harness.subscriber('$share/h/a', 1, { clientId: 'q', ...KEPT })
    expect(harness.inbox.feedOptions.get('p')).toEqual({ credit: 7, bytesMax: 1 << 20 })
    expect(harness.inbox.feedOptions.get('p g')!.credit).toBe(7)
    expect(harness.inbox.feedOptions.get('q')!.credit).toBe(32_766)
    client.transport.close()
    await harness.settle()
    expect(harness.inbox.closed).toEqual(['p', 'p g'])
    harness.inbox.sinks.get('p')!.entries([entryOf({})]) // too late
    expect(client.payloads()).toEqual([])
  })

  test('of a group are closed by UNSUBSCRIBE', async () => {
    const harness = await new Harness().start()
    const client = await harness.subscriber('$share/g/a', 1, { clientId: 'p', ...KEPT })
    client.send({ type: 'unsubscribe', packetId: 9, filters: ['$share/g/a'], properties: {} })
    await client.expect('unsuback')
    expect(harness.inbox.closed).toEqual(['p g'])
    client.transport.close()
    await harness.settle()
    expect(harness.inbox.closed).toEqual(['p g', 'p'])
  })

  test('bring entries to the client, from its queue and its groups, under ids that do not meet', async () => {
    const harness = await new Harness().start()
    const client = await harness.subscriber('$share/g/a', 1, { clientId: 'p', ...KEPT })
    const { take } = harness.inbox.feedOptions.get('p g')!.packetIds!
    harness.inbox.sinks.get('p')!.entries([entryOf({ packetId: 2 })])
    harness.inbox.sinks.get('p g')!.entries([entryOf({ packetId: take(), qos: 2 }), entryOf({ packetId: 0 })])
    await harness.settle()
    expect(client.lines()).toEqual(['publish 2', 'publish 32768', 'publish 32769'])
  })

  test.each([
    ['taken-over', 0x8e],
    ['removed', 0x98],
    ['expired', 0x98],
    ['closed', 0x98],
  ] as const)('that are lost (%s) end the connection', async (reason, code) => {
    const harness = await new Harness().start()
    const client = await harness.connect({ clientId: 'p', ...KEPT })
    harness.inbox.sinks.get('p')!.lost(reason)
    expect(await client.expectDisconnect()).toBe(code)
  })
})

describe('QoS 2 of a persistent publisher', () => {
  test('is numbered before it is routed, and released by PUBREL', async () => {
    const harness = await new Harness().start()
    const subscriber = await harness.subscriber('t')
    const client = await harness.connect({ clientId: 'p', ...KEPT })
    harness.inbox.receives.shut()
    client.publish('t', 'x', { qos: 2, packetId: 5 })
    await harness.settle()
    expect([subscriber.payloads(), client.lines()]).toEqual([[], []])
    harness.inbox.receives.open()
    await client.expect('pubrec')
    expect(subscriber.payloads()).toEqual(['x'])
    client.ack('pubrel', 5)
    expect((await client.expect('pubcomp')).reasonCode).toBe(0)
  })

  test.each([
    ['5: the client is told, and the id is free again', 5, ['release p']],
    ['3.1.1: the client is not told and sends it again, so that it keeps its number', 4, []],
  ] as const)('that fails in MQTT %s', async (_what, version, released) => {
    const harness = await new Harness().start()
    await harness.subscriber('t', 2, { clientId: 's', ...KEPT })
    const client = await harness.connect({ clientId: 'p', version, ...KEPT })
    harness.inbox.insertError = new BrokerError('TIMEOUT', 'It may have been stored')
    client.publish('t', 'x', { qos: 2, packetId: 5 })
    await harness.settle()
    expect(harness.inbox.inserted).toHaveLength(1)
    expect(harness.inbox.calls.filter((call) => call.startsWith('release'))).toEqual(released)
  })

  test('counts against the receive maximum until PUBREL', async () => {
    const harness = await new Harness({ settings: { receiveMaximum: 2 } }).start()
    const client = await harness.connect({ clientId: 'p', ...KEPT })
    for (const packetId of [1, 2]) client.publish('t', 'x', { qos: 2, packetId })
    await client.expect('pubrec')
    await client.expect('pubrec')
    client.ack('pubrel', 1)
    await client.expect('pubcomp')
    client.publish('t', 'x', { qos: 2, packetId: 3 })
    await client.expect('pubrec')
    client.publish('t', 'x', { qos: 2, packetId: 4 })
    expect(await client.expectDisconnect()).toBe(0x93)
  })
})
