import { describe, expect, test } from 'vitest'
import type { Connect } from '../../../src/mqtt/codec/index.ts'
import { type Agreement, connack, keepAliveTimeoutMs, negotiate } from '../../../src/mqtt/session/negotiate.ts'
import type { TenantSettings } from '../../../src/plugin/index.ts'
import { connectOf, settingsOf, willOf } from './values.ts'

const HOST = { assignedClientId: 'made-up', packetBytesMax: 1_048_576 }

function agree(fields: Partial<Connect> = {}, settings: Partial<TenantSettings> = {}, host = HOST): Agreement {
  const negotiation = negotiate(connectOf(fields), settingsOf(settings), host)
  if (negotiation.result === 'refused') throw new Error(negotiation.reason)
  return negotiation.agreement
}

function refused(fields: Partial<Connect>, settings: Partial<TenantSettings> = {}): number {
  const negotiation = negotiate(connectOf(fields), settingsOf(settings), HOST)
  return negotiation.result === 'refused' ? negotiation.reasonCode : 0
}

function connackOf(fields: Partial<Connect>, settings: Partial<TenantSettings> = {}, answer = {}) {
  const connect = connectOf(fields)
  const agreement = agree(fields, settings)
  const given = { sessionPresent: false, responseInformation: null, authenticationData: null, ...answer }
  return connack(connect, agreement, settingsOf(settings), given).properties
}

describe('what is refused', () => {
  test.each([
    ['3.1 where it is off', { version: 3 }, { mqtt31Enabled: false }, 0x84],
    ['3.1.1 where it is off', { version: 4 }, { mqtt311Enabled: false }, 0x84],
    ['5.0 where it is off', { version: 5 }, { mqtt5Enabled: false }, 0x84],
    ['no client id in 3.1', { version: 3, clientId: '' }, {}, 0x85],
    ['no client id for a session that is kept', { version: 4, clientId: '', cleanStart: false }, {}, 0x85],
    ['a client id of 1,025 bytes', { clientId: 'ä'.repeat(512).concat('x') }, {}, 0x85],
    ['a client id with U+0000', { clientId: 'a\0b' }, {}, 0x85],
    ['a will of a QoS too high', { will: willOf({ qos: 2 }) }, { maximumQos: 1 }, 0x9b],
    ['a retained will', { will: willOf({ retain: true }) }, { retainEnabled: false }, 0x9a],
    ['a large will', { will: willOf({ payload: Buffer.alloc(11) }) }, { willBytesMax: 10 }, 0x95],
  ] as const)('%s', (_name, fields, settings, reasonCode) => {
    expect(refused(fields as Partial<Connect>, settings as Partial<TenantSettings>)).toBe(reasonCode)
  })

  test.each([
    ['each version where only it is on', { version: 3 }, { mqtt311Enabled: false, mqtt5Enabled: false }],
    ['no client id with clean session', { version: 4, clientId: '' }, {}],
    ['no client id in 5.0', { clientId: '', cleanStart: false }, {}],
    ['a client id of 1,024 bytes', { clientId: 'ä'.repeat(512) }, {}],
    [
      'a will at the bounds',
      { will: willOf({ qos: 1, payload: Buffer.alloc(10) }) },
      { maximumQos: 1, willBytesMax: 10 },
    ],
    ['a will without retain where retain is off', { will: willOf() }, { retainEnabled: false }],
  ] as const)('but not %s', (_name, fields, settings) => {
    expect(refused(fields as Partial<Connect>, settings as Partial<TenantSettings>)).toBe(0)
  })
})

describe('session expiry', () => {
  test.each([
    ['5.0 without one', {}, 0],
    ['5.0 within the limit', { properties: { sessionExpiryInterval: 99 } }, 99],
    ['5.0 over the limit', { properties: { sessionExpiryInterval: 101 } }, 100],
    ['5.0 for ever', { properties: { sessionExpiryInterval: 0xffffffff } }, 100],
    ['3.x with clean session', { version: 4, cleanStart: true }, 0],
    ['3.x without', { version: 4, cleanStart: false }, 100],
  ] as const)('%s', (_name, fields, seconds) => {
    expect(agree(fields as Partial<Connect>, { sessionExpirySecondsMax: 100 }).expirySeconds).toBe(seconds)
  })

  test('for ever where the tenant allows it', () => {
    const properties = { sessionExpiryInterval: 0xffffffff }
    expect(agree({ properties }, { sessionExpirySecondsMax: 0xffffffff }).expirySeconds).toBe(0xffffffff)
  })

  test('none where every session is transient', () => {
    const properties = { sessionExpiryInterval: 60 }
    expect(agree({ properties }, { forceTransient: true }).expirySeconds).toBe(0)
    expect(connackOf({ properties }, { forceTransient: true }).sessionExpiryInterval).toBe(0)
  })
})

