import { describe, expect, test } from 'vitest'
import { RealCluster, until } from './real-cluster.ts'

/** Forming on real sockets: the same list as in the simulation. Waiting is idle, so these run beside each other. */
const seed = (port: number) => `127.0.0.1:${port}`

describe.concurrent('forming', () => {
  test('one seed, which has none itself; all at once', async () => {
    await using(
      RealCluster.of(5, (ports, i) => ({ seeds: i === 0 ? [] : [seed(ports[0]!)] })),
      async (cluster) => {
        await cluster.start()
        expect(await until(() => cluster.whole, 'one cluster')).toBeLessThan(5_000)
        expect(cluster.founders).toEqual([cluster.hosts[0]])
      },
    )
  })

  test('nine from one seed, the same list everywhere', async () => {
    await using(
      RealCluster.of(9, (ports) => ({ seeds: [seed(ports[0]!)] })),
      async (cluster) => {
        await cluster.start()
        await until(() => cluster.whole, 'one cluster')
        expect(cluster.founders).toEqual([cluster.hosts[0]])
        expect(cluster.hosts[0]!.lines.join('\n')).toContain('The only seed is this host')
      },
    )
  })
})
async function using(made: Promise<RealCluster>, run: (cluster: RealCluster) => Promise<void>): Promise<void> {
  const cluster = await made
  try {
    await run(cluster)
  } finally {
    await cluster.end()
  }
}
