import { Buffer } from 'node:buffer'
import { assert, unreachable } from '../../../base/assert.ts'
import type { Random } from '../../../base/clock.ts'
import type { HostId } from '../../../base/ids.ts'
import type { DiscardReason, LinkKind, LinkState } from '../../contract.ts'
import { Flow, type OutFrame } from './flow.ts'
import { type Authenticator, transcript } from './handshake.ts'
import type { LinkMeters } from './meters.ts'
import { backoffMs, type LinkOptions } from './options.ts'
import {
  type ChallengePacket,
  decodePacket,
  decodeTerms,
  encodeHello,
  encodeSealed,
  encodeTerms,
  LINK_VERSION,
  type Packet,
  type SealedTerms,
} from './packet.ts'

export interface InitiatorOptions extends LinkOptions {
  cluster: string
  /** This node, and its life: a later one has a higher number. */
  node: HostId
  incarnation: number
  /** The node that is wanted. */
  peer: HostId
  kind: LinkKind
  random: Random
  authenticator: Authenticator
  meters: LinkMeters
}

/** `connection` is the number that {@link InitiatorReady.dial} gave; what belongs to an earlier one is ignored. */
export type InitiatorInput =
  | { type: 'frame'; frame: OutFrame }
  | { type: 'connected'; connection: number }
  | { type: 'packet'; connection: number; bytes: Buffer }
  | { type: 'closed'; connection: number }
  /** Bodies given out in `bodies` are dealt with. */
  | { type: 'consumed'; bytes: number }
  | { type: 'tick' }
  /** Somebody says that the peer may be reached: no use in waiting any longer. */
  | { type: 'hint' }
  /** The peer is gone for good, or this node closes. */
  | { type: 'close'; reason: DiscardReason }

/** Effects, to be performed in this order. */
export interface InitiatorReady {
  /** Close this connection, without a further word from it. */
  hangUp: number | null
  /** Open a connection under this number. */
  dial: number | null
  /** Write to the current connection. */
  writes: readonly Buffer[]
  /** Bodies that came, in order. Answer with `consumed`. */
  bodies: readonly Buffer[]
  /** The session is lost with these frames, which may have arrived. What follows belongs to a new session. */
  lost: { reason: DiscardReason; frames: readonly OutFrame[] } | null
  /** Null where it did not change. */
  state: LinkState | null
}

type Phase = 'none' | 'dialling' | 'hello' | 'proof' | 'open'

interface Session {
  id: number
  /** False until the peer has welcomed it: nothing was sent in it yet. */
  established: boolean
  flow: Flow
}

/**
 * The side of a link that dials: one peer, one kind. Keeps a session alive over broken connections, and gives it up only
 * when the peer's incarnation is gone or the peer has forgotten it.
 *
 * Reads no clock and opens no socket: time is an argument, and a run is replayed from its inputs.
 */
export class Initiator {
  #state: LinkState = 'idle'
  readonly #options: InitiatorOptions
  #session: Session
  /** The session of the handshake under way: another one where the peer's incarnation is new. */
  #offer: Session
  #peerIncarnation: number | null = null
  #offeredIncarnation = 0
  #phase: Phase = 'none'
  #connection = 0
  #failures = 0
  #deadlineMs = Number.POSITIVE_INFINITY
  #hello: Buffer = NOTHING
  #challenge: Buffer = NOTHING
  #closed = false
  #ready: MutableReady = emptyReady()

  constructor(options: InitiatorOptions) {
    assert(options.silenceMsMax >= 2 * options.keepaliveMs, 'A sign of life has time to come')
    this.#options = options
    this.#session = this.#newSession()
    this.#offer = this.#session
  }

  get state(): LinkState {
    return this.#state
  }

  get bufferedBytes(): number {
    return this.#session.flow.bufferedBytes
  }

  /** When to step with `tick` at the latest. */
  get wakeAtMs(): number {
    return this.#phase === 'open' ? this.#session.flow.wakeAtMs : this.#deadlineMs
  }

