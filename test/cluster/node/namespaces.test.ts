import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { builtMain } from '../../build.ts'
import { eventually, Fleet, type NodeProcess } from './fleet.ts'
import { Network } from './network.ts'

vi.setConfig({ testTimeout: 150_000 })

const TOKEN = 'hush'
const reason = Network.whyNot()
const fleet = new Fleet(TOKEN)
let network: Network

beforeAll(async () => {
  if (reason === null) await builtMain()
}, 60_000)

afterAll(async () => {
  await fleet.end()
  network?.end()
})

test.skipIf(reason !== null)(
  `three nodes in namespaces of their own: cuts in one direction, and they heal${reason === null ? '' : ` (skipped: ${reason})`}`,
  async () => {
    network = Network.open(3)
    for (let index = 0; index < 3; index++) {
      const address = network.address(index)
      const set = [`cluster.host=${address}`, `api.host=${address}`, `api.token=${TOKEN}`, 'cluster.secret=s']
      const seed = index === 0 ? [] : ['--seed', fleet.nodes[0]!.address]
      const node = fleet.add([...set.flatMap((text) => ['--set', text]), ...seed], network.prefix(index))
      await node.start()
    }
    const [a, b, c] = fleet.nodes as [NodeProcess, NodeProcess, NodeProcess]
    await fleet.whole()

    // a does not reach b by itself any more, but c does: nobody is given up.
    network.cut(0, 1)
    const asked = () => a.metric('flockmq_cluster_probes_indirect_total')
    const before = await asked()
    await eventually(async () => (await asked()) >= before + 3, 'a asks c to look after b')
    await fleet.whole()
    for (const node of fleet.nodes) {
      expect(await node.metric('flockmq_cluster_state_changes_total', 'state="dead"')).toBe(0)
    }
    network.join()

    // c is heard and hears nobody.
    network.cut(0, 2)
    network.cut(1, 2)
    const isDead = async (who: NodeProcess, to: NodeProcess) => (await to.sees(who))?.state === 'dead'
    await eventually(
      async () => (await isDead(c, a)) && (await isDead(c, b)) && (await isDead(a, c)) && (await isDead(b, c)),
      'c is dead to a and b, and they to c',
      60_000,
    )
    network.join()
    const healedMs = performance.now()
    await fleet.agreed()
    expect(performance.now() - healedMs).toBeLessThan(40_000)
  },
)
