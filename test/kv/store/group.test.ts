import { describe, expect, test } from 'vitest'
import { SimulatedCluster } from '../../sim/cluster.ts'
import { seeds } from '../../sim/seeds.ts'
import { World } from '../../sim/world.ts'
import { bytes, Toy, type ToyCommand, ToyObserver } from '../toy.ts'

const STORES = ['s1', 's2', 's3'] as const

function setup(seed = 1, splits: string[] = [], stores: readonly string[] = STORES, voters = stores.length) {
  const world = new World({ seed, network: { lossPercent: 0, delayMsMin: 0.2, delayMsMax: 2 } })
  const cluster = new SimulatedCluster({
    ...{ world, stores, voters, splits: splits.map(bytes) },
    coprocessor: () => new Toy(),
    makeObserver: () => new ToyObserver(),
  })
  const client = cluster.client()
  const append = (key: string, word: string) => {
    const command: ToyCommand = { type: 'append', key, word }
    return client.mutate(bytes(`k${key}`), command)
  }
  const read = (key: string) => client.query(bytes(`k${key}`), { key })
  const observed = (store: string) => (cluster.observer(store) as ToyObserver).state
  return { world, cluster, client, append, read, observed }
}

/** Waits until every store has applied the same. */
async function converged({ world, cluster }: Pick<ReturnType<typeof setup>, 'world' | 'cluster'>): Promise<void> {
  const shape = (name: string) =>
    JSON.stringify(
      cluster
        .store(name)
        .ranges()
        .map(({ descriptor, index, hash }) => ({ id: descriptor.id, epoch: descriptor.epoch, index, hash }))
        .toSorted((a, b) => (a.id < b.id ? -1 : 1)),
    )
  await world.runUntil(() => new Set(cluster.up.map(shape)).size === 1, 30_000)
}

describe('a group of three', () => {
  test('elects a leader, answers what a majority has, and all come to the same', async () => {
    const held = setup()
    const { world, append, read, observed } = held
    await world.resolve(append('a', 'x'))
    await world.resolve(append('a', 'y'))
    expect(await world.resolve(read('a'))).toBe('x y')
    await converged(held)
    for (const store of STORES) expect(observed(store).get('ka')).toBe('x y')
  })

  test('goes on without one, and not without two; who was away catches up', async () => {
    const held = setup()
    const { world, cluster, append, observed } = held
    await world.resolve(append('a', 'x'))
    const leader = cluster.leader('inbox-1')!
    const [second, third] = STORES.filter((each) => each !== leader)
    cluster.crash(leader)
    expect((await world.resolve(append('a', 'y')))?.length).toBe(2)
    cluster.crash(second!)
    const lonely = append('a', 'z')
    let done = false
    lonely.then(
      () => {
        done = true
      },
      () => {},
    )
    await world.run(10_000)
    expect(done).toBe(false)
    cluster.start(leader)
    expect((await world.resolve(lonely))?.length).toBe(3)
    cluster.start(second!)
    await converged(held)
    for (const store of [leader, second!, third!]) expect(observed(store).get('ka')).toBe('x y z')
  })

  test('a leader that is cut off answers no read, and the others elect another one', async () => {
    const { world, cluster, client, append } = setup()
    await world.resolve(append('a', 'x'))
    const leader = cluster.leader('inbox-1')!
    const others = STORES.filter((each) => each !== leader)
    world.network.partition([leader], others)
    const late = client.query(bytes('ka'), { key: 'a' }, { deadlineMs: 30_000 })
    expect(await world.resolve(late)).toBe('x')
    expect(cluster.leader('inbox-1')).not.toBe(leader)
    world.network.heal()
    expect((await world.resolve(append('a', 'y')))?.length).toBe(2)
  })

  test('a split gives each part a group of its own, on the same stores', async () => {
    const held = setup()
    const { world, cluster, append, read, observed } = held
    await world.resolve(Promise.all([append('a', 'x'), append('z', 'x')]))
    const leader = cluster.leader('inbox-1')!
    await world.resolve(cluster.store(leader).split('inbox', bytes('km')))
    expect((await world.resolve(append('z', 'y')))?.length).toBe(2)
    expect(await world.resolve(read('a'))).toBe('x')
    await converged(held)
    for (const store of STORES) {
      expect(cluster.store(store).ranges()).toHaveLength(2)
      expect(observed(store).get('kz')).toBe('x y')
    }
    cluster.crash(leader)
    cluster.start(leader)
    expect((await world.resolve(append('z', 'z')))?.length).toBe(3)
    await converged(held)
  })
})

