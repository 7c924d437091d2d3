import { describe, expect, test } from 'vitest'
import { BrokerError } from '../../src/base/errors.ts'
import type { QoS } from '../../src/base/message.ts'
import type { FeedOptions, GroupKey, InsertTarget, Owner } from '../../src/inbox/index.ts'
import { type Client, LIMITS, message, TENANT, text, World } from './harness.ts'

const GROUP: GroupKey = { tenant: TENANT, group: 'g', filter: 'a/#', ordered: false }
const ORDERED: GroupKey = { ...GROUP, ordered: true }

interface Member {
  owner: Owner
  client: Client
}

class Team {
  readonly world = new World().start()
  readonly group: GroupKey
  target: InsertTarget | null = null

  constructor(group: GroupKey = GROUP) {
    this.group = group
  }

  async join(name: string, options: Partial<FeedOptions> = {}, qos: QoS = 2): Promise<Member> {
    const owner = await this.world.owner(name)
    const subscription = { qos, noLocal: false, retainAsPublished: false, subscriptionId: 0 }
    const { inbox, incarnation } = await this.world.inbox.joinGroup(this.group, owner, subscription)
    this.target = { inbox, incarnation, qos: 2, retain: true, subscriptionIds: [] }
    const client = this.world.openGroup(this.group, owner, options)
    await this.world.settle()
    return { owner, client }
  }

  async put(payload: string, qos: QoS = 1, publisher = 'p') {
    const result = await this.world.insert(message(payload, { qos, publisher }), [{ ...this.target!, qos }])
    await this.world.settle()
    return result[0]
  }
}

const payloads = ({ client }: Member) => client.got.map(({ message }) => text(message))

