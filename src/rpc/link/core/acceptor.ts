import { Buffer } from 'node:buffer'
import { unreachable } from '../../../base/assert.ts'
import type { HostId } from '../../../base/ids.ts'
import type { DiscardReason, LinkKind } from '../../contract.ts'
import { Flow, type OutFrame } from './flow.ts'
import { type Authenticator, transcript } from './handshake.ts'
import type { LinkMeters } from './meters.ts'
import type { LinkOptions } from './options.ts'
import {
  decodePacket,
  decodeTerms,
  encodeChallenge,
  encodeRefusal,
  encodeSealed,
  encodeTerms,
  type HelloPacket,
  LINK_VERSION,
  type Packet,
  type RefusalReason,
  type SealedTerms,
  type Terms,
} from './packet.ts'

export interface AcceptorOptions {
  /** By kind, as the initiators have them. */
  links: { readonly [Kind in LinkKind]: LinkOptions }
  meters: { readonly [Kind in LinkKind]: LinkMeters }
  cluster: string
  node: HostId
  incarnation: number
  authenticator: Authenticator
  /** False for nodes that are never let in again. */
  admits: (node: HostId) => boolean
  /** Connections that have not yet proven who they are; beyond that, new ones are refused. */
  strangersMax: number
  /** Sessions, which only peers that have proven themselves open. */
  sessionsMax: number
}

/** A peer's session, as long as it is not lost; the host keeps what belongs to it under this object. */
export interface AcceptedSession {
  readonly peer: HostId
  readonly incarnation: number
  readonly kind: LinkKind
  readonly id: number
  /** Body bytes that wait for the peer's acknowledgement. */
  readonly bufferedBytes: number
}

export type AcceptorInput =
  /** A connection came in, under a number of the host's that is never used again. */
  | { type: 'accepted'; connection: number }
  | { type: 'packet'; connection: number; bytes: Buffer }
  | { type: 'closed'; connection: number }
  | { type: 'frame'; session: AcceptedSession; frame: OutFrame }
  | { type: 'consumed'; session: AcceptedSession; bytes: number }
  | { type: 'tick' }
  /** The node is gone for good. */
  | { type: 'forget'; peer: HostId }

/** Effects, to be performed in this order. */
export interface AcceptorReady {
  writes: readonly { connection: number; bytes: Buffer }[]
  /** Close these, after what was written to them. */
  hangUps: readonly number[]
  lost: readonly { session: AcceptedSession; reason: DiscardReason; frames: readonly OutFrame[] }[]
  /** Bodies that came, in order. Answer with `consumed`. */
  bodies: readonly { session: AcceptedSession; body: Buffer }[]
}

class Session implements AcceptedSession {
  readonly peer: HostId
  readonly incarnation: number
  readonly kind: LinkKind
  readonly id: number
  readonly flow: Flow
  connection: number | null = null

  constructor(hello: HelloPacket, id: number, flow: Flow) {
    this.peer = hello.node as HostId
    this.incarnation = hello.incarnation
    this.kind = hello.kind
    this.id = id
    this.flow = flow
  }

  get bufferedBytes(): number {
    return this.flow.bufferedBytes
  }
}

interface Stranger {
  phase: 'silent' | 'challenged'
  deadlineMs: number
  packet: HelloPacket | null
  hello: Buffer
  challenge: Buffer
}

/**
 * The side of all links that listens: connections of any peer, and the sessions that they belong to. A session outlives
 * its connections; it ends when its peer comes back in a new life, has lost it, or is gone for good.
 */
export class Acceptor {
  readonly #options: AcceptorOptions
  readonly #strangers = new Map<number, Stranger>()
  readonly #connections = new Map<number, Session>()
  /** By peer, then by kind. */
  readonly #sessions = new Map<HostId, Map<LinkKind, Session>>()
  #ready: MutableReady = emptyReady()
  #wakeAtMs = Number.POSITIVE_INFINITY

  constructor(options: AcceptorOptions) {
    this.#options = options
  }

  /** When to step with `tick` at the latest. */
  get wakeAtMs(): number {
    return this.#wakeAtMs
  }

  /** Connections that have proven who they are. */
  get openConnections(): number {
    return this.#connections.size
  }

