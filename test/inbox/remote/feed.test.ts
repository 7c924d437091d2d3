import { beforeEach, expect, test } from 'vitest'
import { BrokerError } from '../../../src/base/errors.ts'
import type { InboxId } from '../../../src/base/ids.ts'
import { silentLogger } from '../../../src/base/logging.ts'
import type { FeedOptions, GroupKey, Inbox, InboxKey, InboxRanges, Owner } from '../../../src/inbox/index.ts'
import { createInbox } from '../../../src/inbox/index.ts'
import type { InboxObserver } from '../../../src/inbox/observer.ts'
import { WATCH } from '../../../src/inbox/remote/channels.ts'
import type { RangeObserver } from '../../../src/kv/range/coprocessor.ts'
import { Client, message, TENANT, World, will } from '../harness.ts'
import { SimLinks } from './links.ts'

const OPTIONS: FeedOptions = { credit: 100, bytesMax: 1_000_000 }

/** A node without a replica, and another one that leads all ranges. */
class Apart {
  readonly links = new SimLinks({
    defer: (callback) => void setImmediate(callback),
    after: (_ms, callback) => void setImmediate(callback),
    delayMs: () => 0,
  })
  readonly store = new World(undefined, undefined, this.links.node('n1').peers)
  /** Queries of the front, by type. */
  readonly asked: string[] = []
  readonly front: Inbox
  observer!: InboxObserver
  /** No query of the front is answered; how long it waited for the last one. */
  failing = false
  patienceMs = 0
  #connections = 0

  constructor() {
    const { ranges } = this.store
    const counted: InboxRanges = {
      mutate: (...args) => ranges.mutate(...args),
      mutateWith: (...args) => ranges.mutateWith(...args),
      locate: (key) => ranges.locate(key),
      leader: (key) => ranges.leader(key),
      close: () => ranges.close(),
      query: (key, query, options) => {
        this.asked.push(query.type)
        this.patienceMs = options?.deadlineMs ?? 10_000
        if (this.failing) return Promise.reject(new BrokerError('TIMEOUT', 'Nobody answers'))
        return ranges.query(key, query, options)
      },
    }
    this.front = createInbox({
      serve: (_coprocessor, observer) => {
        this.observer = observer as RangeObserver<never> as InboxObserver
        return counted
      },
      ...{ clock: this.store.clock, defer: (callback) => void setImmediate(callback), log: silentLogger, node: 'n2' },
      incarnations: { next: () => 1 },
      others: { peers: this.links.node('n2').peers, led: () => [] },
    })
  }

  async attach(inbox: string): Promise<Owner> {
    const attached = await this.front.attach({
      ...{ tenant: TENANT, inbox: inbox as InboxId, connection: `n2/${++this.#connections}`, node: 'n2' },
      ...{ cleanStart: false, expirySeconds: 3_600, will: null, client: { user: '', address: '', protocol: 5 } },
      limits: { messagesMax: 10_000, bytesMax: 10_000_000, dropPolicy: 'oldest', filtersMax: 10 },
    })
    return attached.owner
  }

  async open(owner: Owner, options: Partial<FeedOptions> = {}): Promise<Client> {
    const client = new Client()
    client.feed = this.front.open(owner, { ...OPTIONS, ...options }, client)
    await this.settle()
    return client
  }

  async session(inbox: string, options: Partial<FeedOptions> = {}): Promise<{ owner: Owner; client: Client }> {
    const owner = await this.attach(inbox)
    return { owner, client: await this.open(owner, options) }
  }

  async insertAll(owner: Owner, payloads: readonly string[]): Promise<void> {
    await Promise.all(payloads.map((payload) => this.store.insert(payload, [owner])))
    await this.settle()
  }

  /** The connection has closed. */
  giveUp(owner: Owner): Promise<void> {
    return this.front.detach({ owner, expirySeconds: null, discardWill: true, sentUpTo: 0 })
  }

  async settle(): Promise<void> {
    await this.store.settle()
    await this.store.settle()
  }

