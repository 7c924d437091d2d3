import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { BrokerError } from '../../src/base/errors.ts'
import type { InboxId, TenantId } from '../../src/base/ids.ts'
import type { Route } from '../../src/dist/index.ts'
import { decodeCommands, encodeCommands, type RouteCommand, routeCommand } from '../../src/dist/store/codec.ts'
import { type RouteQuery, routeCoprocessor } from '../../src/dist/store/coprocessor.ts'
import { keyAfter, readRoute, routeKey, routeValue, tenantEnd, tenantStart } from '../../src/dist/store/schema.ts'
import { compareBytes } from '../../src/kv/engine/bytes.ts'
import type { Bounds } from '../../src/kv/engine/engine.ts'
import { MemoryEngine } from '../../src/kv/engine/memory/engine.ts'
import type { Reader } from '../../src/kv/range/coprocessor.ts'
import { ModelDist, routes } from './model.ts'

const TENANT = 't1' as TenantId
const NODE: Route = { tenant: TENANT, filter: 'a/+', receiver: { kind: 'node', node: 'n1' }, incarnation: 1 }
const INBOX: Route = {
  tenant: TENANT,
  filter: 'a/+',
  receiver: {
    kind: 'inbox',
    inbox: 'c1' as InboxId,
    options: { qos: 2, noLocal: true, retainAsPublished: false, subscriptionId: 268_435_455 },
  },
  incarnation: 7,
}

/** A range that writes at once. */
class Range {
  readonly engine = new MemoryEngine()
  readonly boundary: Bounds
  readonly reader: Reader = {
    get: (key) => this.engine.get('dist', key),
    cursor: (bounds) => this.engine.cursor('dist', bounds ?? {}),
  }
  #index = 0

  constructor(boundary: Bounds = {}) {
    this.boundary = boundary
  }

