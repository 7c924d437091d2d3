import type { SwimOptions } from '../../../src/cluster/underlay/core/index.ts'
import { SimCluster, type SimClusterOptions, type SimHost } from './sim-cluster.ts'

/** A cluster that has come together and to rest. */
export function quietCluster(options: SimClusterOptions): SimCluster {
  const cluster = new SimCluster({ ...options, start: true })
  if (cluster.until(() => cluster.whole, 60_000) === null) throw new Error('The cluster did not come together')
  cluster.run(3_000 + cluster.world.random.float() * 5_000)
  return cluster
}

/** Until a killed host is known dead everywhere, in ms; null: not within two minutes. */
export function detectMs(
  seed: number,
  hosts: number,
  lossPercent: number,
  swim: Partial<SwimOptions> = {},
): number | null {
  const cluster = quietCluster({ seed, hosts, network: { lossPercent }, swim })
  const killed = cluster.hosts[cluster.world.random.below(hosts)]!
  killed.crash()
  const others = cluster.hosts.filter((host) => host !== killed)
  return cluster.until(() => others.every((host) => host.sees(killed) === 'dead'), 120_000, 20)
}

/** Events of this type that hosts saw since then. */
export function eventsSince(hosts: readonly SimHost[], type: string, sinceMs: number): number {
  let count = 0
  for (const host of hosts)
    for (const { atMs, event } of host.events) if (atMs >= sinceMs && event.type === type) count++
  return count
}

/** The value that `share` of them do not exceed. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]!
}

export interface Scale {
  hosts: number
  /** Gossip and probes, per host. */
  idleBytesPerSecond: number
  idlePacketsPerSecond: number
  /** TCP, averaged over the exchanges' interval. */
  exchangeBytesPerSecond: number
  /** Until all know of one change of metadata. */
  changeMs: number[]
  /** Bytes that one change costs each host, sent. */
  changeBytes: number
  killedMs: number | null
}

/** What a large cluster costs, and how fast news are. Ids as long as UUIDs, records without metadata. */
export function measureScale(seed: number, hosts: number): Scale {
  const cluster = quietCluster({ seed, hosts, idLetters: 36 })
  cluster.run(10_000)
  const idleMs = 240_000
  const before = totals(cluster)
  cluster.run(idleMs)
  const idle = totals(cluster)
  const perSecond = (bytes: number) => Math.round((bytes / hosts / idleMs) * 1_000 * 10) / 10
  const changeMs: number[] = []
  for (let i = 0; i < 10; i++) {
    const host = cluster.hosts[cluster.world.random.below(hosts)]!
    host.step({ type: 'update', metadata: new Map([['change', `${i}`]]) })
    const { incarnation } = host.underlay.self
    const known = () =>
      cluster.hosts.every((other) => other === host || other.underlay.member(host.id)?.incarnation === incarnation)
    changeMs.push(cluster.until(known, 60_000, 10) ?? Number.POSITIVE_INFINITY)
    cluster.run(4_000)
  }
  const changed = totals(cluster)
  const killed = cluster.hosts[hosts - 1]!
  killed.crash()
  const others = cluster.hosts.filter((host) => host !== killed)
  const killedMs = cluster.until(() => others.every((host) => host.sees(killed) === 'dead'), 120_000, 50)
  const changeRunSeconds = 10 * 4 + changeMs.reduce((sum, ms) => sum + ms, 0) / 1_000
  const idleBytes = ((idle.datagramBytes - before.datagramBytes) / idleMs) * 1_000 * changeRunSeconds
  return {
    hosts,
    idleBytesPerSecond: perSecond(idle.datagramBytes - before.datagramBytes),
    idlePacketsPerSecond: perSecond(idle.datagrams - before.datagrams),
    exchangeBytesPerSecond: perSecond(idle.exchangeBytes - before.exchangeBytes),
    changeMs,
    changeBytes: Math.round((changed.datagramBytes - idle.datagramBytes - idleBytes) / hosts / 10),
    killedMs,
  }
}

function totals(cluster: SimCluster): { datagrams: number; datagramBytes: number; exchangeBytes: number } {
  const sum = { datagrams: 0, datagramBytes: 0, exchangeBytes: 0 }
  for (const { underlay } of cluster.hosts) {
    sum.datagrams += underlay.counters.datagramsSent
    sum.datagramBytes += underlay.counters.datagramBytesSent
    sum.exchangeBytes += underlay.counters.exchangeBytesSent
  }
  return sum
}