  /** Nodes look for each other again. */
  async pass(ms: number): Promise<void> {
    for (let passed = 0; passed < ms; passed += 100) {
      this.store.clock.advance(100)
      await this.settle()
    }
  }

  /** Letters as another node might send them. */
  send(from: string, to: string, bytes: Uint8Array): void {
    this.links.node(from).send(to as never, WATCH, bytes)
  }

  watches(): number {
    return this.store.inbox.stats().watched
  }
}

let apart: Apart

beforeEach(() => {
  apart = new Apart()
})

const numbers = (count: number, from = 0) => Array.from({ length: count }, (_, i) => String(from + i))

test('what comes is pushed from where the range is led, and nothing is read', async () => {
  const { owner, client } = await apart.session('c')
  expect(apart.watches()).toBe(1)
  client.auto = true
  await apart.insertAll(owner, numbers(50))
  expect(client.seen).toEqual(numbers(50))
  expect(apart.asked).not.toContain('entries')
  // Those of one turn come together.
  expect(client.calls.length).toBeLessThan(25)
  client.feed.close()
  await apart.settle()
  expect(apart.watches()).toBe(0)
})

test('what was there before the feed is read, what comes meanwhile is neither lost nor doubled', async () => {
  const owner = await apart.attach('c')
  await apart.insertAll(owner, numbers(30))
  const client = new Client()
  client.auto = true
  client.feed = apart.front.open(owner, OPTIONS, client)
  for (let i = 30; i < 60; i++) {
    void apart.store.insert(String(i), [owner])
    await new Promise((resolve) => setImmediate(resolve))
  }
  await apart.settle()
  expect(client.seen).toEqual(numbers(60))
})

test('one payload for many sessions goes to their node once', async () => {
  const sessions = []
  for (let i = 0; i < 20; i++) sessions.push(await apart.session(`s${i}`))
  const links = apart.links.node('n1')
  const before = links.written
  await apart.store.insert(
    message('x'.repeat(10_000)),
    sessions.map(({ owner }) => owner),
  )
  await apart.settle()
  for (const { client } of sessions) expect(client.got.length).toBe(1)
  expect(links.written - before).toBeLessThan(15_000)
})

test('a slow session has a window of pushes; the rest is read when there is credit', async () => {
  const { owner, client } = await apart.session('c', { credit: 10 })
  await apart.insertAll(owner, numbers(2_000))
  expect(client.seen).toEqual(numbers(10))
  expect(apart.store.inbox.stats().pushed).toBeLessThanOrEqual(512)
  client.auto = true
  for (const { sequence } of [...client.got]) client.feed.acknowledge(sequence)
  await apart.pass(3_000)
  expect(client.seen).toEqual(numbers(2_000))
  // Pushed again as soon as it keeps up.
  const pushed = apart.store.inbox.stats().pushed
  const reads = apart.asked.length
  await apart.insertAll(owner, numbers(20, 2_000))
  expect(client.seen).toEqual(numbers(2_020))
  expect(apart.store.inbox.stats().pushed - pushed).toBe(20)
  expect(apart.asked.length).toBe(reads)
})

test('a link that breaks costs nothing: what came meanwhile is asked for', async () => {
  const { owner, client } = await apart.session('c')
  await apart.insertAll(owner, numbers(3))
  apart.links.cut()
  await apart.insertAll(owner, numbers(3, 3))
  expect(client.seen).toEqual(numbers(3))
  await apart.pass(1_000)
  expect(client.seen).toEqual(numbers(6))
  expect(apart.watches()).toBe(1)
  const { pushed } = apart.store.inbox.stats()
  await apart.insertAll(owner, numbers(3, 6))
  expect(client.seen).toEqual(numbers(9))
  expect(apart.store.inbox.stats().pushed - pushed).toBe(3)
})

test('who leads no more says so; who leads next is found', async () => {
  const { owner, client } = await apart.session('c')
  apart.store.leads = false
  await apart.pass(2_000)
  expect(apart.watches()).toBe(0)
  await apart.insertAll(owner, numbers(3))
  expect(client.seen).toEqual([])
  apart.store.leads = true
  await apart.pass(1_000)
  expect(client.seen).toEqual(numbers(3))
})

