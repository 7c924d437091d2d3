import { expect, test } from 'vitest'
import type { InboxId } from '../../src/base/ids.ts'
import type { GroupKey } from '../../src/inbox/index.ts'
import { lastingEngine, TENANT, text, World, will } from './harness.ts'

const GROUP: GroupKey = { tenant: TENANT, group: 'g', filter: 'a', ordered: false }
const OPTIONS = { qos: 2, noLocal: false, retainAsPublished: false, subscriptionId: 0 } as const

test('sessions, queues and what is counted of them survive the process', async () => {
  const before = new World(lastingEngine()).start()
  const owner = await before.owner('c')
  await before.owner('x')
  const client = before.open(owner)
  for (const payload of ['1', '2', '3']) await before.insert(payload, [owner], 2)
  await new Promise((resolve) => client.feed.received(1, 2, resolve))
  const stats = before.inbox.stats()
  const after = await before.restart()
  expect(after.inbox.stats()).toEqual({ ...stats, inserts: 0, leasesHeld: 0 })
  const resumed = after.open((await after.attach('c')).owner)
  await after.settle()
  expect(resumed.seen).toEqual(['-+!', '2+', '3+'])
})

test('an inbox that begins its range is counted too', async () => {
  const before = new World(lastingEngine()).start()
  // A range begins with `h`; timers of its sessions stand before it.
  for (const name of ['a', 'h', 'p', 'z']) await before.detach(await before.owner(name, { expirySeconds: 1_000 }))
  const after = await before.restart()
  await after.settle()
  expect(after.inbox.stats()).toMatchObject({ sessions: 4, attached: 0 })
})

test('what the process held is detached: sessions expire, wills fire', async () => {
  const before = new World(lastingEngine()).start()
  for (const name of ['a', 'm', 'z']) await before.owner(name, { expirySeconds: 10, will: will(name, 5) })
  await before.owner('gone', { expirySeconds: 0, will: will('at once', 5) })
  await before.owner('elsewhere', { node: 'n2', will: will('no') })
  const after = (await before.restart()).start()
  const back = await after.attach('z')
  expect(back.sessionPresent).toBe(true)
  for (let slice = 0; slice < 4; slice++) await after.advance(50)
  expect(after.wills.map(({ payload }) => payload)).toEqual(['at once'])
  await after.advance(10_000)
  expect(after.wills.map(({ payload }) => payload).sort()).toEqual(['a', 'at once', 'm'])
  expect(after.ended.map(({ inbox }) => inbox).sort()).toEqual(['a', 'gone', 'm'])
  expect(await after.inbox.head(back.owner)).toMatchObject({ connection: back.owner.connection })
  expect(after.inbox.stats()).toMatchObject({ sessions: 2, attached: 2 })
})

test('a will that was being published is published again, with its number', async () => {
  const before = new World(lastingEngine()).start()
  before.failWills = true
  await before.detach(await before.owner('c', { expirySeconds: 0, will: will('w') }))
  await before.settle()
  const after = (await before.restart()).start()
  await after.advance(30_000)
  expect(after.wills).toEqual(before.wills)
  await after.advance(60_000)
  expect(after.wills).toHaveLength(1)
})

test('what members held goes to others, but for QoS 2 on its way', async () => {
  const before = new World(lastingEngine()).start()
  const join = async (world: World, name: string) => {
    const owner = await world.owner(name)
    const { inbox, incarnation } = await world.inbox.joinGroup(GROUP, owner, OPTIONS)
    const client = world.openGroup(GROUP, owner, { packetIds: { take: () => 40_000, free: () => {} } })
    await world.settle()
    return { client, target: { inbox, incarnation, qos: 2, retain: false, subscriptionIds: [] } as const }
  }
  const { client, target } = await join(before, 'a')
  await before.insert('1', [target], 2)
  await before.insert('2', [{ ...target, qos: 1 }], 1)
  await before.settle()
  expect(client.seen).toEqual(['2', '1'])
  const after = (await before.restart()).start()
  await after.advance(50)
  const other = await join(after, 'b')
  expect(other.client.seen).toEqual(['2'])
  const again = await join(after, 'a')
  expect(again.client.got.map(({ message, packetId, dup }) => [text(message), packetId, dup])).toEqual([
    ['1', 40_000, true],
  ])
})

test('a start counts many sessions in slices, exactly, whatever changes meanwhile', async () => {
  const before = new World(lastingEngine(), []).start()
  const name = (i: number) => `c${String(i).padStart(3, '0')}`
  const owners = await Promise.all(Array.from({ length: 700 }, (_, i) => before.owner(name(i))))
  await before.insert('1', owners)
  const stats = before.inbox.stats()
  expect(stats).toMatchObject({ sessions: 700, attached: 700, queuedMessages: 700 })

  await before.store.close()
  const after = new World(before.engine, [])
  expect(after.inbox.stats().sessions).toBeLessThan(300)
  // One that is counted and one that is not yet: both count once.
  const changes = [
    ...[name(0), name(699)].map((inbox) => after.inbox.remove({ tenant: TENANT, inbox: inbox as InboxId })),
    after.attach('zz'),
    after.insert('2', [owners[1]!, owners[698]!]),
  ]
  await Promise.all(changes)
  await after.settle()
  const bytes = stats.queuedBytes / 700
  expect(after.inbox.stats()).toMatchObject({
    ...{ sessions: 699, attached: 699, queuedMessages: 700, queuedBytes: 700 * bytes },
  })
})
