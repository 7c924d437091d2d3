import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock, systemRandom } from '../../../../src/base/clock.ts'
import type { HostId } from '../../../../src/base/ids.ts'
import { type Logger, silentLogger } from '../../../../src/base/logging.ts'
import type { MetricSink } from '../../../../src/base/metrics.ts'
import type { UnderlayHostOptions, UnderlayNotice } from '../../../../src/cluster/underlay/index.ts'
import { UnderlayHost } from '../../../../src/cluster/underlay/index.ts'

/** Hosts on real sockets of this machine, each with a folder of its own. */
export class RealCluster {
  readonly hosts: RealHost[] = []
  readonly #folder = mkdtempSync(join(tmpdir(), 'flockmq-underlay-'))

  /** Ports are taken now, so that hosts can name each other before they start. */
  static async of(count: number, options: (ports: number[], i: number) => Partial<UnderlayHostOptions> = () => ({})) {
    const cluster = new RealCluster()
    const ports = await freePorts(count)
    for (let i = 0; i < count; i++) cluster.add(i, { port: ports[i]!, ...options(ports, i) })
    return cluster
  }

  add(index: number, options: Partial<UnderlayHostOptions>): RealHost {
    const host = new RealHost(index, join(this.#folder, `${index}.json`), options)
    this.hosts.push(host)
    return host
  }

  async start(): Promise<void> {
    await Promise.all(this.hosts.map((host) => host.start()))
  }

  /** All that run see each other, in one cluster. */
  get whole(): boolean {
    const up = this.hosts.filter((host) => host.up)
    const ids = new Set(up.map((host) => host.node.cluster?.id ?? `none of ${host.id}`))
    return ids.size === 1 && up.every((host) => up.every((other) => other === host || host.sees(other) === 'alive'))
  }

  get founders(): RealHost[] {
    return this.hosts.filter((host) => host.heard('formed').length > 0)
  }

  async end(): Promise<void> {
    await Promise.all(this.hosts.map((host) => host.stop()))
    rmSync(this.#folder, { recursive: true, force: true })
  }
}

export class RealHost {
  id: HostId
  node!: UnderlayHost
  up = false
  readonly statePath: string
  readonly notices: UnderlayNotice[] = []
  readonly payloads: { from: HostId; bytes: Uint8Array }[] = []
  readonly fatal: Error[] = []
  readonly lines: string[] = []
  options: Partial<UnderlayHostOptions>
  /** Gets the node before anybody listens to it. */
  before: (node: UnderlayHost) => void = () => {}

  constructor(index: number, statePath: string, options: Partial<UnderlayHostOptions>) {
    this.id = `h${index}` as HostId
    this.statePath = statePath
    this.options = options
  }

  async start(): Promise<void> {
    this.node = new UnderlayHost({
      ...{ clusterName: 'test', host: '127.0.0.1', port: 0, advertise: null, seeds: [], expect: 0, secrets: [] },
      ...{ insecure: false, mutualTls: false, hostId: this.id, statePath: this.statePath, metadata: new Map() },
      ...{ userData: false, dissolve: async () => true, fatal: (error: Error) => this.fatal.push(error) },
      ...{ log: this.#log(), clock: systemClock, random: systemRandom, swim: { leaveMs: 100 } },
      ...this.options,
    })
    this.before(this.node)
    this.node.on((notice) => this.notices.push(notice))
    this.node.onPayload((from, bytes) => this.payloads.push({ from, bytes }))
    await this.node.start()
    this.up = true
  }

  async stop(how?: 'pause' | 'leave'): Promise<void> {
    if (!this.up) return
    this.up = false
    await this.node.stop(how)
  }

  /** Its disk is empty: another id at the next start. */
  wipe(): void {
    rmSync(this.statePath, { force: true })
    this.id = `${this.id}x` as HostId
  }

  sees(other: RealHost): string {
    return this.node.member(other.id)?.state ?? 'unknown'
  }

  heard(type: UnderlayNotice['type']): UnderlayNotice[] {
    return this.notices.filter((notice) => notice.type === type)
  }

  /** A figure as /metrics shows it. */
  metric(name: string, labels: Record<string, string> = {}): number | undefined {
    let found: number | undefined
    const take = (other: string, _help: string, value: number, of: Readonly<Record<string, string>> = {}) => {
      if (other === name && Object.entries(labels).every(([key, label]) => of[key] === label)) found = value
    }
    const sink: MetricSink = { counter: take, gauge: take, histogram: () => {} }
    this.node.collect(sink)
    return found
  }

  #log(): Logger {
    const keep = (_fields: object, line: string) => {
      this.lines.push(line)
    }
    return { ...silentLogger, info: keep, warn: keep, error: keep }
  }
}

/** Waits until it holds; gives up late, since the machine may be busy. How fast it should be, the simulation says. */
export async function until(condition: () => boolean, what: string, maxMs = 25_000): Promise<number> {
  const start = performance.now()
  while (!condition()) {
    if (performance.now() - start > maxMs) throw new Error(`Not within ${maxMs} ms: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
  return performance.now() - start
}

/** Free a moment ago, for TCP on loopback. */
export async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from(
      { length: count },
      () =>
        new Promise<ReturnType<typeof createServer>>((resolve) => {
          const server = createServer().listen(0, '127.0.0.1', () => resolve(server))
        }),
    ),
  )
  const ports = servers.map((server) => (server.address() as { port: number }).port)
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))))
  return ports
}

/** Runs with a cluster, and ends it whatever happens. */
export async function using(made: Promise<RealCluster>, run: (cluster: RealCluster) => Promise<void>): Promise<void> {
  const cluster = await made
  try {
    await run(cluster)
  } finally {
    await cluster.end()
  }
}

export const at = (port: number) => `127.0.0.1:${port}`