  step(input: InitiatorInput, nowMs: number): void {
    if (this.#closed) return
    switch (input.type) {
      case 'frame':
        this.#session.flow.push(input.frame)
        if (this.#state === 'idle') this.#dial(nowMs)
        break
      case 'connected':
        if (input.connection === this.#connection && this.#phase === 'dialling') this.#sayHello()
        break
      case 'packet':
        if (input.connection === this.#connection) this.#packet(decodePacket(input.bytes), input.bytes, nowMs)
        break
      case 'closed':
        if (input.connection === this.#connection) this.#broken(nowMs, 'waiting')
        break
      case 'consumed':
        this.#session.flow.consumed(input.bytes, nowMs)
        break
      case 'tick':
        this.#tick(nowMs)
        break
      case 'hint':
        this.#failures = 0
        if (this.#state === 'waiting' || this.#state === 'refused') this.#dial(nowMs)
        break
      case 'close':
        this.#close(input.reason)
        return
      default:
        unreachable(input)
    }
    if (this.#phase === 'open') this.#session.flow.take(this.#ready.writes, nowMs)
  }

  /** Takes the pending effects. */
  ready(): InitiatorReady {
    const ready = this.#ready
    this.#ready = emptyReady()
    return ready
  }

  #tick(nowMs: number): void {
    if (this.#phase === 'open') {
      const verdict = this.#session.flow.check(nowMs)
      if (verdict === 'broken') this.#hangUp(nowMs, 'waiting')
      else if (verdict === 'ping') this.#session.flow.take(this.#ready.writes, nowMs, true)
    } else if (nowMs >= this.#deadlineMs) {
      if (this.#phase === 'none') this.#dial(nowMs)
      else this.#hangUp(nowMs, 'waiting')
    }
  }

  #dial(nowMs: number): void {
    this.#connection++
    this.#phase = 'dialling'
    this.#deadlineMs = nowMs + this.#options.handshakeMsMax
    this.#ready.dial = this.#connection
    this.#become('connecting')
  }

  #sayHello(): void {
    const { cluster, node, incarnation, peer, kind, authenticator } = this.#options
    this.#phase = 'hello'
    this.#hello = encodeHello({
      version: LINK_VERSION,
      cluster,
      node,
      incarnation,
      target: peer,
      kind,
      nonce: authenticator.nonce(),
    })
    this.#ready.writes.push(this.#hello)
  }

  #packet(packet: Packet | null, bytes: Buffer, nowMs: number): void {
    if (packet?.type === 'refusal') this.#refused(nowMs)
    else if (packet?.type === 'frame' && this.#phase === 'open') {
      const verdict = this.#session.flow.receive(packet, nowMs)
      if (verdict === 'deliver') this.#ready.bodies.push(packet.body)
      else if (verdict === 'violation') this.#violation(nowMs)
    } else if (packet?.type === 'challenge' && this.#phase === 'hello') this.#answer(packet, bytes, nowMs)
    else if (packet?.type === 'welcome' && this.#phase === 'proof') this.#welcomed(packet, nowMs)
    else this.#violation(nowMs)
  }

  /** What the challenge says is not proven yet: it decides what is offered, and nothing is given up for it. */
  #answer(challenge: ChallengePacket, bytes: Buffer, nowMs: number): void {
    const known = this.#peerIncarnation
    if (challenge.node !== this.#options.peer || (known !== null && challenge.incarnation < known)) {
      this.#refused(nowMs)
      return
    }
    this.#challenge = Buffer.from(bytes)
    this.#offeredIncarnation = challenge.incarnation
    this.#offer = known === null || challenge.incarnation === known ? this.#session : this.#newSession()
    const { id, flow, established } = this.#offer
    const terms = encodeTerms({ session: id, seen: flow.seen, credit: flow.credit, established })
    const proof = this.#options.authenticator.prove(transcript('initiator', this.#hello, this.#challenge, terms))
    this.#phase = 'proof'
    this.#ready.writes.push(encodeSealed('proof', terms, proof))
  }

  #welcomed(welcome: SealedTerms, nowMs: number): void {
    const signed = transcript('acceptor', this.#hello, this.#challenge, welcome.terms)
    if (!this.#options.authenticator.verify(signed, welcome.proof)) {
      this.#refused(nowMs)
      return
    }
    const terms = decodeTerms(welcome.terms)
    if (terms === null || terms.session !== this.#offer.id) {
      this.#violation(nowMs)
      return
    }
    if (this.#offer !== this.#session) {
      this.#lose('incarnation-gone')
      this.#session = this.#offer
    }
    this.#peerIncarnation = this.#offeredIncarnation
    if (!terms.established) {
      this.#lose('session-lost')
      this.#session = this.#newSession()
      this.#failures = 0
      this.#hangUp(nowMs, 'waiting')
      this.#dial(nowMs)
    } else if (this.#session.flow.attach(terms.seen, terms.credit, nowMs)) {
      this.#session.established = true
      this.#phase = 'open'
      this.#failures = 0
      this.#options.meters.connectionsOpened++
      this.#become('open')
    } else this.#violation(nowMs)
  }

  #refused(nowMs: number): void {
    this.#options.meters.refusals++
    this.#hangUp(nowMs, 'refused')
  }

  #violation(nowMs: number): void {
    this.#options.meters.violations++
    this.#hangUp(nowMs, 'waiting')
  }

  #hangUp(nowMs: number, state: 'waiting' | 'refused'): void {
    this.#ready.hangUp = this.#connection
    this.#broken(nowMs, state)
  }

  #broken(nowMs: number, state: 'waiting' | 'refused'): void {
    if (this.#phase === 'none') return
    if (this.#phase === 'open') this.#options.meters.connectionsBroken++
    else this.#options.meters.attemptsFailed++
    this.#phase = 'none'
    this.#connection++
    this.#session.flow.detach()
    this.#ready.writes.length = 0
    this.#failures++
    this.#deadlineMs = nowMs + backoffMs(this.#failures, this.#options.random.float(), this.#options)
    this.#become(state)
  }

  #close(reason: DiscardReason): void {
    if (this.#phase !== 'none') this.#ready.hangUp = this.#connection
    this.#closed = true
    this.#phase = 'none'
    this.#deadlineMs = Number.POSITIVE_INFINITY
    this.#connection++
    this.#ready.dial = null
    this.#ready.writes.length = 0
    this.#lose(reason)
    this.#session = this.#newSession()
    this.#become('idle')
  }

  #lose(reason: DiscardReason): void {
    const frames = this.#session.flow.kept()
    this.#options.meters.sessionsLost++
    this.#ready.lost = { reason, frames }
  }

  #newSession(): Session {
    const { random, meters } = this.#options
    const id = 1 + random.below(0x4000_0000) * 0x10_0000 + random.below(0x10_0000)
    return { id, established: false, flow: new Flow(this.#options, meters) }
  }

  #become(state: LinkState): void {
    if (state === this.#state) return
    this.#state = state
    this.#ready.state = state
  }
}

const NOTHING = Buffer.alloc(0)

interface MutableReady extends InitiatorReady {
  writes: Buffer[]
  bodies: Buffer[]
}

function emptyReady(): MutableReady {
  return { hangUp: null, dial: null, writes: [], bodies: [], lost: null, state: null }
}