describe('a group', () => {
  test('lives from its first member to its last', async () => {
    const { world, ...team } = new Team()
    const [a, b] = [await world.owner('a'), await world.owner('b')]
    const options = { qos: 1, noLocal: false, retainAsPublished: false, subscriptionId: 0 } as const
    const first = await world.inbox.joinGroup(team.group, a, options)
    expect(first.created).toBe(true)
    expect(await world.inbox.joinGroup(team.group, b, options)).toEqual({ ...first, created: false })
    expect(await world.inbox.leaveGroup(team.group, a)).toEqual({ ended: null })
    expect(await world.inbox.leaveGroup(team.group, a)).toEqual({ ended: null })
    // Nobody is online: it waits.
    const target = {
      inbox: first.inbox,
      incarnation: first.incarnation,
      qos: 1,
      retain: false,
      subscriptionIds: [],
    } as const
    expect(await world.insert('m', [target])).toEqual(['ok'])
    expect(world.inbox.stats().queuedMessages).toBe(1)
    const keys = world.keys
    expect(await world.inbox.leaveGroup(team.group, b)).toEqual({
      ended: { inbox: first.inbox, incarnation: first.incarnation },
    })
    expect(world.keys).toBe(keys - 3) // tally, group, entry
    expect(world.inbox.stats().queuedMessages).toBe(0)
    expect(await world.insert('m', [target])).toEqual(['absent'])
    expect((await world.inbox.joinGroup(team.group, a, options)).incarnation).toBeGreaterThan(first.incarnation)
  })

  test('a late leave of an older session does not take a newer one out', async () => {
    const team = new Team()
    const old = await team.join('a')
    const renewed = await team.world.owner('a', { cleanStart: true })
    const options = { qos: 1, noLocal: false, retainAsPublished: false, subscriptionId: 0 } as const
    await team.world.inbox.joinGroup(GROUP, renewed, options)
    expect(await team.world.inbox.leaveGroup(GROUP, old.owner, old.owner.incarnation)).toEqual({ ended: null })
    expect(await team.put('m')).toBe('ok')
  })

  test('each entry goes to one member, in turn, under its credit; as its subscription asks', async () => {
    const team = new Team()
    const a = await team.join('a', { credit: 2 })
    const b = await team.join('b', { credit: 3 }, 1)
    for (let i = 1; i <= 7; i++) await team.put(`${i}`, 2)
    expect(payloads(a)).toEqual(['1', '3'])
    expect(payloads(b)).toEqual(['2', '4', '5'])
    expect(a.client.got[0]).toMatchObject({ qos: 2, packetId: 0, dup: false, retain: false })
    expect(b.client.got[0]).toMatchObject({ qos: 1 })
    b.client.feed.acknowledge(2)
    await team.world.settle()
    expect(payloads(b)).toEqual(['2', '4', '5', '6'])
    for (const { sequence } of [...a.client.got]) a.client.feed.acknowledge(sequence)
    for (const { sequence } of [...b.client.got]) b.client.feed.acknowledge(sequence)
    await team.world.advance(100)
    for (const { sequence } of [...a.client.got, ...b.client.got]) {
      a.client.feed.acknowledge(sequence)
      b.client.feed.acknowledge(sequence)
    }
    await team.world.advance(100)
    expect([...payloads(a), ...payloads(b)].sort()).toEqual(['1', '2', '3', '4', '5', '6', '7'])
    expect(team.world.inbox.stats()).toMatchObject({ queuedMessages: 0, queuedBytes: 0 })
  })

  test('what a member leaves behind goes to the others, first in line', async () => {
    const team = new Team()
    const a = await team.join('a', { credit: 3 })
    for (let i = 1; i <= 5; i++) await team.put(`${i}`)
    expect(payloads(a)).toEqual(['1', '2', '3'])
    a.client.feed.acknowledge(2)
    await team.world.detach(a.owner)
    await team.put('6')
    const b = await team.join('b')
    expect(payloads(b)).toEqual(['1', '3', '4', '5', '6'])
    const again = await team.join('a')
    expect(payloads(again)).toEqual([])
  })

  test('a member that was taken over gets its entries again, as anyone', async () => {
    const team = new Team()
    const a = await team.join('a')
    await team.put('1')
    const again = await team.join('a')
    expect(payloads(again)).toEqual(['1'])
    expect(a.client.lostBy).toBe('taken-over')
    a.client.feed.acknowledge(1)
    await team.world.advance(100)
    expect(team.world.inbox.stats().queuedMessages).toBe(1)
  })

  test('its feed ends with the takeover, whether or not the new owner opens one', async () => {
    const team = new Team()
    const a = await team.join('a')
    await team.world.owner('a')
    await team.world.settle()
    expect(a.client.lostBy).toBe('taken-over')
  })

  test('acknowledgements that wait count before the member leaves', async () => {
    const team = new Team()
    const a = await team.join('a')
    await team.put('1')
    await team.put('2')
    a.client.feed.acknowledge(1)
    await team.world.detach(a.owner)
    expect(payloads(await team.join('b'))).toEqual(['2'])
  })

  test('one that comes back with less credit gets no more than that', async () => {
    const team = new Team()
    await team.join('a', { credit: 5 })
    for (let i = 1; i <= 5; i++) await team.put(`${i}`)
    const again = await team.join('a', { credit: 2 })
    expect(payloads(again)).toEqual(['1', '2'])
  })

  test('QoS 2 past PUBREC waits for the same member, with its packet id', async () => {
    const team = new Team()
    const a = await team.join('a')
    const b = await team.join('b')
    await team.put('1', 2)
    await team.put('2', 2)
    await team.put('3', 2)
    const done = await new Promise((resolve) => a.client.feed.received(1, 40_000, resolve))
    expect(done).toBeNull()
    await team.world.detach(a.owner)
    await team.world.settle()
    expect(payloads(b)).toEqual(['2', '3'])
    const again = await team.join('a')
    expect(again.client.got).toEqual([
      expect.objectContaining({ sequence: 1, packetId: 40_000, released: true, message: null, qos: 2 }),
    ])
    again.client.feed.acknowledge(1)
    await team.world.advance(100)
    expect(team.world.inbox.stats().queuedMessages).toBe(2)
  })

  test('with packet ids from the front end: QoS 2 is bound before it is sent, and goes to nobody else', async () => {
    const team = new Team()
    const free: number[] = []
    let next = 50_000
    const packetIds = { take: () => next++, free: (id: number) => void free.push(id) }
    const a = await team.join('a', { packetIds })
    const b = await team.join('b', { credit: 1 })
    await team.put('1', 2)
    await team.put('2', 2)
    await team.put('3', 2)
    expect(a.client.got.map(({ packetId }) => packetId)).toEqual([50_000, 50_001])
    await team.world.detach(a.owner)
    await team.world.settle()
    expect(payloads(b)).toEqual(['2'])
    const again = await team.join('a', { packetIds })
    expect(again.client.got.map(({ packetId, dup, message }) => [packetId, dup, text(message)])).toEqual([
      [50_000, true, '1'],
      [50_001, true, '3'],
    ])
    // The session ends: nobody gets them [MQTT-4.8.2-5].
    await team.world.inbox.leaveGroup(GROUP, again.owner)
    await team.world.settle()
    expect(payloads(b)).toEqual(['2'])
    expect(team.world.inbox.stats().queuedMessages).toBe(1)
  })

  test('an id whose commit is in doubt is tried again, before later ones, and given to no other entry', async () => {
    const team = new Team()
    const free: number[] = []
    let next = 50_000
    const packetIds = { take: () => next++, free: (id: number) => void free.push(id) }
    const a = await team.join('a', { packetIds })
    const { ranges } = team.world
    const mutateWith = ranges.mutateWith.bind(ranges)
    let doubts = 2
    ranges.mutateWith = (key, command, done, ...more) => {
      const isDoubtful = command.type === 'member-bind' && doubts-- > 0
      const doubt: typeof done = (_error, _response, tag) => done(new BrokerError('UNAVAILABLE', 'Broken'), null, tag)
      mutateWith(key, command, isDoubtful ? doubt : done, ...more)
    }
    for (const payload of ['1', '2', '3']) await team.put(payload, 2)
    expect(payloads(a)).toEqual([])
    for (let tries = 0; tries < 2; tries++) {
      await team.world.advance(500)
      await team.world.settle()
    }
    expect(a.client.got.map(({ packetId, dup, message }) => [packetId, dup, text(message)])).toEqual([
      [50_000, false, '1'],
      [50_001, false, '2'],
      [50_002, false, '3'],
    ])
    expect(free).toEqual([])
  })

  test('a packet id is in use until its trim is committed', async () => {
    const team = new Team()
    const free: number[] = []
    const a = await team.join('a', { packetIds: { take: () => 50_000, free: (id) => void free.push(id) } })
    await team.put('1', 2)
    a.client.feed.acknowledge(1)
    await team.world.settle()
    expect(free).toEqual([])
    await team.world.advance(100)
    expect(free).toEqual([50_000])
  })

  test('no packet id is taken before every group of the session has said what is owed', async () => {
    const world = new World().start()
    const groups = ['one', 'two'].map((group): GroupKey => ({ ...GROUP, group }))
    const events: string[] = []
    const packetIds = { take: () => 50_000 + events.push('take'), free: () => {} }
    const connect = async () => {
      const owner = await world.owner('a')
      const options = { qos: 2, noLocal: false, retainAsPublished: false, subscriptionId: 0 } as const
      const joined = await Promise.all(groups.map((group) => world.inbox.joinGroup(group, owner, options)))
      const clients = groups.map((group) => world.openGroup(group, owner, { packetIds }))
      clients.forEach((client, at) => {
        client.entries = (entries) => void events.push(...entries.map(({ dup }) => `${at} ${dup ? 'owed' : 'new'}`))
      })
      const targets = joined.map(({ inbox, incarnation }) => ({
        ...({ inbox, incarnation, qos: 2, retain: false, subscriptionIds: [] } as const),
      }))
      return { owner, targets }
    }
    const { owner, targets } = await connect()
    await world.settle()
    await world.insert('1', [targets[1]!], 2)
    await world.settle()
    await world.detach(owner)
    await world.insert('2', [targets[0]!], 2)
    expect(events).toEqual(['take', '1 new'])
    events.length = 0
    await connect()
    await world.settle()
    expect(events).toEqual(['1 owed', 'take', '0 new'])
  })

  test('QoS 0 goes to a member that is here, or nowhere', async () => {
    const team = new Team()
    const a = await team.join('a')
    expect(await team.put('1', 0)).toBe('ok')
    expect(payloads(a)).toEqual(['1'])
    await team.world.detach(a.owner)
    expect(await team.put('2', 0)).toBe('dropped')
  })

  test('QoS 1 for a member that was granted QoS 0 is done when it is sent', async () => {
    const team = new Team()
    const a = await team.join('a', {}, 0)
    await team.put('1', 1)
    expect(a.client.got).toEqual([expect.objectContaining({ qos: 0 })])
    await team.world.advance(100)
    expect(team.world.inbox.stats().queuedMessages).toBe(0)
  })

  test('at its limit the oldest that nobody has gives way', async () => {
    const team = new Team()
    const limits = { ...LIMITS, messagesMax: 4 }
    const owner = await team.world.attach('a', { limits })
    const options = { qos: 1, noLocal: false, retainAsPublished: false, subscriptionId: 0 } as const
    const { inbox, incarnation } = await team.world.inbox.joinGroup(GROUP, owner.owner, options)
    team.target = { inbox, incarnation, qos: 1, retain: false, subscriptionIds: [] }
    const client = team.world.openGroup(GROUP, owner.owner, { credit: 2 })
    for (let i = 1; i <= 7; i++) await team.put(`${i}`)
    client.auto = true
    for (const { sequence } of [...client.got]) client.feed.acknowledge(sequence)
    await team.world.advance(100)
    await team.world.advance(100)
    expect(client.seen).toEqual(['1', '2', '6', '7'])
  })
})

