import { describe, expect, test } from 'vitest'
import { seeds } from '../../sim/seeds.ts'
import { runChaos } from './chaos.ts'
import { detectMs, eventsSince, measureScale, quantile, quietCluster } from './measure.ts'
import { SimCluster } from './sim-cluster.ts'

/** SEEDS=500 for the full set, with up to 64 hosts; SEED=42 replays one of it. */
const FULL = process.env.SEEDS !== undefined || process.env.SEED !== undefined
const count = Number(process.env.SEEDS ?? 60)
const report = (text: string) => process.stdout.write(`${text}\n`)

describe('chaos', () => {
  test.each(seeds(count))(
    'nobody reachable is lost for longer than the bound, and views become equal, seed %i',
    (seed) => {
      // One in ten is large also in the short run.
      const hostsMax = FULL ? 64 : seed % 10 === 0 ? 24 : 9
      const result = runChaos({ seed, hostsMax, chaosMs: FULL ? 60_000 : 30_000 })
      if (FULL) report(`seed ${seed} ${JSON.stringify(result)}`)
      expect(result.problems).toEqual([])
    },
  )
})

describe('detection', () => {
  test('a host killed among 5 is known dead everywhere within 5 s at the median, 8 s at most', () => {
    const times = seeds(Math.min(count, 100)).map((seed) => detectMs(seed, 5, 0) ?? Number.POSITIVE_INFINITY)
    if (FULL) report(`killed among 5: median ${quantile(times, 0.5)}, p99 ${quantile(times, 0.99)}`)
    expect(quantile(times, 0.5)).toBeLessThanOrEqual(5_000)
    expect(quantile(times, 0.99)).toBeLessThanOrEqual(8_000)
  })

  test.each(seeds(10))('with 10 percent loss nobody is declared dead in 5 minutes, seed %i', (seed) => {
    const cluster = quietCluster({ seed, hosts: 5, network: { lossPercent: 10, delayMsMax: 30 } })
    const start = cluster.now
    cluster.run(300_000)
    expect(eventsSince(cluster.hosts, 'dead', start)).toBe(0)
  })

  test.each(seeds(20))(
    'an event loop that stands still for 3 s blames nobody, and is not declared dead, seed %i',
    (seed) => {
      const cluster = quietCluster({ seed, hosts: 5 })
      const start = cluster.now
      const [stalled, ...others] = cluster.hosts
      for (let i = 0; i < 5; i++) {
        stalled!.stall(3_000)
        cluster.run(8_000 + cluster.world.random.float() * 1_000)
      }
      expect(eventsSince([stalled!], 'suspect', start)).toBe(0)
      expect(eventsSince(others, 'dead', start)).toBe(0)
      expect(eventsSince([stalled!], 'stalled', start)).toBeGreaterThan(0)
      expect(cluster.whole).toBe(true)
    },
  )

  test('a host whose event loop is always 300 ms late blames nobody', () => {
    const cluster = quietCluster({ seed: 1, hosts: 5 })
    const start = cluster.now
    const [slow] = cluster.hosts
    cluster.run(60_000, () => slow!.stall(300), 350)
    expect(eventsSince(cluster.hosts, 'dead', start)).toBe(0)
    expect(eventsSince([slow!], 'suspect', start)).toBe(0)
  })

  test('a paused host is dead, and back when it goes on', () => {
    const cluster = quietCluster({ seed: 1, hosts: 5 })
    const [paused, ...others] = cluster.hosts
    paused!.stall(20_000)
    cluster.run(19_000)
    expect(others.every((host) => host.sees(paused!) === 'dead')).toBe(true)
    expect(cluster.until(() => cluster.whole, 3_000)).not.toBeNull()
    expect(eventsSince([paused!], 'dead', 0)).toBe(0)
  })
})

describe('partitions', () => {
  test.each(seeds(10))('two halves, cut for a minute, see each other within 15 s, seed %i', (seed) => {
    const cluster = quietCluster({ seed, hosts: 9, network: { lossPercent: (seed % 2) * 20 } })
    const [left, right] = [cluster.hosts.slice(0, 4), cluster.hosts.slice(4)]
    cluster.partition(left, right)
    cluster.run(60_000)
    // Who is slow because its own side is lossy, too, takes longer with the last of them.
    const apart = () => left.every((host) => right.every((other) => host.sees(other) === 'dead'))
    expect(cluster.until(apart, 30_000)).not.toBeNull()
    cluster.heal()
    expect(cluster.until(() => cluster.whole, 15_000)).not.toBeNull()
  })

  test('halves that meet do not suspect their own', () => {
    const cluster = quietCluster({ seed: 3, hosts: 8 })
    cluster.partition(cluster.hosts.slice(0, 4), cluster.hosts.slice(4))
    cluster.run(60_000)
    cluster.heal()
    const start = cluster.now
    cluster.until(() => cluster.whole, 15_000)
    expect(eventsSince(cluster.hosts, 'suspect', start)).toBe(0)
    expect(eventsSince(cluster.hosts, 'dead', start)).toBe(0)
  })

  test('two that do not reach each other live on through the third', () => {
    const cluster = quietCluster({ seed: 4, hosts: 3 })
    const start = cluster.now
    cluster.partition([cluster.hosts[0]!], [cluster.hosts[1]!])
    cluster.run(60_000)
    expect(eventsSince(cluster.hosts, 'suspect', start)).toBe(0)
    expect(cluster.whole).toBe(true)
  })

  test('who was off for longer than the dead are kept is not asked any more, but its seed brings it back', () => {
    const cluster = quietCluster({ seed: 5, hosts: 3, swim: { deadKeepMs: 600_000 } })
    const [, , away] = cluster.hosts
    away!.crash()
    cluster.run(600_000)
    expect(cluster.hosts[0]!.sees(away!)).toBe('dead')
    cluster.run(70_000)
    expect(cluster.hosts[0]!.sees(away!)).toBe('unknown')
    expect(cluster.hosts[0]!.events.at(-1)!.event.type).toBe('forgotten')
    away!.start()
    expect(cluster.until(() => cluster.whole, 5_000)).not.toBeNull()
  })
})

