import { seededRandom } from '../../../src/base/clock.ts'
import { reunionBoundMs } from '../../../src/cluster/underlay/core/formulas.ts'
import { LAN } from '../../../src/cluster/underlay/core/index.ts'
import { AGENTS, bytes, type OverlayHost, SimOverlay } from './sim-overlay.ts'

export interface OverlayChaosResult {
  hosts: number
  lossPercent: number
  writes: number
  /** From the end of the cuts, still with loss, until all views were equal to what the owners wrote; null: too late. */
  settledMs: number | null
  resets: number
  problems: string[]
}

/** Hosts as they are while everything goes wrong, and write all the time. Then the network heals, and nobody writes. */
export function runOverlayChaos(seed: number, hostsMax: number, chaosMs: number): OverlayChaosResult {
  const draw = seededRandom(seed * 6_151)
  const hosts = 2 + Math.floor(draw.float() ** 2 * (hostsMax - 1))
  const lossPercent = draw.below(4) * 10
  const overlay = new SimOverlay({
    seed,
    hosts,
    network: { lossPercent, duplicatePercent: draw.below(3) * 5, delayMsMax: [5, 30, 100][draw.below(3)]! },
    // Deletions are forgotten while others are away, and answers do not hold everything.
    overlay: {
      tombstoneKeepMs: [500, 5_000, 60_000][draw.below(3)]!,
      answerBytesMax: [17_000, 60_000][draw.below(2)]!,
    },
  })
  const { cluster } = overlay
  for (const host of overlay.hosts) cluster.world.clock.after(draw.below(2_000), () => host.up || host.start())
  cluster.run(3_000)
  let writes = 0
  const endMs = cluster.now + chaosMs
  while (cluster.now < endMs) {
    trouble(overlay, draw)
    cluster.run(
      300 + draw.below(6_000),
      () => {
        const host = overlay.hosts[draw.below(hosts)]!
        if (!host.up) return
        for (let i = draw.below(4); i >= 0; i--) writeSomething(host, draw)
        writes++
      },
      20 + draw.below(200),
    )
  }
  cluster.heal()
  for (const host of overlay.hosts) if (!host.up && draw.below(2) === 0) host.start()
  if (!overlay.hosts[0]!.up) overlay.hosts[0]!.start()
  const settledMs = cluster.until(() => overlay.settled, reunionBoundMs(hosts, lossPercent, LAN) + 20_000, 100)
  const problems = settledMs === null ? [overlay.problem ?? 'settled just now'] : []
  return {
    hosts,
    lossPercent,
    writes,
    settledMs,
    resets: overlay.sum((host) => host.core?.counters.resets ?? 0),
    problems,
  }
}

function writeSomething(host: OverlayHost, draw: ReturnType<typeof seededRandom>): void {
  const key = `${'xy'[draw.below(2)]}/${draw.below(12)}`
  const value = `${draw.below(1e9)}`.padEnd(draw.below(20) === 0 ? 9_000 : draw.below(60), '.')
  const agent = AGENTS[draw.below(AGENTS.length)]!
  const kind = draw.below(12)
  if (kind < 4) host.set(key, value)
  else if (kind < 7) host.write({ type: 'delete', key })
  else if (kind < 8) host.write({ type: 'join', agent, metadata: bytes(value.slice(0, 100)) })
  else if (kind < 9) host.write({ type: 'leave', agent })
  else if (kind < 11) host.setHint(key, value.slice(0, 100), [3_000, 600_000][draw.below(2)]!)
  else host.write({ type: 'delete-hint', key })
}

function trouble(overlay: SimOverlay, draw: ReturnType<typeof seededRandom>): void {
  const { hosts, cluster } = overlay
  const host = hosts[draw.below(hosts.length)]!
  const left = cluster.hosts.filter(() => draw.float() < 0.5)
  const right = cluster.hosts.filter((other) => !left.includes(other))
  switch (draw.below(8)) {
    case 0:
      cluster.heal()
      cluster.partition(left, right)
      break
    case 1:
      for (const a of left) for (const b of right) cluster.cut(a, b)
      break
    case 2:
    case 3:
      cluster.heal()
      break
    case 4:
      if (host.up) host.crash()
      break
    case 5:
      for (const other of hosts) if (!other.up) other.start()
      break
    default:
      if (host.up) host.crash()
      if (host.host.index > 0 && draw.below(4) === 0) host.host.wipe()
      host.start()
  }
}
