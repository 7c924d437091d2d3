import { Buffer } from 'node:buffer'
import { createHmac } from 'node:crypto'
import type { HostId } from '../../../src/base/ids.ts'
import { type AcceptedSession, Acceptor } from '../../../src/rpc/link/core/acceptor.ts'
import type { OutFrame } from '../../../src/rpc/link/core/flow.ts'
import type { Authenticator } from '../../../src/rpc/link/core/handshake.ts'
import { Initiator } from '../../../src/rpc/link/core/initiator.ts'
import { LinkMeters } from '../../../src/rpc/link/core/meters.ts'
import type { LinkOptions } from '../../../src/rpc/link/core/options.ts'
import { FRAME_HEADER_BYTES } from '../../../src/rpc/link/core/packet.ts'
import type { WireEvents } from '../../../src/rpc/link/transport.ts'
import { SimWire } from '../../sim/wires.ts'
import type { World } from '../../sim/world.ts'

export const SMALL: LinkOptions = {
  frameBytesMax: 1_024,
  windowBytes: 4_096,
  bufferBytesMax: 16_384,
  messageBytesMax: 8_192,
  ackDelayMs: 20,
  keepaliveMs: 500,
  silenceMsMax: 1_500,
  handshakeMsMax: 1_000,
  backoffMsMin: 20,
  backoffMsMax: 500,
}

export function secretOf(world: World, secret: string): Authenticator {
  const mac = (bytes: Buffer) => createHmac('sha256', secret).update(bytes).digest()
  return {
    nonce: () => Buffer.from(Array.from({ length: 16 }, () => world.random.below(256))),
    prove: mac,
    verify: (bytes, proof) => mac(bytes).equals(proof),
  }
}

type Inbound = (peer: HostId, incarnation: number, body: Buffer, from: 'initiator' | 'acceptor') => void
type Lost = (frames: readonly OutFrame[]) => void

/** One life of a node: an acceptor, and an initiator to each peer. Drives them as the real host does. */
export class SimNode {
  readonly name: HostId
  readonly incarnation: number
  readonly meters = new LinkMeters()
  readonly acceptor: Acceptor
  readonly sessions = new Map<HostId, AcceptedSession>()
  readonly initiators = new Map<HostId, Initiator>()
  readonly wires = new Set<SimWire>()
  /** Bodies that were given out and are not consumed yet, in bytes, by link. */
  heldBytes = 0
  heldBytesMax = 0
  alive = true
  /** Share of bodies that are consumed late. */
  slowPercent = 0
  readonly #world: World
  readonly #fabric: Fabric
  readonly #received: Inbound
  readonly #lost: Lost
  readonly #secret: Authenticator
  #nextConnection = 1
  readonly #accepted = new Map<number, SimWire>()
  readonly #dialled = new Map<HostId, SimWire>()
  readonly #armed = new Map<object, number>()

  constructor(fabric: Fabric, name: HostId, incarnation: number, received: Inbound, lost: Lost, secret = 'secret') {
    this.#world = fabric.world
    this.#fabric = fabric
    this.name = name
    this.incarnation = incarnation
    this.#received = received
    this.#lost = lost
    this.#secret = secretOf(fabric.world, secret)
    const { meters } = this
    this.acceptor = new Acceptor({
      links: { raft: SMALL, deliveries: SMALL, bulk: SMALL },
      meters: { raft: meters, deliveries: meters, bulk: meters },
      cluster: 'sim',
      node: name,
      incarnation,
      authenticator: this.#secret,
      admits: () => true,
      strangersMax: 64,
      sessionsMax: 64,
    })
  }

  link(peer: HostId): Initiator {
    let initiator = this.initiators.get(peer)
    if (initiator === undefined) {
      initiator = new Initiator({
        ...SMALL,
        cluster: 'sim',
        node: this.name,
        incarnation: this.incarnation,
        peer,
        kind: 'deliveries',
        random: this.#world.random,
        authenticator: this.#secret,
        meters: this.meters,
      })
      this.initiators.set(peer, initiator)
    }
    return initiator
  }

