import { SimOverlay, type SimOverlayOptions } from './sim-overlay.ts'

/** Hosts that found each other and are quiet; each is a member with some keys. */
export function quietOverlay(options: SimOverlayOptions): SimOverlay {
  const overlay = new SimOverlay({ ...options, start: true })
  for (const host of overlay.hosts) {
    host.join('mqtt', `address=10.0.0.${host.host.index}:7947 version=0.1.0`)
    for (let i = 0; i < 4; i++) host.set(`range/${i}`, `${i}`.padEnd(60, '.'))
  }
  if (overlay.cluster.until(() => overlay.settled, 60_000) === null) throw new Error(overlay.problem ?? 'not settled')
  overlay.cluster.run(5_000)
  return overlay
}

export interface Cost {
  hosts: number
  /** Payloads that a host sends while nothing happens, per second, and their bytes. */
  idlePayloads: number
  idleBytes: number
  /** Bytes that one change of 60 bytes costs each host, sent; and until all have it, in ms: median, and longest. */
  changeBytes: number
  changeMs: [number, number]
  /** The same for a hint. */
  hintBytes: number
  hintMs: [number, number]
  /** A host that comes: until it has all entries, since it has found all hosts; and bytes that all sent for it. */
  joinMs: number | null
  joinBytes: number
}

export function measureCost(seed: number, hosts: number, lossPercent: number, changes = 20): Cost {
  const overlay = quietOverlay({ seed, hosts, idLetters: 36, network: { lossPercent } })
  const { cluster } = overlay
  const sent = () => overlay.sum((host) => host.core.counters.payloadBytesSent)
  const payloads = () => overlay.sum((host) => host.core.counters.payloadsSent)
  const idleMs = 1_000 * changes
  const [payloadsBefore, bytesBefore] = [payloads(), sent()]
  cluster.run(idleMs)
  const idleBytes = (sent() - bytesBefore) / hosts / (idleMs / 1_000)
  const idlePayloads = (payloads() - payloadsBefore) / hosts / (idleMs / 1_000)
  const spread = (change: (value: string) => void, known: (value: string) => boolean): [number, [number, number]] => {
    const times: number[] = []
    const [atMs, before] = [cluster.now, sent()]
    for (let i = 0; i < changes; i++) {
      const value = `${i}`.padEnd(60, '.')
      change(value)
      times.push(cluster.until(() => known(value), 60_000, 5) ?? Number.POSITIVE_INFINITY)
      cluster.run(4_000)
    }
    times.sort((a, b) => a - b)
    const cost = (sent() - before) / hosts - (idleBytes * (cluster.now - atMs)) / 1_000
    return [Math.round(cost / changes), [times[changes >> 1]!, times.at(-1)!]]
  }
  const any = () => overlay.hosts[cluster.world.random.below(hosts)]!
  const [changeBytes, changeMs] = spread(
    (value) => any().set('change', value),
    (value) =>
      overlay.hosts.every((host) =>
        host.core.keys('change').some((key) => Buffer.from(key.value).toString() === value),
      ),
  )
  const [hintBytes, hintMs] = spread(
    (value) => any().setHint('change', value),
    (value) => overlay.allHint('change', value),
  )
  const fresh = overlay.hosts[hosts - 1]!
  fresh.crash()
  cluster.run(30_000)
  fresh.start()
  cluster.until(() => cluster.whole, 30_000, 5)
  const before = sent()
  fresh.join('mqtt', 'new')
  const joinMs = cluster.until(() => overlay.settled, 30_000, 5)
  const rounded = (value: number) => Math.round(value * 10) / 10
  return {
    hosts,
    ...{ idlePayloads: rounded(idlePayloads), idleBytes: rounded(idleBytes), changeBytes, changeMs, hintBytes, hintMs },
    ...{ joinMs, joinBytes: sent() - before },
  }
}