describe('an ordered group', () => {
  test('keeps each publisher with one member, in order, whatever the credit of others', async () => {
    const team = new Team(ORDERED)
    const members = [
      await team.join('a', { credit: 2 }),
      await team.join('b', { credit: 2 }),
      await team.join('c', { credit: 2 }),
    ]
    for (let i = 0; i < 10; i++) for (let p = 0; p < 9; p++) await team.put(`p${p}-${i}`, 1, `p${p}`)
    for (let round = 0; round < 100; round++) {
      for (const { client } of members) for (const { sequence } of client.got) client.feed.acknowledge(sequence)
      await team.world.settle()
      if (round % 10 === 0) await team.world.advance(100)
    }
    await team.world.advance(100)
    const seen = members.map(payloads)
    expect(seen.flat()).toHaveLength(90)
    expect(seen.filter((each) => each.length > 0).length).toBeGreaterThan(1)
    for (let p = 0; p < 9; p++) {
      const own = seen
        .map((each) => each.filter((payload) => payload.startsWith(`p${p}-`)))
        .filter((each) => each.length > 0)
      expect(own).toEqual([Array.from({ length: 10 }, (_, i) => `p${p}-${i}`)])
    }
    expect(team.world.inbox.stats().queuedMessages).toBe(0)
  })

  test('a member that goes moves only its own publishers', async () => {
    const team = new Team(ORDERED)
    const members = [await team.join('a'), await team.join('b'), await team.join('c')]
    for (let p = 0; p < 20; p++) await team.put(`${p}`, 1, `p${p}`)
    const before = members.map(payloads)
    expect(before.every((each) => each.length > 0)).toBe(true)
    await team.world.detach(members[2]!.owner)
    await team.world.settle()
    const after = members.map(payloads)
    for (const at of [0, 1]) expect(after[at]!.slice(0, before[at]!.length)).toEqual(before[at])
    const moved = [...after[0]!.slice(before[0]!.length), ...after[1]!.slice(before[1]!.length)]
    expect(moved.sort()).toEqual([...before[2]!].sort())
  })
})
