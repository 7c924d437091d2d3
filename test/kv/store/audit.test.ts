import { describe, expect, test } from 'vitest'
import { afterPrefix, appliedKey } from '../../../src/kv/range/schema.ts'
import { recordsPrefix } from '../../../src/kv/snapshot/index.ts'
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

  test('of a disk that has lost writes is taken out of a group that sleeps, too', async () => {
    const { world, cluster, append, replicas, stats, follower } = setup()
    await world.resolve(append('x'))
    await world.runUntil(() => STORES.every((store) => stats(store)!.quiescent), 30_000)
    const lost = follower()
    cluster.crash(lost)
    cluster.loses(lost)
    cluster.start(lost)
    expect(stats(lost)).toBeUndefined()
    await world.runUntil(() => replicas().length === 2, 60_000)
    expect(replicas().some((each) => each.startsWith(lost))).toBe(false)
  })

  test('of which the disk has lost all is not begun anew under its number: it may have voted', async () => {
    const { world, cluster, append, follower } = setup()
    await world.resolve(append('x'))
    await world.resolve(cluster.store(cluster.leader('inbox-1')!).split('inbox', bytes('m')))
    const child = (store: string) => cluster.store(store).ranges()[1]
    await world.runUntil(() => STORES.every((store) => child(store) !== undefined))
    const lost = follower()
    const { id } = child(lost)!.descriptor
    const number = child(lost)!.replica
    await world.runUntil(() => cluster.leader(id) !== null)
    cluster.crash(lost)
    const engine = cluster.machine(lost).disk('db')
    const prefixes = [['raft', logPrefix(id)] as const, ['meta', recordsPrefix('inbox', id)] as const]
    const writes = prefixes.map(([family, start]) => {
      return { family, write: { type: 'deleteRange' as const, start, end: afterPrefix(start)! } }
    })
    await world.resolve(engine.write({ writes, sync: true }))
    // It hears of the range in its next life only, in which nothing is lost any more.
    for (const store of STORES) world.network.cut(store, lost)
    cluster.loses(lost)
    cluster.start(lost)
    await world.run(500)
    cluster.crash(lost)
    cluster.start(lost)
    world.network.heal()
    const leader = () => cluster.store(cluster.leader(id)!)
    const led = () =>
      leader()
        .ranges()
        .find(({ descriptor }) => descriptor.id === id)!
    const members = () => led().descriptor.replicas
    await world.runUntil(() => cluster.leader(id) !== null && members().length === 2, 60_000)
    expect(members().map(({ replica }) => replica)).not.toContain(number)
    // Under a new one it is welcome.
    await world.resolve(leader().change(id, [{ store: lost, role: 'learner' }]))
    await world.runUntil(() => led().lag[lost] === 0, 30_000)
    expect(members().find(({ store }) => store === lost)!.replica).toBeGreaterThan(3)
  })
})