  step(input: AcceptorInput, nowMs: number): void {
    switch (input.type) {
      case 'accepted':
        this.#accept(input.connection, nowMs)
        break
      case 'packet':
        this.#packet(input.connection, input.bytes, nowMs)
        break
      case 'closed':
        this.#closed(input.connection)
        break
      case 'frame':
        if (this.#isCurrent(input.session)) this.#push(input.session, input.frame, nowMs)
        break
      case 'consumed':
        if (this.#isCurrent(input.session)) {
          input.session.flow.consumed(input.bytes, nowMs)
          this.#take(input.session, nowMs)
        }
        break
      case 'tick':
        this.#tick(nowMs)
        break
      case 'forget':
        this.#forget(input.peer, 'incarnation-gone')
        break
      default:
        unreachable(input)
    }
  }

  /** Takes the pending effects. */
  ready(): AcceptorReady {
    const ready = this.#ready
    this.#ready = emptyReady()
    return ready
  }

  #accept(connection: number, nowMs: number): void {
    if (this.#strangers.size >= this.#options.strangersMax) {
      this.#refuse(connection, 'busy')
      return
    }
    const deadlineMs = nowMs + this.#options.links.bulk.handshakeMsMax
    this.#strangers.set(connection, {
      phase: 'silent',
      deadlineMs,
      packet: null,
      hello: NOTHING,
      challenge: NOTHING,
    })
    this.#wakeAtMs = Math.min(this.#wakeAtMs, deadlineMs)
  }

  #packet(connection: number, bytes: Buffer, nowMs: number): void {
    const session = this.#connections.get(connection)
    const stranger = this.#strangers.get(connection)
    if (session === undefined && stranger === undefined) return
    const packet = decodePacket(bytes)
    if (session !== undefined) this.#frame(session, packet, nowMs)
    else if (packet?.type === 'hello' && stranger!.phase === 'silent') {
      this.#challenge(connection, stranger!, packet, bytes)
    } else if (packet?.type === 'proof' && stranger!.phase === 'challenged') {
      this.#admit(connection, stranger!, packet, nowMs)
    } else this.#violation(connection, stranger!.packet?.kind ?? 'bulk')
  }

  #frame(session: Session, packet: Packet | null, nowMs: number): void {
    const verdict = packet?.type === 'frame' ? session.flow.receive(packet, nowMs) : 'violation'
    if (verdict === 'violation') {
      this.#violation(session.connection!, session.kind)
      return
    }
    if (verdict === 'deliver') this.#ready.bodies.push({ session, body: (packet as { body: Buffer }).body })
    this.#take(session, nowMs)
  }

  #challenge(connection: number, stranger: Stranger, hello: HelloPacket, bytes: Buffer): void {
    const { cluster, node, incarnation, authenticator } = this.#options
    if (hello.version !== LINK_VERSION) this.#refuse(connection, 'version')
    else if (hello.cluster !== cluster) this.#refuse(connection, 'wrong-cluster')
    else if (hello.target !== node) this.#refuse(connection, 'wrong-node')
    else {
      stranger.phase = 'challenged'
      stranger.packet = hello
      stranger.hello = Buffer.from(bytes)
      stranger.challenge = encodeChallenge({ node, incarnation, nonce: authenticator.nonce() })
      this.#ready.writes.push({ connection, bytes: stranger.challenge })
    }
  }

  #admit(connection: number, stranger: Stranger, proof: SealedTerms, nowMs: number): void {
    const hello = stranger.packet!
    const { authenticator } = this.#options
    const signed = transcript('initiator', stranger.hello, stranger.challenge, proof.terms)
    if (!authenticator.verify(signed, proof.proof)) {
      this.#refuse(connection, 'not-authenticated')
      return
    }
    const offer = decodeTerms(proof.terms)
    if (offer === null) {
      this.#violation(connection, hello.kind)
      return
    }
    const session = this.#sessionFor(connection, hello, offer)
    if (session === null) return
    this.#strangers.delete(connection)
    const established = session !== 'unknown'
    if (established && !this.#attach(connection, session, offer, nowMs)) {
      this.#violation(connection, session.kind)
      return
    }
    const { seen, credit } = established ? session.flow : { seen: 0, credit: 0 }
    const terms = encodeTerms({ session: offer.session, seen, credit, established })
    const answer = authenticator.prove(transcript('acceptor', stranger.hello, stranger.challenge, terms))
    this.#ready.writes.push({ connection, bytes: encodeSealed('welcome', terms, answer) })
    if (established) this.#take(session, nowMs)
    else this.#ready.hangUps.push(connection)
  }

  /** `unknown`: the initiator must give up what it offers. Null: it was refused. */
  #sessionFor(connection: number, hello: HelloPacket, offer: Terms): Session | 'unknown' | null {
    const peer = hello.node as HostId
    if (!this.#options.admits(peer)) return this.#refuse(connection, 'stale')
    const sessions = this.#sessions.get(peer)
    const life = sessions?.values().next().value
    if (life !== undefined && hello.incarnation < life.incarnation) return this.#refuse(connection, 'stale')
    if (life !== undefined && hello.incarnation > life.incarnation) this.#forget(peer, 'incarnation-gone')
    const known = this.#sessions.get(peer)?.get(hello.kind)
    if (known?.id === offer.session) return known
    if (offer.established) return 'unknown'
    if (known !== undefined) this.#lose(known, 'session-lost')
    if (this.#sessionCount() >= this.#options.sessionsMax) return this.#refuse(connection, 'busy')
    const flow = new Flow(this.#options.links[hello.kind], this.#options.meters[hello.kind])
    const session = new Session(hello, offer.session, flow)
    let kinds = this.#sessions.get(peer)
    if (kinds === undefined) this.#sessions.set(peer, (kinds = new Map()))
    kinds.set(hello.kind, session)
    return session
  }

  #attach(connection: number, session: Session, offer: Terms, nowMs: number): boolean {
    const older = session.connection
    if (!session.flow.attach(offer.seen, offer.credit, nowMs)) return false
    if (older !== null) {
      this.#connections.delete(older)
      this.#ready.hangUps.push(older)
    }
    session.connection = connection
    this.#connections.set(connection, session)
    this.#options.meters[session.kind].connectionsOpened++
    return true
  }

  #push(session: Session, frame: OutFrame, nowMs: number): void {
    session.flow.push(frame)
    this.#take(session, nowMs)
  }

  #take(session: Session, nowMs: number): void {
    const connection = session.connection
    // Requests are let in only while there is room for answers. The initiator has no such rule: both would wait for ever.
    session.flow.granting = session.flow.bufferedBytes * 2 <= this.#options.links[session.kind].bufferBytesMax
    if (connection === null) return
    const writes: Buffer[] = []
    session.flow.take(writes, nowMs)
    for (const bytes of writes) this.#ready.writes.push({ connection, bytes })
    this.#wakeAtMs = Math.min(this.#wakeAtMs, session.flow.wakeAtMs)
  }

  #tick(nowMs: number): void {
    this.#wakeAtMs = Number.POSITIVE_INFINITY
    for (const [connection, stranger] of this.#strangers) {
      if (stranger.deadlineMs <= nowMs) this.#hangUp(connection)
      else this.#wakeAtMs = Math.min(this.#wakeAtMs, stranger.deadlineMs)
    }
    for (const [connection, session] of this.#connections) {
      // The initiator asks for signs of life; whoever hears none for long has lost it.
      if (session.flow.check(nowMs) === 'broken') this.#hangUp(connection)
      else this.#take(session, nowMs)
    }
  }

  #forget(peer: HostId, reason: DiscardReason): void {
    for (const session of this.#sessions.get(peer)?.values() ?? []) this.#lose(session, reason)
    this.#sessions.delete(peer)
  }

  #lose(session: Session, reason: DiscardReason): void {
    if (session.connection !== null) this.#hangUp(session.connection)
    this.#sessions.get(session.peer)?.delete(session.kind)
    this.#options.meters[session.kind].sessionsLost++
    this.#ready.lost.push({ session, reason, frames: session.flow.kept() })
  }

  #refuse(connection: number, reason: RefusalReason): null {
    this.#options.meters.bulk.refusals++
    this.#ready.writes.push({ connection, bytes: encodeRefusal(reason) })
    this.#hangUp(connection)
    return null
  }

  #violation(connection: number, kind: LinkKind): void {
    this.#options.meters[kind].violations++
    this.#hangUp(connection)
  }

  #hangUp(connection: number): void {
    this.#closed(connection)
    this.#ready.hangUps.push(connection)
  }

  #closed(connection: number): void {
    this.#strangers.delete(connection)
    const session = this.#connections.get(connection)
    if (session === undefined) return
    this.#connections.delete(connection)
    this.#options.meters[session.kind].connectionsBroken++
    session.connection = null
    session.flow.detach()
  }

  #isCurrent(session: AcceptedSession): session is Session {
    return this.#sessions.get(session.peer)?.get(session.kind) === session
  }

  #sessionCount(): number {
    let count = 0
    for (const kinds of this.#sessions.values()) count += kinds.size
    return count
  }
}

const NOTHING = Buffer.alloc(0)

interface MutableReady extends AcceptorReady {
  writes: { connection: number; bytes: Buffer }[]
  hangUps: number[]
  lost: { session: AcceptedSession; reason: DiscardReason; frames: readonly OutFrame[] }[]
  bodies: { session: AcceptedSession; body: Buffer }[]
}

function emptyReady(): MutableReady {
  return { writes: [], hangUps: [], lost: [], bodies: [] }
}
