import { describe, expect, test } from 'vitest'
import type { InboxId, TenantId } from '../../../src/base/ids.ts'
import { silentLogger } from '../../../src/base/logging.ts'
import type { Dist, MatchedInbox, RouteChange, TopicEntry } from '../../../src/dist/index.ts'
import { LocalTable, Router } from '../../../src/mqtt/index.ts'
import { Publication } from '../../../src/mqtt/routing/publication.ts'
import { SettingsSource, type TenantSettings } from '../../../src/plugin/index.ts'
import { FakeInbox, FakeRetain } from '../connection/fake-services.ts'
import { messageOf } from '../session/values.ts'
import { FakeSubscriber } from './fake-subscriber.ts'

const TENANT = 't' as TenantId
const OPTIONS = { qos: 2, noLocal: false, retainAsPublished: false, subscriptionId: 0 } as const

function inboxOf(name: string, fields: Partial<MatchedInbox> = {}): MatchedInbox {
  const subscriptions = [{ ...OPTIONS, filter: 'x' }]
  const plain = { qos: 2, noLocal: false, retainAsPublished: false, subscriptionIds: [] } as const
  return { inbox: name as InboxId, incarnation: 7, subscriptions, ...plain, ...fields }
}

function setup(settings: Partial<TenantSettings> = {}) {
  const changes: RouteChange[] = []
  const dist = {
    touch() {},
    changeWith: (change: RouteChange, done: (error: null) => void) => {
      changes.push(change)
      done(null)
    },
    match: (tenant: TenantId, topic: string) => entryOf({ tenant, topic }),
  }
  const inbox = new FakeInbox()
  const retain = new FakeRetain()
  const table = new LocalTable(dist as unknown as Dist, 'n1', 1)
  const dropped: string[] = []
  const delivered: string[] = []
  let fails = false
  const deliver = async (deliveries: readonly { receivers: readonly string[] }[]) => {
    if (fails) throw new Error('plugin failed')
    delivered.push(...deliveries.flatMap(({ receivers }) => receivers))
    return []
  }
  const router = new Router({
    ...{ dist: dist as unknown as Dist, inbox, retain, table, node: 'n1', log: silentLogger },
    settings: new SettingsSource({ configured: { default: settings }, plugin: null, logger: silentLogger }),
    brokers: new Map([['b', { name: 'b', deliver: deliver as never }]]),
    queueDropped: (_tenant, client, topic) => dropped.push(`${client} ${topic}`),
  })
  const failPlugin = () => {
    fails = true
  }
  return { router, inbox, retain, table, changes, dropped, delivered, failPlugin }
}

function entryOf(fields: Partial<TopicEntry>): TopicEntry {
  const none = { nodes: [], inboxes: [], groups: [], plugins: [] }
  return { tenant: TENANT, topic: 'x', alive: true, derived: null, ...none, ...fields }
}

const settle = async () => {
  for (let i = 0; i < 4; i++) await new Promise<void>((resolve) => setImmediate(resolve))
}

/** Publishes and notes what `done` is told. */
function publish(
  { router }: ReturnType<typeof setup>,
  entry: TopicEntry,
  message: ReturnType<typeof messageOf>,
  dedup: Parameters<Router['publish']>[3] = null,
): string[] {
  const publication = new Publication()
  publication.fromMessage(message)
  const told: string[] = []
  router.publish(TENANT, publication, entry, dedup, (error, matched) =>
    told.push(`${error?.message ?? 'ok'} ${matched}`),
  )
  return told
}

