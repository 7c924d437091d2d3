import { describe, expect, test } from 'vitest'
import type { InboxId } from '../../src/base/ids.ts'
import { code, LIMITS, TENANT, World, will } from './harness.ts'

const OPTIONS = { qos: 1, noLocal: false, retainAsPublished: false, subscriptionId: 7 } as const
const plain = (filter: string) => ({ filter, options: OPTIONS, pending: true })

describe('attach', () => {
  test('creates, resumes, and keeps the incarnation over resumes', async () => {
    const world = new World().start()
    const first = await world.attach('c')
    expect(first).toMatchObject({ sessionPresent: false, subscriptions: [], ended: null, previous: null })
    await world.inbox.subscribe(first.owner, [plain('a/#'), plain('$share/g/b')])
    world.inbox.confirm(first.owner, ['a/#'])
    await world.detach(first.owner)
    const second = await world.attach('c')
    expect(second.sessionPresent).toBe(true)
    expect(second.owner.incarnation).toBe(first.owner.incarnation)
    expect(second.subscriptions).toEqual([
      { filter: '$share/g/b', options: OPTIONS, pending: true },
      { filter: 'a/#', options: OPTIONS, pending: false },
    ])
    expect(second.groups).toEqual([{ tenant: TENANT, group: 'g', filter: 'b', ordered: false }])
    expect(second.previous).toBeNull()
  })

  test('a clean start ends the old session and tells its filters', async () => {
    const world = new World().start()
    const first = await world.owner('c')
    await world.inbox.subscribe(first, [plain('a')])
    await world.insert('m', [first])
    const second = await world.attach('c', { cleanStart: true })
    expect(second).toMatchObject({ sessionPresent: false, subscriptions: [] })
    expect(second.ended).toEqual({ incarnation: first.incarnation, subscriptions: [plain('a')], groups: [] })
    expect(second.previous).toEqual({ connection: first.connection, node: 'n1' })
    expect(second.owner.incarnation).toBeGreaterThan(first.incarnation)
    const client = world.open(second.owner)
    await world.settle()
    expect(client.seen).toEqual([])
    expect(await world.insert('late', [first])).toEqual(['absent'])
    expect(world.ended).toEqual([])
  })

  test('a session whose expiry has passed is not resumed, whether or not its timer fired', async () => {
    const world = new World()
    const first = await world.owner('c', { expirySeconds: 10 })
    await world.detach(first)
    world.clock.nowMs += 10_000
    const second = await world.attach('c')
    expect(second.sessionPresent).toBe(false)
    expect(second.ended).toMatchObject({ incarnation: first.incarnation })
  })

  test('the same attach twice changes nothing', async () => {
    const world = new World().start()
    const connection = 'n1/x'
    const first = await world.attach('c', { connection, cleanStart: true })
    await world.inbox.subscribe(first.owner, [plain('a')])
    const again = await world.attach('c', { connection, cleanStart: true })
    expect(again.owner).toEqual(first.owner)
    expect(again).toMatchObject({ sessionPresent: false, ended: null })
    expect(again.subscriptions).toHaveLength(1)
  })

  test('names of group inboxes are refused', async () => {
    expect(await code(new World().attach('\u0001s'))).toBe('INVALID_ARGUMENT')
  })

  test('a new session after a removal within the same millisecond has a higher incarnation', async () => {
    const world = new World()
    let last = 0
    for (let i = 0; i < 5; i++) {
      const owner = await world.owner('c')
      expect(owner.incarnation).toBeGreaterThan(last)
      last = owner.incarnation
      expect(await world.inbox.remove(owner, last)).toBe(true)
    }
  })
})

describe('one owner', () => {
  test('whoever was taken over gets CONFLICT for everything', async () => {
    const world = new World().start()
    const old = await world.owner('c')
    const client = world.open(old)
    await world.insert('m', [old], 2)
    await world.settle()
    const attached = await world.attach('c')
    expect(attached.previous).toEqual({ connection: old.connection, node: 'n1' })
    await world.settle()
    expect(client.lostBy).toBe('taken-over')
    expect(await code(world.inbox.subscribe(old, [plain('a')]))).toBe('CONFLICT')
    expect(await code(world.inbox.unsubscribe(old, ['a']))).toBe('CONFLICT')
    expect(await code(world.inbox.receive(old, 1))).toBe('CONFLICT')
    expect(await code(world.inbox.release(old, 1))).toBe('CONFLICT')
    expect(await code(world.detach(old))).toBe('CONFLICT')
    const done = await new Promise((resolve) => client.feed.received(1, 1, resolve))
    expect(done).toMatchObject({ code: 'CONFLICT' })
    const stale = world.open(old)
    await world.settle()
    expect(stale.lostBy).toBe('taken-over')
    expect((await world.inbox.head(old))?.connection).toBe(attached.owner.connection)
  })

  test('nor does one that has detached go on', async () => {
    const world = new World().start()
    const owner = await world.owner('c')
    await world.detach(owner)
    expect(await code(world.inbox.subscribe(owner, [plain('a')]))).toBe('CONFLICT')
    expect(await code(world.inbox.receive(owner, 1))).toBe('CONFLICT')
    const client = world.open(owner)
    await world.settle()
    expect(client.lostBy).toBe('taken-over')
  })

  test('detach is idempotent', async () => {
    const world = new World().start()
    const owner = await world.owner('c')
    await world.detach(owner)
    expect(await code(world.detach(owner))).toBe('ok')
    const gone = await world.owner('d', { expirySeconds: 0 })
    await world.detach(gone)
    expect(await code(world.detach(gone))).toBe('ok')
  })
})

