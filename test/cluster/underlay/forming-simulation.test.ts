import { describe, expect, test } from 'vitest'
import { seededRandom } from '../../../src/base/clock.ts'
import { seeds } from '../../sim/seeds.ts'
import { SimCluster, type SimClusterOptions, type SimHost } from './sim-cluster.ts'

/** Forming: who may, who waits, and what happens when two meet. */
const lossy = (seed: number) => ({ lossPercent: (seed % 3) * 15, duplicatePercent: 5 })

/** Starts all hosts within two seconds, in an order by the seed. */
function scatter(options: SimClusterOptions): SimCluster {
  const cluster = new SimCluster(options)
  const draw = seededRandom(options.seed)
  for (const host of cluster.hosts) cluster.world.clock.after(draw.below(2_000), () => host.start())
  cluster.run(2_001)
  return cluster
}

function founders(cluster: SimCluster): SimHost[] {
  return cluster.hosts.filter((host) => host.events.some(({ event }) => event.type === 'formed'))
}

describe.each(seeds(4))('seed %i', (seed) => {
  const network = lossy(seed)
  const maxMs = network.lossPercent === 0 ? 5_000 : 30_000

  test.each([
    ['one seed, which has no seed itself', { hosts: 9, seeds: (i: number) => (i === 0 ? [] : [0]) }, 0],
    ['one seed, the same list everywhere', { hosts: 9, seeds: () => [0] }, 3_000],
    ['three seeds, three expected', { hosts: 3, seeds: () => [0, 1, 2], expect: 3 }, 0],
    ['three seeds of nine, nine expected', { hosts: 9, seeds: () => [0, 1, 2], expect: 9 }, 0],
    ['all are seeds, all are expected', { hosts: 7, seeds: () => [0, 1, 2, 3, 4, 5, 6], expect: 7 }, 0],
    ['three expected, six come', { hosts: 6, seeds: () => [0, 1, 2], expect: 3 }, 0],
  ])('%s: one cluster', (_, options, listenMs) => {
    const cluster = scatter({ seed, network, ...options })
    expect(cluster.until(() => cluster.whole, maxMs + listenMs)).not.toBeNull()
    expect(founders(cluster)).toHaveLength(1)
    if ('expect' in options && options.expect === options.hosts) expect(founders(cluster)[0]!.id).toBe('h0')
  })

  test('one of those expected is late: all wait, and say how many they see', () => {
    const cluster = new SimCluster({ seed, network, hosts: 3, seeds: () => [0, 1, 2], expect: 3 })
    cluster.hosts[0]!.start()
    cluster.hosts[1]!.start()
    cluster.run(20_000)
    expect(founders(cluster)).toEqual([])
    expect(cluster.hosts[1]!.events.at(-1)!.event).toEqual({ type: 'waiting', reason: 'expecting', sees: 2, expect: 3 })
    cluster.hosts[2]!.start()
    expect(cluster.until(() => cluster.whole, maxMs)).not.toBeNull()
  })

  test('two who see each other are not three who do', () => {
    const cluster = new SimCluster({ seed, network, hosts: 3, seeds: () => [0, 1, 2], expect: 3, start: true })
    cluster.partition([cluster.hosts[0]!], [cluster.hosts[2]!])
    cluster.run(20_000)
    expect(founders(cluster)).toEqual([])
    cluster.heal()
    expect(cluster.until(() => cluster.whole, maxMs + 5_000)).not.toBeNull()
  })

  test('another host as seed, and nothing expected: waits, and says so every 10 s', () => {
    const cluster = new SimCluster({ seed, network, hosts: 2, seeds: () => [0, 1], start: true })
    cluster.run(25_000)
    expect(founders(cluster)).toEqual([])
    const said = cluster.hosts[0]!.events.map(({ event }) => event)
    expect(said.filter((event) => event.type === 'waiting' && event.reason === 'seeds-silent').length).toBeGreaterThan(
      2,
    )
  })

  test('a seed that comes back with its disk finds its cluster', () => {
    const cluster = scatter({ seed, network, hosts: 4, seeds: () => [0] })
    cluster.until(() => cluster.whole, 30_000)
    const id = cluster.hosts[1]!.underlay.cluster!.id
    cluster.hosts[0]!.crash()
    cluster.run(15_000)
    cluster.hosts[0]!.start()
    expect(cluster.until(() => cluster.whole, maxMs)).not.toBeNull()
    expect(cluster.hosts[0]!.underlay.cluster!.id).toBe(id)
    expect(founders(cluster)).toHaveLength(1)
  })

  test.each([
    ['which is its own seed', [0]],
    ['which has none', []],
  ])('a seed with an empty disk, %s, ends up in its old cluster', (_, own) => {
    const cluster = scatter({ seed, network, hosts: 4, seeds: (i) => (i === 0 ? own : [0]) })
    cluster.until(() => cluster.whole, 30_000)
    const id = cluster.hosts[1]!.underlay.cluster!.id
    cluster.hosts[0]!.crash()
    cluster.hosts[0]!.wipe()
    cluster.run(15_000)
    cluster.hosts[0]!.start()
    expect(cluster.until(() => cluster.whole, 60_000)).not.toBeNull()
    expect(cluster.hosts[0]!.underlay.cluster!.id).toBe(id)
  })

  test('all were off; they come back in any order, and need no seed', () => {
    const cluster = scatter({ seed, network, hosts: 5, seeds: (i) => (i === 0 ? [] : [0]) })
    cluster.until(() => cluster.whole, 30_000)
    cluster.run(5_000)
    for (const host of cluster.hosts) host.crash()
    cluster.run(1_000)
    for (const host of cluster.hosts.slice(1)) host.start()
    expect(cluster.until(() => cluster.whole, maxMs + 5_000)).not.toBeNull()
    expect(founders(cluster)).toHaveLength(1)
  })
})

