import { seededRandom } from '../../../src/base/clock.ts'
import { reunionBoundMs, suspicionRange } from '../../../src/cluster/underlay/core/formulas.ts'
import { LAN, type SwimOptions } from '../../../src/cluster/underlay/core/index.ts'
import { SimCluster, type SimHost } from './sim-cluster.ts'

export interface ChaosOptions {
  seed: number
  hostsMax: number
  chaosMs: number
  swim?: Partial<SwimOptions>
}

export interface ChaosResult {
  hosts: number
  lossPercent: number
  boundMs: number
  /** The longest that a host which was up and reachable was held for dead, or was unknown, while both ways were open. */
  lostMs: number
  /** From the end of the cuts, still with loss, until all agree on who is here; null: not within the bound. */
  unitedMs: number | null
  /** From the end of the loss until all views were equal to the last incarnation; null: not within its bound. */
  equalMs: number | null
  problems: string[]
}

/** How often pairs are looked at. */
const LOOK_MS = 250

/**
 * A cluster under everything at once: loss, delay, doubled and overtaken datagrams, partitions of both kinds, crashes,
 * restarts (on the same or another address, with the same or a new id), stalls. Then only cuts that stay, then only
 * loss, then calm.
 */
export function runChaos(options: ChaosOptions): ChaosResult {
  const draw = seededRandom(options.seed * 7_919)
  const hosts = 3 + Math.floor(draw.float() ** 2 * (options.hostsMax - 2))
  const lossPercent = draw.below(4) * 10
  const cluster = new SimCluster({
    seed: options.seed,
    hosts,
    network: {
      lossPercent,
      duplicatePercent: draw.below(3) * 5,
      delayMsMin: 0.2,
      delayMsMax: [5, 30, 100][draw.below(3)]!,
    },
    ...(options.swim && { swim: options.swim }),
  })
  const boundMs = reunionBoundMs(hosts, lossPercent, { ...LAN, ...options.swim })
  const watch = new Watch(cluster, boundMs)
  for (const host of cluster.hosts) cluster.world.clock.after(draw.below(2_000), () => host.up || host.start())
  cluster.run(4_000)
  const trouble = new Trouble(cluster, draw)
  const endMs = cluster.now + options.chaosMs
  while (cluster.now < endMs) {
    trouble.one()
    cluster.run(500 + draw.below(8_000), () => watch.look(), LOOK_MS)
  }
  for (const host of cluster.hosts) if (!host.up) host.start()
  // A network that stays torn: long enough that the bound bites whoever still reaches each other.
  trouble.tear()
  cluster.run(boundMs + 5_000, () => watch.look(), LOOK_MS)
  cluster.heal()
  const { problems } = watch
  const awaitEqual = (what: string, view: (host: SimHost) => string, maxMs: number) => {
    const ms = cluster.until(
      () => {
        watch.look()
        const views = new Set(cluster.hosts.map(view))
        return views.size === 1 && [...views][0]!.split('\n').length === hosts
      },
      maxMs,
      LOOK_MS,
    )
    if (ms === null) problems.push(`${what} differ after ${maxMs} ms`)
    return ms
  }
  const unitedMs = awaitEqual('views under loss', (host) => host.view('here'), boundMs)
  cluster.world.network.options.lossPercent = 0
  const swim = { ...LAN, ...options.swim }
  const calmBoundMs = reunionBoundMs(hosts, 0, swim) + suspicionRange(hosts, swim).maxMs
  const equalMs = awaitEqual('views in calm', (host) => host.view('all'), calmBoundMs)
  return { hosts, lossPercent, boundMs, lostMs: watch.lostMs, unitedMs, equalMs, problems }
}

/** What may go wrong, one at a time. */
class Trouble {
  readonly #cluster: SimCluster
  readonly #draw: ReturnType<typeof seededRandom>

  constructor(cluster: SimCluster, draw: ReturnType<typeof seededRandom>) {
    this.#cluster = cluster
    this.#draw = draw
  }