describe('a publish is answered', () => {
  test('at once where nobody needs to store it', () => {
    const parts = setup()
    const subscriber = new FakeSubscriber('s')
    parts.table.subscribe(TENANT, 'x', subscriber, OPTIONS, () => {})
    const entry = entryOf({ nodes: [{ node: 'n1', filters: ['x'] }] })
    expect(publish(parts, entry, messageOf({ qos: 1 }))).toEqual(['ok 1'])
    expect(publish(parts, entryOf({}), messageOf({ qos: 1 }))).toEqual(['ok 0'])
    expect(subscriber.delivered).toEqual(['hello q1 []'])
  })

  test('when every inbox, the retained message and the plugin have it', async () => {
    const parts = setup()
    parts.inbox.inserts.shut()
    parts.retain.sets.shut()
    const entry = entryOf({
      inboxes: [inboxOf('a'), inboxOf('b')],
      plugins: [{ broker: 'b', receiver: 'r', filter: 'x' }],
    })
    const told = publish(parts, entry, messageOf({ qos: 1, retain: true }))
    await settle()
    expect([told, parts.delivered]).toEqual([[], ['r']])
    parts.inbox.inserts.open()
    await settle()
    expect(told).toEqual([])
    parts.retain.sets.open()
    await settle()
    expect(told).toEqual(['ok 3'])
    expect(parts.inbox.inserted).toHaveLength(1)
    expect(parts.retain.topics.get('t/1')!.retain).toBe(true)
  })

  test.each([
    ['quorum-mem', 1],
    ['none', 2],
    ['quorum-sync', 0],
  ] as const)('without waiting with QoS 0 or with durability %s', async (durability, qos) => {
    const parts = setup({ durability })
    parts.inbox.inserts.shut()
    const told = publish(parts, entryOf({ inboxes: [inboxOf('a')] }), messageOf({ qos, retain: true }))
    expect(told).toEqual(['ok 1'])
    parts.inbox.insertError = new Error('no quorum')
    parts.inbox.inserts.open()
    await settle()
    expect(told).toEqual(['ok 1'])
  })

  test('once, with the first error', async () => {
    const parts = setup()
    parts.inbox.insertError = new Error('inbox failed')
    parts.retain.setError = new Error('retain failed')
    parts.inbox.inserts.shut()
    const told = publish(parts, entryOf({ inboxes: [inboxOf('a')] }), messageOf({ qos: 2, retain: true }))
    await settle()
    expect(told).toEqual([])
    parts.inbox.inserts.open()
    await settle()
    expect(told).toEqual(['retain failed 1'])
  })

  test('with the error of a plugin', async () => {
    const parts = setup()
    parts.failPlugin()
    const told = publish(
      parts,
      entryOf({ plugins: [{ broker: 'b', receiver: 'r', filter: 'x' }] }),
      messageOf({ qos: 1 }),
    )
    await settle()
    expect(told).toEqual(['plugin failed 1'])
  })

  test('a will or a message of the API always waits', async () => {
    const parts = setup({ durability: 'none' })
    parts.retain.setError = new Error('retain failed')
    await expect(parts.router.publishMessage(TENANT, messageOf({ retain: true }))).rejects.toThrow('retain failed')
    parts.retain.setError = null
    expect(await parts.router.publishMessage(TENANT, messageOf({ retain: true }))).toBe(0)
  })
})

describe('inboxes', () => {
  test('get what the subscription asks for', () => {
    const parts = setup()
    const entry = entryOf({
      inboxes: [
        inboxOf('low', { qos: 0 }),
        inboxOf('ids', { subscriptionIds: [4, 5] }),
        inboxOf('kept', { retainAsPublished: true }),
      ],
    })
    publish(parts, entry, messageOf({ qos: 1, retain: true }))
    expect(parts.inbox.inserted[0]!.targets).toMatchObject([
      { inbox: 'low', incarnation: 7, qos: 0, retain: false, subscriptionIds: [] },
      { inbox: 'ids', qos: 1, retain: false, subscriptionIds: [4, 5] },
      { inbox: 'kept', qos: 1, retain: true },
    ])
  })

  test('of the publisher get what is left without no-local', () => {
    const parts = setup()
    const local = { ...OPTIONS, filter: 'x', noLocal: true, subscriptionId: 1 }
    const other = { ...OPTIONS, filter: '+', qos: 1 as const, subscriptionId: 2 }
    const merged = { noLocal: true, subscriptionIds: [1, 2], retainAsPublished: true }
    const entry = entryOf({
      inboxes: [
        inboxOf('p', { ...merged, subscriptions: [local, other] }),
        inboxOf('q', { ...merged, subscriptions: [local, other] }),
      ],
    })
    publish(parts, entry, messageOf({ qos: 2, publisher: 'p' }))
    expect(parts.inbox.inserted[0]!.targets).toMatchObject([
      { inbox: 'p', qos: 1, subscriptionIds: [2] },
      { inbox: 'q', qos: 2, subscriptionIds: [1, 2] },
    ])
    const own = entryOf({ inboxes: [inboxOf('p', { ...merged, subscriptions: [local] })] })
    expect(publish(parts, own, messageOf({ qos: 2, publisher: 'p' }))).toEqual(['ok 0'])
    expect(parts.inbox.inserted).toHaveLength(1)
  })

  test('that are gone lose their routes, by their incarnation', async () => {
    const parts = setup()
    parts.inbox.insertResult = 'absent'
    const subscriptions = [
      { ...OPTIONS, filter: 'x', qos: 1 as const },
      { ...OPTIONS, filter: '+' },
    ]
    publish(parts, entryOf({ inboxes: [inboxOf('gone', { subscriptions })] }), messageOf({ qos: 1 }))
    await settle()
    expect(parts.changes).toEqual([
      { op: 'remove', tenant: TENANT, filter: 'x', receiver: inboxReceiver('gone', 1), incarnation: 7 },
      { op: 'remove', tenant: TENANT, filter: '+', receiver: inboxReceiver('gone', 2), incarnation: 7 },
    ])
  })

  test("of groups that are gone lose the group's route", async () => {
    const parts = setup()
    parts.inbox.insertResult = 'absent'
    const member = { kind: 'inbox', inbox: 'g-inbox' as InboxId, incarnation: 9 } as const
    const other = { kind: 'inbox', inbox: 'other' as InboxId, incarnation: 9 } as const
    const groups = [
      { group: 'g', filter: 'x', ordered: true, members: [member] },
      { group: 'h', filter: 'x', ordered: true, members: [other] },
    ]
    parts.inbox.insertResults = ['absent', 'ok']
    publish(parts, entryOf({ groups }), messageOf({ qos: 1 }))
    await settle()
    const receiver = { kind: 'group', group: 'g', ordered: true, member }
    expect(parts.changes).toEqual([{ op: 'remove', tenant: TENANT, filter: 'x', receiver, incarnation: 9 }])
  })

  test('that are full are told of', async () => {
    const parts = setup()
    parts.inbox.insertResult = 'dropped'
    const told = publish(parts, entryOf({ inboxes: [inboxOf('full')] }), messageOf({ qos: 1 }))
    await settle()
    expect([told, parts.dropped, parts.changes]).toEqual([['ok 1'], ['full t/1'], []])
  })
})