describe('two clusters of one name', () => {
  /** Hosts 0 to 2 around 0, hosts 3 and 4 around 3, with no way between. */
  function two(alone: boolean): SimCluster {
    const cluster = new SimCluster({
      seed: 1,
      hosts: 5,
      seeds: (i) => (i === 0 ? [] : i < 3 ? [0] : i === 3 ? [] : [3]),
    })
    cluster.partition(cluster.hosts.slice(0, 3), cluster.hosts.slice(3))
    for (const host of cluster.hosts.slice(0, alone ? 4 : 5)) host.start()
    cluster.run(5_000)
    return cluster
  }
  const meet = (cluster: SimCluster) => {
    cluster.heal()
    const [, , , stranger] = cluster.hosts
    stranger!.step({ type: 'seeds', addresses: [cluster.hosts[1]!.address], complete: true })
  }
  const eventsOf = (host: SimHost, type: string) => host.events.filter(({ event }) => event.type === type)

  test('the fresh one dissolves into the grown one', () => {
    const cluster = two(true)
    meet(cluster)
    expect(cluster.until(() => cluster.whole, 30_000)).not.toBeNull()
    expect(eventsOf(cluster.hosts[3]!, 'dissolve')).toHaveLength(1)
    expect(cluster.hosts[3]!.underlay.cluster!.id).toBe(cluster.hosts[0]!.underlay.cluster!.id)
  })

  test('with data of users both refuse, say so once a minute, and go on', () => {
    const cluster = two(true)
    cluster.hosts[3]!.step({ type: 'user-data', present: true })
    meet(cluster)
    cluster.run(50_000)
    expect(eventsOf(cluster.hosts[3]!, 'refused-cluster')).toHaveLength(1)
    expect(eventsOf(cluster.hosts[1]!, 'refused-cluster')).toHaveLength(1)
    expect(cluster.hosts[3]!.underlay.members()).toEqual([])
    expect(cluster.hosts.slice(0, 3).every((host) => host.underlay.members().length === 2)).toBe(true)
    expect(cluster.hosts[1]!.underlay.counters.foreignCluster).toBeGreaterThan(0)
  })

  test('data that came while it was asked to dissolve is kept', () => {
    const cluster = two(true)
    cluster.hosts[3]!.answersDissolve = false
    const id = cluster.hosts[3]!.underlay.cluster!.id
    meet(cluster)
    expect(cluster.until(() => eventsOf(cluster.hosts[3]!, 'dissolve').length === 1, 30_000)).not.toBeNull()
    expect(cluster.hosts[3]!.underlay.cluster).toBeNull()
    // A crash now must find what was.
    expect(cluster.hosts[3]!.disk.cluster!.id).toBe(id)
    cluster.hosts[3]!.step({ type: 'dissolved', done: false })
    cluster.run(30_000)
    expect(cluster.hosts[3]!.underlay.cluster!.id).toBe(id)
    expect(eventsOf(cluster.hosts[3]!, 'dissolve')).toHaveLength(1)
    // It goes on in it: whoever comes is a member.
    cluster.hosts[4]!.start()
    expect(cluster.until(() => cluster.hosts[3]!.sees(cluster.hosts[4]!) === 'alive', 10_000)).not.toBeNull()
    expect(cluster.hosts[4]!.underlay.cluster!.id).toBe(id)
  })

  test('two grown ones refuse', () => {
    const cluster = two(false)
    meet(cluster)
    cluster.run(30_000)
    expect(eventsOf(cluster.hosts[3]!, 'refused-cluster').length).toBeGreaterThan(0)
    expect(cluster.hosts.filter((host) => host.underlay.members().length === 2)).toHaveLength(3)
    expect(cluster.hosts.filter((host) => host.underlay.members().length === 1)).toHaveLength(2)
  })

  test('of two fresh ones the later dissolves', () => {
    const cluster = new SimCluster({ seed: 1, hosts: 2, seeds: () => [] })
    cluster.hosts[1]!.start()
    cluster.run(5_000)
    cluster.hosts[0]!.start()
    cluster.hosts[1]!.step({ type: 'seeds', addresses: [cluster.hosts[0]!.address], complete: true })
    expect(cluster.until(() => cluster.whole, 30_000)).not.toBeNull()
    expect(eventsOf(cluster.hosts[0]!, 'dissolve')).toHaveLength(1)
  })

  test('another name is another world', () => {
    const cluster = new SimCluster({ seed: 1, hosts: 2, clusterName: (i) => `name-${i}`, start: true })
    cluster.run(20_000)
    expect(cluster.hosts[1]!.underlay.cluster).toBeNull()
    expect(cluster.hosts[0]!.underlay.counters.foreignName).toBeGreaterThan(10)
    expect(cluster.hosts[0]!.underlay.members()).toEqual([])
  })
})
