import { ok } from 'node:assert/strict'
import { describe, expect, test } from 'vitest'
import { type Random, seededRandom } from '../../../src/base/clock.ts'
import type { TenantId } from '../../../src/base/ids.ts'
import type { Dist, RouteChange } from '../../../src/dist/index.ts'
import { firstRouteOf, type GroupName, LocalTable } from '../../../src/mqtt/routing/local-table.ts'
import { seeds } from '../../sim/seeds.ts'
import { FakeSubscriber } from './fake-subscriber.ts'

const TENANT = 't' as TenantId
const OPTIONS = { qos: 1, noLocal: false, retainAsPublished: false, subscriptionId: 0 } as const

interface Pending {
  change: RouteChange
  done: (error: Error | null) => void
}

/** Routes as `dist` keeps them; answers come when the test says so, in the order of the calls of each key. */
class FakeDist {
  readonly routes = new Map<string, { incarnation: number; count: number }>()
  readonly pending: Pending[] = []
  readonly touched: string[] = []
  changes = 0
  #incarnation = 0

  changeWith(change: RouteChange, done: (error: Error | null) => void): void {
    ok(change.incarnation > this.#incarnation, 'incarnations grow')
    this.#incarnation = change.incarnation
    this.changes++
    this.pending.push({ change, done })
  }

  touch(_tenant: TenantId, filter: string): void {
    this.touched.push(filter)
  }

  /** Answers the oldest change. A failed one may have been applied all the same. */
  answer(error: Error | null, applied = error === null): void {
    const { change, done } = this.pending.shift()!
    if (applied) this.#apply(change)
    done(error)
  }

  answerAll(): void {
    while (this.pending.length > 0) this.answer(null)
  }

  #apply({ op, filter, receiver, incarnation }: RouteChange): void {
    const key = receiver.kind === 'group' ? `$${receiver.ordered}/${receiver.group}/${filter}` : filter
    const known = this.routes.get(key)
    if (known !== undefined && known.incarnation > incarnation) return
    const count = receiver.kind === 'group' && receiver.member.kind === 'node' ? receiver.member.count : 1
    if (op === 'add') this.routes.set(key, { incarnation, count })
    else this.routes.delete(key)
  }
}

function setup() {
  const dist = new FakeDist()
  return { dist, table: new LocalTable(dist as unknown as Dist, 'n1', 100) }
}

const groupOf = (filter: string, ordered = false): GroupName => ({ tenant: TENANT, group: 'g', filter, ordered })

describe('a subscription', () => {
  test('counts once its route is applied, also the second one of a filter', () => {
    const { dist, table } = setup()
    const log: string[] = []
    const [a, b, c] = ['a', 'b', 'c'].map((id) => new FakeSubscriber(id))
    table.subscribe(TENANT, 'f', a!, OPTIONS, () => log.push('a'))
    table.subscribe(TENANT, 'f', b!, OPTIONS, () => log.push('b'))
    expect([log, dist.pending.length]).toEqual([[], 1])
    dist.answer(null)
    expect(log).toEqual(['a', 'b'])
    table.subscribe(TENANT, 'f', c!, OPTIONS, () => log.push('c'))
    expect([log.at(-1), dist.pending.length, table.subscriptions]).toEqual(['c', 0, 3])
    expect(dist.touched).toEqual(['f', 'f', 'f'])
  })

  test('has one route whatever the number of its subscribers, until the last one leaves', () => {
    const { dist, table } = setup()
    const subscribers = Array.from({ length: 50 }, (_, i) => new FakeSubscriber(String(i)))
    for (const each of subscribers) table.subscribe(TENANT, 'f', each, OPTIONS, () => {})
    dist.answerAll()
    for (const each of subscribers.slice(1)) table.unsubscribe(TENANT, 'f', each)
    expect(dist.changes).toBe(1)
    table.unsubscribe(TENANT, 'f', subscribers[0]!)
    table.unsubscribe(TENANT, 'f', subscribers[0]!)
    dist.answerAll()
    expect([dist.changes, dist.routes.size, table.subscriptions]).toEqual([2, 0, 0])
    expect(table.subscribers(TENANT, 'f')).toBeUndefined()
  })

  test('that comes back while its route is removed gets a route of its own', () => {
    const { dist, table } = setup()
    const a = new FakeSubscriber('a')
    const log: string[] = []
    table.subscribe(TENANT, 'f', a, OPTIONS, () => log.push('first'))
    table.unsubscribe(TENANT, 'f', a)
    table.subscribe(TENANT, 'f', a, OPTIONS, () => log.push('second'))
    dist.answer(null)
    expect(log).toEqual(['first'])
    dist.answer(null)
    expect([log, dist.routes.size]).toEqual([['first'], 0])
    dist.answer(null)
    expect([log, dist.routes.size]).toEqual([['first', 'second'], 1])
  })

  test('that failed tells everybody who waited, and is tried again for the next one', () => {
    const { dist, table } = setup()
    const log: string[] = []
    const [a, b, c] = ['a', 'b', 'c'].map((id) => new FakeSubscriber(id))
    table.subscribe(TENANT, 'f', a!, OPTIONS, (error) => log.push(`a ${error?.message}`))
    table.subscribe(TENANT, 'f', b!, OPTIONS, (error) => log.push(`b ${error?.message}`))
    dist.answer(new Error('no'))
    expect(log).toEqual(['a no', 'b no'])
    table.subscribe(TENANT, 'f', c!, OPTIONS, (error) => log.push(`c ${error?.message}`))
    dist.answer(null)
    expect(log.at(-1)).toBe('c undefined')
  })

  test('replaces its options', () => {
    const { dist, table } = setup()
    const a = new FakeSubscriber('a')
    table.subscribe(TENANT, 'f', a, OPTIONS, () => {})
    table.subscribe(TENANT, 'f', a, { ...OPTIONS, qos: 2 }, () => {})
    dist.answerAll()
    expect([...table.subscribers(TENANT, 'f')!.values()].map(({ qos }) => qos)).toEqual([2])
    expect(table.subscriptions).toBe(1)
  })
})