describe('replicas that come and go', () => {
  const FOUR = ['s1', 's2', 's3', 's4']

  test('who has not caught up does not become a voter', async () => {
    const { world, cluster, append } = setup(1, [], FOUR, 1)
    await world.resolve(append('a', 'x'))
    const store = cluster.store('s1')
    const change = (name: string, role: 'voter' | 'learner') =>
      world.resolve(store.change('inbox-1', [{ store: name, role }]))
    await expect(change('s2', 'voter')).rejects.toMatchObject({ code: 'CONFLICT', message: /make it a learner first/ })
    world.network.cut('s2', 's1')
    await change('s2', 'learner')
    await expect(change('s2', 'voter')).rejects.toMatchObject({ code: 'CONFLICT', message: /has not been heard/ })
    world.network.heal()
    await world.runUntil(() => store.ranges()[0]!.lag.s2 === 0)
    await change('s2', 'voter')
    expect((await world.resolve(append('a', 'y')))?.length).toBe(2)
  })

  test('a lone replica becomes three, by snapshots; then the first one leaves', async () => {
    const held = setup(1, [], FOUR, 1)
    const { world, cluster, append, observed } = held
    for (let i = 0; i < 50; i++) await world.resolve(append(`${i % 5}`, 'w'.repeat(10_000)))
    const { store } = { store: cluster.store('s1') }
    await world.resolve(
      store.change('inbox-1', [
        { store: 's2', role: 'learner' },
        { store: 's3', role: 'learner' },
      ]),
    )
    await world.runUntil(() => ['s2', 's3'].every((name) => store.ranges()[0]!.lag[name] === 0))
    await world.resolve(
      store.change('inbox-1', [
        { store: 's2', role: 'voter' },
        { store: 's3', role: 'voter' },
      ]),
    )
    expect((await world.resolve(append('0', 'x')))?.length).toBe(11)
    await world.runUntil(() => observed('s3').get('k0') === observed('s1').get('k0'))
    expect(observed('s2').size).toBe(5)
    await world.resolve(store.transfer('inbox-1', 's2'))
    await world.runUntil(() => cluster.leader('inbox-1') === 's2')
    // A new leader changes nothing before it knows what the one before had done.
    expect((await world.resolve(append('1', 'x')))?.length).toBe(11)
    await world.resolve(cluster.store('s2').change('inbox-1', [{ store: 's1', role: 'none' }]))
    await world.runUntil(() => cluster.store('s1').ranges().length === 0)
    await world.run(100)
    expect(cluster.engine('s1').stats().bytes.inbox).toBe(0)
    expect(observed('s1').size).toBe(0)
    expect((await world.resolve(append('0', 'y')))?.length).toBe(12)
    // It comes back under a number of its own, with everything.
    await world.resolve(cluster.store('s2').change('inbox-1', [{ store: 's1', role: 'learner' }]))
    await world.runUntil(() => cluster.store('s1').ranges().length === 1)
    expect(
      cluster
        .store('s1')
        .ranges()[0]!
        .descriptor.replicas.find(({ store: name }) => name === 's1')!.replica,
    ).toBe(4)
    expect(observed('s1').get('k0')).toBe(observed('s2').get('k0'))
  })

  test.each(['awake', 'asleep'])('a learner that missed its removal %s asks, and goes', async (when) => {
    const { world, cluster, append } = setup(1, [], FOUR, 3)
    await world.resolve(append('a', 'x'))
    const leader = cluster.leader('inbox-1')!
    await world.resolve(cluster.store(leader).change('inbox-1', [{ store: 's4', role: 'learner' }]))
    await world.runUntil(() => cluster.store('s4').ranges().length === 1)
    if (when === 'asleep') await world.run(8_000)
    world.network.partition([...STORES], ['s4'])
    await world.resolve(cluster.store(leader).change('inbox-1', [{ store: 's4', role: 'none' }]))
    await world.run(1_000)
    world.network.heal()
    await world.runUntil(() => cluster.store('s4').ranges().length === 0)
  })

  test('a store that dies between its removal and its end comes up without the replica', async () => {
    for (let afterMs = 0; afterMs < 20; afterMs += 0.5) {
      const { world, cluster, append } = setup(1 + 10 * afterMs, [], FOUR, 3)
      await world.resolve(Promise.all([append('a', 'x'), append('z', 'x')]))
      const leader = cluster.leader('inbox-1')!
      const away = STORES.find((each) => each !== leader)!
      // While a split is on its way to the disk, nobody is told of what comes after it.
      const split = cluster.store(leader).split('inbox', bytes('km'))
      await world.run(0.01)
      await world.resolve(cluster.store(leader).change('inbox-1', [{ store: away, role: 'none' }]))
      await world.run(afterMs)
      cluster.crash(away)
      cluster.start(away)
      await world.resolve(split)
      const served = () =>
        cluster
          .store(away)
          .ranges()
          .map(({ descriptor }) => descriptor.id)
      await world.runUntil(() => served().length === 1 && served()[0] !== 'inbox-1')
    }
  })

  test('a state from before a replica was one of the group is not sent to it', async () => {
    const { world, cluster, append, observed } = setup(1, [], FOUR, 3)
    await world.resolve(append('a', 'x'))
    const leader = cluster.leader('inbox-1')!
    // What the leader applies does not land, though the others' disks let it commit.
    cluster.machine(leader).writeMsMax = 2_000
    await world.resolve(cluster.store(leader).change('inbox-1', [{ store: 's4', role: 'learner' }]))
    await world.runUntil(() => cluster.store('s4').ranges().length === 1)
    await world.runUntil(() => observed('s4').get('ka') === 'x')
  })

  test('a number is never used twice, whoever leads', async () => {
    const held = setup(1, [], FOUR, 3)
    const { world, cluster, append } = held
    await world.resolve(append('a', 'x'))
    const leader = cluster.leader('inbox-1')!
    const next = STORES.find((each) => each !== leader)!
    await world.resolve(cluster.store(leader).change('inbox-1', [{ store: 's4', role: 'learner' }]))
    await world.runUntil(() => cluster.store('s4').ranges().length === 1)
    await world.resolve(cluster.store(leader).change('inbox-1', [{ store: 's4', role: 'none' }]))
    await world.resolve(cluster.store(leader).transfer('inbox-1', next))
    await world.runUntil(() => cluster.leader('inbox-1') === next)
    await world.resolve(append('a', 'y'))
    await world.resolve(cluster.store(next).change('inbox-1', [{ store: 's4', role: 'learner' }]))
    const place = () =>
      cluster
        .store(next)
        .ranges()[0]!
        .descriptor.replicas.find(({ store }) => store === 's4')
    await world.runUntil(() => place() !== undefined)
    expect(place()!.replica).toBe(5)
  })

  test('a replica that was away for longer than the log is given the state again', async () => {
    const held = setup(1)
    const { world, cluster, append, observed } = held
    await world.resolve(append('a', 'x'))
    const away = STORES.find((each) => each !== cluster.leader('inbox-1'))!
    cluster.crash(away)
    for (let i = 0; i < 80; i++) await world.resolve(append(`${i}`, 'w'.repeat(1_000_000)))
    cluster.start(away)
    await converged(held)
    expect(observed(away).size).toBe(81)
    expect(cluster.health()).toEqual([])
  })

  test('a state that takes long is not overtaken by the log', async () => {
    const world = new World({ seed: 1, network: { lossPercent: 0, delayMsMin: 0.2, delayMsMax: 2 } })
    const sent: string[] = []
    const cluster = new SimulatedCluster({
      ...{ world, stores: FOUR, voters: 3, coprocessor: () => new Toy(), makeObserver: () => new ToyObserver() },
      store: { snapshotBytesPerSecond: 1_000_000, limits: { logBytesGroup: 100_000 } },
      sending: (_from, _to, packets) => {
        for (const each of packets) if (each.type === 'snapshot') sent.push(each.message.type)
      },
    })
    const client = cluster.client()
    const append = (key: string, word: string) => client.mutate(bytes(`k${key}`), { type: 'append', key, word })
    for (let i = 0; i < 40; i++) await world.resolve(append(`${i}`, 'w'.repeat(100_000)))
    const leader = cluster.leader('inbox-1')!
    await world.resolve(cluster.store(leader).change('inbox-1', [{ store: 's4', role: 'learner' }]))
    const caughtUp = () => cluster.store('s4').ranges()[0]?.index === cluster.store(leader).ranges()[0]!.index
    for (let i = 0; !caughtUp(); i++) {
      await world.resolve(append(`more${i}`, 'w'.repeat(10_000)))
      await world.run(20)
      expect(i).toBeLessThan(1_000)
    }
    expect(sent.filter((type) => type === 'offer')).toHaveLength(1)
  })

  test.each(seeds(10))('a state that is interrupted is begun again, seed %i', async (seed) => {
    const held = setup(seed, [], FOUR, 1)
    const { world, cluster, append, observed } = held
    const { random } = world
    for (let i = 0; i < 60; i++) await world.resolve(append(`${i}`, 'w'.repeat(20_000)))
    const change = cluster.store('s1').change('inbox-1', [{ store: 's2', role: 'learner' }])
    for (let i = 0; i < 6; i++) {
      await world.run(random.float() * 60)
      const store = random.below(3) === 0 ? 's1' : 's2'
      if (random.below(2) === 0) {
        cluster.crash(store)
        await world.run(random.float() * 50)
        cluster.start(store)
      } else {
        world.network.partition(['s1'], ['s2'])
        await world.run(random.float() * 3_000)
        world.network.heal()
      }
    }
    await world.resolve(change.catch(() => {}))
    // The change may have been lost with its leader.
    await world.runUntil(() => cluster.leader('inbox-1') === 's1')
    await world.resolve(
      cluster
        .store('s1')
        .change('inbox-1', [{ store: 's2', role: 'learner' }])
        .catch(() => {}),
    )
    expect((await world.resolve(append('0', 'x')))?.length).toBe(2)
    await world.runUntil(() => observed('s2').get('k0')?.endsWith('x') === true, 120_000)
    expect(observed('s2').size).toBe(60)
    for (const [key, words] of observed('s1')) expect(observed('s2').get(key) === words, key).toBe(true)
    expect(cluster.health()).toEqual([])
  })
})

