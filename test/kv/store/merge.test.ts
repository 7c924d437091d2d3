import { describe, expect, test } from 'vitest'
import { NO_MERGE } from '../../../src/kv/range/merge.ts'
import { Merger, type MergingHost } from '../../../src/kv/store/merge.ts'
import { bytes } from '../toy.ts'
import { converged, LEFT, RIGHT, STORES, setup } from './merge-setup.ts'

describe('a merge', () => {
  test.each([false, true])('asks one generation of a range: a split queued before takes it away, thaw=%s', (thaw) => {
    let version = 1
    const made: (() => unknown)[] = []
    const latest = () => ({ id: RIGHT, epoch: { version, confVersion: 1 }, replicas: [{ store: 's1' }] })
    const right = new Merger({
      ...{ id: RIGHT, unsettled: () => null, group: { leads: true, established: true, peers: () => [] } },
      range: {
        get latest() {
          return latest()
        },
        get descriptor() {
          return latest()
        },
        merge: NO_MERGE,
      },
      proposeMerge: (make: () => unknown) => made.push(make),
    } as unknown as MergingHost)
    const ask = { type: 'merge-ask', range: RIGHT, left: LEFT, version: 1, stores: ['s1'], thaw } as const
    expect(right.asked(ask)).toBeNull()
    expect(made[0]!()).toMatchObject({ type: thaw ? 'thaw' : 'freeze' })
    version = 2
    expect(made[0]!).toThrow('its boundary is another one by now')
  })

  test('of a lone node joins two ranges, keeps what both have, and survives a restart', async () => {
    const held = setup({ stores: ['s1'] })
    const { world, cluster, append, read, ranges, merge, observed } = held
    await world.resolve(Promise.all([append('a', 'x'), append('z', 'x')]))
    await world.resolve(merge())
    expect(ranges('s1')).toEqual(['inbox-1 [, )'])
    expect((await world.resolve(append('z', 'y')))?.length).toBe(2)
    expect(observed('s1').get('kz')).toBe('x y')
    cluster.crash('s1')
    cluster.start('s1')
    expect(ranges('s1')).toEqual(['inbox-1 [, )'])
    expect(await world.resolve(read('z'))).toBe('x y')
    expect((await world.resolve(append('a', 'y')))?.length).toBe(2)
    expect(cluster.health()).toEqual([])
  })

  test('of three replicas each is the same everywhere, and can be cut again', async () => {
    const held = setup()
    const { world, cluster, append, read, ranges, lead, merge } = held
    await world.resolve(Promise.all([append('a', 'x'), append('z', 'x')]))
    await lead(LEFT, 's1')
    await lead(RIGHT, 's2')
    await world.resolve(merge())
    await converged(held)
    for (const store of STORES) expect(ranges(store)).toEqual(['inbox-1 [, )'])
    expect((await world.resolve(append('z', 'y')))?.length).toBe(2)
    expect(await world.resolve(read('a'))).toBe('x')
    await world.resolve(cluster.store('s1').split('inbox', bytes('kz')))
    expect((await world.resolve(append('z', 'z')))?.length).toBe(3)
    await converged(held)
    expect(cluster.health()).toEqual([])
  })
})
