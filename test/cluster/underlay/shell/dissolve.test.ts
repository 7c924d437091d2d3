import { expect, test } from 'vitest'
import { RealCluster, until, using } from './real-cluster.ts'

test('a host that will not dissolve goes on with its own cluster, and others join that', {
  timeout: 60_000,
}, async () => {
  await using(RealCluster.of(2), async ({ hosts: [older, kept] }) => {
    await older!.start()
    kept!.options = { ...kept!.options, dissolve: async () => false }
    await kept!.start()
    const { id } = kept!.node.cluster!
    await kept!.stop()
    kept!.options = { ...kept!.options, seeds: [older!.node.self.address] }
    await kept!.start()
    await until(() => older!.sees(kept!) === 'alive' && kept!.sees(older!) === 'alive', 'the other one comes to it')
    expect(kept!.heard('dissolve')).toHaveLength(1)
    expect(kept!.node.cluster!.id).toBe(id)
    expect(older!.node.cluster!.id).toBe(id)
  })
})
