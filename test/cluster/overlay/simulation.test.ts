import { describe, expect, test } from 'vitest'
import { seeds } from '../../sim/seeds.ts'
import { runOverlayChaos } from './chaos.ts'
import { measureCost, quietOverlay } from './measure.ts'
import { bytes } from './sim-overlay.ts'

/** SEEDS=500 for the full set, with up to 32 hosts; SEED=42 replays one of it. */
const FULL = process.env.SEEDS !== undefined || process.env.SEED !== undefined
const report = (text: string) => process.stdout.write(`${text}\n`)

describe('chaos', () => {
  test.each(seeds(25))('when it is over, all see what the owners wrote, seed %i', { timeout: 120_000 }, (seed) => {
    const result = runOverlayChaos(seed, FULL ? 32 : 7, FULL ? 60_000 : 20_000)
    if (FULL) report(`seed ${seed} ${JSON.stringify({ ...result, problems: result.problems.length })}`)
    expect(result.problems).toEqual([])
  })
})

describe('hosts that come and go', () => {
  test.each([1, 2, 3])('of a host that was killed nobody sees anything after 8 s, seed %i', (seed) => {
    const overlay = quietOverlay({ seed, hosts: 5 })
    const [killed, ...others] = overlay.hosts
    expect(others.every((host) => host.knows(killed!.id))).toBe(true)
    killed!.crash()
    expect(overlay.cluster.until(() => others.every((host) => !host.knows(killed!.id)), 8_000)).not.toBeNull()
    overlay.cluster.run(60_000, () => expect(others.some((host) => host.knows(killed!.id))).toBe(false), 100)
  })

  test('a host started anew is seen with what its new life says, never mixed', () => {
    const overlay = quietOverlay({ seed: 4, hosts: 5 })
    const [, again, ...others] = overlay.hosts
    again!.crash()
    overlay.cluster.run(300)
    again!.start()
    again!.set('range/1', 'new')
    const mixed = () =>
      others.some(({ core }) => {
        const found = core.keys('range/').filter(({ host }) => host === again!.id)
        return found.some(({ value }) => Buffer.from(value).toString() === 'new') && found.length > 1
      })
    expect(overlay.cluster.until(() => mixed() || overlay.settled, 5_000, 5)).not.toBeNull()
    expect([mixed(), overlay.problem]).toEqual([false, null])
  })

  test('a suspect keeps its entries', () => {
    const overlay = quietOverlay({ seed: 5, hosts: 5 })
    const [slow, ...others] = overlay.hosts
    overlay.cluster.run(
      4_000,
      () => {
        for (const other of others) overlay.cluster.cut(slow!.host, other.host)
        expect(others.every((host) => host.knows(slow!.id) || host.host.sees(slow!.host) === 'dead')).toBe(true)
      },
      50,
    )
    expect(others.some((host) => host.host.sees(slow!.host) === 'suspect')).toBe(true)
    overlay.cluster.heal()
    expect(overlay.cluster.until(() => overlay.settled, 15_000)).not.toBeNull()
  })

  test.each([6, 7])(
    'two halves that meet have what each wrote, and the hint that was written last, seed %i',
    (seed) => {
      const overlay = quietOverlay({ seed, hosts: 8, network: { lossPercent: (seed % 2) * 20 } })
      const [left, right] = [overlay.hosts.slice(0, 4), overlay.hosts.slice(4)]
      overlay.cluster.partition(
        left.map(({ host }) => host),
        right.map(({ host }) => host),
      )
      const apart = () => left.every((host) => right.every((other) => !host.knows(other.id) && !other.knows(host.id)))
      expect(overlay.cluster.until(apart, 120_000)).not.toBeNull()
      left[0]!.set('half', 'left')
      left[0]!.setHint('leader', 'left')
      left[1]!.write({ type: 'delete', key: 'range/1' })
      overlay.cluster.run(1_000)
      right[0]!.set('half', 'right')
      right[0]!.setHint('leader', 'right')
      overlay.cluster.run(10_000)
      overlay.cluster.heal()
      expect(overlay.cluster.until(() => overlay.settled, 20_000)).not.toBeNull()
      expect(overlay.allHint('leader', 'right')).toBe(true)
    },
  )

  test('a host with a wrong clock does not move the others, and harms its own hints only', () => {
    const overlay = quietOverlay({ seed: 8, hosts: 4 })
    const [wrong, ...others] = overlay.hosts
    wrong!.clockErrorMs = 3_600_000
    wrong!.setHint('x', 'wrong')
    overlay.cluster.run(10_000)
    expect(others.every((host) => host.hint('x') === null)).toBe(true)
    others[0]!.setHint('x', 'right')
    others[1]!.step({ type: 'set-hint', key: 'y', value: bytes('right'), ttlMs: 60_000 })
    overlay.cluster.run(5_000)
    expect(others.every((host) => host.hint('x') === 'right' && host.hint('y') === 'right')).toBe(true)
  })
})

describe('cost', () => {
  test('32 hosts: what a quiet host sends, how fast a change is everywhere', { timeout: 60_000 }, () => {
    const cost = measureCost(1, 32, 0, FULL ? 20 : 4)
    if (FULL) report(JSON.stringify(cost))
    expect(cost.idleBytes).toBeLessThan(500)
    expect(cost.changeMs[0]).toBeLessThan(500)
    expect(cost.changeMs[1]).toBeLessThan(1_500)
    expect(cost.hintMs[1]).toBeLessThan(1_500)
    expect(cost.changeBytes).toBeLessThan(3_000)
    expect(cost.joinMs).toBeLessThan(1_000)
  })
})

/** SCALE=8,32,128 measures: not for every run. */
test.runIf(process.env.SCALE !== undefined)('scale', { timeout: 600_000 }, () => {
  for (const hosts of process.env.SCALE!.split(',').map(Number)) {
    for (const lossPercent of [0, 20]) report(JSON.stringify({ lossPercent, ...measureCost(1, hosts, lossPercent) }))
  }
})
