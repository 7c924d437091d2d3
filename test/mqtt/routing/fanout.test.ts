import { describe, expect, test } from 'vitest'
import { type Random, seededRandom } from '../../../src/base/clock.ts'
import type { TenantId } from '../../../src/base/ids.ts'
import type { Dist, SubscriptionOptions, TopicEntry } from '../../../src/dist/index.ts'
import { Fanout, withoutNoLocal } from '../../../src/mqtt/routing/fanout.ts'
import { pickLocalMember } from '../../../src/mqtt/routing/group-choice.ts'
import { LocalTable } from '../../../src/mqtt/routing/local-table.ts'
import type { LocalTarget } from '../../../src/mqtt/routing/subscriber.ts'
import { toTarget } from '../../../src/mqtt/routing/subscriber.ts'
import { seeds } from '../../sim/seeds.ts'
import { FakeSubscriber } from './fake-subscriber.ts'

const TENANT = 't' as TenantId
const DIST = {
  changeWith: (_change: unknown, done: (error: null) => void) => done(null),
  touch() {},
} as unknown as Dist

type Subscription = { who: FakeSubscriber; filter: string; options: SubscriptionOptions }

function optionsOf(fields: Partial<SubscriptionOptions> = {}): SubscriptionOptions {
  return { qos: 0, noLocal: false, retainAsPublished: false, subscriptionId: 0, ...fields }
}

function entryOf(fields: Partial<TopicEntry>): TopicEntry {
  const none = { nodes: [], inboxes: [], groups: [], plugins: [] }
  return { tenant: TENANT, topic: 'x', alive: true, derived: null, ...none, ...fields }
}

function fanoutOf(subscriptions: readonly Subscription[], fields: Partial<TopicEntry> = {}): Fanout {
  const table = new LocalTable(DIST, 'n1', 1)
  for (const { who, filter, options } of subscriptions) table.subscribe(TENANT, filter, who, options, () => {})
  const filters = [...new Set(subscriptions.map(({ filter }) => filter))]
  const nodes = filters.length === 0 ? [] : [{ node: 'n1', filters }]
  return new Fanout(entryOf({ nodes, ...fields }), table, 'n1')
}

/** What each subscriber gets, said the obvious way. */
function naive(subscriptions: readonly Subscription[], publisher: string): string[] {
  const latest = new Map(subscriptions.map((each) => [`${each.who.clientId} ${each.filter}`, each]))
  const bySubscriber = new Map<string, SubscriptionOptions[]>()
  for (const { who, options } of latest.values()) {
    if (options.noLocal && who.clientId === publisher) continue
    bySubscriber.set(who.clientId, [...(bySubscriber.get(who.clientId) ?? []), options])
  }
  return [...bySubscriber].map(([clientId, all]) => {
    const ids = all.map(({ subscriptionId }) => subscriptionId).filter((id) => id !== 0)
    return describeTarget(
      clientId,
      Math.max(...all.map(({ qos }) => qos)),
      all.some(({ retainAsPublished }) => retainAsPublished),
      ids,
    )
  })
}

function describeTarget(clientId: string, qos: number, retain: boolean, ids: readonly number[]): string {
  return `${clientId} qos${qos}${retain ? ' retain' : ''} [${[...ids].sort((a, b) => a - b)}]`
}

function described(fanout: Fanout, publisher: string): string[] {
  const targets = fanout.targets.flatMap((target): LocalTarget[] => {
    const own = target.noLocal && target.subscriber.clientId === publisher
    const left = own ? withoutNoLocal(target) : target
    return left === null ? [] : [left]
  })
  return targets.map((t) => describeTarget(t.subscriber.clientId, t.qos, t.retainAsPublished, t.subscriptionIds))
}

function anySubscription(random: Random, subscribers: readonly FakeSubscriber[]): Subscription {
  const options = optionsOf({
    qos: random.below(3) as 0,
    noLocal: random.below(3) === 0,
    retainAsPublished: random.below(3) === 0,
    subscriptionId: random.below(3),
  })
  return { who: subscribers[random.below(subscribers.length)]!, filter: `f${random.below(4)}`, options }
}

