import { unreachable } from '../../base/assert.ts'
import { isShared } from '../../base/topic.ts'
import type { Identity, TenantSettings } from '../../plugin/index.ts'
import { type Auth, type Connack, type Connect, type Disconnect, REASON } from '../codec/index.ts'
import type { Attachment, Effect, FilterOutcome, Input } from './effects.ts'
import { type Agreement, connack, keepAliveTimeoutMs, negotiate } from './negotiate.ts'
import { judgeSubscribe } from './subscriptions.ts'
import { boundedReason, connackReason, disconnectReason, isSendable, isSendableData } from './words.ts'

/** What the node grants every session; its tenant may grant less. */
export interface SessionLimits {
  connectTimeoutMs: number
  /** Largest packet from the client. */
  packetBytesMax: number
}

export type SessionState = 'new' | 'authenticating' | 'attaching' | 'open' | 'closed'

/**
 * The life of one connection's session, as a pure state machine: CONNECT, authentication, attachment, subscriptions,
 * keep-alive, the end. It reads no clock and does no I/O: the host gives inputs with the time and performs the effects
 * in their order. Messages and their acks do not pass here but through the windows beside this file.
 *
 * Source: MQTT 5.0 chapters 3 and 4; MQTT 3.1.1 where the two differ.
 */
export class Session {
  state: SessionState = 'new'
  /** Set from the moment of acceptance on. */
  agreement: Agreement | null = null
  identity: Identity | null = null
  settings: TenantSettings | null = null
  /** When the last packet came; the host keeps it up to date. Ms of the host's monotonic clock. */
  heardAtMs: number
  /** The CONNECT, from its arrival on. */
  connect: Connect | null = null
  #authenticationData: Uint8Array | null = null
  #effects: Effect[] = []
  #reauthenticating = false
  #expirySeconds: number | null = null
  #discardWill = false
  readonly #connectDeadlineMs: number
  readonly #packetBytesMax: number

  constructor(nowMs: number, limits: SessionLimits) {
    this.heardAtMs = nowMs
    this.#connectDeadlineMs = nowMs + limits.connectTimeoutMs
    this.#packetBytesMax = limits.packetBytesMax
  }

  /** Applies one input; returns what the host must do now. */
  step(input: Input, nowMs: number): Effect[] {
    if (this.state !== 'closed') this.#apply(input, nowMs)
    const effects = this.#effects
    this.#effects = []
    return effects
  }

  /** When the next tick is due, on the clock of `nowMs`; Infinity = never. */
  get deadlineMs(): number {
    if (this.state === 'closed') return Number.POSITIVE_INFINITY
    // What it waits for then is ours.
    if (this.state === 'attaching') return Number.POSITIVE_INFINITY
    if (this.state !== 'open') return this.#connectDeadlineMs
    return this.heardAtMs + keepAliveTimeoutMs(this.agreement!.keepAliveSeconds)
  }