describe('the end of a session', () => {
  test('by its expiry, on time, and it leaves nothing behind', async () => {
    const world = new World().start()
    const owner = await world.owner('c', { expirySeconds: 10 })
    await world.inbox.subscribe(owner, [plain('a'), plain('$oshare/g/b')])
    await world.insert('m', [owner])
    await world.inbox.receive(owner, 1)
    await world.detach(owner)
    await world.advance(9_999)
    expect(await world.inbox.head(owner)).not.toBeNull()
    await world.advance(1)
    expect(await world.inbox.head(owner)).toBeNull()
    const groups = [{ tenant: TENANT, group: 'g', filter: 'b', ordered: true }]
    expect(world.ended).toEqual([{ inbox: 'c', incarnation: owner.incarnation, filters: ['$oshare/g/b', 'a'], groups }])
    expect(world.keys).toBe(0)
    expect(world.inbox.stats()).toMatchObject({ sessions: 0, attached: 0, queuedMessages: 0, queuedBytes: 0 })
  })

  test('each at its own time', async () => {
    const world = new World(undefined, []).start()
    for (const seconds of [30, 10, 20]) await world.detach(await world.owner(`c${seconds}`, { expirySeconds: seconds }))
    const ended = () => world.ended.map(({ inbox }) => inbox)
    await world.advance(10_000)
    expect(ended()).toEqual(['c10'])
    await world.advance(10_000)
    expect(ended()).toEqual(['c10', 'c20'])
    await world.advance(10_000)
    expect(ended()).toEqual(['c10', 'c20', 'c30'])
  })

  test('with its connection where the expiry is 0, also where DISCONNECT says so', async () => {
    const world = new World().start()
    await world.detach(await world.owner('c', { expirySeconds: 0 }))
    await world.detach(await world.owner('d'), { expirySeconds: 0 })
    expect(world.ended.map(({ inbox }) => inbox)).toEqual(['c', 'd'])
    expect((await world.attach('c')).sessionPresent).toBe(false)
    expect((await world.attach('d')).sessionPresent).toBe(false)
  })

  test('never, where the expiry is 0xFFFFFFFF', async () => {
    const world = new World().start()
    const owner = await world.owner('c', { expirySeconds: 0xffffffff })
    await world.detach(owner)
    await world.advance(1_000 * 365 * 86_400 * 100)
    expect((await world.attach('c')).sessionPresent).toBe(true)
  })

  test('by remove, which fires nothing', async () => {
    const world = new World().start()
    const owner = await world.owner('c', { will: will('w') })
    const client = world.open(owner)
    expect(await world.inbox.remove(owner, owner.incarnation - 1)).toBe(false)
    expect(await world.inbox.remove(owner)).toBe(true)
    expect(await world.inbox.remove(owner)).toBe(false)
    await world.settle()
    expect(client.lostBy).toBe('removed')
    expect(world.wills).toEqual([])
  })

  test('not by an expiry that a new connection has ended', async () => {
    const world = new World().start()
    await world.detach(await world.owner('c', { expirySeconds: 10 }))
    await world.advance(5_000)
    const timed = world.keys
    const owner = await world.owner('c', { expirySeconds: 10 })
    expect(world.keys).toBe(timed - 1) // its timer went
    await world.advance(20_000)
    expect(await world.inbox.head(owner)).not.toBeNull()
    await world.detach(owner)
    await world.advance(9_000)
    expect(await world.inbox.head(owner)).not.toBeNull()
  })
})

test('the filter list has a limit, and knows new from replaced', async () => {
  const world = new World()
  const owner = await world.owner('c', { limits: { ...LIMITS, filtersMax: 2 } })
  expect(await world.inbox.subscribe(owner, [plain('a'), plain('b'), plain('c'), plain('a')])).toEqual([
    'new',
    'new',
    'quota',
    'replaced',
  ])
  expect(await world.inbox.unsubscribe(owner, ['a', 'c'])).toEqual([true, false])
  expect(await world.inbox.subscribe(owner, [plain('c')])).toEqual(['new'])
})

test('heads are listed in pages over all ranges, each tenant its own', async () => {
  const world = new World()
  const names = ['a', 'b', 'h', 'i', 'p', 'q', 'z']
  for (const name of names) await world.owner(name)
  await world.inbox.attach({
    ...{ tenant: 'acme2' as typeof TENANT, inbox: 'b' as InboxId, connection: 'x', node: 'n1', cleanStart: false },
    ...{ expirySeconds: 1, will: null, client: { user: '', address: '', protocol: 4 }, limits: LIMITS },
  })
  for (const limit of [1, 2, 3, 7, 100]) {
    const found: string[] = []
    let after: InboxId | null = null
    do {
      const page: Awaited<ReturnType<typeof world.inbox.list>> = await world.inbox.list(
        TENANT,
        after === null ? { limit } : { after, limit },
      )
      expect(page.heads.length).toBeLessThanOrEqual(limit)
      found.push(...page.heads.map(({ inbox }) => inbox))
      after = page.next
    } while (after !== null)
    expect(found).toEqual(names)
  }
})
