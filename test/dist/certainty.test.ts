import { expect, test } from 'vitest'
import type { TenantId } from '../../src/base/ids.ts'
import { Certainty } from '../../src/dist/certainty.ts'
import type { LeasedSpan } from '../../src/kv/store/match-leases.ts'
import { World } from '../sim/world.ts'

const [A, M, Z] = ['a', 'm', 'z'] as TenantId[] as [TenantId, TenantId, TenantId]

/** Two ranges, cut at tenant "m": leases on them until then, ms. */
function setup() {
  const world = new World({ seed: 1 })
  const cut = Buffer.from('m')
  const spans: [LeasedSpan, LeasedSpan] = [
    { range: 'left', start: undefined, end: cut, untilMs: 1_000 },
    { range: 'right', start: cut, end: undefined, untilMs: 2_000 },
  ]
  const loaded = new Set(['left', 'right'])
  const held = { looks: 0, wants: 0, onWant: () => {}, changed: () => {} }
  const certainty = new Certainty({
    leases: {
      watch: () => {
        throw new Error('Nobody opens a range here')
      },
      now: () => world.clock.monotonic(),
      spans: () => {
        held.looks++
        return spans
      },
      onChange: (listener) => {
        held.changed = listener
      },
      want: () => {
        held.wants++
        held.onWant()
      },
    },
    isLoaded: (range) => loaded.has(range),
    clock: world.clock,
    defer: world.defer,
  })
  const log: string[] = []
  const wait = (tenant: TenantId, name: string, bytes = 10) =>
    certainty.whenSure(tenant, bytes, (error) => log.push(error === null ? name : `${name}: ${error.message}`))
  return { world, spans, loaded, held, certainty, log, wait }
}

test('sure while leases hold all keys, looked at once for all tenants', async () => {
  const { world, held, certainty, spans } = setup()
  for (let i = 0; i < 100; i++) expect([A, M, Z].every((tenant) => certainty.isSure(tenant))).toBe(true)
  expect(held.looks).toBe(1)
  await world.run(999)
  expect(certainty.isSure(Z)).toBe(true)
  expect(held.looks).toBe(1)
  await world.run(2)
  // One tenant's are gone, another one's are not; that is remembered too.
  expect([A, M, Z].map((tenant) => certainty.isSure(tenant))).toEqual([false, true, true])
  const { looks } = held
  for (let i = 0; i < 100; i++) certainty.isSure(Z)
  expect(held.looks).toBe(looks)
  spans[0].untilMs = 3_000
  held.changed()
  expect([A, M, Z].every((tenant) => certainty.isSure(tenant))).toBe(true)
  await world.run(1_000)
  expect([A, M, Z].map((tenant) => certainty.isSure(tenant))).toEqual([true, false, false])
})

test('what changes is asked anew at once', () => {
  const { spans, held, certainty } = setup()
  expect(certainty.isSure(A)).toBe(true)
  spans[0].untilMs = Number.NEGATIVE_INFINITY
  held.changed()
  expect(certainty.isSure(A)).toBe(false)
  expect(held.wants).toBeGreaterThan(0)
})

test('who is alone gives itself a lease at once', async () => {
  const { world, spans, held, certainty } = setup()
  await world.run(5_000)
  held.onWant = () => {
    for (const span of spans) span.untilMs = 9_000
  }
  expect(certainty.isSure(A)).toBe(true)
})

test('routes that are not loaded are not known', () => {
  const { loaded, certainty } = setup()
  loaded.delete('left')
  expect([certainty.isSure(A), certainty.isSure(Z)]).toEqual([false, true])
})

test('publishes wait in their order, each tenant for itself', async () => {
  const { world, spans, held, certainty, log, wait } = setup()
  spans[0].untilMs = 0
  held.changed()
  wait(A, 'a1')
  wait(A, 'a2')
  expect(certainty.isSure(Z)).toBe(true)
  await world.run(1_000)
  expect([certainty.waiting, log]).toEqual([2, []])
  spans[0].untilMs = 9_000
  // Although it might be matched, it does not overtake.
  expect(certainty.isSure(A)).toBe(false)
  wait(A, 'a3')
  held.changed()
  expect(log).toEqual([])
  await world.run(0)
  expect(log).toEqual(['a1', 'a2', 'a3'])
  expect([certainty.isSure(A), certainty.waiting, certainty.refused]).toEqual([true, 0, 0])
})

test('that routes are loaded is found without being told', async () => {
  const { world, loaded, log, wait, spans } = setup()
  for (const span of spans) span.untilMs = 10_000
  loaded.delete('left')
  wait(A, 'a')
  await world.run(200)
  expect(log).toEqual([])
  loaded.add('left')
  await world.run(100)
  expect(log).toEqual(['a'])
})

test('what waits too long, or is too much, is refused', async () => {
  const { world, spans, held, certainty, log, wait } = setup()
  for (const span of spans) span.untilMs = 0
  held.changed()
  wait(A, 'long')
  await world.run(4_400)
  expect(log).toEqual([])
  await world.run(200)
  expect(log).toEqual([expect.stringMatching(/^long: Cannot match a publish of tenant "a".*4500 ms/)])
  wait(A, 'large', 40 * 1024 * 1024)
  wait(Z, 'larger', 40 * 1024 * 1024)
  expect(log[1]).toMatch(/^larger: .*too many/)
  expect([certainty.waiting, certainty.refused, certainty.waited]).toEqual([1, 2, 3])
  await world.run(5_000)
  wait(Z, 'again', 40 * 1024 * 1024)
  expect([log.length, certainty.waiting]).toEqual([3, 1])
  for (let i = 0; i < 10_000; i++) wait(A, 'many', 0)
  expect([log.length, certainty.waiting]).toEqual([4, 10_000])
})
