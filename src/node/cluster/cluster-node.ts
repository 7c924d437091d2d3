import { join } from 'node:path'
import type { ApiOptions } from '../../api/index.ts'
import type { Clock, Random } from '../../base/clock.ts'
import type { HealthReason } from '../../base/health.ts'
import type { HostId } from '../../base/ids.ts'
import type { Logger } from '../../base/logging.ts'
import type { MetricSource } from '../../base/metrics.ts'
import { Overlay } from '../../cluster/overlay/index.ts'
import { UnderlayHost, type UnderlayNotice } from '../../cluster/underlay/index.ts'
import { addressOf, isWildcard } from '../../cluster/underlay/shell/addresses.ts'
import type { Peers, Rpc } from '../../rpc/index.ts'
import type { Config } from '../config/index.ts'
import { CLUSTER_FILE, type NodeContext } from '../contract.ts'
import { isStateful, ROLES, servicesOf } from '../roles.ts'
import { watchAlive } from './alive.ts'
import { Control } from './control.ts'
import { identityOf, metadataOf, rpcAddressOf } from './identity.ts'
import { joinPeers, openRpc } from './links.ts'
import { namingLog } from './naming-log.ts'
import { OverlayRegistry } from './registry.ts'
import { Roster } from './roster.ts'

/** For what is under way to other nodes, when this one stops. */
const DRAIN_MS_MAX = 1_000

export interface ClusterSetup {
  config: Config
  context: NodeContext
  clock: Clock
  random: Random
  /** Whether anything of users is on this node. */
  hasUserData: () => boolean
  /** Forgets what this node has founded, for an older cluster of its name. */
  dissolve: () => Promise<void>
}

type Waiting = Extract<UnderlayNotice, { type: 'waiting' }>

/** This node among the others: its host in the underlay, its agents in the overlay, what it knows of the others. */
export class ClusterNode {
  readonly roster: Roster
  readonly registry: OverlayRegistry
  readonly control: Control
  readonly underlay: UnderlayHost
  readonly overlay: Overlay
  readonly #rpc: Rpc
  readonly #incarnation: number
  readonly #setup: ClusterSetup
  readonly #endJoining: () => void
  readonly #waiting: () => Waiting | null
  #leaves = false

  private constructor(
    parts: { underlay: UnderlayHost; rpc: Rpc; incarnation: number; waiting: () => Waiting | null },
    setup: ClusterSetup,
  ) {
    const { clock, random, config } = setup
    const { underlay, rpc, incarnation, waiting } = parts
    this.#incarnation = incarnation
    this.#waiting = waiting
    this.underlay = underlay
    this.#rpc = rpc
    this.#setup = setup
    this.control = new Control(rpc.peers)
    this.#endJoining = joinPeers(underlay, rpc.peers)
    this.overlay = new Overlay({ underlay, clock, random })
    this.registry = new OverlayRegistry(this.overlay, underlay)
    this.roster = new Roster(underlay, clock, config.cluster.name)
  }

  /** Listens for other nodes and asks the seeds; whether there is a cluster, {@link health} tells. */
  static async start(setup: ClusterSetup): Promise<ClusterNode> {
    const { config, context, clock, random, hasUserData } = setup
    const { cluster, node, rpc } = config
    const identity = { name: node.name, version: context.version, zone: node.zone, roles: node.roles }
    const nameOf = (host: string): string | null => {
      const record = host === context.hostId ? underlay.self : underlay.member(host as HostId)
      return record === null ? null : identityOf(record).name
    }
    const underlay: UnderlayHost = new UnderlayHost({
      ...{ clusterName: cluster.name, host: cluster.host, port: cluster.port, advertise: cluster.advertise },
      ...{
        seeds: cluster.seeds,
        expect: foundersExpected(config),
        secrets: cluster.secret,
        insecure: cluster.insecure,
      },
      mutualTls: rpc.tls.ca !== null,
      hostId: context.hostId,
      statePath: join(context.dataPath, CLUSTER_FILE),
      metadata: metadataOf({ ...identity, rpc: null }),
      userData: hasUserData(),
      // What came since the start is looked for only where it matters: when this host meets its name's older cluster.
      dissolve: async () => {
        if (hasUserData()) return false
        await setup.dissolve()
        return true
      },
      fatal: (error) => endWithoutCluster(error, context),
      ...{ log: namingLog(context.log, nameOf), clock, random },
    })
    let waiting: Waiting | null = null
    underlay.on((notice) => {
      if (notice.type === 'waiting') waiting = notice
    })
    await underlay.start()
    try {
      // Rises with every start of this data folder, whatever the clock does.
      const { id, incarnation } = underlay.self
      const rpc = await openRpc(config, { node: id, incarnation, clock, random, log: context.log })
      underlay.setMetadata(metadataOf({ ...identity, rpc: toldAddress(config, rpc.port) }))
      return new ClusterNode({ underlay, rpc, incarnation, waiting: () => waiting }, setup)
    } catch (error) {
      await underlay.stop('pause')
      throw error
    }
  }