test('who has nothing to say says so each second: silence would mean that it is gone', async () => {
  await apart.session('c')
  const links = apart.links.node('n1')
  await apart.pass(1_000)
  const before = links.written
  await apart.pass(5_000)
  expect(links.written - before).toBe(5)
  expect(links.sinks.length).toBe(1)
})

test('a node that takes nothing more is told afterwards what it has to ask for', async () => {
  const { owner, client } = await apart.session('c')
  const [sink] = apart.links.node('n1').sinks
  sink!.stall()
  await apart.insertAll(owner, numbers(5))
  await apart.insertAll(owner, numbers(5, 5))
  expect(client.seen).toEqual([])
  sink!.granted(1_000_000)
  await apart.settle()
  expect(client.seen).toEqual(numbers(10))
})

test('the session ends for a feed elsewhere as for one here', async () => {
  const taken = await apart.session('c')
  const taking = apart.store.attach('c')
  await apart.settle()
  expect(taken.client.lostBy).toBe('taken-over')
  await apart.giveUp(taken.owner)
  expect((await taking).sessionPresent).toBe(true)
  const removed = await apart.session('d')
  await apart.store.inbox.remove({ tenant: TENANT, inbox: 'd' as InboxId })
  await apart.settle()
  expect(removed.client.lostBy).toBe('removed')
  expect(apart.watches()).toBe(0)
})

test('as soon as a replica is here, it tells; when it goes, the other node does again', async () => {
  const { owner, client } = await apart.session('c')
  const range = apart.store.ranges.locate(new Uint8Array(1))
  const reader = { get: () => undefined, cursor: () => ({ next: () => false, close: () => {} }) as never }
  apart.observer.opened(range, reader)
  await apart.settle()
  expect(apart.watches()).toBe(0)
  apart.observer.closed(range)
  await apart.settle()
  expect(apart.watches()).toBe(1)
  await apart.insertAll(owner, ['x'])
  expect(client.seen).toEqual(['x'])
})

test('members of a group on two nodes share its queue; who is cut off gets what it is owed', async () => {
  const group: GroupKey = { tenant: TENANT, group: 'g', filter: 'f', ordered: false }
  const options = { qos: 2, noLocal: false, retainAsPublished: false, subscriptionId: 0 } as const
  const here = await apart.store.owner('here')
  const there = await apart.attach('there')
  const { inbox, incarnation } = await apart.store.inbox.joinGroup(group, here, options)
  await apart.front.joinGroup(group, there, options)
  const local = apart.store.openGroup(group, here)
  const far = new Client()
  far.feed = apart.front.openGroup(group, there, OPTIONS, far)
  await apart.settle()
  const target = { inbox, incarnation, qos: 1, retain: false, subscriptionIds: [] } as const
  for (const payload of numbers(10)) await apart.store.insert(payload, [target])
  await apart.settle()
  expect([...local.seen, ...far.seen].toSorted()).toEqual(numbers(10))
  expect(far.seen.length).toBe(5)
  expect(apart.store.inbox.stats().pushed).toBe(5)
  apart.links.cut()
  for (const payload of numbers(10, 10)) await apart.store.insert(payload, [target])
  await apart.pass(1_000)
  expect([...local.seen, ...far.seen].toSorted()).toEqual(numbers(20).toSorted())
  expect(far.seen.length).toBe(10)
})

