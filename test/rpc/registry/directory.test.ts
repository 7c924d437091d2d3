import { describe, expect, test } from 'vitest'
import { seededRandom } from '../../../src/base/clock.ts'
import type { HostId } from '../../../src/base/ids.ts'
import { rendezvous, WeightedRoundRobin } from '../../../src/rpc/registry/choice.ts'
import type { ServiceInstance } from '../../../src/rpc/registry/contract.ts'
import { ServiceDirectory, type TrafficRule } from '../../../src/rpc/registry/directory.ts'
import { MemoryRegistry } from '../../../src/rpc/registry/memory.ts'

const instance = (id: string, more: Partial<ServiceInstance> = {}): ServiceInstance => ({
  service: 'dist',
  id,
  node: `node-${id}` as HostId,
  address: '127.0.0.1:7947',
  version: '1.0.0',
  tags: [],
  weight: 1,
  draining: false,
  load: 0,
  ...more,
})

function directory(instances: ServiceInstance[], rules: TrafficRule[] = []) {
  const registry = new MemoryRegistry()
  for (const each of instances) registry.announce(each)
  return { registry, dist: new ServiceDirectory({ registry, service: 'dist', rules, random: seededRandom(1) }) }
}

const count = <T>(values: T[]) => {
  const counts = new Map<T, number>()
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1)
  return counts
}
const keys = Array.from({ length: 10_000 }, (_, i) => `client-${i}`)

describe('rendezvous', () => {
  test('gives shares by weight', () => {
    const instances = [instance('a'), instance('b', { weight: 2 }), instance('c', { weight: 0 })]
    const shares = count(keys.map((key) => rendezvous(instances, key)!.id))
    expect(shares.get('a')! / keys.length).toBeCloseTo(1 / 3, 1)
    expect(shares.get('b')! / keys.length).toBeCloseTo(2 / 3, 1)
    expect(shares.has('c')).toBe(false)
  })

  test('moves only the keys of who left, in whatever order the instances come', () => {
    const all = ['a', 'b', 'c', 'd', 'e'].map((id) => instance(id))
    const left = all.filter((each) => each.id !== 'c').reverse()
    for (const key of keys) {
      const before = rendezvous(all, key)!.id
      if (before !== 'c') expect(rendezvous(left, key)!.id).toBe(before)
    }
  })

  test('agrees with every other program: known answers', () => {
    const all = ['a', 'b', 'c'].map((id) => instance(id))
    const answers = ['t1/x', 't1/y', 't2/x', 'ä', '', 'q', 'r', 's'].map((key) => rendezvous(all, key)!.id)
    expect(answers.join('')).toBe('bcaacbbc')
  })
})

test('turns follow the weights, smoothly', () => {
  const round = new WeightedRoundRobin()
  const instances = [instance('a', { weight: 5 }), instance('b'), instance('c')]
  const turns = Array.from({ length: 14 }, () => round.next(instances)!.id).join('')
  expect(turns).toBe('aabacaaaabacaa')
  expect(round.next(instances.slice(1))!.id).toBe('b')
  expect(round.next([])).toBeNull()
})

describe('a directory', () => {
  test('gives no new work to who drains, and finds them by id', () => {
    const { registry, dist } = directory([instance('a'), instance('b', { draining: true })])
    const chosen = keys.slice(0, 50).flatMap((key) => [dist.byKey('t', key), dist.inTurn('t'), dist.leastInFlight('t')])
    expect(new Set(chosen.map((each) => each.id))).toEqual(new Set(['a']))
    expect(dist.direct('b').draining).toBe(true)
    registry.announce(instance('a', { draining: true }))
    expect(() => dist.byKey('t', 'k')).toThrow(expect.objectContaining({ code: 'UNAVAILABLE' }))
    registry.withdraw('dist', 'b')
    expect(() => dist.direct('b')).toThrow(expect.objectContaining({ code: 'NOT_FOUND' }))
  })

  test('takes the one with the least work in flight for its weight', () => {
    const { dist } = directory([instance('a', { weight: 2 }), instance('b'), instance('c', { load: 0.5 })])
    for (const id of ['a', 'a', 'b']) dist.began(id)
    expect(dist.leastInFlight('t').id).toBe('c')
    dist.began('c')
    dist.ended('b')
    expect(dist.leastInFlight('t').id).toBe('b')
    dist.ended('b')
    dist.began('b')
    dist.ended('a')
    expect(dist.leastInFlight('t').id).toBe('a')
  })

  test('of equals: the least loaded, else any', () => {
    const { dist } = directory([
      instance('a', { load: 0.2 }),
      instance('b', { load: 0.1 }),
      instance('c', { load: 0.1 }),
    ])
    const chosen = new Set(Array.from({ length: 50 }, () => dist.leastInFlight('t').id))
    expect(chosen).toEqual(new Set(['b', 'c']))
  })

  test('sends tenants where the rule of the longest prefix says', () => {
    const instances = [instance('a'), instance('g', { tags: ['gold'] }), instance('s', { tags: ['silver'] })]
    const { registry, dist } = directory(instances, [
      { prefix: 'acme', tag: 'gold', otherwise: 'none' },
      { prefix: 'acme-test', tag: 'silver', otherwise: 'any' },
    ])
    const chosen = (tenant: string) => new Set(keys.slice(0, 50).map((key) => dist.byKey(tenant, key).id))
    expect(chosen('acme')).toEqual(new Set(['g']))
    expect(chosen('acme-test-1')).toEqual(new Set(['s']))
    expect(chosen('other')).toEqual(new Set(['a', 'g', 's']))
    registry.withdraw('dist', 's')
    expect(chosen('acme-test-1')).toEqual(new Set(['a', 'g']))
    registry.withdraw('dist', 'g')
    expect(() => dist.inTurn('acme')).toThrow(expect.objectContaining({ code: 'UNAVAILABLE' }))
    dist.setRules([])
    expect(dist.inTurn('acme').id).toBe('a')
  })

  test('of the memory registry: watchers hear of changes of their service', () => {
    const { registry } = directory([instance('b')])
    let heard = 0
    const end = registry.watch('dist', () => heard++)
    registry.announce(instance('a'))
    registry.announce({ ...instance('x'), service: 'inbox' })
    registry.withdraw('dist', 'nobody')
    expect(heard).toBe(1)
    expect(registry.instances('dist').map((each) => each.id)).toEqual(['a', 'b'])
    end()
    registry.withdraw('dist', 'a')
    expect(heard).toBe(1)
  })
})
