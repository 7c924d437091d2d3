import { describe, expect, test } from 'vitest'
import { planRecovery, recoveryWrites } from '../../../src/kv/store/recover.ts'
import { SimulatedCluster } from '../../sim/cluster.ts'
import { World } from '../../sim/world.ts'
import { bytes, Toy, type ToyCommand, ToyObserver } from '../toy.ts'

const RANGE = 'inbox-1'

function setup(voters = 3, splits: string[] = []) {
  const stores = Array.from({ length: voters }, (_, i) => `s${i + 1}`)
  const world = new World({ seed: 1, network: { lossPercent: 0, delayMsMin: 0.2, delayMsMax: 2 } })
  const cluster = new SimulatedCluster({
    ...{ world, stores, splits: splits.map(bytes) },
    coprocessor: () => new Toy(),
    makeObserver: () => new ToyObserver(),
  })
  const client = cluster.client()
  const append = (key: string, word: string) => {
    const command: ToyCommand = { type: 'append', key, word }
    return client.mutate(bytes(`k${key}`), command)
  }
  const read = (key: string) => client.query(bytes(`k${key}`), { key })
  return { world, cluster, append, read, stores }
}

type Held = ReturnType<typeof setup>

/** Recovers all ranges on the disk of a store that is down. */
async function recoverOn({ world, cluster }: Held, store: string): Promise<void> {
  const engine = cluster.machine(store).disk('db')
  const plans = planRecovery(engine, store).filter(({ refused, alone }) => refused === null && !alone)
  const writes = plans.flatMap((plan) => recoveryWrites(engine, store, plan))
  await world.resolve(engine.write({ writes, sync: true }))
}

async function caughtUp({ world, cluster }: Held, range: string, store: string, leader: string): Promise<void> {
  await world.runUntil(() => {
    const stats = cluster
      .store(leader)
      .ranges()
      .find(({ descriptor }) => descriptor.id === range)
    return stats?.lag[store] === 0
  }, 30_000)
}

describe('a range of which two of three replicas are lost for ever', () => {
  test('serves again from the third one, and grows back to three', async () => {
    const held = setup(3, ['km'])
    const { world, cluster, append, read } = held
    await world.resolve(Promise.all([append('a', 'x'), append('z', 'x')]))
    await world.run(2_000)
    for (const store of ['s1', 's2', 's3']) cluster.crash(store)
    cluster.machine('s3').restart()
    const engine = cluster.machine('s3').disk('db')
    const [first, second] = planRecovery(engine, 's3')
    expect(first).toMatchObject({ range: RANGE, role: 'voter', others: ['s1', 's2'], refused: null, alone: false })
    expect(second).toMatchObject({ range: 'inbox-2', refused: null })
    await recoverOn(held, 's3')
    expect(planRecovery(engine, 's3').map(({ alone }) => alone)).toEqual([true, true])

    cluster.start('s3')
    expect((await world.resolve(append('a', 'y')))?.length).toBe(2)
    expect(await world.resolve(read('a'))).toBe('x y')
    expect(await world.resolve(read('z'))).toBe('x')
    for (const name of ['s4', 's5']) cluster.add(name)
    await world.resolve(
      cluster.store('s3').change(RANGE, [
        { store: 's4', role: 'learner' },
        { store: 's5', role: 'learner' },
      ]),
    )
    for (const name of ['s4', 's5']) await caughtUp(held, RANGE, name, 's3')
    await world.resolve(
      cluster.store('s3').change(RANGE, [
        { store: 's4', role: 'voter' },
        { store: 's5', role: 'voter' },
      ]),
    )
    const replicas = (store = 's3') => cluster.store(store).ranges()[0]!.descriptor.replicas
    // The group leaves the configuration between by itself, and all of it hear of that.
    await world.runUntil(
      () =>
        ['s3', 's4', 's5'].every(
          (store) => !cluster.store(store).ranges()[0]!.joint && replicas(store).every(({ role }) => role === 'voter'),
        ),
      30_000,
    )
    expect(replicas().map(({ store }) => store)).toEqual(['s3', 's4', 's5'])
    // Numbers that the lost ones may have given meanwhile are not given again.
    expect(replicas()[1]!.replica).toBeGreaterThan(1_000)
    cluster.crash('s3')
    expect((await world.resolve(append('a', 'z')))?.length).toBe(3)
  })

  test('the others, started again in spite of the warning, are told that they are gone', async () => {
    const held = setup()
    const { world, cluster, append, read } = held
    await world.resolve(append('a', 'x'))
    await world.run(2_000)
    for (const store of ['s1', 's2', 's3']) cluster.crash(store)
    cluster.machine('s3').restart()
    await recoverOn(held, 's3')
    cluster.start('s3')
    expect((await world.resolve(append('a', 'y')))?.length).toBe(2)
    cluster.start('s1')
    await world.runUntil(() => cluster.store('s1').ranges().length === 0, 30_000)
    expect(await world.resolve(read('a'))).toBe('x y')
  })

  test('a change of the group that was not made yet is not made, and what follows it in the log stays', async () => {
    const held = setup()
    const { world, cluster, append, read } = held
    await world.resolve(append('a', 'x'))
    const leader = cluster.leader(RANGE)!
    const others = ['s1', 's2', 's3'].filter((each) => each !== leader)
    for (const store of others) cluster.crash(store)
    // Both stay in the leader's log: nobody can commit them any more.
    cluster
      .store(leader)
      .change(RANGE, [{ store: 's9', role: 'learner' }])
      .catch(() => {})
    const late = append('a', 'y')
    await world.run(300)
    cluster.crash(leader)
    cluster.machine(leader).restart()
    const engine = cluster.machine(leader).disk('db')
    const [plan] = planRecovery(engine, leader)
    expect(plan).toMatchObject({ changes: 1 })
    expect(plan!.last).toBeGreaterThan(plan!.commit)
    await recoverOn(held, leader)
    cluster.start(leader)
    expect((await world.resolve(late))?.length).toBe(2)
    expect(await world.resolve(read('a'))).toBe('x y')
    const { descriptor } = cluster.store(leader).ranges()[0]!
    expect(descriptor.replicas).toEqual([{ store: leader, replica: expect.any(Number), role: 'voter' }])
  })
})

test('what cannot be recovered says why; who is alone need not be', async () => {
  const held = setup(1)
  const { world, cluster, append } = held
  await world.resolve(append('a', 'x'))
  cluster.add('s2')
  cluster.crash('s1')
  cluster.machine('s1').restart()
  const engine = cluster.machine('s1').disk('db')
  expect(planRecovery(engine, 's1')).toMatchObject([{ refused: null, alone: true, others: [] }])
  expect(planRecovery(engine, 's7')).toMatchObject([{ refused: 'this node has no part in it any more', alone: false }])
})