describe('a route that could not be taken back', () => {
  test('goes when the service answers again', () => {
    const { dist, table } = setup()
    const a = new FakeSubscriber('a')
    for (const filter of ['f', 'g', 'h']) table.subscribe(TENANT, filter, a, OPTIONS, () => {})
    table.join(groupOf('f'), a, OPTIONS, () => {})
    dist.answerAll()
    for (const filter of ['f', 'g', 'h']) table.unsubscribe(TENANT, filter, a)
    table.leave(groupOf('f'), a)
    for (let i = 0; i < 4; i++) dist.answer(new Error('overloaded'))
    expect([dist.routes.size, dist.pending.length]).toEqual([4, 0])
    table.subscribe(TENANT, 'g', a, OPTIONS, () => {})
    dist.answer(new Error('overloaded'))
    expect(dist.pending.length).toBe(0)
    table.subscribe(TENANT, 'g', a, OPTIONS, () => {})
    dist.answerAll()
    expect([...dist.routes.keys()]).toEqual(['g'])
  })
})

describe("a group's member", () => {
  test('is counted in the route, and its callback waits for that count', () => {
    const { dist, table } = setup()
    const log: string[] = []
    const [a, b] = ['a', 'b'].map((id) => new FakeSubscriber(id))
    table.join(groupOf('f'), a!, OPTIONS, () => log.push('a'))
    table.join(groupOf('f'), b!, OPTIONS, () => log.push('b'))
    dist.answer(null)
    expect(log).toEqual(['a'])
    dist.answer(null)
    expect(log).toEqual(['a', 'b'])
    expect([...dist.routes.values()].map(({ count }) => count)).toEqual([2])
    table.leave(groupOf('f'), a!)
    dist.answerAll()
    expect([...dist.routes.values()].map(({ count }) => count)).toEqual([1])
    table.leave(groupOf('f'), b!)
    dist.answerAll()
    expect([dist.routes.size, table.group(TENANT, 'g', 'f', false)]).toEqual([0, undefined])
  })

  test('ordered and unordered groups of one name are two', () => {
    const { dist, table } = setup()
    const a = new FakeSubscriber('a')
    table.join(groupOf('f'), a, OPTIONS, () => {})
    table.join(groupOf('f', true), a, OPTIONS, () => {})
    dist.answerAll()
    expect([dist.routes.size, table.subscriptions]).toEqual([2, 2])
    expect(table.group(TENANT, 'g', 'f', true)).toMatchObject({ ordered: true })
  })

  test('may subscribe again after somebody else could not join', () => {
    const { dist, table } = setup()
    const log: string[] = []
    const [a, b] = ['a', 'b'].map((id) => new FakeSubscriber(id))
    table.join(groupOf('f'), a!, OPTIONS, () => log.push('a'))
    dist.answer(null)
    table.join(groupOf('f'), b!, OPTIONS, (error) => {
      log.push(`b ${error?.message}`)
      table.leave(groupOf('f'), b!)
    })
    dist.answer(new Error('no'))
    dist.answerAll()
    table.join(groupOf('f'), a!, { ...OPTIONS, qos: 2 }, () => log.push('a again'))
    dist.answerAll()
    expect(log).toEqual(['a', 'b no', 'a again'])
    expect(table.group(TENANT, 'g', 'f', false)!.members.map(({ qos }) => qos)).toEqual([2])
  })
})

