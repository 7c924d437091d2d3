import { setTimeout as delay } from 'node:timers/promises'
import { rssMib } from '../../bench/proc.ts'
import { eventually, Fleet, type NodeProcess } from '../cluster/node/fleet.ts'
import { Network } from '../cluster/node/network.ts'
import { type Dial, dialTcp } from '../durability/peer.ts'
import { runCli } from '../node/run-cli.ts'
import { describeFault, type Fault, type Powers, type Round, type Way } from './plan.ts'

const TOKEN = 'chaos'
const PORTS = {
  'cluster.port': 7_946,
  'rpc.port': 7_947,
  'api.port': 8_091,
  'mqtt.listeners.tcp.port': 1_883,
}
/** Of nobody. */
const NO_PORT = 1
const WHOLE_MS_MAX = 90_000

export interface ClusterOptions {
  nodes: number
  /** Further settings of all nodes. */
  set: readonly string[]
  /** Links are to be cut and slow, where this machine can do that. */
  network: boolean
}

/** Nodes in processes of their own, on RocksDB, and everything that is done to them. */
export class Cluster {
  readonly powers: Powers
  /** Why the network is left alone; null: it is not. */
  readonly noNetwork: string | null
  readonly #network: Network | null
  readonly #fleet = new Fleet(TOKEN)
  readonly #addresses: readonly string[]
  /** Faults under way, by node. */
  readonly #touches: number[]
  /** When the last fault of each node ended. */
  readonly #touchedMs: number[]
  /** Of each node: faults under way that keep it down, and that keep it still. */
  readonly #downs: number[]
  readonly #stills: number[]
  readonly #faults = new Set<Fault>()
  /** What each node does now, one after the other. */
  readonly #chains: Promise<void>[]
  readonly counts = new Map<string, number>()
  /** Processes that ended by themselves, with their last words. */
  readonly crashes: string[] = []
  #expected = new WeakSet<object>()

  static async start({ nodes, set, network }: ClusterOptions): Promise<Cluster> {
    const reason = network ? Network.whyNot() : 'not wanted'
    const opened = reason === null ? Network.open(nodes) : null
    const noSlow = opened === null ? reason : await opened.openSlowWays()
    const cluster = new Cluster(nodes, opened, { cuts: opened !== null, slows: noSlow === null }, noSlow)
    try {
      await cluster.#begin(set)
      return cluster
    } catch (error) {
      await cluster.end()
      throw error
    }
  }

  private constructor(count: number, network: Network | null, powers: Powers, noNetwork: string | null) {
    this.powers = powers
    this.noNetwork = noNetwork
    this.#network = network
    const own = `127.${64 + (process.pid & 63)}.${(process.pid >> 6) & 255}`
    this.#addresses = Array.from({ length: count }, (_, i) => network?.address(i) ?? `${own}.${i + 1}`)
    this.#touches = this.#addresses.map(() => 0)
    this.#touchedMs = this.#addresses.map(() => Number.NEGATIVE_INFINITY)
    this.#downs = this.#addresses.map(() => 0)
    this.#stills = this.#addresses.map(() => 0)
    this.#chains = this.#addresses.map(() => Promise.resolve())
  }

  get size(): number {
    return this.#addresses.length
  }

  get nodes(): readonly NodeProcess[] {
    return this.#fleet.nodes
  }