  #apply(input: Input, nowMs: number): void {
    switch (input.type) {
      case 'connect':
        return this.#onConnect(input.packet)
      case 'authenticated':
        return this.#onAuthenticated(input)
      case 'attached':
        return this.#onAttached(input.attachment, nowMs)
      case 'refused':
        return this.#refuse(input.reasonCode, input.reason, input.serverReference)
      case 'subscribe':
      case 'unsubscribe':
      case 'pingreq':
        return this.state === 'open' ? this.#onRequest(input) : this.#unexpected(input.type)
      case 'subscribed':
        return this.#onSubscribed(input.packetId, input.outcomes)
      case 'unsubscribed':
        return this.#onUnsubscribed(input.packetId, input.existed)
      case 'auth':
        return this.#onAuth(input.packet)
      case 'disconnect':
        return this.#onDisconnect(input.packet)
      case 'end':
        return this.#end(input.reasonCode, input.reason, input.serverReference)
      case 'closed':
        return this.#close(REASON.UNSPECIFIED_ERROR, 'The connection was lost')
      case 'tick':
        return this.#onTick(nowMs)
      default:
        unreachable(input)
    }
  }

  /** What an open session may be asked for. */
  #onRequest(input: Extract<Input, { type: 'subscribe' | 'unsubscribe' | 'pingreq' }>): void {
    if (input.type === 'pingreq') return this.#emit({ type: 'send', packet: { type: 'pingresp' } })
    const { packetId } = input.packet
    if (input.type === 'unsubscribe') {
      return this.#emit({ type: 'unsubscribe', packetId, filters: input.packet.filters })
    }
    const filters = judgeSubscribe(input.packet, input.allowed, this.agreement!.version, this.settings!)
    this.#emit({ type: 'subscribe', packetId, filters })
  }

  /** CONNACK comes first [MQTT-3.2.0-1]; while authentication goes on, the client has nothing to say but AUTH. */
  #unexpected(type: string): void {
    this.#end(REASON.PROTOCOL_ERROR, `An unexpected ${type.toUpperCase()}`)
  }

  #onConnect(packet: Connect): void {
    if (this.state !== 'new') return this.#end(REASON.PROTOCOL_ERROR, 'A second CONNECT') // [MQTT-3.1.0-2]
    this.state = 'authenticating'
    this.connect = packet
    const method = packet.properties.authenticationMethod
    if (method === undefined) return this.#emit({ type: 'authenticate', packet })
    const data = packet.properties.authenticationData ?? null
    this.#emit({ type: 'authenticate-extended', method, data, reauthentication: false })
  }

  #onAuthenticated(input: Extract<Input, { type: 'authenticated' }>): void {
    const result = input.result
    if (result.result !== 'refused' && !isSendableData(result.data)) {
      return this.#end(REASON.IMPLEMENTATION_SPECIFIC_ERROR, 'The authentication data is longer than a packet can hold')
    }
    if (this.#reauthenticating) return this.#onReauthenticated(input)
    if (this.state !== 'authenticating') return
    if (result.result === 'refused') return this.#refuse(result.reasonCode, result.reason)
    if (result.result === 'continue') return this.#sendAuth(REASON.CONTINUE_AUTHENTICATION, result.data)
    const connect = this.connect!
    const host = { assignedClientId: input.assignedClientId, packetBytesMax: this.#packetBytesMax }
    const negotiation = negotiate(connect, input.settings!, host)
    if (negotiation.result === 'refused') return this.#refuse(negotiation.reasonCode, negotiation.reason)
    this.identity = result.identity
    this.settings = input.settings!
    this.agreement = negotiation.agreement
    this.#authenticationData = result.data
    this.state = 'attaching'
    this.#emit({ type: 'attach', agreement: negotiation.agreement, packet: connect })
  }

  #onAttached(attachment: Attachment, nowMs: number): void {
    if (this.state !== 'attaching') return
    this.state = 'open'
    this.heardAtMs = nowMs
    const information = this.identity!.responseInformation ?? null
    const packet = connack(this.connect!, this.agreement!, this.settings!, {
      sessionPresent: attachment.sessionPresent,
      responseInformation: information !== null && isSendable(information) ? information : null,
      authenticationData: this.#authenticationData,
    })
    this.#emit({ type: 'send', packet })
    this.#emit({ type: 'open', attachment })
    // Kept for its authentication method; secrets and payloads are not kept.
    this.connect = { ...this.connect!, password: null, will: null }
  }

  #onSubscribed(packetId: number, outcomes: readonly FilterOutcome[]): void {
    if (this.state !== 'open') return
    const reasonCodes = outcomes.map(({ request, refusal }) => (refusal === 0 ? request.options.qos : refusal))
    this.#emit({ type: 'send', packet: { type: 'suback', packetId, reasonCodes, properties: {} } })
    for (const { request, refusal, fresh } of outcomes) {
      if (refusal !== 0 || isShared(request.filter)) continue // MQTT 5.0 4.8.2: none for shared subscriptions
      if (request.retainHandling === 2 || (request.retainHandling === 1 && !fresh)) continue // [MQTT-3.3.1-10], [-11]
      this.#emit({ type: 'retained', filter: request.filter, options: request.options })
    }
  }

  #onUnsubscribed(packetId: number, existed: readonly boolean[]): void {
    if (this.state !== 'open') return
    const five = this.agreement!.version === 5
    const reasonCodes = five ? existed.map((known) => (known ? REASON.SUCCESS : REASON.NO_SUBSCRIPTION_EXISTED)) : []
    this.#emit({ type: 'send', packet: { type: 'unsuback', packetId, reasonCodes, properties: {} } })
  }

  #onAuth(packet: Auth): void {
    const method = this.connect?.properties.authenticationMethod
    // [MQTT-4.12.0-6], [MQTT-4.12.1-1]
    if (method === undefined || packet.properties.authenticationMethod !== method) {
      return this.#end(REASON.PROTOCOL_ERROR, 'AUTH with another authentication method than CONNECT')
    }
    const data = packet.properties.authenticationData ?? null
    if (this.state === 'open' && packet.reasonCode === REASON.REAUTHENTICATE && !this.#reauthenticating) {
      this.#reauthenticating = true
    } else if (
      packet.reasonCode !== REASON.CONTINUE_AUTHENTICATION ||
      (this.state === 'open') !== this.#reauthenticating
    ) {
      return this.#end(REASON.PROTOCOL_ERROR, 'An AUTH that nothing asked for')
    }
    this.#emit({ type: 'authenticate-extended', method, data, reauthentication: this.#reauthenticating })
  }

  #onReauthenticated(input: Extract<Input, { type: 'authenticated' }>): void {
    const result = input.result
    if (result.result === 'continue') return this.#sendAuth(REASON.CONTINUE_AUTHENTICATION, result.data)
    this.#reauthenticating = false
    if (result.result === 'refused') return this.#end(result.reasonCode, result.reason)
    if (result.identity.tenant !== this.identity!.tenant) {
      return this.#end(REASON.NOT_AUTHORIZED, 'Re-authentication may not change the tenant')
    }
    this.identity = result.identity
    this.#emit({ type: 'reauthenticated', identity: result.identity })
    this.#sendAuth(REASON.SUCCESS, result.data)
  }

  #sendAuth(reasonCode: number, data: Uint8Array | null): void {
    const properties: Auth['properties'] = { authenticationMethod: this.connect!.properties.authenticationMethod! }
    if (data !== null) properties.authenticationData = Buffer.from(data)
    this.#emit({ type: 'send', packet: { type: 'auth', reasonCode, properties } })
  }

  #onDisconnect(packet: Disconnect): void {
    const expiry = packet.properties.sessionExpiryInterval
    if (expiry !== undefined && this.state === 'open') {
      if (this.agreement!.expirySeconds === 0 && expiry !== 0) {
        return this.#end(REASON.PROTOCOL_ERROR, 'DISCONNECT may not give a session expiry to a session without one')
      }
      this.#expirySeconds = Math.min(expiry, this.settings!.sessionExpirySecondsMax)
    }
    this.#discardWill = packet.reasonCode === REASON.SUCCESS // [MQTT-3.14.4-3]
    this.#close(packet.reasonCode, 'The client disconnected')
  }

  #onTick(nowMs: number): void {
    if (nowMs < this.deadlineMs) return
    if (this.state === 'open') return this.#end(REASON.KEEP_ALIVE_TIMEOUT, 'Nothing came within the keep-alive time')
    this.#close(REASON.KEEP_ALIVE_TIMEOUT, 'No CONNECT was completed in time')
  }

  /** Before CONNACK: a CONNACK with the reason; after it: a DISCONNECT (version 5). Then the close. */
  #end(reasonCode: number, reason: string, serverReference?: string): void {
    if (this.state === 'new') return this.#close(reasonCode, reason)
    if (this.state !== 'open') return this.#refuse(reasonCode, reason, serverReference)
    if (this.agreement!.version === 5) {
      const properties: Disconnect['properties'] = { reasonString: boundedReason(reason) }
      if (serverReference !== undefined && isSendable(serverReference)) properties.serverReference = serverReference
      this.#emit({ type: 'send', packet: { type: 'disconnect', reasonCode: disconnectReason(reasonCode), properties } })
    }
    this.#close(reasonCode, reason)
  }

  #refuse(reasonCode: number, reason: string, serverReference?: string): void {
    const properties: Connack['properties'] = { reasonString: boundedReason(reason) }
    if (serverReference !== undefined && isSendable(serverReference)) properties.serverReference = serverReference
    const packet = {
      type: 'connack',
      sessionPresent: false,
      reasonCode: connackReason(reasonCode),
      properties,
    } as const
    this.#emit({ type: 'send', packet })
    this.#close(reasonCode, reason)
  }

  #close(reasonCode: number, reason: string): void {
    this.state = 'closed'
    const detach = { expirySeconds: this.#expirySeconds, discardWill: this.#discardWill }
    this.#emit({ type: 'close', reasonCode, reason: boundedReason(reason), detach })
  }

  #emit(effect: Effect): void {
    this.#effects.push(effect)
  }
}
