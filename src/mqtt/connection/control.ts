import { BrokerError } from '../../base/errors.ts'
import type { Message, QoS } from '../../base/message.ts'
import type { InboxSubscription, Owner } from '../../inbox/index.ts'
import type { AuthRequest, AuthResult, ExtendedAuthResult, Identity, SubscribeDecision } from '../../plugin/index.ts'
import {
  type Connect,
  type DecodeError,
  encodeWithin,
  PACKET,
  type Packet,
  type ProtocolVersion,
  REASON,
  reasonName,
  type Subscribe,
} from '../codec/index.ts'
import type { ConnectionInfo } from '../listener/index.ts'
import type { Published, Repetition } from '../routing/router.ts'
import type { Attachment, Effect, Input } from '../session/effects.ts'
import type { Agreement } from '../session/negotiate.ts'
import { Outbound } from '../session/outbound.ts'
import { attach } from './attach.ts'
import type { Connection } from './connection.ts'
import type { FrontEnd } from './front-end.ts'
import { PersistentSubscriptions } from './persistent-subscriptions.ts'
import { reasonWord } from './reason-words.ts'
import type { Registered } from './registry.ts'
import { RetainedStream } from './retained-stream.ts'
import type { Subscriptions } from './subscriptions.ts'
import { TransientSubscriptions } from './transient-subscriptions.ts'

/** How long an older connection may take to settle its publishes before a newer one goes on. */
const SETTLE_MS = 1000

/**
 * The host of a session: performs what the state machine decides. All that is not a message or an acknowledgement goes
 * through here; nothing in here is on the hot path.
 */
export class Control implements Registered {
  /** Set where the inbox service knows this session. */
  owner: Owner | null = null
  /** True: subscriptions and queue live in the inbox. */
  persistent = false
  /** As soon as the connection ends in any way but the client's own. */
  willFires = false
  readonly info: ConnectionInfo
  readonly #connection: Connection
  readonly #front: FrontEnd
  /** Made with the first SUBSCRIBE. */
  #retained: RetainedStream | null = null
  #subscriptions: Subscriptions | null = null
  /** What the session that was attached had subscribed to. */
  #resumed: readonly InboxSubscription[] = []
  #version: ProtocolVersion = 4
  /** The client's own, or the one that it gets. */
  #clientId = ''
  #exchange = {}
  #request: AuthRequest | null = null
  #waitsForAnswers = false
  #openedAtMs = 0
  /** While it is not known whether the session becomes this connection's. */
  #attaching: ReturnType<typeof attach> | null = null
  #gone: Promise<void> | null = null
  #settled: (() => void) | null = null
  /** Called once the session is given up, last of all. */
  onGone: (() => void) | null = null

  constructor(connection: Connection, info: ConnectionInfo) {
    this.#connection = connection
    this.#front = connection.front
    this.info = info
  }

  /** When the CONNECT was accepted, on the monotonic clock; 0 = not yet. */
  get openedAtMs(): number {
    return this.#openedAtMs
  }

  // --- from the connection