test('QoS 0 goes past the log to the node of the session, or of a member of the group', async () => {
  const { owner, client } = await apart.session('c')
  expect(await apart.store.insert('a', [owner], 0)).toEqual(['ok'])
  expect(await apart.store.insert('b', [owner], 0)).toEqual(['ok'])
  await apart.settle()
  expect(client.got.map(({ qos, sequence }) => [qos, sequence])).toEqual([
    [0, 0],
    [0, 0],
  ])
  expect(client.seen).toEqual(['a', 'b'])

  const group: GroupKey = { tenant: TENANT, group: 'g', filter: 'f', ordered: false }
  const options = { qos: 0, noLocal: false, retainAsPublished: false, subscriptionId: 0 } as const
  const { inbox, incarnation } = await apart.front.joinGroup(group, owner, options)
  const member = new Client()
  member.feed = apart.front.openGroup(group, owner, OPTIONS, member)
  await apart.settle()
  await apart.store.insert('m', [{ inbox, incarnation, qos: 0, retain: false, subscriptionIds: [] }], 0)
  await apart.settle()
  expect(member.seen).toEqual(['m'])
})

test('QoS 0 follows a session that has moved, and what finds it nowhere is counted', async () => {
  const { owner, client } = await apart.session('c')
  await apart.store.insert('a', [owner], 0)
  await apart.settle()
  client.feed.close()
  // For a moment the publisher's node still thinks that it is there.
  const [back] = await Promise.all([apart.store.owner('c'), apart.giveUp(owner)])
  const home = apart.store.open(back)
  await apart.settle()
  expect(await apart.store.insert('b', [back], 0)).toEqual(['ok'])
  const away = await apart.session('d')
  await apart.store.insert('x', [away.owner], 0)
  await apart.settle()
  await apart.giveUp(away.owner)
  const told: string[] = []
  apart.front.start({
    publishWill: () => Promise.resolve(),
    nodeGone: () => Promise.resolve(),
    renewed: () => Promise.resolve(),
    sessionEnded: () => {},
    dropped: (key: InboxKey, reason: string, count: number) => told.push(`${key.inbox} ${reason} ${count}`),
  })
  expect(await apart.store.insert('y', [away.owner], 0)).toEqual(['ok'])
  await apart.settle()
  expect(home.seen).toEqual(['b'])
  expect(client.seen).toEqual(['a'])
  expect(away.client.seen).toEqual(['x'])
  expect(told).toEqual(['d full-newest 1'])
})

test('QoS 0 that cannot go now never goes, and is counted', async () => {
  const { owner, client } = await apart.session('c')
  apart.store.start()
  await apart.store.insert('a', [owner], 0)
  apart.links.node('n1').down = true
  await apart.store.insert('b', [owner], 0)
  apart.links.node('n1').down = false
  await apart.store.insert('c', [owner], 0)
  await apart.settle()
  expect(client.seen).toEqual(['a', 'c'])
  expect(apart.store.drops).toEqual(['c full-newest 1'])
  // Nor does it wait for long for who knows where the session is.
  apart.failing = true
  const home = await apart.store.owner('h')
  const target = {
    inbox: home.inbox,
    incarnation: home.incarnation,
    qos: 0,
    retain: false,
    subscriptionIds: [],
  } as const
  const results = new Promise((resolve, reject) => {
    apart.front.insert(TENANT, { message: message('x', { qos: 0 }), targets: [target], dedup: null }, (error, all) =>
      error === null ? resolve(all) : reject(error),
    )
  })
  expect(await results).toEqual(['dropped'])
  expect(apart.patienceMs).toBeLessThanOrEqual(1_000)
})

test('what makes no sense on the wire is counted, and costs nobody anything', async () => {
  const { owner, client } = await apart.session('c')
  apart.send('n2', 'n1', Buffer.from([9, 9, 9]))
  apart.send('n2', 'n1', Buffer.from([1, 1, 3, 1, 65, 1, 0, 0, 0, 0]))
  await apart.settle()
  expect(apart.store.inbox.stats().malformed).toBe(2)
  apart.links.node('n1').sinks[0]!.write(Buffer.from([1, 3, 1]))
  await apart.pass(1_000)
  await apart.insertAll(owner, ['x'])
  expect(client.seen).toEqual(['x'])
})

test('a will waits for nobody', async () => {
  apart.store.start()
  const owner = await apart.store.owner('w', { will: will('gone') })
  await apart.store.detach(owner)
  await apart.settle()
  expect(apart.store.wills.map(({ payload }) => payload)).toEqual(['gone'])
})