describe('keep-alive', () => {
  test.each([
    ['the client has its way', 60, {}, 60],
    ['none', 0, {}, 0],
    ['the server decides', 60, { serverKeepAliveSeconds: 20 }, 20],
    ['the server decides over both bounds', 60, { serverKeepAliveSeconds: 20, keepAliveSecondsMin: 30 }, 20],
    ['too short', 5, { keepAliveSecondsMin: 10 }, 10],
    ['none is not too short', 0, { keepAliveSecondsMin: 10 }, 0],
    ['too long', 500, { keepAliveSecondsMax: 300 }, 300],
    ['none is too long', 0, { keepAliveSecondsMax: 300 }, 300],
    ['at the bounds', 300, { keepAliveSecondsMin: 300, keepAliveSecondsMax: 300 }, 300],
  ] as const)('%s', (_name, asked, settings, agreed) => {
    expect(agree({ keepAliveSeconds: asked }, settings).keepAliveSeconds).toBe(agreed)
    expect(connackOf({ keepAliveSeconds: asked }, settings).serverKeepAlive).toBe(asked === agreed ? undefined : agreed)
    // 3.x has no way to be told.
    expect(agree({ version: 4, keepAliveSeconds: asked }, settings).keepAliveSeconds).toBe(asked)
  })

  test('ends a connection after one and a half times [MQTT-3.1.2-22]', () => {
    expect(keepAliveTimeoutMs(10)).toBe(15_000)
    expect(keepAliveTimeoutMs(0)).toBe(Number.POSITIVE_INFINITY)
  })
})

describe('limits', () => {
  test('of the client, and what it means that there is none', () => {
    const limits = { receiveMaximum: 7, maximumPacketSize: 100, topicAliasMaximum: 3 }
    const given = agree({ properties: limits })
    expect([given.clientReceiveMaximum, given.clientPacketBytesMax, given.clientTopicAliasMax]).toEqual([7, 100, 3])
    const none = agree()
    expect([none.clientReceiveMaximum, none.clientPacketBytesMax, none.clientTopicAliasMax]).toEqual([
      65_535, 268_435_460, 0,
    ])
    expect(agree({ properties: { topicAliasMaximum: 500 } }, { topicAliasMax: 16 }).clientTopicAliasMax).toBe(16)
  })

  test('3.x has no aliases', () => {
    const agreement = agree({ version: 4 }, { topicAliasMax: 16 })
    expect([agreement.topicAliasMax, agreement.clientTopicAliasMax]).toEqual([0, 0])
  })

  test('the smaller of the tenant and the node bounds packets', () => {
    const host = { ...HOST, packetBytesMax: 5000 }
    expect(agree({}, { packetBytesMax: 4000 }, host).packetBytesMax).toBe(4000)
    expect(agree({}, { packetBytesMax: 6000 }, host).packetBytesMax).toBe(5000)
  })
})

describe('CONNACK', () => {
  test('says nothing but the packet size where everything is as the client may assume', () => {
    const plain = { receiveMaximum: 65_535, topicAliasMax: 0 }
    expect(connackOf({}, plain)).toEqual({ maximumPacketSize: 1_048_576 })
  })

  test('says every limit', () => {
    const settings = {
      receiveMaximum: 10,
      maximumQos: 1,
      retainEnabled: false,
      packetBytesMax: 2000,
      topicAliasMax: 4,
      wildcardSubscriptionEnabled: false,
      subscriptionIdentifierEnabled: false,
      sharedSubscriptionEnabled: false,
      serverKeepAliveSeconds: 30,
      sessionExpirySecondsMax: 5,
    } as const
    expect(connackOf({ clientId: '', properties: { sessionExpiryInterval: 9 } }, settings)).toEqual({
      receiveMaximum: 10,
      maximumQoS: 1,
      retainAvailable: false,
      maximumPacketSize: 2000,
      topicAliasMaximum: 4,
      wildcardSubscriptionAvailable: false,
      subscriptionIdentifiersAvailable: false,
      sharedSubscriptionAvailable: false,
      serverKeepAlive: 30,
      sessionExpiryInterval: 5,
      assignedClientIdentifier: 'made-up',
    })
  })

  test('has response information only for who asks', () => {
    const answer = { responseInformation: 'replies/' }
    expect(connackOf({}, {}, answer).responseInformation).toBeUndefined()
    const asking = { properties: { requestResponseInformation: true } }
    expect(connackOf(asking, {}, answer).responseInformation).toBe('replies/')
    expect(connackOf(asking, {}).responseInformation).toBeUndefined()
  })

  test('ends an enhanced authentication', () => {
    const asking = { properties: { authenticationMethod: 'M' } }
    expect(connackOf(asking).authenticationMethod).toBe('M')
    expect(connackOf(asking, {}, { authenticationData: Buffer.from('d') }).authenticationData).toEqual(Buffer.from('d'))
  })

  test('3.x gets none of it', () => {
    expect(connackOf({ version: 4 }, { receiveMaximum: 10, maximumQos: 1 })).toEqual({})
  })
})