  one(): void {
    const { hosts } = this.#cluster
    const host = hosts[this.#draw.below(hosts.length)]!
    switch (this.#draw.below(9)) {
      case 0:
        this.#cluster.heal()
        this.#cluster.partition(...this.#halves())
        break
      case 1: {
        // What one half says is lost; what it hears is not.
        const [left, right] = this.#halves()
        for (const a of left) for (const b of right) this.#cluster.cut(a, b)
        break
      }
      case 2:
        for (let i = 0; i < hosts.length; i++) this.#cluster.cut(hosts[this.#draw.below(hosts.length)]!, host)
        break
      case 3:
      case 4:
        this.#cluster.heal()
        break
      case 5:
        if (host.up) host.crash()
        break
      case 6:
        for (const other of hosts) if (!other.up) other.start()
        break
      case 7:
        if (host.up) host.stall(500 + this.#draw.below(12_000))
        break
      default:
        this.#restart(host)
    }
  }

  /** Ways that are closed from now on: a half cut off, one way or both, or ways here and there. */
  tear(): void {
    const { hosts } = this.#cluster
    this.#cluster.heal()
    const [left, right] = this.#halves()
    const kind = this.#draw.below(3)
    if (kind === 0) this.#cluster.partition(left, right)
    else if (kind === 1) for (const a of left) for (const b of right) this.#cluster.cut(a, b)
    else {
      const share = this.#draw.float() * 0.6
      for (const a of hosts) for (const b of hosts) if (a !== b && this.#draw.float() < share) this.#cluster.cut(a, b)
    }
  }

  #restart(host: SimHost): void {
    if (host.up) host.crash()
    const kind = this.#draw.below(4)
    // The first host is the seed: with an empty disk it would found another cluster, which has tests of its own.
    if (kind === 1 && host.index > 0) host.wipe()
    if (kind === 2 && host.index > 0) host.move()
    host.start()
  }

  #halves(): [SimHost[], SimHost[]] {
    const left = this.#cluster.hosts.filter(() => this.#draw.float() < 0.5)
    return [left, this.#cluster.hosts.filter((host) => !left.includes(host))]
  }
}

/** Looks at every pair: who is up and reachable both ways must not be lost for longer than the bound. */
class Watch {
  readonly problems: string[] = []
  lostMs = 0
  readonly #cluster: SimCluster
  readonly #boundMs: number
  /** Since when both are up and reach each other, and one does not see the other. */
  readonly #lostSinceMs: Float64Array

  constructor(cluster: SimCluster, boundMs: number) {
    this.#cluster = cluster
    this.#boundMs = boundMs
    this.#lostSinceMs = new Float64Array(cluster.hosts.length ** 2).fill(-1)
  }

  look(): void {
    const { hosts, now } = this.#cluster
    for (const a of hosts) {
      for (const b of hosts) {
        if (a === b) continue
        const at = a.index * hosts.length + b.index
        const state = this.#isConnected(a, b) ? a.sees(b) : 'alive'
        if (state === 'alive' || state === 'suspect') this.#lostSinceMs[at] = -1
        else if (this.#lostSinceMs[at]! < 0) this.#lostSinceMs[at] = now
        else this.#count(a, b, now - this.#lostSinceMs[at]!)
      }
    }
  }

  #count(a: SimHost, b: SimHost, lostMs: number): void {
    this.lostMs = Math.max(this.lostMs, lostMs)
    if (lostMs <= this.#boundMs || this.problems.length > 5) return
    this.problems.push(`${a.id} holds ${b.id} for ${a.sees(b)} for ${lostMs} ms, at ${this.#cluster.now}`)
  }

  #isConnected(a: SimHost, b: SimHost): boolean {
    const running = a.up && b.up && !a.stalled && !b.stalled
    if (!running || !this.#cluster.isOpen(a, b) || !this.#cluster.isOpen(b, a)) return false
    return a.underlay.cluster !== null && b.underlay.cluster !== null
  }
}