  /** Connections of clients to a node; nobody answers where it is down. */
  dial(node: number): Dial {
    return dialTcp(() => (this.nodes[node]!.up ? PORTS['mqtt.listeners.tcp.port'] : NO_PORT), this.#addresses[node]!)
  }

  /** Whether something was wrong with the node, at any time since then. */
  disturbedSince(node: number, sinceMs: number): boolean {
    return this.#touches[node]! > 0 || this.#touchedMs[node]! >= sinceMs
  }

  /** Performs the faults of a round; all of them are made good when it resolves. */
  async perform(round: Round, say: (line: string) => void): Promise<void> {
    await Promise.all(
      round.map(async (fault) => {
        await delay(fault.atMs)
        say(describeFault(fault))
        this.counts.set(fault.deed.kind, (this.counts.get(fault.deed.kind) ?? 0) + 1)
        this.#faults.add(fault)
        this.#begins(fault)
        await delay(fault.forMs)
        this.#faults.delete(fault)
        await this.#ends(fault)
      }),
    )
  }

  /** All see each other, and every range has a leader and all its voters. Gives how long that took, ms. */
  async whole(): Promise<number> {
    const beganMs = performance.now()
    await this.#fleet.whole()
    await eventually(
      async () => {
        const ready = await Promise.all(this.nodes.map((node) => isReady(node)))
        return ready.every(Boolean)
      },
      'all nodes are ready',
      WHOLE_MS_MAX,
    )
    return performance.now() - beganMs
  }

  rssMib(): (number | null)[] {
    return this.nodes.map((node) => (node.up ? rssMib(node.pid) : null))
  }

  /** Lines of a level above a warning, by node. */
  get errors(): string[] {
    return this.nodes.flatMap((node) =>
      node.said
        .split('\n')
        .filter((line) => / (ERROR|FATAL)/.test(line))
        .map((line) => `${node.name}: ${line}`),
    )
  }

  /** Stops all, and reads each folder as `flockmq check` does. Gives what is wrong with them. */
  async check(): Promise<string[]> {
    await Promise.all(this.nodes.map((node, i) => this.#kill(i, node)))
    const checks = await Promise.all(this.nodes.map((node) => runCli(['check', node.data])))
    return checks.flatMap(({ code, stdout, stderr }, i) =>
      code === 0 ? [] : [`${this.nodes[i]!.name}: check ended with ${code}: ${stdout}${stderr}`],
    )
  }

  async end(): Promise<void> {
    await this.#fleet.end()
    this.#network?.end()
  }

  async #begin(set: readonly string[]): Promise<void> {
    const beyond = this.#network !== null
    const common = [
      ...['store.engine=rocksdb', 'log.level=warn', 'mqtt.listeners.ws.enabled=false', `api.token=${TOKEN}`],
      ...['tenants.default.queueMessagesMax=1000000', 'tenants.default.queueBytesMax=1GiB'],
      ...(beyond ? ['cluster.secret=chaos', 'plugins.authNone.beyondLoopback=true'] : []),
      ...Object.entries(PORTS).map(([key, port]) => `${key}=${port}`),
      ...set,
    ]
    for (const [i, address] of this.#addresses.entries()) {
      const own = ['cluster.host', 'api.host', 'mqtt.listeners.tcp.host'].map((key) => `${key}=${address}`)
      const seed = i === 0 ? [] : ['--seed', `${this.#addresses[0]}:${PORTS['cluster.port']}`]
      const args = [...[...common, ...own].flatMap((text) => ['--set', text]), ...seed]
      await this.#start(this.#fleet.add(args, this.#network?.prefix(i) ?? []))
    }
    await this.#fleet.whole()
    await this.#fleet.replicated(this.size)
  }

  async #start(node: NodeProcess): Promise<void> {
    await node.start()
    const { ended } = node
    void ended.then(({ code, stdout, stderr }) => {
      if (this.#expected.has(ended)) return
      this.crashes.push(`${node.name} ended by itself with ${code}: ${(stdout + stderr).slice(-2_000)}`)
    })
  }

  #begins({ deed }: Fault): void {
    for (const node of touchedBy(deed)) this.#touches[node]!++
    if ('ways' in deed) return this.#route(deed.ways)
    for (const node of deed.nodes) {
      if (deed.kind === 'stop') this.#stills[node]!++
      else this.#downs[node]!++
      void this.#settle(node, deed.kind === 'restart' ? 'SIGTERM' : 'SIGKILL')
    }
  }

  async #ends({ deed }: Fault): Promise<void> {
    if ('ways' in deed) this.#route(deed.ways)
    else {
      await Promise.all(
        deed.nodes.map((node) => {
          if (deed.kind === 'stop') this.#stills[node]!--
          else this.#downs[node]!--
          return this.#settle(node, 'SIGKILL')
        }),
      )
    }
    for (const node of touchedBy(deed)) {
      this.#touches[node]!--
      this.#touchedMs[node] = performance.now()
    }
  }

  /** Makes the process what its faults say. */
  #settle(index: number, signal: NodeJS.Signals): Promise<void> {
    this.#chains[index] = this.#chains[index]!.then(async () => {
      const node = this.nodes[index]!
      const down = this.#downs[index]! > 0
      if (down && node.up) await this.#kill(index, node, signal)
      if (!down && !node.up) await this.#start(node)
      if (node.up) node.signal(this.#stills[index]! > 0 ? 'SIGSTOP' : 'SIGCONT')
    }).catch((error: unknown) => void this.crashes.push(String(error)))
    return this.#chains[index]!
  }

  async #kill(_index: number, node: NodeProcess, signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    if (!node.up) return
    this.#expected.add(node.ended)
    await node.kill(signal)
  }

  /** Makes each of the ways what the faults under way say: cut before slow. */
  #route(ways: readonly Way[]): void {
    for (const { from, to } of ways) {
      const deeds = [...this.#faults].map(({ deed }) => deed).filter((deed) => goes(deed, from, to))
      this.#network!.mend(from, to)
      const slow = deeds.find((deed) => deed.kind === 'slow')
      if (deeds.some(({ kind }) => kind === 'cut')) this.#network!.cut(from, to)
      else if (slow?.kind === 'slow') this.#network!.slow(from, to, slow.delayMs, slow.lossPercent)
    }
  }
}

function goes(deed: Fault['deed'], from: number, to: number): boolean {
  return 'ways' in deed && deed.ways.some((way) => way.from === from && way.to === to)
}

function touchedBy(deed: Fault['deed']): Set<number> {
  return new Set('ways' in deed ? deed.ways.flatMap(({ from, to }) => [from, to]) : deed.nodes)
}

async function isReady(node: NodeProcess): Promise<boolean> {
  const answer = await fetch(`${node.api}/readyz`)
  await answer.arrayBuffer()
  return answer.ok
}