  /** As an initiator; false where the buffer is full. */
  send(peer: HostId, body: Buffer): boolean {
    const link = this.link(peer)
    if (link.bufferedBytes + body.length > SMALL.bufferBytesMax) return false
    link.step({ type: 'frame', frame: this.#frame(body) }, this.#nowMs)
    this.#drainInitiator(peer, link)
    return true
  }

  /** In the other direction of a session that the peer opened. */
  reply(peer: HostId, body: Buffer): boolean {
    const session = this.sessions.get(peer)
    if (session === undefined || session.bufferedBytes + body.length > SMALL.bufferBytesMax) return false
    this.acceptor.step({ type: 'frame', session, frame: this.#frame(body) }, this.#nowMs)
    this.#drainAcceptor()
    return true
  }

  crash(): void {
    this.alive = false
    for (const wire of this.wires) wire.cut(this.#world.random.below(4) === 0)
  }

  accept(wire: SimWire): WireEvents {
    const connection = this.#nextConnection++
    this.#accepted.set(connection, wire)
    this.wires.add(wire)
    this.#stepAcceptor({ type: 'accepted', connection })
    return {
      packet: (bytes) => this.#stepAcceptor({ type: 'packet', connection, bytes }),
      closed: () => {
        this.#accepted.delete(connection)
        this.#stepAcceptor({ type: 'closed', connection })
      },
    }
  }

  get #nowMs(): number {
    return this.#world.clock.monotonic()
  }

  #frame(body: Buffer): OutFrame {
    return { packet: Buffer.concat([Buffer.alloc(FRAME_HEADER_BYTES), body]), messages: 1, queuedMs: this.#nowMs }
  }

  #stepAcceptor(input: Parameters<Acceptor['step']>[0]): void {
    if (!this.alive) return
    this.acceptor.step(input, this.#nowMs)
    this.#drainAcceptor()
  }

  #drainAcceptor(): void {
    const ready = this.acceptor.ready()
    for (const { connection, bytes } of ready.writes) this.#accepted.get(connection)?.write(1, bytes)
    for (const connection of ready.hangUps) {
      this.#accepted.get(connection)?.close(1)
      this.#accepted.delete(connection)
    }
    for (const { session, frames } of ready.lost) {
      if (this.sessions.get(session.peer) === session) this.sessions.delete(session.peer)
      this.#lost(frames)
    }
    for (const { session, body } of ready.bodies) {
      this.sessions.set(session.peer, session)
      this.#received(session.peer, session.incarnation, body, 'initiator')
      this.#consume(body.length, (bytes) => this.#stepAcceptor({ type: 'consumed', session, bytes }))
    }
    this.#arm(this.acceptor, this.acceptor.wakeAtMs, () => this.#stepAcceptor({ type: 'tick' }))
  }

  #stepInitiator(peer: HostId, input: Parameters<Initiator['step']>[0]): void {
    if (!this.alive) return
    const link = this.link(peer)
    link.step(input, this.#nowMs)
    this.#drainInitiator(peer, link)
  }

  #drainInitiator(peer: HostId, link: Initiator): void {
    const ready = link.ready()
    if (ready.hangUp !== null) this.#dialled.get(peer)?.close(0)
    if (ready.dial !== null) this.#dial(peer, ready.dial)
    for (const bytes of ready.writes) this.#dialled.get(peer)?.write(0, bytes)
    for (const body of ready.bodies) {
      this.#received(peer, 0, body, 'acceptor')
      this.#consume(body.length, (bytes) => this.#stepInitiator(peer, { type: 'consumed', bytes }))
    }
    if (ready.lost !== null) this.#lost(ready.lost.frames)
    this.#arm(link, link.wakeAtMs, () => this.#stepInitiator(peer, { type: 'tick' }))
  }

  #dial(peer: HostId, connection: number): void {
    this.#world.clock.after(this.#world.random.below(10), () => {
      const end: WireEvents = {
        packet: (bytes) => this.#stepInitiator(peer, { type: 'packet', connection, bytes }),
        closed: () => this.#stepInitiator(peer, { type: 'closed', connection }),
      }
      const wire = this.alive ? this.#fabric.connect(this.name, peer, end) : null
      if (wire === null) {
        this.#stepInitiator(peer, { type: 'closed', connection })
        return
      }
      this.wires.add(wire)
      this.#dialled.set(peer, wire)
      this.#stepInitiator(peer, { type: 'connected', connection })
    })
  }

  #consume(bytes: number, done: (bytes: number) => void): void {
    this.heldBytes += bytes
    this.heldBytesMax = Math.max(this.heldBytesMax, this.heldBytes)
    const finish = () => {
      this.heldBytes -= bytes
      done(bytes)
    }
    if (this.#world.random.below(100) < this.slowPercent) this.#world.clock.after(this.#world.random.below(200), finish)
    else finish()
  }

  #arm(machine: object, atMs: number, wake: () => void): void {
    if (atMs >= (this.#armed.get(machine) ?? Number.POSITIVE_INFINITY)) return
    this.#armed.set(machine, atMs)
    // Real timers count whole milliseconds, too.
    this.#world.clock.after(Math.max(1, Math.ceil(atMs - this.#nowMs)), () => {
      if (this.#armed.get(machine) !== atMs) return
      this.#armed.delete(machine)
      if (this.alive) wake()
    })
  }
}

/** Who can be dialled. */
export class Fabric {
  readonly world: World
  readonly nodes = new Map<HostId, SimNode>()
  readonly blocked = new Set<string>()
  readonly wires = new Set<SimWire>()

  constructor(world: World) {
    this.world = world
  }

  connect(from: HostId, to: HostId, dialler: WireEvents): SimWire | null {
    const node = this.nodes.get(to)
    if (node === undefined || !node.alive || this.blocked.has(`${from}>${to}`)) return null
    const listener: WireEvents = { packet: (bytes) => target.packet(bytes), closed: (reason) => target.closed(reason) }
    const wire = new SimWire(this.world, dialler, listener)
    const target = node.accept(wire)
    this.wires.add(wire)
    return wire
  }

  /** Cuts every connection with a chance; some are never heard of again by either side. */
  cutSome(percent: number): void {
    for (const wire of this.wires) {
      if (!wire.alive) this.wires.delete(wire)
      else if (this.world.random.below(100) < percent) wire.cut(this.world.random.below(5) === 0)
    }
  }
}
