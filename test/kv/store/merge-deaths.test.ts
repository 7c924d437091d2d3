import { describe, expect, test } from 'vitest'
import type { Packet } from '../../../src/kv/store/packet.ts'
import { converged, type Held, LEFT, RIGHT, STORES, setup } from './merge-setup.ts'

const isAsk = (packet: Packet) => packet.type === 'merge-ask' && !packet.thaw
const isFrozen = (packet: Packet) => packet.type === 'merge-answer' && packet.state === 'frozen'
/** When somebody dies. What follows a packet is on its way to a disk or to the others by then. */
const MOMENTS: [string, (packet: Packet) => boolean, number][] = [
  ['when the right one is asked to freeze', isAsk, 0],
  ['while it freezes', isAsk, 3],
  ['when it is frozen', isFrozen, 0],
  ['while the commit is under way', isFrozen, 3],
  ['when some have committed', isFrozen, 8],
]

/** Left leads on s1, right on s2; calls `happens` once at the moment. */
async function prepare(when: (packet: Packet) => boolean, afterMs: number, happens: (held: Held) => void) {
  const held = setup({ seed: 3 })
  const { world, append, lead, merge, watchers } = held
  await world.resolve(Promise.all([append('a', 'x'), append('z', 'x')]))
  await lead(LEFT, 's1')
  await lead(RIGHT, 's2')
  let done = false
  watchers.push((_from, _to, packets) => {
    if (done || !packets.some(when)) return
    done = true
    world.clock.after(afterMs, () => happens(held))
  })
  merge().catch(() => {})
  await world.runUntil(() => done, 10_000)
  await world.run(afterMs)
  return held
}

/** All are there again: what was begun is done or given up, on all of them, and both ranges' keys are served. */
async function resolves(held: Held): Promise<void> {
  const { world, cluster, append, read, ranges } = held
  for (const store of STORES) cluster.start(store)
  world.network.heal()
  expect((await world.resolve(append('a', 'z'), 60_000))?.length).toBe(3)
  expect((await world.resolve(append('z', 'z'), 60_000))?.length).toBe(3)
  await converged(held)
  const shape = ranges('s1')
  expect([['inbox-1 [, )'], ['inbox-1 [, km)', 'inbox-2 [km, )']]).toContainEqual(shape)
  expect(await world.resolve(read('z'))).toBe('x y z')
  expect(cluster.health()).toEqual([])
  // And it can be done again.
  if (shape.length === 2) {
    for (let tries = 0; ranges('s1').length === 2 && tries < 30; tries++) {
      const leader = cluster.leader(LEFT)
      if (leader !== null)
        cluster
          .store(leader)
          .merge(LEFT, RIGHT)
          .catch(() => {})
      await world.run(1_000)
    }
  }
  await converged(held)
  expect(ranges('s1')).toEqual(['inbox-1 [, )'])
}

describe.each(MOMENTS)('%s', (_name, when, afterMs) => {
  test.each(['s1', 's2', 's1 s2', 's1 s2 s3'])('%s: they die', async (who) => {
    const dying = who.split(' ')
    const held = await prepare(when, afterMs, ({ cluster }) => {
      for (const store of dying) cluster.crash(store)
    })
    const { world, append, cluster } = held
    const late = Promise.all([append('a', 'y'), append('z', 'y')])
    await world.run(8_000)
    // With a majority they go on without them.
    if (dying.length > 1) for (const store of STORES) cluster.start(store)
    await world.resolve(late, 60_000)
    await resolves(held)
  })

  test.each(['s1', 's2'])('%s is cut off', async (store) => {
    const others = STORES.filter((each) => each !== store)
    const held = await prepare(when, afterMs, ({ world }) => world.network.partition([store], others))
    const { world, append } = held
    await world.resolve(Promise.all([append('a', 'y'), append('z', 'y')]), 60_000)
    await resolves(held)
  })
})

test('a replica that is away: the merge is given up, and the right range serves again', async () => {
  const held = setup()
  const { world, cluster, append, lead, merge } = held
  await world.resolve(Promise.all([append('a', 'x'), append('z', 'x')]))
  await lead(LEFT, 's1')
  await lead(RIGHT, 's1')
  world.network.partition(['s3'], ['s1', 's2'])
  const merged = merge().then(
    () => 'merged',
    (error: { code: string }) => error.code,
  )
  expect((await world.resolve(append('z', 'y'), 30_000))?.length).toBe(2)
  expect(await world.resolve(merged, 30_000)).toBe('CONFLICT')
  expect((await world.resolve(append('z', 'z'), 30_000))?.length).toBe(3)
  world.network.heal()
  await converged(held)
  expect(cluster.store('s1').ranges()).toHaveLength(2)
})

test('a state that holds what was merged replaces both replicas of who was away', async () => {
  const held = setup({ logBytes: 2_000 })
  const { world, cluster, append, lead, merge, ranges, observed } = held
  await world.resolve(Promise.all([append('a', 'x'), append('z', 'x')]))
  await lead(LEFT, 's1')
  await lead(RIGHT, 's1')
  // It has all of the right range's log, and hears no more of the left one's.
  await world.resolve(
    new Promise<void>((resolve) => {
      held.watchers.push((_from, _to, packets) => {
        if (!packets.some(isFrozen) && !packets.some(isAsk)) return
        resolve()
      })
      void merge().catch(() => {})
    }),
  )
  await world.run(30)
  cluster.crash('s3')
  for (let i = 0; i < 60; i++) await world.resolve(append('a', 'w'.repeat(500)), 30_000)
  await world.run(10_000)
  cluster.start('s3')
  await world.resolve(append('z', 'y'), 30_000)
  await converged(held)
  for (const store of STORES) expect(ranges(store)).toEqual(ranges('s1'))
  expect(observed('s3').get('kz')).toBe('x y')
  expect(cluster.health()).toEqual([])
})
