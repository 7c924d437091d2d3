import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { InboxId, TenantId } from '../../src/base/ids.ts'
import { topicMatches } from '../../src/base/topic.ts'
import type { Route, RouteChange, TopicEntry } from '../../src/dist/index.ts'
import { RouteTable } from '../../src/dist/match/table.ts'
import { routeKey, routeValue } from '../../src/dist/store/schema.ts'
import { MemoryEngine } from '../../src/kv/engine/memory/engine.ts'
import type { RangeDescriptor, Reader } from '../../src/kv/range/coprocessor.ts'
import { describeEntry, filters, ModelDist, routes, TENANTS, topics } from './model.ts'

const TENANT = 't1' as TenantId

function descriptor(id: string, start?: string, end?: string, version = 1): RangeDescriptor {
  const bound = (text?: string) => (text === undefined ? undefined : Buffer.from(text))
  return {
    ...{ id, service: 'dist', epoch: { version, confVersion: 1 }, replicas: [] },
    ...{ start: bound(start), end: bound(end) },
  }
}

const ALL = descriptor('r1')

/** A table on ranges whose stored routes are changed at once, with turns and time in the test's hands. */
class Fixture {
  readonly engine = new MemoryEngine()
  readonly table: RouteTable
  nowMs = 0
  /** Milliseconds that each look at the clock takes: 10 let a slice end at once. */
  lookMs = 0
  cursors = 0
  readonly #deferred: (() => void)[] = []
  readonly #reader: Reader = {
    get: (key) => this.engine.get('dist', key),
    cursor: (bounds) => {
      this.cursors++
      return this.engine.cursor('dist', bounds ?? {})
    },
  }

  constructor(cacheBytesMax = 1024 * 1024) {
    const now = () => {
      this.nowMs += this.lookMs
      return this.nowMs
    }
    this.table = new RouteTable({ defer: (work) => this.#deferred.push(work), now, cacheBytesMax, seed: 3 })
  }

  get busy(): boolean {
    return this.#deferred.length > 0
  }

  turn(): void {
    this.#deferred.shift()?.()
  }

  settle(): void {
    while (this.busy) this.turn()
  }

  open(range: RangeDescriptor): void {
    this.table.opened(range, this.#reader)
  }

  split(parent: RangeDescriptor, child: RangeDescriptor): void {
    this.table.split(parent, child, this.#reader)
  }

  merge(left: RangeDescriptor, right: RangeDescriptor): void {
    this.table.merged(left, right, this.#reader)
  }

  store(change: RouteChange): void {
    const key = routeKey(change)
    const write =
      change.op === 'add'
        ? ({ type: 'put', key, value: routeValue(change) } as const)
        : ({ type: 'delete', key } as const)
    void this.engine.write({ writes: [{ family: 'dist', write }], sync: true })
  }

  /** Stores the change and tells the table, as a store does. */
  apply(change: RouteChange, range = ALL): void {
    this.store(change)
    const base = { index: 1, nowMs: 0, writes: [], leader: true, reader: this.#reader }
    this.table.applied(range, { ...base, effects: [change] })
  }

  nodes(topic: string): string[] {
    return this.table.match(TENANT, topic).nodes.map(({ node }) => node)
  }
}

function onNode(filter: string, op: 'add' | 'remove' = 'add', node = 'n1'): RouteChange {
  return { op, tenant: TENANT, filter, receiver: { kind: 'node', node }, incarnation: 1 }
}

function onInbox(filter: string, inbox: string, options: object = {}, incarnation = 1): RouteChange {
  const all = { qos: 0, noLocal: false, retainAsPublished: false, subscriptionId: 0, ...options } as const
  return {
    op: 'add',
    tenant: TENANT,
    filter,
    receiver: { kind: 'inbox', inbox: inbox as InboxId, options: all },
    incarnation,
  }
}

describe('matches', () => {
  test('every alive entry is what a fresh match finds, whatever changes', () => {
    const step = fc.oneof(
      { weight: 4, arbitrary: fc.record({ op: fc.constantFrom('add' as const, 'remove' as const), route: routes }) },
      { weight: 4, arbitrary: fc.record({ tenant: fc.constantFrom(...TENANTS), topic: topics }) },
      { weight: 1, arbitrary: fc.record({ tenant: fc.constantFrom(...TENANTS), filter: filters }) },
    )
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), fc.constantFrom(2_500, 1_000_000), (steps, bytesMax) => {
        const fixture = new Fixture(bytesMax)
        fixture.open(ALL)
        const model = new ModelDist()
        const entries = new Set<TopicEntry>()
        for (const each of steps) {
          if ('topic' in each) {
            const entry = fixture.table.match(each.tenant, each.topic)
            expect(describeEntry(entry)).toEqual(model.expected(each.tenant, each.topic))
            if (entry.alive) expect(fixture.table.match(each.tenant, each.topic)).toBe(entry)
            entries.add(entry)
          } else if ('filter' in each) {
            fixture.table.touch(each.tenant, each.filter)
            for (const { tenant, topic, alive } of entries) {
              if (tenant === each.tenant && topicMatches(each.filter, topic)) expect(alive).toBe(false)
            }
          } else {
            const change = { ...each.route, op: each.op }
            if (model.apply(change) === 'applied') fixture.apply(change)
          }
          for (const entry of entries) {
            if (!entry.alive) entries.delete(entry)
            else expect(describeEntry(entry)).toEqual(model.expected(entry.tenant, entry.topic))
          }
        }
        expect(fixture.table.stats().routes).toBe(model.routes.size)
        expect(fixture.table.stats().filters).toBe(
          new Set([...model.routes.values()].map(({ tenant, filter }) => `${tenant} ${filter}`)).size,
        )
      }),
      { numRuns: 300 },
    )
  })

  test('only entries that a change concerns end; a change that shows nowhere ends none', () => {
    const fixture = new Fixture()
    fixture.open(ALL)
    const [one, other] = [fixture.table.match(TENANT, 'a/b'), fixture.table.match(TENANT, 'a/c')]
    expect([one.nodes, one.inboxes, one.groups, one.plugins]).toEqual([[], [], [], []])
    fixture.apply(onNode('+/b'))
    expect([one.alive, other.alive]).toEqual([false, true])
    const again = fixture.table.match(TENANT, 'a/b')
    expect(again.nodes).toEqual([{ node: 'n1', filters: ['+/b'] }])
    fixture.apply({ ...onNode('+/b'), incarnation: 2 })
    expect(again.alive).toBe(true)
    fixture.apply(onNode('+/b', 'remove'))
    expect(again.alive).toBe(false)
    expect(fixture.nodes('a/b')).toEqual([])
    expect(fixture.table.stats().invalidations).toBe(2)
  })

  test('an inbox with overlapping subscriptions is there once, with the most of each', () => {
    const fixture = new Fixture()
    fixture.open(ALL)
    fixture.apply(onInbox('a/+', 'c1', { qos: 1, subscriptionId: 4 }))
    fixture.apply(onInbox('#', 'c1', { qos: 2, noLocal: true, subscriptionId: 5 }))
    fixture.apply(onInbox('a/b', 'c1', { retainAsPublished: true }))
    fixture.apply(onInbox('a/b', 'c2'))
    const { inboxes } = fixture.table.match(TENANT, 'a/b')
    expect(inboxes).toHaveLength(2)
    const merged = inboxes.find(({ inbox }) => inbox === 'c1')!
    expect(merged).toMatchObject({ incarnation: 1, qos: 2, noLocal: true, retainAsPublished: true })
    expect([...merged.subscriptionIds].sort()).toEqual([4, 5])
    expect(merged.subscriptions.map(({ filter }) => filter).sort()).toEqual(['#', 'a/+', 'a/b'])
  })

  test('routes of an older incarnation of an inbox do not count beside newer ones', () => {
    for (const order of [0, 1]) {
      const fixture = new Fixture()
      fixture.open(ALL)
      fixture.apply(onInbox(order === 0 ? '#' : 'a/+', 'c1', { qos: 2, subscriptionId: 1 }, 1))
      fixture.apply(onInbox(order === 0 ? 'a/+' : '#', 'c1', { qos: 1, subscriptionId: 2 }, 9))
      const { inboxes } = fixture.table.match(TENANT, 'a/b')
      expect(inboxes).toHaveLength(1)
      expect(inboxes[0]).toMatchObject({ incarnation: 9, qos: 1, subscriptionIds: [2] })
    }
  })

  test('a new incarnation of an inbox shows, also as the member of a group', () => {
    const fixture = new Fixture()
    fixture.open(ALL)
    for (const incarnation of [3, 2 ** 40, 2 ** 40 + 2 ** 32]) {
      const member = { kind: 'inbox', inbox: 'i' as InboxId, incarnation } as const
      fixture.apply(onInbox('a', 'c1', {}, incarnation))
      fixture.apply({ ...onNode('a'), incarnation, receiver: { kind: 'group', group: 'g', ordered: true, member } })
      const { inboxes, groups } = fixture.table.match(TENANT, 'a')
      expect([inboxes[0]!.incarnation, groups[0]!.members]).toEqual([incarnation, [member]])
    }
  })

  test('a group is there once for each filter and order, with all members', () => {
    const fixture = new Fixture()
    fixture.open(ALL)
    const add = (filter: string, group: string, ordered: boolean, node: string) =>
      fixture.apply({
        ...onNode(filter),
        receiver: { kind: 'group', group, ordered, member: { kind: 'node', node, count: 2 } },
      })
    add('a/+', 'g', false, 'n1')
    add('a/+', 'g', false, 'n2')
    add('a/+', 'g', true, 'n1')
    add('a/#', 'g', false, 'n1')
    const names = fixture.table
      .match(TENANT, 'a/b')
      .groups.map((g) => `${g.group} ${g.filter} ${g.ordered} ${g.members.length}`)
    expect(names.sort()).toEqual(['g a/# false 1', 'g a/+ false 2', 'g a/+ true 1'])
  })
})

describe('loading', () => {
  const many = (count: number) => Array.from({ length: count }, (_, i) => onNode(`load/${i}/#`))

  test('goes in slices; what is there matches, changes in between are neither lost nor undone', () => {
    const fixture = new Fixture()
    for (const change of many(1_000)) fixture.store(change)
    fixture.lookMs = 10
    fixture.open(ALL)
    expect(fixture.table.ready()).toBe(false)
    const loaded = fixture.table.stats().routes
    expect(loaded).toBeGreaterThan(0)
    expect(loaded).toBeLessThan(1_000)
    // Keys go by text: `load/0` is loaded by now, `load/999` is not.
    const early = fixture.table.match(TENANT, 'load/999/x')
    expect(early.nodes).toEqual([])
    fixture.apply(onNode('load/0/#', 'remove'))
    fixture.apply(onNode('load/998/#', 'remove'))
    fixture.apply(onNode('load/x'))
    fixture.settle()
    expect(fixture.table.ready()).toBe(true)
    expect(early.alive).toBe(false)
    expect(fixture.table.stats().routes).toBe(999)
    expect(fixture.nodes('load/999/x')).toEqual(['n1'])
    expect(fixture.nodes('load/0/x')).toEqual([])
    expect(fixture.nodes('load/998/x')).toEqual([])
    expect(fixture.nodes('load/x')).toEqual(['n1'])
  })

  test('a slice takes 10 ms', () => {
    const fixture = new Fixture()
    for (const change of many(2_000)) fixture.store(change)
    fixture.lookMs = 4
    fixture.open(ALL)
    let slices = 1
    for (; fixture.busy; slices++) fixture.turn()
    // Three looks of 4 ms, of 128 routes each.
    expect(slices).toBe(Math.floor(2_000 / (3 * 128)) + 1)
  })

  test('a split loads nothing again and loses nothing, also in the middle of loading', () => {
    for (const lookMs of [0, 10]) {
      const fixture = new Fixture()
      for (const change of many(1_000)) fixture.store(change)
      fixture.lookMs = lookMs
      fixture.open(ALL)
      const entry = fixture.table.match(TENANT, 'load/0/x')
      const cursors = fixture.cursors
      expect(fixture.table.ready()).toBe(lookMs === 0)
      fixture.split(descriptor('r1', undefined, 't1\0load/5', 2), descriptor('r2', 't1\0load/5', undefined, 2))
      expect(fixture.table.ready()).toBe(lookMs === 0)
      fixture.apply(onNode('load/7/#', 'remove'), descriptor('r2', 't1\0load/5', undefined, 2))
      fixture.settle()
      expect(fixture.table.ready()).toBe(true)
      expect([entry.alive, fixture.table.stats().routes]).toEqual([true, 999])
      if (lookMs === 0) expect(fixture.cursors).toBe(cursors)
    }
  })

  test('a merge loads nothing again and loses nothing; in the middle of loading it loads all', () => {
    for (const lookMs of [0, 10]) {
      const fixture = new Fixture()
      const [left, right] = [descriptor('r1', undefined, 't1\0load/5'), descriptor('r2', 't1\0load/5')]
      for (const change of many(1_000)) fixture.store(change)
      fixture.lookMs = lookMs
      fixture.open(left)
      fixture.open(right)
      const cursors = fixture.cursors
      const joined = descriptor('r1', undefined, undefined, 2)
      fixture.merge(joined, right)
      fixture.apply(onNode('load/7/#', 'remove'), joined)
      fixture.settle()
      expect([fixture.table.ready(), fixture.table.stats().routes]).toEqual([true, 999])
      if (lookMs === 0) expect(fixture.cursors).toBe(cursors)
      fixture.table.closed(joined)
      fixture.settle()
      expect(fixture.table.stats().routes).toBe(0)
    }
  })

  test('the child of a split that closes takes its part, and no more', () => {
    const fixture = new Fixture()
    fixture.open(ALL)
    fixture.apply(onNode('a'))
    fixture.apply(onNode('z'))
    fixture.split(descriptor('r1', undefined, 't1\0m', 2), descriptor('r2', 't1\0m', undefined, 2))
    fixture.table.closed(descriptor('r2', 't1\0m', undefined, 2))
    fixture.settle()
    expect([fixture.nodes('a'), fixture.nodes('z')]).toEqual([['n1'], []])
  })

  test('a range that closes takes its routes with it, later; others keep theirs', () => {
    const fixture = new Fixture()
    const [left, right] = [descriptor('r1', undefined, 't1\0m'), descriptor('r2', 't1\0m')]
    fixture.open(left)
    fixture.open(right)
    fixture.apply(onNode('a'), left)
    fixture.apply(onNode('z'), right)
    const entry = fixture.table.match(TENANT, 'z')
    fixture.table.closed(right)
    expect(fixture.nodes('z')).toEqual(['n1'])
    fixture.settle()
    expect(entry.alive).toBe(false)
    expect([fixture.nodes('z'), fixture.nodes('a'), fixture.table.stats().routes]).toEqual([[], ['n1'], 1])
    fixture.open(right)
    expect([fixture.nodes('z'), fixture.table.ready()]).toEqual([['n1'], true])
    fixture.table.closed(left)
    fixture.table.closed(right)
    fixture.settle()
    expect([fixture.table.stats().routes, fixture.table.ready()]).toEqual([0, false])
  })

  test.each([true, false])(
    'a replica that opens anew ends with its contents, and matches all the time (closed: %s)',
    (closes) => {
      const fixture = new Fixture()
      for (const change of many(500)) fixture.store(change)
      fixture.open(ALL)
      const kept = fixture.table.match(TENANT, 'load/1/x')
      if (closes) fixture.table.closed(ALL)
      for (let i = 100; i < 200; i++) fixture.store(onNode(`load/${i}/#`, 'remove'))
      fixture.store(onNode('load/new'))
      fixture.lookMs = 10
      fixture.open(descriptor('r1', undefined, undefined, 5))
      while (fixture.busy) {
        expect(fixture.nodes('load/1/x')).toEqual(['n1'])
        expect(fixture.table.ready()).toBe(false)
        fixture.turn()
      }
      expect([fixture.table.ready(), kept.alive]).toEqual([true, true])
      expect(fixture.table.stats().routes).toBe(401)
      expect([fixture.nodes('load/150/x'), fixture.nodes('load/new')]).toEqual([[], ['n1']])
    },
  )

  test('a merge: the right range closes, the left one opens wider', () => {
    const fixture = new Fixture()
    const left = descriptor('r1', undefined, 't1\0m')
    fixture.open(left)
    fixture.open(descriptor('r2', 't1\0m'))
    const both: Route[] = [onNode('a'), onNode('z')]
    fixture.apply(onNode('a'), left)
    fixture.apply(onNode('z'), descriptor('r2', 't1\0m'))
    const entries = both.map(({ filter }) => fixture.table.match(TENANT, filter))
    fixture.table.closed(descriptor('r2', 't1\0m'))
    fixture.open(descriptor('r1', undefined, undefined, 3))
    fixture.settle()
    expect(entries.map(({ alive }) => alive)).toEqual([true, true])
    expect(fixture.table.stats().routes).toBe(2)
  })
})