/** Everything bad at random; then calm, and every acknowledged word is there once, in order, on every store. */
describe('a group of three under chaos', () => {
  test.each(seeds(4))('seed %i', async (seed) => {
    const held = setup(seed, ['kd', 'kg'])
    const { world, cluster, observed } = held
    world.network.options.lossPercent = 3
    world.network.options.duplicatePercent = 3
    const { random } = world
    const keys = ['a', 'b', 'd', 'e', 'g', 'h']
    const acked = new Map<string, string[]>(keys.map((key) => [key, []]))
    const sent = new Map<string, number>()
    const order = new Map<string, string[]>()
    let reads = 0
    const problems: string[] = []
    const clients = [cluster.client(), cluster.client()]
    const talk = (which: number) => {
      const client = clients[which]!
      const key = keys[random.below(keys.length)]!
      if (random.below(4) === 0) {
        const known = [...acked.get(key)!]
        reads++
        client.query(bytes(`k${key}`), { key }).then((answer) => {
          const words = new Set((answer ?? '').split(' '))
          for (const word of known) if (!words.has(word)) problems.push(`a read of ${key} does not show ${word}`)
        }, ignore)
        return
      }
      const stream = `${which}${key}`
      const word = `${which}.${(sent.get(stream) ?? 0) + 1}`
      sent.set(stream, (sent.get(stream) ?? 0) + 1)
      order.set(stream, [...(order.get(stream) ?? []), word])
      client.mutate(bytes(`k${key}`), { type: 'append', key, word }).then(() => acked.get(key)!.push(word), ignore)
    }
    let calm = false
    const every = (meanMs: number, work: () => void) => {
      world.clock.after(random.float() * meanMs * 2, () => {
        if (calm) return
        work()
        every(meanMs, work)
      })
    }
    const any = () => STORES[random.below(3)]!
    every(15, () => talk(random.below(2)))
    every(6_000, () => {
      const store = any()
      cluster.crash(store)
      world.clock.after(random.float() * 4_000, () => cluster.start(store))
    })
    every(8_000, () => {
      const store = any()
      const others = [...STORES.filter((each) => each !== store), ...(random.below(2) === 0 ? ['client-2'] : [])]
      if (random.below(3) === 0) for (const other of others) world.network.cut(store, other)
      else world.network.partition([store], others)
      world.clock.after(random.float() * 8_000, () => world.network.heal())
    })
    every(7_000, () => {
      const store = any()
      if (!cluster.up.includes(store)) return
      const engine = cluster.engine(store)
      engine.hang()
      world.clock.after(random.float() * 4_000, () => engine.resume())
    })
    every(9_000, () => {
      const key = bytes(`k${keys[random.below(keys.length)]}`)
      for (const store of cluster.up) cluster.store(store).split('inbox', key).catch(ignore)
    })
    await world.run(60_000)
    calm = true
    world.network.heal()
    world.network.options.lossPercent = 0
    for (const store of STORES) {
      cluster.start(store)
      cluster.engine(store).resume()
    }
    await converged(held)
    expect(problems).toEqual([])
    expect(cluster.health()).toEqual([])
    expect(reads).toBeGreaterThan(100)
    for (const key of keys) {
      const words = (observed('s1').get(`k${key}`) ?? '').split(' ').filter((word) => word !== '')
      expect(new Set(words).size, `no word of ${key} is there twice`).toBe(words.length)
      expect(acked.get(key)!.filter((word) => !words.includes(word))).toEqual([])
      for (const which of [0, 1]) {
        const own = words.filter((word) => word.startsWith(`${which}.`))
        expect(own).toEqual((order.get(`${which}${key}`) ?? []).filter((word) => own.includes(word)))
      }
      for (const store of STORES) expect(observed(store).get(`k${key}`)).toBe(observed('s1').get(`k${key}`))
    }
    expect([...acked.values()].flat().length).toBeGreaterThan(1_000)
  })
})

const ignore = (): void => {}
