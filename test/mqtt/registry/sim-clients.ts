import { HybridClock } from '../../../src/base/hlc.ts'
import type { ClientMessage } from '../../../src/mqtt/registry/message.ts'
import { ClientRegistry, REGISTRY, type RegistryOptions, TICK_MS } from '../../../src/mqtt/registry/registry.ts'
import { World } from '../../sim/world.ts'

export interface SimConnection {
  id: number
  key: string
  node: SimNode
  /** When its CONNECT came, in simulated ms. */
  cameMs: number
  state: 'asks' | 'open' | 'closing' | 'closed'
  refused: boolean
}

export class SimNode {
  readonly name: string
  readonly skewMs: number
  run = 1
  alive = true
  machine: ClientRegistry<SimConnection>
  readonly connections = new Map<string, SimConnection>()
  readonly hlc = new HybridClock()
  members: readonly string[] = []

  constructor(name: string, skewMs: number, options: RegistryOptions) {
    this.name = name
    this.skewMs = skewMs
    this.machine = new ClientRegistry(name, 1, options)
  }
}

export interface SimClientsOptions {
  seed: number
  nodes: number
  /** Of a message, at most. */
  delayMsMax?: number
  /** Clocks are wrong by up to this much. */
  skewMsMax?: number
  registry?: Partial<RegistryOptions>
}

/** Registries of nodes over links that delay, and lose only what was on its way when a node is given up. */
export class SimClients {
  readonly world: World
  readonly nodes: SimNode[]
  readonly all: SimConnection[] = []
  readonly problems: string[] = []
  /** Said after each grant: for tests that want no two at any time. */
  strict = false
  messages = 0
  readonly #options: RegistryOptions
  readonly #delayMsMax: number
  readonly #arrivals = new Map<string, number>()
  readonly #blocked = new Set<string>()
  readonly #held = new Map<string, (() => void)[]>()

  constructor({ seed, nodes, delayMsMax = 20, skewMsMax = 0, registry = {} }: SimClientsOptions) {
    this.world = new World({ seed })
    this.#options = { ...REGISTRY, ...registry }
    this.#delayMsMax = delayMsMax
    const { random } = this.world
    this.nodes = Array.from(
      { length: nodes },
      (_, i) => new SimNode(`n${i + 1}`, random.below(skewMsMax + 1), this.#options),
    )
    for (const node of this.nodes) this.#tick(node)
  }

  get nowMs(): number {
    return this.world.elapsedMs
  }

  /** All nodes see all, at once. */
  join(): void {
    for (const node of this.nodes)
      this.view(
        node,
        this.nodes.map(({ name }) => name),
      )
  }

  view(node: SimNode, members: readonly string[]): void {
    node.members = members
    node.machine.setMembers(members, this.nowMs)
    this.#perform(node)
  }

  /** Each node sees its own part only, some time later. */
  partition(left: readonly SimNode[], withinMs: number): void {
    const right = this.nodes.filter((node) => !left.includes(node))
    for (const a of left)
      for (const b of right) for (const way of [`${a.name}>${b.name}`, `${b.name}>${a.name}`]) this.#blocked.add(way)
    for (const part of [left, right]) this.#seeLater(part, part, withinMs)
  }

  heal(withinMs: number): void {
    this.#blocked.clear()
    for (const deliveries of this.#held.values()) for (const deliver of deliveries) deliver()
    this.#held.clear()
    this.#seeLater(this.nodes, this.nodes, withinMs)
  }

  /** The process ends, and with it its connections; it is started again at once. */
  restart(node: SimNode): void {
    for (const connection of node.connections.values()) connection.state = 'closed'
    node.connections.clear()
    node.run++
    node.machine = new ClientRegistry(node.name, node.run, this.#options)
    this.view(node, node.members)
  }

  connect(node: SimNode, key: string): SimConnection {
    const earlier = node.connections.get(key)
    if (earlier !== undefined) this.close(earlier)
    const connection: SimConnection = {
      id: this.all.length,
      key,
      node,
      cameMs: this.nowMs,
      state: 'asks',
      refused: false,
    }
    this.all.push(connection)
    node.connections.set(key, connection)
    node.machine.claim(key, connection, node.hlc.next(this.world.clock.now() + node.skewMs), this.nowMs)
    this.#perform(node)
    return connection
  }

  /** The connection is gone: by its client, or because it was told. */
  close(connection: SimConnection): void {
    if (connection.state === 'closed') return
    connection.state = 'closed'
    const { node, key } = connection
    if (node.connections.get(key) === connection) node.connections.delete(key)
    node.machine.release(key, connection, this.nowMs)
    this.#perform(node)
  }

  open(key: string): SimConnection[] {
    return this.all.filter((connection) => connection.key === key && connection.state === 'open')
  }

  run(ms: number): void {
    let over = false
    this.world.clock.after(ms, () => {
      over = true
    })
    while (!over && this.problems.length === 0) this.world.step()
  }

  #seeLater(nodes: readonly SimNode[], members: readonly SimNode[], withinMs: number): void {
    const names = members.map(({ name }) => name)
    for (const node of nodes)
      this.world.clock.after(this.world.random.below(withinMs + 1), () => this.view(node, names))
  }

  #tick(node: SimNode): void {
    this.world.clock.after(TICK_MS * (0.9 + this.world.random.float() * 0.2), () => {
      node.machine.tick(this.nowMs)
      this.#perform(node)
      this.#tick(node)
    })
  }

  #perform(node: SimNode): void {
    const { granted, refused, evicted } = node.machine.outcomes()
    for (const [to, messages] of node.machine.messages()) this.#send(node, to, messages)
    for (const connection of granted) this.#granted(connection)
    for (const connection of refused) {
      connection.refused = true
      this.close(connection)
    }
    for (const connection of evicted) {
      if (connection.state !== 'open') continue
      connection.state = 'closing'
      this.world.clock.after(this.world.random.below(100), () => this.close(connection))
    }
  }

  #granted(connection: SimConnection): void {
    if (connection.state !== 'asks') this.problems.push(`${connection.id} was granted while ${connection.state}`)
    connection.state = 'open'
    if (!this.strict) return
    const others = this.all.filter(
      (other) => other.key === connection.key && (other.state === 'open' || other.state === 'closing'),
    )
    if (others.length > 1)
      this.problems.push(`two of ${connection.key} at ${this.nowMs}: ${others.map(({ id }) => id)}`)
  }

  #send(node: SimNode, to: string, messages: readonly ClientMessage[]): void {
    const { run } = node
    const way = `${node.name}>${to}`
    this.messages += messages.length
    const deliver = () => {
      const atMs = Math.max(this.#arrivals.get(way) ?? 0, this.nowMs + this.world.random.float() * this.#delayMsMax)
      this.#arrivals.set(way, atMs)
      this.world.clock.after(atMs - this.nowMs, () => {
        if (this.#blocked.has(way)) return this.#hold(way, deliver)
        const target = this.nodes.find(({ name }) => name === to)
        target?.machine.received(node.name, run, messages, this.nowMs)
        if (target !== undefined) this.#perform(target)
      })
    }
    if (this.#blocked.has(way)) this.#hold(way, deliver)
    else deliver()
  }

  /** What is held when a node is given up is lost, mostly. */
  #hold(way: string, deliver: () => void): void {
    if (this.world.random.below(3) > 0) return
    this.#held.set(way, [...(this.#held.get(way) ?? []), deliver])
  }
}
