import type { HostId } from '../../base/ids.ts'
import { type AcceptedSession, Acceptor, type AcceptorInput } from '../link/core/index.ts'
import type { Wire, WireEvents } from '../link/transport.ts'
import { Answerer } from './answerer.ts'
import type { PeersContext } from './context.ts'
import { Assembler, BodyReader, TYPE } from './message.ts'
import { Outlet } from './outlet.ts'
import { Wake } from './wake.ts'

interface Served {
  session: AcceptedSession
  outlet: Outlet
  answerer: Answerer
  assembler: Assembler
}

/** The links that peers opened to this node: machine, connections, and the calls that this node works on. */
export class IncomingLinks {
  readonly #context: PeersContext
  readonly #machine: Acceptor
  readonly #wake: Wake
  readonly #wires = new Map<number, Wire>()
  readonly #served = new Map<AcceptedSession, Served>()
  /** Those that have streams open. */
  readonly #streaming = new Set<Answerer>()
  readonly #reader = new BodyReader()
  #lastConnection = 0

  constructor(context: PeersContext) {
    this.#context = context
    this.#machine = new Acceptor(context)
    this.#wake = new Wake(context.clock, () => this.#step({ type: 'tick' }))
  }

  /** Connections whose peers have proven who they are. */
  get open(): number {
    return this.#machine.openConnections
  }

  /** Calls and streams under way. */
  get pending(): number {
    let pending = 0
    for (const { answerer } of this.#served.values()) pending += answerer.pending
    return pending
  }

  /** Bytes that peers have not acknowledged. */
  get bufferedBytes(): number {
    let bytes = 0
    for (const { outlet } of this.#served.values()) bytes += outlet.bufferedBytes
    return bytes
  }

  accept(wire: Wire): WireEvents {
    const connection = ++this.#lastConnection
    this.#wires.set(connection, wire)
    this.#step({ type: 'accepted', connection })
    return {
      packet: (bytes) => this.#step({ type: 'packet', connection, bytes }),
      closed: () => {
        this.#wires.delete(connection)
        this.#step({ type: 'closed', connection })
      },
    }
  }

  forget(peer: HostId): void {
    this.#step({ type: 'forget', peer })
  }

  close(): void {
    for (const served of this.#served.values()) served.answerer.close()
    this.#served.clear()
    for (const wire of this.#wires.values()) wire.close()
    this.#wires.clear()
    this.#wake.cancel()
  }

  #step(input: AcceptorInput): void {
    this.#machine.step(input, this.#context.clock.monotonic())
    const ready = this.#machine.ready()
    for (const { connection, bytes } of ready.writes) this.#wires.get(connection)?.write(bytes)
    for (const connection of ready.hangUps) {
      this.#wires.get(connection)?.close()
      this.#wires.delete(connection)
    }
    for (const { session } of ready.lost) {
      this.#served.get(session)?.answerer.close()
      this.#served.delete(session)
    }
    for (const { session, body } of ready.bodies) {
      const served = this.#servedOf(session)
      this.#read(served, body)
      if (served.answerer.streams > 0) this.#streaming.add(served.answerer)
      this.#step({ type: 'consumed', session, bytes: body.length })
    }
    if (input.type === 'packet') this.#drained()
    this.#wake.at(this.#machine.wakeAtMs)
  }

  /** An acknowledgement may have made room for those who stream. */
  #drained(): void {
    for (const answerer of this.#streaming) {
      if (answerer.streams === 0) this.#streaming.delete(answerer)
      else answerer.drained()
    }
  }

  #servedOf(session: AcceptedSession): Served {
    let served = this.#served.get(session)
    if (served === undefined) {
      served = this.#serve(session)
      this.#served.set(session, served)
    }
    return served
  }

  #serve(session: AcceptedSession): Served {
    const { clock, schedule, links, meters, handlers, streamsMax } = this.#context
    const { draining, unknown, unreadable, unanswered } = this.#context
    const options = links[session.kind]
    const outlet = new Outlet({
      ...options,
      meters: meters[session.kind],
      nowMs: clock.monotonic,
      schedule,
      push: (frame) => this.#step({ type: 'frame', session, frame }),
      bufferedBytes: () => session.bufferedBytes,
    })
    const answerer = new Answerer({
      from: session.peer,
      outlet,
      handlers,
      nowMs: clock.monotonic,
      draining,
      unknown,
      unreadable,
      unanswered,
      streamsMax,
    })
    return { session, outlet, answerer, assembler: new Assembler(options.messageBytesMax) }
  }

  #read(served: Served, body: Buffer): void {
    const { unreadable, meters } = this.#context
    const reader = this.#reader
    reader.start(body)
    for (let more = reader.next(); more !== false; more = reader.next()) {
      if (more === null) {
        unreadable()
        return
      }
      meters[served.session.kind].messagesReceived++
      if (reader.type !== TYPE.part) served.answerer.received(reader)
      else this.#part(served, reader)
    }
  }

  #part(served: Served, reader: BodyReader): void {
    const whole = served.assembler.add(reader.extra, reader.payload)
    if (whole === null) return
    const inner = new BodyReader()
    if (whole !== 'violation') inner.start(whole)
    if (whole !== 'violation' && inner.next() === true && inner.type !== TYPE.part) served.answerer.received(inner)
    else this.#context.unreadable()
  }
}