describe('a QoS 2 publish that may have been routed before', () => {
  test('goes to inboxes, which can tell, and to nobody else', async () => {
    const parts = setup()
    const [subscriber, member] = [new FakeSubscriber('s'), new FakeSubscriber('m')]
    parts.table.subscribe(TENANT, 'x', subscriber, OPTIONS, () => {})
    parts.table.join({ tenant: TENANT, group: 'g', filter: 'x', ordered: false }, member, OPTIONS, () => {})
    const entry = entryOf({
      nodes: [{ node: 'n1', filters: ['x'] }],
      inboxes: [inboxOf('i')],
      groups: [{ group: 'g', filter: 'x', ordered: false, members: [{ kind: 'node', node: 'n1', count: 1 }] }],
      plugins: [{ broker: 'b', receiver: 'r', filter: 'x' }],
    })
    const dedup = { publisher: 'p' as InboxId, number: 5, floor: 2, repeated: true }
    const told = publish(parts, entry, messageOf({ qos: 2 }), dedup)
    await settle()
    expect(told).toEqual(['ok 2'])
    expect(parts.inbox.inserted).toMatchObject([{ dedup: { publisher: 'p', number: 5 } }])
    expect([subscriber.delivered, member.delivered, parts.delivered]).toEqual([[], [], []])
    publish(parts, entry, messageOf({ qos: 2 }), { ...dedup, repeated: false })
    await settle()
    expect([subscriber.delivered, member.delivered, parts.delivered]).toEqual([['hello q2 []'], ['hello q2 []'], ['r']])
  })
})

describe('a shared group', () => {
  const member = { kind: 'inbox', inbox: 'g-inbox' as InboxId, incarnation: 9 } as const
  const node = { kind: 'node', node: 'n1', count: 1 } as const
  const groups = [{ group: 'g', filter: 'x', ordered: false, members: [member, node] }]

  test('gives a message to a transient member with room, else to its inbox', () => {
    const parts = setup()
    const subscriber = new FakeSubscriber('s')
    parts.table.join({ tenant: TENANT, group: 'g', filter: 'x', ordered: false }, subscriber, OPTIONS, () => {})
    expect(publish(parts, entryOf({ groups }), messageOf({ qos: 1 }))).toEqual(['ok 1'])
    expect([subscriber.delivered, parts.inbox.inserted.length]).toEqual([['hello q1 []'], 0])
    subscriber.room = 0
    publish(parts, entryOf({ groups }), messageOf({ qos: 1, payload: 'two' }))
    expect(subscriber.delivered).toHaveLength(1)
    expect(parts.inbox.inserted[0]!.targets).toMatchObject([{ inbox: 'g-inbox', incarnation: 9, qos: 1 }])
  })

  test('without an inbox gives it to a member all the same', () => {
    const parts = setup()
    const subscriber = new FakeSubscriber('s')
    subscriber.room = 0
    parts.table.join({ tenant: TENANT, group: 'g', filter: 'x', ordered: false }, subscriber, OPTIONS, () => {})
    publish(parts, entryOf({ groups: [{ ...groups[0]!, members: [node] }] }), messageOf({ qos: 1 }))
    expect(subscriber.delivered).toEqual(['hello q1 []'])
  })
})

