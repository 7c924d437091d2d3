import type { Transport } from '../../src/mqtt/listener/index.ts'
import type { World } from '../sim/world.ts'
import type { Machine } from './node.ts'

/** What a client hears of its connection. */
export interface LineEvents {
  /** As the broker hands them over. What this returns is called when they have travelled. */
  leaving(bytes: Buffer): () => void
  closed(): void
}

interface Unread {
  size: number
  read: () => void
}

/** What all sockets of the world read into: whoever keeps bytes of it without a copy finds them overwritten. */
const shared = Buffer.alloc(1 << 17)

/** A client's connection to a node: bytes in order and late, both ways; broken at any byte, or silent for good. */
export class Line {
  readonly machine: Machine
  readonly transport: BrokerEnd
  onGone: () => void = () => {}
  readonly #world: World
  readonly #events: LineEvents
  readonly #arrivals: [number, number] = [0, 0]
  /** The client's side is there. */
  #open = true
  /** Nothing travels any more. */
  #dead = false
  /** The client reads nothing. */
  #stuck: Unread[] | null = null

  constructor(world: World, machine: Machine, events: LineEvents) {
    this.#world = world
    this.machine = machine
    this.#events = events
    this.transport = new BrokerEnd(
      this,
      machine.process.guard((act: () => void) => act()),
    )
  }

  get open(): boolean {
    return this.#open
  }

  // --- the client's side

  send(bytes: Buffer): void {
    if (!this.#open) return
    this.#travel(0, () => this.transport.arrives(bytes))
  }

  /** Ends it as a client does that says no more: what was sent arrives first. */
  end(): void {
    if (!this.#open) return
    this.#open = false
    this.#travel(0, () => this.transport.closes())
    this.onGone()
  }

  /** The network ends it: what is under way is lost; both sides hear of it, unless it is silent. */
  cut(silent = false): void {
    if (!this.#open) return
    this.#open = false
    this.#dead = true
    this.onGone()
    if (!silent) this.#world.clock.after(this.#world.random.below(20), () => this.transport.closes())
    this.#world.defer(() => this.#events.closed())
  }

  stop(): void {
    this.#stuck ??= []
  }

  /** Reads again after {@link stop}. */
  go(): void {
    const waiting = this.#stuck ?? []
    this.#stuck = null
    for (const unread of waiting) this.#receive(unread)
    this.transport.drains()
  }

  /** The broker's process is no more. */
  broke(): void {
    if (!this.#open) return
    this.#dead = true
    this.#world.clock.after(this.#world.random.below(30), () => this.#closed())
  }

  // --- the broker's side

  get backlog(): number {
    return this.#stuck?.reduce((sum, { size }) => sum + size, 0) ?? 0
  }

  deliver(bytes: Buffer): void {
    const unread = { size: bytes.length, read: this.#events.leaving(bytes) }
    this.#travel(1, () => this.#receive(unread))
  }

  hangUp(): void {
    this.#travel(1, () => this.#closed())
  }

  #receive(unread: Unread): void {
    if (this.#stuck !== null) this.#stuck.push(unread)
    else if (this.#open) unread.read()
  }

  #closed(): void {
    if (!this.#open) return
    this.#open = false
    this.onGone()
    this.#events.closed()
  }

  #travel(side: 0 | 1, arrive: () => void): void {
    const { network, clock, random } = this.#world
    const { delayMsMin, delayMsMax } = network.options
    const nowMs = clock.monotonic()
    const atMs = Math.max(this.#arrivals[side], nowMs + delayMsMin + random.float() * (delayMsMax - delayMsMin))
    this.#arrivals[side] = atMs
    clock.after(atMs - nowMs, () => {
      if (!this.#dead) arrive()
    })
  }
}

/** The node's end: what its front end takes for a socket. */
class BrokerEnd implements Transport {
  onData: (buffer: Buffer) => void = () => {}
  onClose: (error: Error | null) => void = () => {}
  onDrain: () => void = () => {}
  readonly #line: Line
  /** In the process, as long as it lives. */
  readonly #within: (act: () => void) => void
  #unread: Buffer[] = []
  #paused = false
  #ended = false
  #closed = false

  constructor(line: Line, within: (act: () => void) => void) {
    this.#line = line
    this.#within = within
  }

  // --- from the front end

  write(buffer: Buffer): boolean {
    if (this.#ended) return false
    this.#line.deliver(Buffer.from(buffer))
    return this.writableBytes === 0
  }

  get writableBytes(): number {
    return this.#line.backlog
  }

  pause(): void {
    this.#paused = true
  }

  resume(): void {
    this.#paused = false
    this.#line.machine.process.defer()(() => this.#feed())
  }

  end(buffer?: Buffer): void {
    if (this.#ended) return
    if (buffer !== undefined) this.write(buffer)
    this.#ended = true
    this.onData = () => {}
    this.#line.hangUp()
    this.#line.machine.process.defer()(() => this.#close())
  }

  destroy(): void {
    this.end()
  }

  setNoDelay(): void {}

  // --- from the line

  arrives(bytes: Buffer): void {
    this.#within(() => {
      this.#unread.push(bytes)
      this.#feed()
    })
  }

  closes(): void {
    this.#within(() => this.#close())
  }

  drains(): void {
    this.#within(() => this.onDrain())
  }

  #feed(): void {
    while (!this.#paused && !this.#ended) {
      const next = this.#unread.shift()
      if (next === undefined) return
      const size = next.copy(shared)
      this.onData(shared.subarray(0, size))
      shared.fill(0xa5, 0, size)
    }
  }

  #close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#ended = true
    const { onClose } = this
    this.onData = () => {}
    this.onDrain = () => {}
    onClose(null)
  }
}
