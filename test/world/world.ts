import type { Address } from '../../src/cluster/underlay/core/index.ts'
import type { ConnectionInfo } from '../../src/mqtt/listener/index.ts'
import type { BrokerEvent } from '../../src/plugin/index.ts'
import { Wires } from '../sim/wires.ts'
import { World } from '../sim/world.ts'
import type { Device } from './device.ts'
import { Line, type LineEvents } from './line.ts'
import type { Link } from './link.ts'
import { Machine, Node } from './node.ts'

export interface BrokerWorldOptions {
  seed: number
  nodes: number
}

/** Whole brokers in the one simulated world: machines, what joins them, and lines to clients. */
export class BrokerWorld {
  readonly world: World
  readonly wires: Wires
  readonly machines: Machine[]
  /** A cluster with users' data never dissolves. */
  hasUserData = false
  /** Events of all nodes. */
  onEvent: (node: string, event: BrokerEvent) => void = () => {}
  /** What nodes log, and clients say and hear. */
  onWord: (line: string) => void = () => {}
  /** A connection acts though a later one has the session; null: though its will was published. */
  onLateAct: (device: Device, link: Link, owner: Link | null, packet: string) => void = () => {}
  /** What happened, by name. */
  readonly counts: Record<string, number> = {}
  /** Of everything that crosses the world: the same seed gives the same one. */
  #trace = 0x811c9dc5
  #lines = new Set<Line>()
  readonly #cuts = new Set<string>()

  constructor({ seed, nodes }: BrokerWorldOptions) {
    this.world = new World({ seed })
    this.wires = new Wires(this.world)
    this.machines = Array.from({ length: nodes }, (_, index) => new Machine(this, index))
  }

  get up(): Machine[] {
    return this.machines.filter(({ node }) => node !== null)
  }

  get trace(): string {
    return (this.#trace >>> 0).toString(16)
  }

  start(machine: Machine): void {
    if (machine.node !== null) return
    const seeds = this.machines.filter((other) => other !== machine).map(({ gossipAddress }) => gossipAddress)
    // The first one founds, once.
    const founds = machine.index === 0 && machine.disk === 'disk-1'
    machine.node = new Node(this, machine, founds ? [] : seeds)
  }

  /** The process ends as by SIGKILL; `powerLoss`: and what was not synced is lost. */
  crash(machine: Machine, { powerLoss = false } = {}): void {
    const { node } = machine
    if (node === null) return
    machine.node = null
    node.end()
    machine.process.crash(powerLoss ? { survivors: 0 } : undefined)
    for (const line of this.#lines) if (line.machine === machine) line.broke()
  }

  /** Nothing that `from` sends arrives at `to`. */
  cut(from: Machine, to: Machine): void {
    this.#cuts.add(`${from.ip}>${to.ip}`)
    this.world.network.cut(from.gossipAddress, to.gossipAddress)
    this.wires.silence(from.rpcAddress, to.rpcAddress)
  }

  join(from: Machine, to: Machine): void {
    this.#cuts.delete(`${from.ip}>${to.ip}`)
    this.world.network.join(from.gossipAddress, to.gossipAddress)
    this.wires.restore(from.rpcAddress, to.rpcAddress)
  }

  heal(): void {
    for (const from of this.machines) for (const to of this.machines) this.join(from, to)
  }

  isCut(from: Machine, to: Machine): boolean {
    return this.#cuts.has(`${from.ip}>${to.ip}`)
  }

  /** A client connects; null: nobody listens there. */
  dial(machine: Machine, events: LineEvents): Line | null {
    const { node, process } = machine
    if (node === null) return null
    const line = new Line(this.world, machine, events)
    this.#lines.add(line)
    line.onGone = () => this.#lines.delete(line)
    const info: ConnectionInfo = {
      ...{ listener: 'tcp', type: 'tcp', remoteAddress: '192.0.2.1', remotePort: 1, secure: false },
      ...{ certificate: null, certificateTenant: null, acceptedAtMs: process.clock().monotonic() },
    }
    process.guard(() => node.mqtt.accept(line.transport, info))()
    return line
  }

  count(name: string): void {
    this.counts[name] = (this.counts[name] ?? 0) + 1
  }

  note(what: string): void {
    this.onWord(`${this.world.elapsedMs.toFixed(1)} ${what}`)
    let hash = this.#trace
    const text = `${this.world.elapsedMs.toFixed(3)} ${what}`
    for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193)
    this.#trace = hash
  }

  /** Until every node that is up serves. */
  async untilReady(msMax = 30_000): Promise<void> {
    await this.world.runUntil(() => this.up.every(({ node }) => node!.ready), msMax)
  }

  // --- for nodes

  nodeAt(address: Address): Node | null {
    return this.machines.find(({ gossipAddress }) => gossipAddress === address)?.node ?? null
  }

  /** Whether both ways are open. */
  reach(a: Address, b: Address): boolean {
    const [one, other] = [a, b].map((address) => this.machines.find((each) => each.gossipAddress === address))
    return one !== undefined && other !== undefined && !this.isCut(one, other) && !this.isCut(other, one)
  }

  heard(node: string, event: BrokerEvent): void {
    this.onEvent(node, event)
  }

  said(level: string, node: string, fields: object, message: string): void {
    const { err } = fields as { err?: unknown }
    const cause = err instanceof Error ? `: ${err.message}` : ''
    this.note(`${level} ${node} ${message}${cause}`)
  }

  nodeFailed(node: Node, error: Error): void {
    this.world.fail(new Error(`${node.machine.name} ends itself: ${error.message}`, { cause: error }))
  }
}