  async run(commands: readonly RouteCommand[]) {
    const context = { nowMs: 0, index: ++this.#index, boundary: this.boundary }
    const { writes, responses, effects } = routeCoprocessor.mutate(commands, this.reader, context)
    await this.engine.write({ writes: writes.map((write) => ({ family: 'dist', write })), sync: true })
    return { responses, effects }
  }

  query(query: RouteQuery) {
    return routeCoprocessor.query(query, this.reader, { nowMs: 0, boundary: this.boundary })
  }

  keys(): string[] {
    const keys: string[] = []
    const cursor = this.engine.cursor('dist', {})
    while (cursor.next()) keys.push(Buffer.from(cursor.key).toString('latin1'))
    cursor.close()
    return keys
  }
}

describe('keys', () => {
  test('lie as drawn', () => {
    const group = { kind: 'group', group: 'g', ordered: false, member: { kind: 'node', node: 'n1', count: 3 } } as const
    const text = (route: Route) => [
      Buffer.from(routeKey(route)).toString('latin1'),
      Buffer.from(routeValue(route)).toString('hex'),
    ]
    expect(text(NODE)).toEqual(['t1\0a/+\0\x01n1', '013ff0000000000000'])
    expect(text(INBOX)).toEqual(['t1\0a/+\0\x02c1', '01401c000000000000fffffff6'])
    const plugin: Route = { ...NODE, receiver: { kind: 'plugin', broker: 'b', receiver: 'r' } }
    expect(text(plugin)).toEqual(['t1\0a/+\0\x03b\0r', '013ff0000000000000'])
    expect(text({ ...NODE, receiver: group })).toEqual(['t1\0a/+\0\x04g\0\x01n1', '013ff000000000000000000003'])
    const inbox = { kind: 'inbox', inbox: 'i' as InboxId, incarnation: 1 } as const
    const ordered: Route = { ...NODE, receiver: { ...group, ordered: true, member: inbox } }
    expect(text(ordered)).toEqual(['t1\0a/+\0\x05g\0\x02i', '013ff0000000000000'])
  })

  test('are read back, and lie between the ends of their tenant', () => {
    fc.assert(
      fc.property(routes, (route) => {
        const key = routeKey(route)
        expect(readRoute(key, routeValue(route))).toEqual(route)
        expect(compareBytes(tenantStart(route.tenant), key)).toBeLessThan(0)
        expect(compareBytes(key, tenantEnd(route.tenant))).toBeLessThan(0)
      }),
    )
  })

  test('of a tenant whose name begins with the name of another lie apart', () => {
    expect(compareBytes(tenantEnd('t' as TenantId), tenantStart('t1' as TenantId))).toBeLessThan(0)
  })
})

describe('batches', () => {
  const commands = fc.array(
    fc.tuple(fc.constantFrom('add' as const, 'remove' as const), routes).map(([op, route]) => routeCommand(op, route)),
    { maxLength: 20 },
  )

  test('are read back', () => {
    fc.assert(
      fc.property(commands, (all) => {
        const plain = (list: readonly RouteCommand[]) =>
          list.map(({ op, route, key, value }) => ({ op, route, key: [...key], value: [...value] }))
        expect(plain(decodeCommands(encodeCommands(all)))).toEqual(plain(all))
      }),
    )
  })

  test('name what keys have in common once', () => {
    const all = Array.from({ length: 100 }, (_, i) => routeCommand('add', { ...NODE, filter: `building/floor/${i}/x` }))
    expect(encodeCommands(all).length / 100).toBeLessThan(24)
  })

  test('damaged bytes are a coded error', () => {
    const whole = encodeCommands([routeCommand('add', INBOX), routeCommand('remove', NODE)])
    for (let cut = 0; cut < whole.length; cut++) {
      expect(() => decodeCommands(whole.subarray(0, cut))).toThrow(BrokerError)
    }
    expect(() => decodeCommands(Buffer.concat([whole, Buffer.of(0)]))).toThrow(BrokerError)
    const alike = encodeCommands([routeCommand('add', NODE), routeCommand('add', INBOX)])
    const secondShared = 2 + 3 + routeKey(NODE).length + 1 + routeValue(NODE).length + 1
    expect(alike[secondShared]).toBe(7)
    alike[secondShared] = routeKey(NODE).length + 1
    expect(() => decodeCommands(alike)).toThrow('shares more bytes')
    fc.assert(
      fc.property(fc.nat(whole.length - 1), fc.integer({ min: 1, max: 255 }), (at, change) => {
        const bytes = Buffer.from(whole)
        bytes[at] = bytes[at]! ^ change
        try {
          decodeCommands(bytes)
        } catch (error) {
          expect(error).toBeInstanceOf(BrokerError)
        }
      }),
      { numRuns: 1_000 },
    )
  })
})

describe('mutations', () => {
  test('incarnation decides', async () => {
    const range = new Range()
    const at = (incarnation: number, op: 'add' | 'remove' = 'add') => routeCommand(op, { ...NODE, incarnation })
    const outcome = async (command: RouteCommand) => (await range.run([command])).responses[0]
    expect(await outcome(at(5, 'remove'))).toBe('unchanged')
    expect(await outcome(at(5))).toBe('applied')
    expect(await outcome(at(5))).toBe('unchanged')
    expect(await outcome(at(4))).toBe('stale')
    expect(await outcome(at(4, 'remove'))).toBe('stale')
    expect(range.keys()).toHaveLength(1)
    expect(await outcome(at(6))).toBe('applied')
    expect(await outcome(at(6, 'remove'))).toBe('applied')
    expect(range.keys()).toEqual([])
  })

  test('the same incarnation replaces options, and the effect says the new ones', async () => {
    const range = new Range()
    await range.run([routeCommand('add', INBOX)])
    const options = { qos: 0, noLocal: false, retainAsPublished: true, subscriptionId: 1 } as const
    const changed = { ...INBOX, receiver: { ...INBOX.receiver, options } } as Route
    const { responses, effects } = await range.run([routeCommand('add', changed), routeCommand('add', changed)])
    expect(responses).toEqual(['applied', 'unchanged'])
    expect(effects).toEqual([{ ...changed, op: 'add' }])
  })

  test('agree with the model, in batches of any size, from any replica', async () => {
    const batches = fc.array(fc.array(fc.tuple(fc.boolean(), routes), { minLength: 1, maxLength: 8 }), {
      maxLength: 12,
    })
    await fc.assert(
      fc.asyncProperty(batches, async (all) => {
        const range = new Range()
        const replica = new Range()
        const model = new ModelDist()
        const replayed = new ModelDist()
        for (const batch of all) {
          const commands = batch.map(([add, route]) => routeCommand(add ? 'add' : 'remove', route))
          const expected = commands.map(({ op, route }) => model.apply({ ...route, op }))
          const { responses, effects } = await range.run(commands)
          expect(responses).toEqual(expected)
          for (const effect of effects) expect(replayed.apply(effect)).toBe('applied')
          await replica.run(decodeCommands(encodeCommands(commands)))
        }
        expect(replayed.routes).toEqual(model.routes)
        const stored = [...model.routes.values()].map((route) => Buffer.from(routeKey(route)).toString('latin1')).sort()
        expect(range.keys()).toEqual(stored)
        expect(replica.keys()).toEqual(stored)
      }),
      { numRuns: 100 },
    )
  })
})

describe('pages', () => {
  test('end at the limit, at the boundary and at the tenant', async () => {
    const range = new Range()
    const filters = ['a', 'b', 'c', 'd']
    await range.run(filters.map((filter) => routeCommand('add', { ...NODE, filter })))
    await range.run([routeCommand('add', { ...NODE, tenant: 't' as TenantId, filter: 'other' })])
    await range.run([routeCommand('add', { ...NODE, tenant: 't2' as TenantId, filter: 'other' })])
    const names = (page: { routes: Route[] }) => page.routes.map(({ filter }) => filter)
    const first = range.query({ tenant: TENANT, from: null, limit: 3 })
    expect(names(first)).toEqual(['a', 'b', 'c'])
    expect(first.next).toEqual(keyAfter(routeKey({ ...NODE, filter: 'c' })))
    const second = range.query({ tenant: TENANT, from: first.next, limit: 3 })
    expect([names(second), second.next]).toEqual([['d'], null])
    const boundary = { start: routeKey({ ...NODE, filter: 'b' }), end: routeKey({ ...NODE, filter: 'd' }) }
    const part = routeCoprocessor.query({ tenant: TENANT, from: boundary.start, limit: 9 }, range.reader, {
      nowMs: 0,
      boundary,
    })
    expect([names(part), part.next]).toEqual([['b', 'c'], boundary.end])
  })

  test('end after 256 KiB', async () => {
    const range = new Range()
    const long = 'x'.repeat(60_000)
    await range.run([1, 2, 3, 4, 5, 6].map((i) => routeCommand('add', { ...NODE, filter: `${i}${long}` })))
    const page = range.query({ tenant: TENANT, from: null, limit: 100 })
    expect(page.routes).toHaveLength(5)
    expect(range.query({ tenant: TENANT, from: page.next, limit: 100 }).routes).toHaveLength(1)
  })
})
