import type { HostId } from '../../src/base/ids.ts'
import { silentLogger } from '../../src/base/logging.ts'
import { Overlay } from '../../src/cluster/overlay/index.ts'
import type { Address } from '../../src/cluster/underlay/core/index.ts'
import { MqttServer } from '../../src/mqtt/index.ts'
import { watchAlive } from '../../src/node/cluster/alive.ts'
import { metadataOf } from '../../src/node/cluster/identity.ts'
import { joinPeers } from '../../src/node/cluster/links.ts'
import { RangeNode } from '../../src/node/ranges/range-node.ts'
import { type Services, startServices } from '../../src/node/services.ts'
import { NoAuth } from '../../src/plugin/auth/none.ts'
import { AuthGate, EventBus, SettingsSource, stay } from '../../src/plugin/index.ts'
import { LINK_OPTIONS } from '../../src/rpc/link/core/index.ts'
import type { LinkTransport, WireEvents } from '../../src/rpc/link/transport.ts'
import { LinkedPeers } from '../../src/rpc/peers/peers.ts'
import { secretOf } from '../rpc/link/sim-links.ts'
import type { SimulatedProcess } from '../sim/world.ts'
import { type Kept, SimGossip } from './gossip.ts'
import { MQTT_OPTIONS, SETTINGS, watchLog } from './setup.ts'
import type { BrokerWorld } from './world.ts'

const SERVICES = ['mqtt', 'dist', 'inbox', 'retain'] as const
const RPC_PORT = 7947
/** As `store.hangMs` is by default. */
const HANG_MS = 5_000

/** One machine: what is left of it when its process ends. */
export class Machine {
  readonly index: number
  readonly ip: string
  readonly gossipAddress: Address
  readonly rpcAddress: string
  readonly process: SimulatedProcess
  /** Of its data folder: another one after its disk was wiped. */
  hostId: HostId
  kept: Kept = { incarnation: 0, cluster: null, peers: [] }
  /** Of its node: see `StoredIncarnations`. */
  lives = 0
  /** Null while its process is down. */
  node: Node | null = null
  #disks = 1

  constructor(world: BrokerWorld, index: number) {
    this.index = index
    this.ip = `10.0.0.${index + 1}`
    this.gossipAddress = `${this.ip}:7946` as Address
    this.rpcAddress = `${this.ip}:${RPC_PORT}`
    this.process = world.world.process(this.gossipAddress)
    this.hostId = `n${index + 1}` as HostId
  }

  get name(): string {
    return `n${this.index + 1}`
  }

  /** The name of its disk; a new one is empty, and has another host's id. */
  get disk(): string {
    return `disk-${this.#disks}`
  }

  get wipes(): number {
    return this.#disks - 1
  }

  wipe(): void {
    this.#disks++
    this.lives = 0
    this.hostId = `${this.name}-${this.#disks}` as HostId
    this.kept = { incarnation: 0, cluster: null, peers: [] }
  }
}

/**
 * One life of a node's process: what `startNode` composes, on a simulated machine. Left out: HTTP, plugins from modules,
 * sockets.
 */
export class Node {
  readonly machine: Machine
  readonly gossip: SimGossip
  readonly peers: LinkedPeers
  readonly ranges: RangeNode
  readonly services: Services
  readonly mqtt: MqttServer
  readonly #endListening: () => void

  constructor(it: BrokerWorld, machine: Machine, seeds: readonly Address[]) {
    const { world, wires } = it
    const { process, hostId: node, gossipAddress: address } = machine
    const { random } = world
    this.machine = machine
    process.restart()
    const [clock, defer, log] = [process.clock(), process.defer(), watchLog(it, machine.name)]
    const engine = process.disk(machine.disk)
    const identity = { name: machine.name, version: '0', zone: null, roles: SERVICES, rpc: String(RPC_PORT) }
    const fatal = (error: Error) => it.nodeFailed(this, error)
    this.gossip = new SimGossip({
      ...{ world, machine: process, hostId: node, address, metadata: metadataOf(identity), seeds, kept: machine.kept },
      keep: (kept) => {
        machine.kept = kept
      },
      userData: () => it.hasUserData,
      dissolve: () => this.ranges.dissolve(),
      fatal,
      hostAt: (other) => it.nodeAt(other)?.gossip ?? null,
      reaches: (other) => it.reach(address, other),
    })
    const { incarnation } = this.gossip.self
    this.peers = new LinkedPeers({
      ...{ cluster: 'sim', node, incarnation, authenticator: secretOf(world, 'secret'), clock, random, log, defer },
      transport: guardedTransport(wires.transport(machine.rpcAddress), process),
      links: LINK_OPTIONS,
      ...{ pendingMax: 100_000, streamsMax: 64, strangersMax: 256, sessionsMax: 1_024 },
    })
    this.#endListening = wires.listen(machine.rpcAddress, (wire) => guarded(this.peers.accept(wire), process))
    joinPeers(this.gossip, this.peers)
    const overlay = new Overlay({ underlay: this.gossip, clock, random })
    this.ranges = new RangeNode({
      cluster: { underlay: this.gossip, overlay, peers: this.peers, incarnation },
      ...{ clusterName: 'sim', replication: { dist: 3, inbox: 3, retain: 3 }, engine, lossy: false },
      ...{ hangMs: HANG_MS, clock, random, log, fatal, banned: fatal, defer },
    })
    const events = new EventBus({ clock, logger: silentLogger })
    events.add({ name: 'sim', types: null, report: (event) => it.heard(machine.name, event) })
    const settings = new SettingsSource({ configured: { default: SETTINGS }, plugin: null, logger: log })
    this.services = startServices({
      ...{ clock, random, log, node, plugins: { settings, events }, ranges: this.ranges, defer },
      incarnations: { next: () => ++machine.lives },
      leases: this.ranges.leasePorts('inbox'),
      others: {
        ...{ peers: this.peers, incarnation },
        watchAlive: (listener) => watchAlive(this.gossip, 'mqtt', listener),
        led: () => this.ranges.led('inbox'),
        hasClients: true,
      },
    })
    this.ranges.start()
    const auth = new AuthGate(new NoAuth(), { clock, logger: log, events, trusted: true })
    this.mqtt = new MqttServer(
      {
        ...{ ...this.services.parts, auth, balancer: stay, settings, events, clock, log, node, defer },
        run: `${node}.${incarnation}`,
      },
      MQTT_OPTIONS,
    )
    void this.mqtt.start()
  }

  get ready(): boolean {
    return this.gossip.cluster !== null && this.services.health().ready
  }

  /** The process is gone: nothing of it runs again. */
  end(): void {
    this.#endListening()
    this.ranges.store.abandon()
  }
}

/** What comes from outside finds the life for which it was meant, or nobody. */
function guarded(events: WireEvents, process: SimulatedProcess): WireEvents {
  return {
    packet: process.guard((bytes) => events.packet(bytes)),
    closed: process.guard((reason) => events.closed(reason)),
  }
}

function guardedTransport(transport: LinkTransport, process: SimulatedProcess): LinkTransport {
  return {
    dial: (target, events) =>
      transport.dial(target, { ...guarded(events, process), connected: process.guard(() => events.connected()) }),
  }
}