describe('local subscribers', () => {
  test('of QoS 0 share one packet for each version; what needs its own gets it', () => {
    const parts = setup()
    const names = ['three', 'four', 'five', 'special', 'publisher']
    const subscribers = names.map((name, i) => new FakeSubscriber(name, ([3, 4] as const)[i] ?? 5))
    const [three, four, five, special, publisher] = subscribers
    for (const each of [three, four, five]) parts.table.subscribe(TENANT, 'x', each!, OPTIONS, () => {})
    for (const each of [special, publisher]) {
      parts.table.subscribe(TENANT, 'x', each!, { ...OPTIONS, noLocal: true, subscriptionId: 3 }, () => {})
    }
    five!.streaming = true
    const entry = entryOf({ nodes: [{ node: 'n1', filters: ['x'] }] })
    const publication = new Publication()
    publication.fromMessage(messageOf({ publisher: 'publisher', timestamp: 12 }))
    parts.router.deliverTransient(publication, parts.router.fanout(entry))
    for (const each of [three, four, five]) expect([each!.plain(), each!.delivered]).toEqual([['hello'], []])
    expect([special!.plain(), special!.delivered]).toEqual([[], ['hello q0 [3]']])
    expect(publisher!.delivered).toEqual([])
    expect(five!.live).toEqual(['t/1 12'])
    expect(parts.router.fanout(entry)).toBe(parts.router.fanout(entry))
  })

  test('get their own messages unless they said no', () => {
    const parts = setup()
    const [plain, local] = [new FakeSubscriber('p'), new FakeSubscriber('p')]
    parts.table.subscribe(TENANT, 'x', plain, OPTIONS, () => {})
    parts.table.subscribe(TENANT, 'x', local, { ...OPTIONS, noLocal: true }, () => {})
    publish(parts, entryOf({ nodes: [{ node: 'n1', filters: ['x'] }] }), messageOf({ qos: 1, publisher: 'p' }))
    expect([plain.delivered, local.delivered]).toEqual([['hello q1 []'], []])
  })

  test('lose what is too large for them, by name', () => {
    const parts = setup()
    const subscriber = new FakeSubscriber('s')
    subscriber.clientPacketBytesMax = 12
    parts.table.subscribe(TENANT, 'x', subscriber, OPTIONS, () => {})
    const entry = entryOf({ nodes: [{ node: 'n1', filters: ['x'] }] })
    for (const payload of ['1234', '12345']) publish(parts, entry, messageOf({ payload }))
    expect([subscriber.plain(), subscriber.drops]).toEqual([['1234'], ['1 too-large']])
  })
})

describe('topics', () => {
  const find = ({ router }: ReturnType<typeof setup>, topic: string) => {
    const buffer = Buffer.from(topic)
    const found = router.find(TENANT, buffer, 0, buffer.length)
    return typeof found === 'number' ? found : found.entry.topic
  }

  test('are found once and remembered', () => {
    const parts = setup()
    const buffer = Buffer.from('a/b')
    const first = parts.router.find(TENANT, buffer, 0, 3)
    expect(parts.router.find(TENANT, buffer, 0, 3)).toBe(first)
  })

  test.each([
    [{}, 'a/b', 'a/b'],
    [{}, 'a/+', 0x81],
    [{}, '#', 0x81],
    [{}, 'a\0', 0x81],
    [{ topicBytesMax: 4 }, 'äa/', 'äa/'],
    [{ topicBytesMax: 4 }, 'ää/', 0x90],
    [{ topicLevelsMax: 2 }, 'a/b', 'a/b'],
    [{ topicLevelsMax: 2 }, 'a/b/', 0x90],
    [{ topicLevelBytesMax: 4 }, 'ää/abcd', 'ää/abcd'],
    [{ topicLevelBytesMax: 4 }, 'a/ääx', 0x90],
    [{ topicLevelBytesMax: 4 }, 'abcde/a', 0x90],
  ] as const)('with settings %j: %s', (settings, topic, expected) => {
    expect(find(setup(settings), topic)).toBe(expected)
  })

  test('that are not UTF-8 are malformed', () => {
    expect(setup().router.find(TENANT, Buffer.from([0x61, 0xff]), 0, 2)).toBe(0x81)
  })
})

function inboxReceiver(name: string, qos: number) {
  return { kind: 'inbox', inbox: name, options: { ...OPTIONS, qos } }
}