describe('who gets a message', () => {
  for (const seed of seeds(20)) {
    test(`is as the obvious way says, with one copy for each, seed=${seed}`, () => {
      const random = seededRandom(seed)
      for (let round = 0; round < 40; round++) {
        const subscribers = Array.from({ length: 4 }, (_, i) => new FakeSubscriber(`c${i}`, i % 2 === 0 ? 5 : 4))
        const subscriptions = Array.from({ length: random.below(12) }, () => anySubscription(random, subscribers))
        const fanout = fanoutOf(subscriptions)
        for (const publisher of ['c0', 'c1', 'somebody']) {
          expect(described(fanout, publisher).sort()).toEqual(naive(subscriptions, publisher).sort())
        }
        const plain = [...fanout.plain3, ...fanout.plain5, ...fanout.special.map(({ subscriber }) => subscriber)]
        expect(plain.map(({ clientId }) => clientId).sort()).toEqual(
          fanout.targets.map((t) => t.subscriber.clientId).sort(),
        )
        expect(fanout.empty).toBe(fanout.targets.length === 0)
      }
    })
  }

  test('plain is who needs nothing of its own, by version', () => {
    const names = ['three', 'four', 'five', 'id', 'local', 'alias']
    const [three, four, five, id, local, alias] = names.map(
      (name, i) => new FakeSubscriber(name, ([3, 4, 5][i] as 5) ?? 5),
    )
    alias!.individual = true
    four!.clientPacketBytesMax = 100
    id!.clientPacketBytesMax = 50
    const fanout = fanoutOf([
      ...[three, four, five, alias].map((who) => ({ who: who!, filter: 'f', options: optionsOf() })),
      { who: id!, filter: 'f', options: optionsOf({ subscriptionId: 1 }) },
      { who: local!, filter: 'f', options: optionsOf({ noLocal: true }) },
    ])
    expect(fanout.plain3).toEqual([three, four])
    expect(fanout.plain5).toEqual([five])
    expect(fanout.special.map(({ subscriber }) => subscriber.clientId).sort()).toEqual(['alias', 'id', 'local'])
    expect(fanout.packetBytesMax).toBe(100)
  })

  test('is local only where nobody else is concerned', () => {
    const who = new FakeSubscriber('c')
    const local = [{ who, filter: 'f', options: optionsOf() }]
    const inbox = { inbox: 'i' } as never
    expect(fanoutOf(local)).toMatchObject({ localOnly: true, empty: false })
    expect(fanoutOf([])).toMatchObject({ localOnly: true, empty: true })
    for (const more of [{ inboxes: [inbox] }, { groups: [{} as never] }, { plugins: [{} as never] }]) {
      expect(fanoutOf(local, more)).toMatchObject({ localOnly: false, empty: false })
      expect(fanoutOf([], more)).toMatchObject({ localOnly: false, empty: false })
    }
    const nodes = [{ node: 'n2', filters: ['f'] }]
    expect(fanoutOf(local, { nodes })).toMatchObject({ localOnly: false, empty: false, targets: [] })
  })
})

describe("a shared group's member", () => {
  const groupOf = (members: readonly FakeSubscriber[], ordered = false) => ({
    ordered,
    members: members.map((who) => toTarget(who, optionsOf())),
    next: 0,
    route: null as never,
  })
  const members = () => ['a', 'b', 'c'].map((name) => new FakeSubscriber(name))

  test('is each in turn', () => {
    const group = groupOf(members())
    const picked = Array.from({ length: 7 }, () => pickLocalMember(group, 'p', true)!.subscriber.clientId)
    expect(picked.join('')).toBe('abcabca')
  })

  test('is one that has room', () => {
    const all = members()
    const group = groupOf(all)
    all[1]!.room = 0
    const picked = Array.from({ length: 4 }, () => pickLocalMember(group, 'p', true)!.subscriber.clientId)
    expect(picked.join('')).toBe('acac')
  })

  test('is nobody where somebody else can wait better, and the next in turn where not', () => {
    const all = members()
    const group = groupOf(all)
    for (const each of all) each.room = 0
    expect(pickLocalMember(group, 'p', false)).toBeNull()
    const picked = Array.from({ length: 4 }, () => pickLocalMember(group, 'p', true)!.subscriber.clientId)
    expect(picked.join('')).toBe('abca')
    expect(pickLocalMember(groupOf([]), 'p', true)).toBeNull()
  })

  test('stays within the members when some leave', () => {
    const group = groupOf(members())
    pickLocalMember(group, 'p', true)
    pickLocalMember(group, 'p', true)
    group.members.length = 1
    expect(pickLocalMember(group, 'p', true)!.subscriber.clientId).toBe('a')
  })

  test('of an ordered group is the same for all messages of a publisher', () => {
    const all = Array.from({ length: 8 }, (_, i) => new FakeSubscriber(`member ${i}`))
    const group = groupOf(all, true)
    const publishers = Array.from({ length: 400 }, (_, i) => `publisher ${i}`)
    const pick = (publisher: string) => pickLocalMember(group, publisher, true)!.subscriber.clientId
    const before = publishers.map(pick)
    expect(publishers.map(pick)).toEqual(before)
    for (const each of all) expect(before.filter((name) => name === each.clientId).length).toBeGreaterThan(15)
    // Those of the others stay where they are when one leaves.
    group.members.splice(3, 1)
    const after = publishers.map(pick)
    for (const [i, name] of before.entries()) if (name !== 'member 3') expect(after[i]).toBe(name)
  })
})
