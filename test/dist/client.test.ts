import { describe, expect, test } from 'vitest'
import { seededRandom, systemClock } from '../../src/base/clock.ts'
import { BrokerError } from '../../src/base/errors.ts'
import type { InboxId, TenantId } from '../../src/base/ids.ts'
import { silentLogger } from '../../src/base/logging.ts'
import { createDist, type RouteChange } from '../../src/dist/index.ts'
import { MemoryEngine } from '../../src/kv/engine/memory/engine.ts'
import { Store } from '../../src/kv/store/store.ts'

const TENANT = 't1' as TenantId

function setup(engine = new MemoryEngine(), splits = ['t1\0c', 't1\0f/']) {
  const defer = (work: () => void) => void setImmediate(work)
  const base = { engine, clock: systemClock, random: seededRandom(1), storeId: 's1', log: silentLogger, defer }
  const store = new Store({ ...base, decodeAlways: true })
  const dist = createDist({
    serve: (coprocessor, observer, options) =>
      store.serve(coprocessor, observer, { ...options, initialSplits: splits.map((key) => Buffer.from(key)) }),
    ...{ defer, now: () => systemClock.monotonic(), cacheBytesMax: 1024 * 1024, seed: 1 },
  })
  return { store, dist, engine }
}

function change(filter: string, overrides: object = {}): RouteChange {
  return { op: 'add', tenant: TENANT, filter, receiver: { kind: 'node', node: 'n1' }, incarnation: 1, ...overrides }
}

describe('changes', () => {
  test('are matched when they are answered, on whatever range they lie', async () => {
    const { dist } = setup()
    for (const filter of ['a/+', 'd/#', 'f/x', 'zebra', '#']) {
      await dist.change(change(filter))
      const topic = filter.replace('+', 'x').replace('#', 'y')
      expect(dist.match(TENANT, topic).nodes[0]!.filters).toContain(filter)
    }
    await dist.change(change('#', { op: 'remove' }))
    expect(dist.match(TENANT, 'other').nodes).toEqual([])
    expect(dist.stats()).toMatchObject({ routes: 4, filters: 4, cacheEntries: 1 })
  })

  test('of one turn are answered in order, with a callback each', async () => {
    const { dist } = setup()
    const answers: string[] = []
    await new Promise<void>((resolve) => {
      for (const op of ['add', 'remove', 'add'] as const) {
        dist.changeWith(change('a', { op }), (error) => {
          answers.push(`${op} ${error} ${dist.match(TENANT, 'a').nodes.length}`)
          if (answers.length === 3) resolve()
        })
      }
    })
    expect(answers).toEqual(['add null 1', 'remove null 1', 'add null 1'])
  })

  test('an older incarnation neither replaces nor removes', async () => {
    const { dist } = setup()
    await dist.change(change('a', { incarnation: 2 }))
    await dist.change(change('a', { incarnation: 1, op: 'remove' }))
    expect(dist.match(TENANT, 'a').nodes).toHaveLength(1)
    await dist.change(change('a', { incarnation: 2, op: 'remove' }))
    expect(dist.match(TENANT, 'a').nodes).toHaveLength(0)
  })

  const options = { qos: 0, noLocal: false, retainAsPublished: false, subscriptionId: 0 }
  const inbox = { kind: 'inbox', inbox: 'i' as InboxId, options }
  const group = { kind: 'group', group: 'g', ordered: false }
  test.each([
    ['an empty tenant', { tenant: '' }],
    ['a tenant with U+0000', { tenant: 'a\0b' }],
    ['a filter that is none', { filter: 'a#' }],
    ['a shared filter', { filter: '$share/g/a' }],
    ['an incarnation below 0', { incarnation: -1 }],
    ['an incarnation that is not whole', { incarnation: 1.5 }],
    ['an incarnation that is too large', { incarnation: 2 ** 53 }],
    ['a node without a name', { receiver: { kind: 'node', node: '' } }],
    ['an inbox with U+0000', { receiver: { ...inbox, inbox: 'a\0' } }],
    [
      'a subscription identifier that is too large',
      { receiver: { ...inbox, options: { ...options, subscriptionId: 2 ** 28 } } },
    ],
    ['a plugin without a receiver', { receiver: { kind: 'plugin', broker: 'b', receiver: '' } }],
    ['a group without a name', { receiver: { ...group, group: '', member: { kind: 'node', node: 'n', count: 1 } } }],
    ['a negative count', { receiver: { ...group, member: { kind: 'node', node: 'n', count: -1 } } }],
    [
      'a member of another incarnation',
      { receiver: { ...group, member: { kind: 'inbox', inbox: 'i', incarnation: 9 } } },
    ],
  ])('refuse %s', async (_, overrides) => {
    const { dist, store } = setup()
    const wrong = change('a', overrides)
    await expect(dist.change(wrong)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
    const error = await new Promise((resolve) => dist.changeWith(wrong, resolve))
    expect(error).toBeInstanceOf(BrokerError)
    expect(store.health()).toEqual([])
    expect(dist.stats().routes).toBe(0)
  })
})

describe('lists', () => {
  test('go page by page over all ranges, also after a split', async () => {
    const { dist, store } = setup()
    const filters = Array.from({ length: 50 }, (_, i) => `${String.fromCharCode(97 + (i % 9))}/${i}`)
    await Promise.all(filters.map((filter) => dist.change(change(filter))))
    await dist.change(change('other', { tenant: 't' }))
    await store.split('dist', Buffer.from('t1\0e/2'))
    expect(store.ranges()).toHaveLength(4)
    for (const limit of [1, 7, 50, 1_000_000]) {
      const found: string[] = []
      let after: string | undefined
      do {
        const page = await dist.routes(TENANT, after === undefined ? { limit } : { limit, after })
        expect(page.routes.length).toBeLessThanOrEqual(limit)
        found.push(...page.routes.map(({ filter }) => filter))
        after = page.next ?? undefined
      } while (after !== undefined)
      expect(found).toEqual([...filters].sort())
    }
    expect(await dist.routes('nobody' as TenantId, { limit: 5 })).toEqual({ routes: [], next: null })
  })

  test('a token of another tenant, or none at all, is refused', async () => {
    const { dist } = setup()
    for (const filter of ['a', 'b']) await dist.change(change(filter, { tenant: 't2' }))
    const { next } = await dist.routes('t2' as TenantId, { limit: 1 })
    for (const after of [next!, '', '***']) {
      await expect(dist.routes(TENANT, { limit: 1, after })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
    }
  })
})

test('a restart finds every route again', async () => {
  const { dist, store, engine } = setup()
  await Promise.all(['a/+', 'd', 'g/#'].map((filter) => dist.change(change(filter))))
  const before = dist.match(TENANT, 'd')
  await store.close()
  const again = setup(engine)
  expect(again.dist.ready()).toBe(true)
  expect(again.dist.match(TENANT, 'g/x/y').nodes).toEqual([{ node: 'n1', filters: ['g/#'] }])
  await expect.poll(() => before.alive).toBe(false)
  expect(dist.ready()).toBe(false)
})
