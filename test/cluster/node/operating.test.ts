import { beforeAll, expect, test, vi } from 'vitest'
import type { RangeInfo, RangeList } from '../../../src/node/ranges/views.ts'
import { builtMain } from '../../build.ts'
import { eventually, using } from './fleet.ts'

vi.setConfig({ testTimeout: 90_000 })

beforeAll(async () => {
  await builtMain()
}, 60_000)

test('what operators see and do of ranges, from whichever node; a node that is decommissioned ends for ever', async () => {
  await using(async (fleet) => {
    const [first, second, third] = await fleet.star(4)
    await fleet.whole()
    const whole = async () => {
      const list = (await third!.get('/api/v1/ranges')) as RangeList
      const isWhole = ({ leader, replicas }: RangeInfo) =>
        leader !== null && replicas.filter(({ kind, note }) => kind === 'voter' && note === 'ok').length === 3
      return list.ranges.length === 4 && list.ranges.every(isWhole)
    }
    await eventually(whole, 'three voters of each range')
    const { ranges, nodes, next } = (await third!.get('/api/v1/ranges?service=retain')) as RangeList
    expect(nodes.map(({ name, error }) => [name, error])).toEqual(['n1', 'n2', 'n3', 'n4'].map((name) => [name, null]))
    expect([ranges.length, ranges[0]!.replicas.length, next]).toEqual([1, 3, null])
    const { stdout: table } = await second!.run('ranges', '--service', 'retain')
    expect(table).toMatch(/^retain-1 +n\d\* +voter +leader /m)

    // Kept in the cluster's own records: set at one node, in force on the others. From here on nothing moves by itself.
    for (const name of ['range-spread', 'leader-spread']) {
      expect(await second!.run('balancers', 'off', name)).toMatchObject({
        code: 0,
        stdout: `enabled.${name} is false (set)\n`,
      })
    }
    const off = async () => /^leader-spread +off +set/m.test((await third!.run('balancers')).stdout)
    await eventually(off, 'the third node knows of it')

    const voters = ranges[0]!.replicas.map(({ node }) => node)
    const [heir] = voters.filter((name) => name !== ranges[0]!.leader!.node)
    expect(await second!.run('ranges', 'transfer', 'retain-1', '--to', heir!)).toMatchObject({ code: 0, stderr: '' })
    const leads = async () => (await third!.run('ranges', 'explain', 'retain-1')).stdout.includes(`${heir} leads it`)
    await eventually(leads, 'another leader')

    const ended = await second!.run('decommission', 'n1')
    expect(ended).toMatchObject({ code: 0, stdout: expect.stringContaining('n1 is gone for ever') })
    expect(await first!.kill('SIGTERM')).toMatchObject({ code: 0 })
    await expect(first!.start()).rejects.toThrow(
      /this host left cluster "flockmq" for ever; start with an empty data folder/,
    )
    const left = (await third!.get('/api/v1/ranges')) as RangeList
    for (const { leader, replicas } of left.ranges) {
      expect(leader).not.toBeNull()
      expect(replicas.map(({ node }) => node)).not.toContain('n1')
    }
  })
})