/** One connection's subscriptions, as `TransientSubscriptions` keeps them. */
class Holder {
  readonly subscriber: FakeSubscriber
  readonly filters = new Set<string>()
  /** Callbacks that have not come yet. */
  open = 0

  constructor(id: string) {
    this.subscriber = new FakeSubscriber(id)
  }
}

describe('with answers that come late, or fail, or lie', () => {
  for (const seed of seeds(20)) {
    test(`a callback means a route, and a route means a subscriber, seed=${seed}`, () => {
      const random = seededRandom(seed)
      const { dist, table } = setup()
      const holders = Array.from({ length: 6 }, (_, i) => new Holder(String(i)))
      const filters = ['a', 'b', '$a', '$b']
      for (let i = 0; i < 1500; i++) step(random, dist, table, holders, filters)
      for (const holder of holders) for (const filter of holder.filters) drop(table, holder, filter)
      expect(table.subscriptions).toBe(0)
      dist.answerAll()
      // Any change that succeeds brings what is still owed.
      take(dist, table, holders[0]!, 'last')
      drop(table, holders[0]!, 'last')
      dist.answerAll()
      expect(holders.map(({ open }) => open)).toEqual(holders.map(() => 0))
      expect([...dist.routes.keys()]).toEqual([])
    })
  }
})

function step(random: Random, dist: FakeDist, table: LocalTable, holders: Holder[], filters: string[]): void {
  const holder = holders[random.below(holders.length)]!
  const filter = filters[random.below(filters.length)]!
  const dice = random.below(10)
  if (dice < 4) take(dist, table, holder, filter)
  else if (dice < 7) {
    if (holder.filters.has(filter)) drop(table, holder, filter)
  } else if (dist.pending.length > 0) {
    const fails = random.below(5) === 0
    dist.answer(fails ? new Error('timeout') : null, !fails || random.below(2) === 0)
  }
  const expected = holders.reduce((sum, { filters: held }) => sum + held.size, 0)
  ok(table.subscriptions === expected, `${table.subscriptions} subscriptions instead of ${expected}`)
}

function take(dist: FakeDist, table: LocalTable, holder: Holder, filter: string): void {
  holder.filters.add(filter)
  holder.open++
  const before = dist.changes
  const done = (error: Error | null) => {
    holder.open--
    if (error !== null) {
      if (holder.filters.has(filter)) drop(table, holder, filter)
    } else {
      ok(dist.routes.has(isShared(filter) ? `$false/g/${filter}` : filter), `${filter} has no route`)
    }
  }
  if (isShared(filter)) table.join(groupOf(filter), holder.subscriber, OPTIONS, done)
  else table.subscribe(TENANT, filter, holder.subscriber, OPTIONS, done)
  ok(dist.changes - before <= 1)
}

function drop(table: LocalTable, holder: Holder, filter: string): void {
  holder.filters.delete(filter)
  if (isShared(filter)) table.leave(groupOf(filter), holder.subscriber)
  else table.unsubscribe(TENANT, filter, holder.subscriber)
}

const isShared = (filter: string) => filter.startsWith('$')

describe('a node that begins anew', () => {
  test('makes all routes again above those of before; who subscribes meanwhile waits for the new one', async () => {
    const { dist, table } = setup()
    const [a, b] = ['a', 'b'].map((id) => new FakeSubscriber(id))
    table.subscribe(TENANT, 'f', a!, OPTIONS, () => {})
    table.join(groupOf('f/g', true), a!, OPTIONS, () => {})
    table.join(groupOf('f/g', true), b!, OPTIONS, () => {})
    dist.answerAll()
    // Others have taken them back.
    dist.routes.clear()
    const first = firstRouteOf(2)
    const renewed = table.renew(first)
    const log: string[] = []
    table.subscribe(TENANT, 'f', b!, OPTIONS, () => log.push('b'))
    expect(log).toEqual([])
    dist.answerAll()
    await renewed
    expect(log).toEqual(['b'])
    expect([...dist.routes].map(([key, { count }]) => [key, count])).toEqual([
      ['f', 1],
      ['$true/g/f/g', 2],
    ])
    for (const { incarnation } of dist.routes.values()) expect(incarnation).toBeGreaterThan(first)
    expect(firstRouteOf(3)).toBeGreaterThan(first + 2 ** 31)
  })

  test('is told where a route could not be made', async () => {
    const { dist, table } = setup()
    table.subscribe(TENANT, 'f', new FakeSubscriber('a'), OPTIONS, () => {})
    dist.answerAll()
    const renewed = table.renew(firstRouteOf(2))
    dist.answer(new Error('no quorum'), false)
    await expect(renewed).rejects.toThrow('no quorum')
    const again = table.renew(firstRouteOf(2))
    dist.answerAll()
    await again
    expect(dist.routes.size).toBe(1)
  })
})
