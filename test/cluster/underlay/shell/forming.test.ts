import { describe, expect, test } from 'vitest'
import { at, RealCluster, until, using } from './real-cluster.ts'

/** Forming on real sockets: the same list as in the simulation. Waiting is idle, so these run beside each other. */
describe.concurrent('forming', () => {
  const star = (ports: number[], i: number) => ({ seeds: i === 0 ? [] : [at(ports[0]!)] })
  const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

  test('one seed, which has none itself; all at once', async () => {
    await using(RealCluster.of(5, star), async (cluster) => {
      await cluster.start()
      expect(await until(() => cluster.whole, 'one cluster')).toBeLessThan(5_000)
      expect(cluster.founders).toEqual([cluster.hosts[0]])
    })
  })

  test('nine from one seed, the same list everywhere', async () => {
    await using(
      RealCluster.of(9, (ports) => ({ seeds: [at(ports[0]!)] })),
      async (cluster) => {
        await cluster.start()
        await until(() => cluster.whole, 'one cluster')
        expect(cluster.founders).toEqual([cluster.hosts[0]])
        expect(cluster.hosts[0]!.lines.join('\n')).toContain('The only seed is this host')
      },
    )
  })

  test('the seed comes last, by a name', async () => {
    await using(
      RealCluster.of(3, (ports, i) => ({ seeds: i === 0 ? [] : [`localhost:${ports[0]}`] })),
      async (cluster) => {
        for (const host of cluster.hosts.toReversed()) {
          await host.start()
          await pause(200)
        }
        await until(() => cluster.whole, 'one cluster')
        expect(cluster.founders).toEqual([cluster.hosts[0]])
        const [line] = cluster.hosts[1]!.lines.filter((said) => said.startsWith('Waits'))
        expect(line).toContain(`never founds a cluster of its own`)
      },
    )
  })

  test.each([
    [3, 3],
    [3, 5],
    [5, 5],
  ])('%i seeds, %i expected, one after the other: the lowest id founds', async (seeds, count) => {
    const options = (ports: number[]) => ({ seeds: ports.slice(0, seeds).map(at), expect: count })
    await using(RealCluster.of(count, options), async (cluster) => {
      for (const host of cluster.hosts.toReversed()) {
        expect(cluster.founders).toEqual([])
        await host.start()
        await pause(100)
      }
      await until(() => cluster.whole, 'one cluster')
      expect(cluster.founders).toEqual([cluster.hosts[0]])
    })
  })

  test('two of three that are expected wait, and say what they see', async () => {
    const options = (ports: number[]) => ({ seeds: ports.map(at), expect: 3 })
    await using(RealCluster.of(3, options), async (cluster) => {
      const [first, second, third] = cluster.hosts
      await Promise.all([first!.start(), second!.start()])
      await until(() => first!.lines.some((line) => line.includes('this one sees 2 of them')), 'it says so')
      await pause(1_500)
      expect(cluster.founders).toEqual([])
      await third!.start()
      await until(() => cluster.whole, 'one cluster')
    })
  })

  test('a seed comes back with its disk: its cluster is the same', async () => {
    await using(
      RealCluster.of(3, (ports) => ({ seeds: [at(ports[0]!)] })),
      async (cluster) => {
        await cluster.start()
        await until(() => cluster.whole, 'one cluster')
        const [seed, other] = cluster.hosts
        const { id } = other!.node.cluster!
        await seed!.stop()
        await until(() => other!.sees(seed!) === 'dead', 'it is known to pause')
        await seed!.start()
        await until(() => cluster.whole, 'one cluster again')
        expect(seed!.node.cluster!.id).toBe(id)
        expect(seed!.heard('formed')).toHaveLength(1)
        expect(other!.heard('restarted')).toHaveLength(1)
      },
    )
  })

  test.each([
    ['is its own seed', true],
    ['has none', false],
  ])('a seed that %s comes back with an empty disk: it ends up in its old cluster', async (_, own) => {
    const options = (ports: number[], i: number) => ({ seeds: i === 0 && !own ? [] : [at(ports[0]!)] })
    await using(RealCluster.of(3, options), async (cluster) => {
      await cluster.start()
      await until(() => cluster.whole, 'one cluster')
      const [seed, other] = cluster.hosts
      const { id } = other!.node.cluster!
      await seed!.stop()
      seed!.wipe()
      await seed!.start()
      // The others ask the seed's address every 10 s, where it does not ask them.
      await until(() => cluster.whole && seed!.node.cluster!.id === id, 'one cluster again')
    })
  })

  test('all restart but the seed: they find each other by what they remember', async () => {
    await using(RealCluster.of(4, star), async (cluster) => {
      await cluster.start()
      await until(() => cluster.whole, 'one cluster')
      for (const host of cluster.hosts) await host.stop()
      await Promise.all(cluster.hosts.slice(1).map((host) => host.start()))
      await until(() => cluster.whole, 'one cluster again')
      expect(cluster.founders).toEqual([cluster.hosts[0]])
    })
  })

  test('two grown clusters of one name stay apart, and say so', async () => {
    await using(
      RealCluster.of(4, (ports, i) => ({ seeds: i % 2 === 0 ? [] : [at(ports[i - 1]!)] })),
      async (cluster) => {
        await cluster.start()
        const [a, b, c, d] = cluster.hosts
        await until(() => a!.sees(b!) === 'alive' && c!.sees(d!) === 'alive', 'two clusters')
        await a!.stop()
        a!.options = { ...a!.options, seeds: c!.options.port === undefined ? [] : [at(c!.options.port)] }
        await a!.start()
        await until(
          () => a!.heard('refused-cluster').length > 0 && c!.heard('refused-cluster').length > 0,
          'it is said',
        )
        expect(c!.lines.join('\n')).toContain('Another cluster named "test" is at 127.0.0.1')
        expect([a!.sees(b!), c!.sees(d!), a!.sees(c!), c!.sees(a!)]).toEqual(['alive', 'alive', 'unknown', 'unknown'])
      },
    )
  })
})
