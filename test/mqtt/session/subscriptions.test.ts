import { describe, expect, test } from 'vitest'
import type { ProtocolVersion, Subscribe } from '../../../src/mqtt/codec/index.ts'
import { judgeSubscribe } from '../../../src/mqtt/session/subscriptions.ts'
import type { TenantSettings } from '../../../src/plugin/index.ts'
import { settingsOf, subscriptionOf } from './values.ts'

function subscribeOf(filters: readonly string[], fields = {}, identifier?: number): Subscribe {
  const subscriptions = filters.map((filter) => subscriptionOf(filter, fields))
  const properties = identifier === undefined ? {} : { subscriptionIdentifier: identifier }
  return { type: 'subscribe', packetId: 1, subscriptions, properties }
}

function judge(packet: Subscribe, settings: Partial<TenantSettings> = {}, version: ProtocolVersion = 5) {
  const allowed = packet.subscriptions.map(() => true)
  return judgeSubscribe(packet, allowed, version, settingsOf(settings))
}

function refusals(filters: readonly string[], settings: Partial<TenantSettings>, identifier?: number): number[] {
  return judge(subscribeOf(filters, {}, identifier), settings).map(({ refusal }) => refusal)
}

describe('SUBSCRIBE', () => {
  test('keeps every option', () => {
    const packet = subscribeOf(['a'], { qos: 2, noLocal: true, retainAsPublished: true, retainHandling: 1 }, 9)
    expect(judge(packet)).toEqual([
      {
        filter: 'a',
        options: { qos: 2, noLocal: true, retainAsPublished: true, subscriptionId: 9 },
        retainHandling: 1,
        refusal: 0,
      },
    ])
  })

  test('grants the QoS that the tenant has', () => {
    const granted = [0, 1, 2].map((qos) => judge(subscribeOf(['a'], { qos }), { maximumQos: 1 })[0]!.options.qos)
    expect(granted).toEqual([0, 1, 1])
  })

  test('sends retained messages to every 3.x subscriber', () => {
    expect(judge(subscribeOf(['a'], { retainHandling: 2 }), {}, 4)[0]!.retainHandling).toBe(0)
  })

  test('refuses what comes after filtersPerSubscribeMax (0x97)', () => {
    expect(refusals(['a', 'b', 'c'], { filtersPerSubscribeMax: 2 })).toEqual([0, 0, 0x97])
  })

  test.each([
    ['shared', { sharedSubscriptionEnabled: false }, ['$share/g/a', '$oshare/g/a', 'a', '$SYS/a'], [0x9e, 0x9e, 0, 0]],
    ['wildcard', { wildcardSubscriptionEnabled: false }, ['a/+', '#', '$share/g/+', 'a'], [0xa2, 0xa2, 0xa2, 0]],
    ['long', { topicBytesMax: 4 }, ['abcd', 'abcde', 'ää', 'ääa'], [0, 0x8f, 0, 0x8f]],
    ['deep', { topicLevelsMax: 2 }, ['a/b', 'a/b/c', '$share/g/a/b', '$share/g/a/b/c'], [0, 0x8f, 0, 0x8f]],
    ['with long levels', { topicLevelBytesMax: 6 }, ['abcdef/x', 'abcdefg/x', 'äää', 'äääa'], [0, 0x8f, 0, 0x8f]],
  ] as const)('refuses %s filters where the tenant says so', (_name, settings, filters, expected) => {
    expect(refusals(filters, settings)).toEqual(expected)
  })

  test('refuses identifiers where they are off (0xA1)', () => {
    expect(refusals(['a'], { subscriptionIdentifierEnabled: false }, 7)).toEqual([0xa1])
    expect(refusals(['a'], { subscriptionIdentifierEnabled: false })).toEqual([0])
  })

  test('each filter has its own answer from the authorization', () => {
    const packet = subscribeOf(['a', 'b', 'c'])
    const judged = judgeSubscribe(packet, [true, false], 5, settingsOf())
    expect(judged.map(({ refusal }) => refusal)).toEqual([0, 0x87, 0x87])
  })
})