  /** Of gossip, and of rpc, as others are told. */
  get addresses(): { gossip: string; rpc: string } {
    const { self } = this.underlay
    return { gossip: self.address, rpc: rpcAddressOf(self)! }
  }

  /** Of this process: higher than those of its host before it. */
  get incarnation(): number {
    return this.#incarnation
  }

  /** Tells the nodes that live and have `role`, this one too where it has it, now and at each change. */
  watchAlive(role: string, listener: (nodes: readonly HostId[]) => void): () => void {
    return watchAlive(this.underlay, role, listener)
  }

  get peers(): Peers {
    return this.#rpc.peers
  }

  /** A log in which hosts have the names of their nodes. */
  naming(log: Logger): Logger {
    const { underlay } = this
    return namingLog(log, (host) => {
      const record = host === underlay.self.id ? underlay.self : underlay.member(host as HostId)
      return record === null ? null : identityOf(record).name
    })
  }

  /** Figures. */
  get sources(): MetricSource[] {
    return [this.underlay, this.overlay, this.#rpc.peers]
  }

  /** From now on others find the services of this node; a draining one gets no new work. */
  announce(draining: boolean): void {
    this.#rpc.setServing(!draining)
    if (draining) this.control.serve(null)
    const { zone } = this.#setup.config.node
    const { id: node, life } = this.underlay.self
    const { version } = this.#setup.context
    for (const service of servicesOf(this.#setup.config.node.roles)) {
      this.registry.announce({
        ...{ service, node, version, draining, id: `${node}.${life.toString(36)}` },
        ...{ tags: zone === null ? [] : [`zone=${zone}`], weight: 1, load: 0, address: '' },
      })
    }
  }

  /** For the status of this node. */
  summary(): object {
    const { cluster, members } = this.roster.list()
    const alive = members.filter(({ state }) => state === 'alive').length
    return { ...cluster, members: members.length, alive }
  }

  /** What the HTTP side shows. */
  get views(): Pick<ApiOptions, 'members' | 'member' | 'services'> {
    return {
      members: () => this.roster.list(),
      member: (id) => this.#member(id),
      services: () => ({
        services: Object.fromEntries(servicesOf(ROLES).map((service) => [service, this.registry.instances(service)])),
      }),
    }
  }

  health(): HealthReason[] {
    return this.underlay.cluster === null ? [{ part: 'cluster', message: this.#whyWaiting() }] : []
  }

  /** When it stops, it will not be back: the others forget it, and its data folder cannot start again. */
  leave(): void {
    this.#leaves = true
  }

  /** A pause, unless it leaves: the others expect this node back, and get what is under way to them. */
  async stop(): Promise<void> {
    await this.#rpc.drain(DRAIN_MS_MAX)
    this.#endJoining()
    this.#rpc.close()
    this.registry.stop()
    this.overlay.stop()
    await this.underlay.stop(this.#leaves ? 'leave' : 'pause')
  }

  /** One node, and what it says of itself; null: there is no such node. */
  async #member(id: string): Promise<object | null> {
    const found = this.roster.list().members.find((member) => member.id === id)
    return found === undefined ? null : { ...found, status: await this.control.statusOf(found.id) }
  }

  #whyWaiting(): string {
    const { name, seeds } = this.#setup.config.cluster
    const waiting = this.#waiting()
    switch (waiting?.reason) {
      case 'listening':
        return `Listens for others before it founds cluster "${name}"`
      case 'expecting':
        return `Waits for ${waiting.expect} nodes that all see each other; this one sees ${waiting.sees}`
      case 'seeds-silent':
        return `Waits for a member of cluster "${name}" at ${seeds.join(', ')}`
      default:
        return `In no cluster "${name}" yet`
    }
  }
}

/** Who holds no ranges waits for others to found. */
function foundersExpected({ cluster, node }: Config): number {
  return isStateful(node.roles) ? (cluster.expect ?? 0) : 0
}

/** A port alone where links listen as gossip does, so that the address may change. */
function toldAddress({ cluster, rpc }: Config, port: number): string {
  if (rpc.host === cluster.host || isWildcard(rpc.host)) return String(port)
  return addressOf(rpc.host, port)
}

/** Such as an id that another process has, or a program that is too old: nothing that this node says is believed. */
export function endWithoutCluster(error: Error, { log }: NodeContext): void {
  log.error({ err: error }, 'The process ends: it cannot be a member of its cluster')
  process.exit(1)
}
