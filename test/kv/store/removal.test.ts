import { expect, test } from 'vitest'
import { bytes } from '../toy.ts'
import { LEFT, setup } from './merge-setup.ts'

test.each([1, 2])('a split right behind the removal of a replica makes no child there, seed %i', async (seed) => {
  const { world, cluster, append, lead, read } = setup({ splits: [], seed })
  await world.resolve(append('z', 'x'))
  await lead(LEFT, 's1')
  const removed = cluster.store('s1').change(LEFT, [{ store: 's3', role: 'none' }])
  const cut = cluster.store('s1').split('inbox', bytes('km'))
  await world.resolve(Promise.all([removed, cut]))
  await world.runUntil(() => cluster.store('s3').ranges().length === 0, 60_000)
  const held = () => ['s1', 's2'].map((store) => cluster.store(store).ranges().length)
  await world.runUntil(() => held().join() === '2,2', 60_000)
  expect((await world.resolve(append('z', 'y')))?.length).toBe(2)
  expect(await world.resolve(read('z'))).toBe('x y')
  cluster.crash('s3')
  cluster.start('s3')
  expect(cluster.store('s3').ranges()).toEqual([])
  expect(cluster.health()).toEqual([])
})
