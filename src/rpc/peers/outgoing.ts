import { BrokerError } from '../../base/errors.ts'
import type { HostId } from '../../base/ids.ts'
import type { DiscardReason, LinkKind, LinkState, MessageChannel, SendResult } from '../contract.ts'
import { FRAME_HEADER_BYTES, Initiator, type InitiatorInput, type OutFrame } from '../link/core/index.ts'
import type { Wire } from '../link/transport.ts'
import { Caller } from './caller.ts'
import type { PeersContext } from './context.ts'
import { Assembler, BodyReader, TYPE } from './message.ts'
import { Outlet } from './outlet.ts'
import { Wake } from './wake.ts'

/** The link that this node opened to one peer: machine, connection, and the calls that wait for answers. */
export class OutgoingLink {
  readonly caller: Caller
  readonly kind: LinkKind
  readonly #context: PeersContext
  readonly #peer: HostId
  readonly #addressOf: () => string
  readonly #machine: Initiator
  readonly #outlet: Outlet
  readonly #wake: Wake
  readonly #reader = new BodyReader()
  readonly #assembler: Assembler
  readonly #head = { channel: 0, id: 0, extra: 0 }
  #wire: Wire | null = null
  #connection = 0

  constructor(context: PeersContext, peer: HostId, kind: LinkKind, addressOf: () => string) {
    this.#context = context
    this.#peer = peer
    this.kind = kind
    this.#addressOf = addressOf
    const { clock, schedule, random, authenticator, cluster, node, incarnation, deadlines, defer } = context
    const options = context.links[kind]
    const meters = context.meters[kind]
    const shared = { ...options, meters }
    this.#machine = new Initiator({ ...shared, cluster, node, incarnation, peer, kind, random, authenticator })
    this.#assembler = new Assembler(options.messageBytesMax)
    this.#outlet = new Outlet({
      ...shared,
      nowMs: clock.monotonic,
      schedule,
      push: (frame) => this.#step({ type: 'frame', frame }),
      bufferedBytes: () => this.#machine.bufferedBytes,
    })
    this.caller = new Caller({
      outlet: this.#outlet,
      deadlines,
      nowMs: clock.monotonic,
      defer,
      peer,
      pendingMax: context.pendingMax,
      unreadable: context.unreadable,
    })
    this.#wake = new Wake(clock, () => this.#step({ type: 'tick' }))
  }

  get state(): LinkState {
    return this.#machine.state
  }

  get bufferedBytes(): number {
    return this.#outlet.bufferedBytes
  }

  send<Message>(channel: MessageChannel<Message>, message: Message): SendResult {
    this.#head.channel = channel.number
    return this.#outlet.write(TYPE.send, this.#head, channel.message, message)
  }

  hint(): void {
    this.#step({ type: 'hint' })
  }

  flush(): void {
    this.#outlet.flush()
  }

  close(reason: DiscardReason): void {
    this.#step({ type: 'close', reason })
    this.#wake.cancel()
  }

  #step(input: InitiatorInput): void {
    this.#machine.step(input, this.#context.clock.monotonic())
    const ready = this.#machine.ready()
    if (ready.hangUp !== null) this.#hangUp()
    if (ready.dial !== null) this.#dial(ready.dial)
    for (const bytes of ready.writes) this.#wire?.write(bytes)
    for (const body of ready.bodies) {
      this.#read(body)
      this.#step({ type: 'consumed', bytes: body.length })
    }
    if (ready.lost !== null) this.#lost(ready.lost.reason, ready.lost.frames)
    if (ready.state !== null) this.#context.stateChanged(this.#peer, this.kind, ready.state)
    this.#wake.at(this.#machine.wakeAtMs)
  }

  #dial(connection: number): void {
    this.#connection = connection
    const { transport } = this.#context
    this.#wire = transport.dial(
      { node: this.#peer, address: this.#addressOf(), kind: this.kind },
      {
        connected: () => this.#step({ type: 'connected', connection }),
        packet: (bytes) => this.#step({ type: 'packet', connection, bytes }),
        closed: (reason) => this.#closed(connection, reason),
      },
    )
  }

  #closed(connection: number, reason: string): void {
    if (connection === this.#connection) this.#wire = null
    this.#context.log.debug({ peer: this.#peer, kind: this.kind, reason }, 'A link was broken')
    this.#step({ type: 'closed', connection })
  }

  #hangUp(): void {
    this.#wire?.close()
    this.#wire = null
  }

  #read(body: Buffer): void {
    const reader = this.#reader
    reader.start(body)
    for (let more = reader.next(); more !== false; more = reader.next()) {
      if (more === null || !this.#message(reader)) {
        this.#context.unreadable()
        if (more === null) return
      }
    }
  }

  /** False where it makes no sense. */
  #message(reader: BodyReader): boolean {
    this.#context.meters[this.kind].messagesReceived++
    if (reader.type !== TYPE.part) return this.caller.received(reader)
    const whole = this.#assembler.add(reader.extra, reader.payload)
    if (whole === 'violation') return false
    if (whole === null) return true
    const inner = new BodyReader()
    inner.start(whole)
    return inner.next() === true && inner.type !== TYPE.part && this.caller.received(inner)
  }

  #lost(reason: DiscardReason, frames: readonly OutFrame[]): void {
    this.#assembler.clear()
    const open = this.#outlet.discard()
    this.#discard(reason, open === null ? frames : [...frames, open])
    const text =
      reason === 'closed'
        ? 'The node is closing'
        : `Node "${this.#peer}" has started again or forgotten the link; the call may have been applied`
    this.caller.fail(new BrokerError(reason === 'closed' ? 'CLOSED' : 'UNAVAILABLE', text))
  }

  /** One-way messages are handed back to whoever wants to know; the calls' own callbacks speak for them. */
  #discard(reason: DiscardReason, frames: readonly OutFrame[]): void {
    const { meters, links, handlers, log } = this.#context
    const counts = meters[this.kind]
    const reader = new BodyReader()
    const assembler = new Assembler(links[this.kind].messageBytesMax)
    let messages = 0
    for (const frame of frames) {
      counts.bytesDiscarded += frame.packet.length - FRAME_HEADER_BYTES
      reader.start(frame.packet.subarray(FRAME_HEADER_BYTES))
      while (reader.next() === true) {
        const whole = reader.type === TYPE.part ? assembler.add(reader.extra, reader.payload) : null
        const inner = whole instanceof Buffer ? new BodyReader() : reader
        if (whole instanceof Buffer) {
          inner.start(whole)
          inner.next()
        }
        if (inner.type !== TYPE.send) continue
        messages++
        const entry = handlers.get(inner.channel)
        if (entry?.discards && entry.channel.type === 'message') {
          entry.discards.discarded(this.#peer, entry.channel.message.read(inner.payload), reason)
        }
      }
    }
    counts.messagesDiscarded += messages
    if (messages > 0 && reason !== 'closed') {
      log.warn({ peer: this.#peer, kind: this.kind, messages, reason }, 'Messages for a node were given up')
    }
  }
}
