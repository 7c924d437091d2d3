import { expect, test } from 'vitest'
import { BUGS } from './bugs.ts'
import { oneOf, planOf } from './plan.ts'
import { converge, progress, watched } from './run.ts'
import { StoreWorld } from './store-world.ts'

/** ROUNDS says how many: each is an outage, in the midst of writes. */
const ROUNDS = Number(process.env.ROUNDS ?? 6)
const TEST_MS_MAX = 60_000 + 10_000 * ROUNDS

/** Whose power goes; any number of the batches that were not synced reached the disk, in their order. */
type Outage = 'one store' | 'all stores'

/** Batches that were under way in the outages. */
async function outages(outage: Outage, rounds: number): Promise<number> {
  const plan = planOf(1, { stores: 3, voters: 3, clients: 3, meanMs: {}, lossPercent: 0, duplicatePercent: 0 })
  const it = new StoreWorld({ ...plan, splits: ['d'], delayMsMax: 5, electionTicks: null, clientDatagrams: false })
  const { world, cluster, clients, stores } = it
  let underWay = 0
  await watched(it, async () => {
    await progress(it)
    for (let round = 0; round < rounds; round++) {
      await world.run(200 + world.random.float() * 800)
      const dark = outage === 'all stores' ? stores : [oneOf(world.random, stores)]
      for (const store of dark) {
        underWay += cluster.engine(store).undurable
        cluster.crash(store)
      }
      await world.run(world.random.float() * 700)
      for (const store of dark) cluster.start(store)
      await progress(it)
    }
    clients.stop()
    await converge(it)
  })
  return underWay
}

test.each(['one store', 'all stores'] as const)(
  'no acknowledged write is lost when %s lose power',
  async (outage) => {
    expect(await outages(outage, ROUNDS)).toBeGreaterThan(0)
  },
  TEST_MS_MAX,
)

test(
  'where nothing is synced, outages of all stores are seen',
  async () => {
    const undo = BUGS['batches are not synced']!.plant()
    try {
      await expect(outages('all stores', 6)).rejects.toThrow()
    } finally {
      undo()
    }
  },
  TEST_MS_MAX,
)