describe('ids and addresses', () => {
  test('restarted on its address with its id: nobody need notice but by the life', () => {
    const cluster = quietCluster({ seed: 1, hosts: 4 })
    const start = cluster.now
    cluster.hosts[2]!.crash()
    cluster.run(200)
    cluster.hosts[2]!.start()
    expect(cluster.until(() => cluster.whole, 3_000)).not.toBeNull()
    expect(eventsSince(cluster.hosts, 'restarted', start)).toBe(3)
    expect(eventsSince(cluster.hosts, 'dead', start)).toBe(0)
  })

  test('on its address with a new id: the old one is dead, the new one alive', () => {
    const cluster = quietCluster({ seed: 2, hosts: 4 })
    const host = cluster.hosts[2]!
    const { id } = host
    host.crash()
    host.wipe()
    host.start()
    expect(cluster.until(() => cluster.whole, 30_000)).not.toBeNull()
    expect(cluster.hosts[0]!.underlay.stateOf(id)).toBe('dead')
  })

  test('on another address with its id: the cluster follows', () => {
    const cluster = quietCluster({ seed: 3, hosts: 4 })
    const host = cluster.hosts[2]!
    host.crash()
    cluster.run(20_000)
    host.move()
    host.start()
    expect(cluster.until(() => cluster.whole, 3_000)).not.toBeNull()
    expect(
      cluster.hosts.every((other) => other === host || other.underlay.member(host.id)!.address === host.address),
    ).toBe(true)
  })

  test('its disk lost the incarnation: it goes above what the others know', () => {
    const cluster = quietCluster({ seed: 4, hosts: 4 })
    const host = cluster.hosts[2]!
    for (let i = 0; i < 5; i++) host.step({ type: 'update', metadata: new Map([['i', `${i}`]]) })
    cluster.run(2_000)
    host.crash()
    host.disk = { ...host.disk, incarnation: 0 }
    host.start()
    expect(cluster.until(() => cluster.whole, 3_000)).not.toBeNull()
    const life = host.underlay.self.life
    expect(
      cluster.until(
        () => cluster.hosts.every((other) => other === host || other.underlay.member(host.id)!.life === life),
        3_000,
      ),
    ).not.toBeNull()
  })

  test('two hosts with one id: the later is refused and told, the first is told and stays', () => {
    const cluster = new SimCluster({ seed: 5, hosts: 5 })
    const [, , first, later] = cluster.hosts
    for (const host of cluster.hosts) if (host !== later) host.start()
    cluster.run(5_000)
    later!.id = first!.id
    later!.disk = { ...first!.disk }
    later!.start()
    expect(cluster.until(() => later!.underlay.silent, 5_000)).not.toBeNull()
    expect(later!.events.at(-1)!.event).toEqual({ type: 'duplicate-id', address: first!.address, refused: true })
    expect(first!.events.map(({ event }) => event)).toContainEqual({
      type: 'duplicate-id',
      address: later!.address,
      refused: false,
    })
    cluster.run(5_000)
    expect(first!.underlay.silent).toBe(false)
    expect(cluster.hosts[0]!.underlay.member(first!.id)).toMatchObject({ address: first!.address, state: 'alive' })
  })

  test('leaving is known at once, and for ever', () => {
    const cluster = quietCluster({ seed: 6, hosts: 5 })
    const [leaver, ...others] = cluster.hosts
    leaver!.step({ type: 'leave', forever: true })
    expect(cluster.until(() => others.every((host) => host.sees(leaver!) === 'left'), 1_000)).not.toBeNull()
    cluster.run(2_000)
    expect(leaver!.underlay.silent).toBe(true)
    leaver!.crash()
    cluster.run(60_000)
    expect(others.every((host) => host.sees(leaver!) === 'left')).toBe(true)
  })
})

/** SCALE=256 measures: not for every run. */
test.runIf(process.env.SCALE !== undefined)('scale', { timeout: 600_000 }, () => {
  for (const hosts of process.env.SCALE!.split(',').map(Number)) report(JSON.stringify(measureScale(1, hosts)))
})