  onPacket(packet: Packet): void {
    switch (packet.type) {
      case 'connect':
        if (this.#connection.session.state === 'new') this.#begin(packet)
        return this.end({ type: 'connect', packet })
      case 'subscribe':
        return this.#authorizeSubscribe(packet)
      case 'unsubscribe':
      case 'disconnect':
      case 'auth':
        if (this.#connection.session.state === 'new') break
        return this.end({ type: packet.type, packet } as Input)
      case 'pingreq':
        if (this.#connection.session.state === 'new') break
        return this.end({ type: 'pingreq' })
      default:
    }
    // [MQTT-3.1.0-1]: the first packet is CONNECT; the rest is for the client to receive.
    this.end({ type: 'end', reasonCode: REASON.PROTOCOL_ERROR, reason: `An unexpected ${packet.type.toUpperCase()}` })
  }

  /** What holds from CONNECT on, before anything is agreed on: how packets look, and how large they may be. */
  #begin(packet: Connect): void {
    this.#version = packet.version
    this.#connection.version = packet.version
    this.#connection.clientPacketBytesMax = packet.properties.maximumPacketSize ?? Number.POSITIVE_INFINITY
    this.#clientId = packet.clientId === '' ? this.#front.assignClientId() : packet.clientId
  }

  decodeFailed(error: DecodeError): void {
    this.#front.counters.malformed++
    if (this.#connection.session.state !== 'new' || error.connackVersion === 0) {
      return this.end({ type: 'end', reasonCode: error.reasonCode, reason: error.message })
    }
    this.#version = error.connackVersion
    this.end({ type: 'refused', reasonCode: error.reasonCode, reason: error.message })
  }

  /** Gives the session an input and performs what follows. */
  end(input: Input): void {
    for (const effect of this.#connection.session.step(input, this.#front.clock.monotonic())) this.#perform(effect)
  }

  drained(): void {
    this.#retained?.wake()
  }

  /** An answer to a publish went out. */
  answered(): void {
    if (this.#waitsForAnswers && this.#connection.unanswered < this.#front.limits.inFlight3Max / 2) {
      this.#waitsForAnswers = false
      this.#connection.unblock()
    }
    if (this.#settled !== null && this.#connection.unanswered === 0) this.#settled()
  }

  /** A 3.x client has too many publishes under way: it is read on once some are answered. */
  whenAnswered(): void {
    if (this.#waitsForAnswers || this.#connection.unanswered === 0) return
    this.#waitsForAnswers = true
    this.#connection.block()
  }

  publishFailed(error: Error): void {
    this.#front.refusals.note(error, this.#connection.tenant)
  }

  /** A subscription of the session that was resumed has no route: better no connection than one that misses messages. */
  resumeFailed(error: unknown): void {
    this.#front.log.warn({ err: error, tenant: this.#connection.tenant }, 'Could not route a resumed subscription')
    this.end({ type: 'end', reasonCode: REASON.SERVER_UNAVAILABLE, reason: 'A subscription could not be resumed' })
  }

  get retained(): RetainedStream | null {
    return this.#retained
  }

  mayReceive(topic: string): boolean {
    const permissions = this.#connection.session.identity!.permissions
    return permissions.all || permissions.receive(topic)
  }

  /** QoS 2 from a persistent session: its number is committed first, and kept where a failure is not told: it comes again. */
  receiveQos2(packetId: number, message: Message): void {
    const settle = this.#connection.intake.expectAnswer(PACKET.PUBREC, packetId)
    const owner = this.owner!
    this.#front.inbox.receive(owner, packetId).then(
      (assigned) => {
        this.#route(message, { publisher: owner.inbox, ...assigned }, (error, matched) => {
          const tells = this.#connection.version === 5 && this.#connection.session.state === 'open'
          if (error !== null && tells) void this.#front.inbox.release(owner, packetId).catch(() => {})
          settle(error, matched)
        })
      },
      (error: Error) => settle(error, 0),
    )
  }

  releaseQos2(packetId: number): void {
    const connection = this.#connection
    this.#front.inbox.release(this.owner!, packetId).then(
      (known) => {
        const reason = known ? REASON.SUCCESS : REASON.PACKET_IDENTIFIER_NOT_FOUND
        if (connection.session.state === 'open') connection.writeAck(PACKET.PUBCOMP, packetId, reason)
      },
      (error: Error) => this.#lost(error),
    )
  }

  /** A publish whose permission came late, or that waited until it may be matched: `sure`, now. */
  publishLate(message: Message, packetId: number, sure: boolean): void {
    if (message.qos === 2 && this.persistent) return this.receiveQos2(packetId, message)
    if (message.qos === 0) return this.#publish(message, null, () => {})
    const type = message.qos === 1 ? PACKET.PUBACK : PACKET.PUBREC
    if (message.qos === 2) {
      if (this.#connection.intake.received.has(packetId))
        return this.#connection.intake.expectAnswer(type, packetId)(null, 1)
      this.#connection.intake.received.add(packetId)
    }
    const settle = this.#connection.intake.expectAnswer(type, packetId)
    return sure ? this.#publish(message, null, settle) : this.#route(message, null, settle)
  }

  /** Puts a retained message of QoS 1 or 2 into the session's own queue, which gives it its packet id. */
  queueRetained(message: Message, qos: QoS, subscriptionIds: readonly number[], done: (stored: boolean) => void): void {
    const { tenant, inbox, incarnation } = this.owner!
    const target = { inbox, incarnation, qos, retain: true, subscriptionIds }
    this.#front.inbox.insert(tenant, { message, targets: [target], dedup: null }, (_error, results) =>
      done(results?.[0] === 'ok'),
    )
  }

  // --- from the registry and the node

  /** Another connection came for this client id [MQTT-3.1.4-3]. */
  takeOver(): Promise<void> {
    this.#front.counters.takeovers++
    return this.leave(REASON.SESSION_TAKEN_OVER, 'Another connection took the session over')
  }

  /** Ends the connection; resolves once its session is given up. */
  leave(reasonCode: number, reason: string, serverReference?: string): Promise<void> {
    const input = { type: 'end', reasonCode, reason } as const
    this.end(serverReference === undefined ? input : { ...input, serverReference })
    return this.#gone ?? Promise.resolve()
  }

  // --- effects

  #perform(effect: Effect): void {
    switch (effect.type) {
      case 'send':
        return this.#send(effect.packet)
      case 'authenticate':
        return this.#authenticate(effect.packet)
      case 'authenticate-extended':
        return this.#authenticateExtended(effect)
      case 'attach':
        return this.#attach(effect.agreement, effect.packet)
      case 'open':
        return this.#open(effect.attachment)
      case 'subscribe':
        return this.#await(this.#subscriptions!.subscribe(effect.filters), (outcomes) => {
          this.end({ type: 'subscribed', packetId: effect.packetId, outcomes })
          this.#retained?.settled()
          this.#connection.subscribeEnded()
        })
      case 'unsubscribe':
        return this.#await(this.#subscriptions!.unsubscribe(effect.filters), (existed) =>
          this.end({ type: 'unsubscribed', packetId: effect.packetId, existed }),
        )
      case 'retained':
        return this.#retained!.add(effect.filter, effect.options)
      case 'reauthenticated':
        this.#front.events.report(
          'client.authenticated-again',
          this.#connection.tenant,
          this.#connection.clientId,
          0,
          {},
        )
        return this.#connection.intake.permissionsChanged(effect.identity.permissions)
      case 'close':
        return this.#close(effect)
    }
  }

  #send(packet: Packet): void {
    const { output, clientPacketBytesMax } = this.#connection
    const bytes = encodeWithin(packet, this.#version, clientPacketBytesMax)
    if (bytes !== null) output.append(bytes, 0, bytes.length)
  }

  #authenticate(packet: Connect): void {
    const answer = this.#front.auth.authenticate(toAuthRequest(packet, this.#clientId, this.info))
    const done = (result: AuthResult) =>
      this.#authenticated(result.result === 'accepted' ? { ...result, data: null } : result)
    if (answer instanceof Promise) this.#blockFor(answer, done)
    else done(answer)
  }

  #authenticateExtended(effect: Extract<Effect, { type: 'authenticate-extended' }>): void {
    const { session } = this.#connection
    const connect = this.#request ?? toAuthRequest(session.connect!, this.#clientId, this.info)
    this.#request = connect
    const { method, data, reauthentication } = effect
    const authenticate = this.#front.auth.authenticateExtended
    if (authenticate === undefined) {
      const reason = 'No authentication method is offered'
      return this.#authenticated({ result: 'refused', reasonCode: REASON.BAD_AUTHENTICATION_METHOD, reason })
    }
    const request = { ...connect, method, data, reauthentication, exchange: this.#exchange }
    this.#blockFor(authenticate(request), (result) => this.#authenticated(result))
  }

  #authenticated(result: ExtendedAuthResult): void {
    if (result.result !== 'continue') this.#exchange = {}
    const settings = result.result === 'accepted' ? this.#front.settings.of(result.identity.tenant) : null
    this.end({ type: 'authenticated', result, settings, assignedClientId: this.#clientId })
  }

  #attach(agreement: Agreement, packet: Connect): void {
    const connection = this.#connection
    connection.tenant = connection.session.identity!.tenant
    connection.clientId = agreement.clientId
    const delaySeconds = Math.min(packet.will?.properties.willDelayInterval ?? 0, agreement.expirySeconds)
    this.willFires = packet.will !== null && delaySeconds === 0
    const attaching = attach(this.#front, connection, this, agreement, packet)
    this.#attaching = attaching
    this.#blockFor(attaching, (outcome) => {
      if (connection.session.state === 'closed') return
      this.#attaching = null
      if ('reasonCode' in outcome) return this.end({ type: 'refused', ...outcome })
      this.#resumed = outcome.subscriptions
      this.end({ type: 'attached', attachment: outcome })
    })
  }

  #open(attachment: Attachment): void {
    const connection = this.#connection
    const { front, session } = connection
    const agreement = session.agreement!
    this.owner = attachment.owner
    this.persistent = attachment.persistent
    this.#openedAtMs = front.clock.monotonic()
    const outbound = new Outbound({
      version: agreement.version,
      clientReceiveMaximum: agreement.clientReceiveMaximum,
      clientPacketBytesMax: agreement.clientPacketBytesMax,
      clientTopicAliasMax: agreement.clientTopicAliasMax,
      persistent: attachment.persistent,
      waitingBytesMax: connection.outputBytesMax,
      target: connection.output,
      nowMs: () => front.clock.now(),
      dropped: (count, reason) => connection.dropped(count, reason),
    })
    outbound.onRoom = () => this.#retained?.wake()
    connection.opened(outbound)
    this.#subscriptions = attachment.persistent
      ? new PersistentSubscriptions(connection, attachment.owner!, this.#resumed, (reason) => this.#lostSession(reason))
      : new TransientSubscriptions(connection)
    front.counters.connections++
    front.counters.connectionsOpened++
    front.events.report('client.connected', connection.tenant, connection.clientId, 0, {
      ...this.#describe(session.identity!),
      cleanStart: agreement.cleanStart,
      sessionPresent: attachment.sessionPresent,
      keepAliveSeconds: agreement.keepAliveSeconds,
    })
  }

  #close(effect: Extract<Effect, { type: 'close' }>): void {
    const connection = this.#connection
    const { front } = connection
    connection.output.flush()
    connection.transport.end()
    this.#report(effect)
    this.#retained?.stop()
    if (this.#openedAtMs > 0) front.counters.connections--
    else front.counters.connectionsRefused++
    this.#subscriptions?.close()
    const unanswered = connection.unanswered
    connection.closed()
    this.#gone = this.#giveUp(effect, unanswered)
  }

  async #giveUp(effect: Extract<Effect, { type: 'close' }>, unanswered: number): Promise<void> {
    const { tenant, clientId, session } = this.#connection
    if (this.#attaching !== null) {
      // The client left while its session was attached: it is given up again.
      this.#front.clients?.abandon(this)
      const outcome = await this.#attaching
      if (!('reasonCode' in outcome)) this.owner = outcome.owner
    }
    if (unanswered > 0) await this.#settle()
    if (this.owner !== null) await this.#detach(effect.detach)
    if (session.agreement !== null) this.#front.registry.release(tenant, clientId, this)
    this.#front.clients?.release(this)
    this.onGone?.()
  }

  /** Publishes that were read are settled before somebody else may go on with the session. */
  #settle(): Promise<void> {
    return new Promise((resolve) => {
      const cancel = this.#front.clock.after(SETTLE_MS, resolve)
      this.#settled = () => {
        cancel()
        resolve()
      }
    })
  }

  async #detach(detach: { expirySeconds: number | null; discardWill: boolean }): Promise<void> {
    const owner = this.owner!
    try {
      await this.#front.inbox.detach({ owner, ...detach, sentUpTo: this.#connection.outbound?.sentUpTo ?? 0 })
    } catch (error) {
      if (error instanceof BrokerError && error.code === 'CONFLICT') return // somebody else owns the session by now
      this.#front.log.warn({ err: error, tenant: owner.tenant, inbox: owner.inbox }, 'Could not detach a session')
    }
  }

  // --- helpers

  #authorizeSubscribe(packet: Subscribe): void {
    const { session } = this.#connection
    if (session.state !== 'open') {
      return this.end({ type: 'end', reasonCode: REASON.PROTOCOL_ERROR, reason: 'An unexpected SUBSCRIBE' })
    }
    this.#retained ??= new RetainedStream(this.#connection)
    this.#retained.expect()
    this.#connection.subscribeBegan()
    const permissions = session.identity!.permissions
    if (permissions.all) {
      return this.end({ type: 'subscribe', packet, allowed: packet.subscriptions.map(() => true) })
    }
    const answers = packet.subscriptions.map(({ filter, qos }) => permissions.subscribe(filter, qos))
    if (!answers.some((answer) => answer instanceof Promise)) {
      return this.end({ type: 'subscribe', packet, allowed: answers as SubscribeDecision[] })
    }
    this.#blockFor(Promise.all(answers), (allowed) => this.end({ type: 'subscribe', packet, allowed }))
  }

  #route(message: Message, dedup: Repetition, done: Published): void {
    this.#front.router.whenSure(this.#connection.tenant, message, (error) => {
      if (error === null) this.#publish(message, dedup, done)
      else done(error, 0)
    })
  }

  #publish(message: Message, dedup: Repetition, done: Published): void {
    this.#front.router.publishKept(this.#connection.tenant, message, dedup, done)
  }

  /** Reads no packet until the answer is there. */
  #blockFor<Value>(answer: Promise<Value>, then: (value: Value) => void): void {
    this.#connection.block()
    this.#await(answer, (value) => {
      then(value)
      this.#connection.unblock()
    })
  }

  #await<Value>(answer: Promise<Value>, then: (value: Value) => void): void {
    answer.then(then).catch((error: unknown) => this.#lost(error))
  }

  /** What the client asked for cannot be done, or something failed that must not: it gets an error, the broker goes on. */
  #lost(error: unknown): void {
    if (error instanceof BrokerError) {
      if (error.code === 'CONFLICT') return this.#lostSession('taken-over')
      this.#front.log.warn(
        { err: error, tenant: this.#connection.tenant },
        'A connection is closed: its session is not available',
      )
      return this.end({ type: 'end', reasonCode: REASON.UNSPECIFIED_ERROR, reason: 'The session is not available now' })
    }
    this.#front.log.error({ err: error, tenant: this.#connection.tenant }, 'A connection is closed after an error')
    this.end({ type: 'end', reasonCode: REASON.UNSPECIFIED_ERROR, reason: 'An internal error' })
  }

  #lostSession(reason: 'taken-over' | 'expired' | 'removed' | 'closed'): void {
    const reasonCode = reason === 'taken-over' ? REASON.SESSION_TAKEN_OVER : REASON.ADMINISTRATIVE_ACTION
    this.end({ type: 'end', reasonCode, reason: `The session is ${reason}` })
  }

  #describe(identity: Identity) {
    const { remoteAddress, listener } = this.info
    return { address: remoteAddress, listener, protocol: this.#version, user: identity.user }
  }

  #report(effect: Extract<Effect, { type: 'close' }>): void {
    const { tenant, clientId, session, front } = this.#connection
    if (effect.reasonCode === REASON.KEEP_ALIVE_TIMEOUT) front.counters.keepAliveTimeouts++
    const ours = effect.reasonCode === REASON.USE_ANOTHER_SERVER || front.stopping()
    const abrupt = this.#openedAtMs > 0 && effect.reasonCode !== REASON.SUCCESS && !ours
    if (abrupt && front.flapping.disconnected(tenant, clientId, front.clock.monotonic())) {
      front.events.report('client.banned', tenant, clientId, REASON.BANNED, { reason: 'flapping' })
    }
    const type = this.#openedAtMs > 0 ? 'client.disconnected' : 'client.refused'
    if (!front.events.enabled(type)) return
    front.events.report(type, tenant, clientId, effect.reasonCode, {
      ...(session.identity === null ? { address: this.info.remoteAddress } : this.#describe(session.identity)),
      reason: reasonWord(effect.reasonCode, this.#openedAtMs > 0),
      message: `${effect.reason} (${reasonName(effect.reasonCode)})`,
    } as never)
  }
}

function toAuthRequest(packet: Connect, clientId: string, info: ConnectionInfo): AuthRequest {
  return {
    protocol: packet.version,
    clientId,
    username: packet.username,
    password: packet.password,
    address: info.remoteAddress,
    listener: info.listener,
    certificate: info.certificate,
    userProperties: packet.properties.userProperties ?? [],
  }
}
