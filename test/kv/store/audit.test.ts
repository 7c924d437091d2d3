import { describe, expect, test } from 'vitest'
import { afterPrefix, appliedKey } from '../../../src/kv/range/schema.ts'
import { entryKey, logPrefix } from '../../../src/kv/store/raft-schema.ts'
import { SimulatedCluster } from '../../sim/cluster.ts'
import { World } from '../../sim/world.ts'
import { bytes, Toy, type ToyCommand, ToyObserver } from '../toy.ts'

const STORES = ['s1', 's2', 's3'] as const

function setup(options: { lossy?: boolean } = {}) {
  const world = new World({ seed: 3, network: { lossPercent: 0, delayMsMin: 0.2, delayMsMax: 2 } })
  const cluster = new SimulatedCluster({
    ...{ world, stores: STORES, voters: 3, codec: true },
    coprocessor: () => new Toy(),
    makeObserver: () => new ToyObserver(),
    store: options,
  })
  const client = cluster.client()
  const append = (word: string) => {
    const command: ToyCommand = { type: 'append', key: 'a', word }
    return client.mutate(bytes('ka'), command)
  }
  const read = () => client.query(bytes('ka'), { key: 'a' })
  const stats = (store: string) => cluster.store(store).ranges()[0]
  const replicas = () => {
    const leader = cluster.leader('inbox-1')
    return leader === null ? [] : stats(leader)!.descriptor.replicas.map(({ store, replica }) => `${store}/${replica}`)
  }
  const follower = () => STORES.find((each) => each !== cluster.leader('inbox-1'))!
  return { world, cluster, append, read, stats, replicas, follower }
}

/** A balancer's part: who is not in the group is let in again, as a learner and then as a voter. */
async function readmit({ world, cluster, stats }: ReturnType<typeof setup>, store: string): Promise<void> {
  const change = async (role: 'learner' | 'voter') => {
    const leader = cluster.leader('inbox-1')!
    await world.resolve(cluster.store(leader).change('inbox-1', [{ store, role }]))
  }
  await change('learner')
  await world.runUntil(() => stats(cluster.leader('inbox-1')!)!.lag[store] === 0, 30_000)
  await change('voter')
}

describe('a replica that cannot be trusted', () => {
  test("whose data differ from the leader's serves no more, and is made anew", async () => {
    const held = setup()
    const { world, cluster, append, read, stats, replicas, follower } = held
    await world.resolve(append('x'))
    const wrong = follower()
    const before = replicas()
    // Its memory is as it should be; what it has written is not.
    cluster.crash(wrong)
    const engine = cluster.machine(wrong).disk('db')
    const key = appliedKey('inbox', 'inbox-1')
    const stored = engine.get('meta', key)!
    const value = new Uint8Array(stored)
    value[value.length - 1]! ^= 1
    await world.resolve(engine.write({ writes: [{ family: 'meta', write: { type: 'put', key, value } }], sync: true }))
    cluster.start(wrong)
    await world.resolve(append('y'))
    await world.runUntil(() => stats(wrong)?.halted !== null || stats(wrong) === undefined, 30_000)
    await world.runUntil(() => replicas().length === 2, 30_000)
    expect(replicas()).not.toContain(before.find((each) => each.startsWith(wrong)))
    await world.runUntil(() => stats(wrong) === undefined, 30_000)
    await readmit(held, wrong)
    const again = replicas().find((each) => each.startsWith(wrong))
    expect(before).not.toContain(again)
    expect(await world.resolve(append('z'))).toBeDefined()
    expect(await world.resolve(read())).toBe('x y z')
  })

  test('whose log is damaged is given up at the start, and made anew', async () => {
    const held = setup()
    const { world, cluster, append, read, stats, replicas, follower } = held
    for (const word of ['x', 'y', 'z']) await world.resolve(append(word))
    const wrong = follower()
    const before = replicas()
    cluster.crash(wrong)
    const engine = cluster.machine(wrong).disk('db')
    const prefix = logPrefix('inbox-1')
    const cursor = engine.cursor('raft', { start: entryKey('inbox-1', 0), end: afterPrefix(prefix) })
    const keys: Uint8Array[] = []
    while (cursor.next()) keys.push(new Uint8Array(cursor.key))
    cursor.close()
    // One from between, as no torn end could be.
    const write = { type: 'delete', key: keys[1]! } as const
    await world.resolve(engine.write({ writes: [{ family: 'raft', write }], sync: true }))
    cluster.start(wrong)
    expect(stats(wrong)).toBeUndefined()
    await world.resolve(append('w'))
    await world.runUntil(() => replicas().length === 2, 30_000)
    await readmit(held, wrong)
    expect(before).not.toContain(replicas().find((each) => each.startsWith(wrong)))
    expect(await world.resolve(read())).toBe('x y z w')
  })

  test('of a disk that has lost writes does not vote: not one of two that are left may elect by it', async () => {
    const held = setup({ lossy: true })
    const { world, cluster, append, replicas, stats } = held
    await world.resolve(append('x'))
    const leader = cluster.leader('inbox-1')!
    const [other, lost] = STORES.filter((each) => each !== leader)
    cluster.crash(lost!)
    cluster.start(lost!)
    expect(stats(lost!)).toBeUndefined()
    cluster.crash(leader)
    await world.run(20_000)
    expect(stats(other!)!.leads).toBe(false)
    cluster.start(other!)
    expect(cluster.leader('inbox-1')).toBeNull()
    expect(replicas()).toEqual([])
  })
})
