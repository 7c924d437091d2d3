import { DEFAULT_TENANT } from '../base/ids.ts'
import type { QoS } from '../base/message.ts'
import type { MetricSink, MetricSource } from '../base/metrics.ts'
import { isTenantName } from './auth/identity.ts'
import type {
  AuthPlugin,
  AuthRequest,
  AuthResult,
  ExtendedAuthRequest,
  ExtendedAuthResult,
  Identity,
  Permissions,
  SubscribeDecision,
} from './contract.ts'
import { type Asker, type GuardOptions, isPromise, PluginGuard } from './plugin-guard.ts'

type Refused = Extract<AuthResult, { result: 'refused' }>

const UNAVAILABLE: Refused = { result: 'refused', reasonCode: 0x88, reason: 'authentication is not available' }

export interface AuthGateOptions extends GuardOptions {
  /** True for what FlockMQ brings along: its permissions are asked without a guard, since they cannot fail. */
  trusted: boolean
}

/**
 * The auth plugin as the front end sees it: it never throws, always answers in time, and in doubt refuses
 * (CONNECT: 0x88; a check: not allowed).
 */
export class AuthGate implements AuthPlugin, MetricSource {
  readonly name: string
  /** Absent where the plugin has none: 0x8C, bad authentication method. */
  readonly authenticateExtended?: (request: ExtendedAuthRequest) => Promise<ExtendedAuthResult>
  readonly #plugin: AuthPlugin
  readonly #guard: PluginGuard
  readonly #trusted: boolean

  constructor(plugin: AuthPlugin, options: AuthGateOptions) {
    this.name = plugin.name
    this.#plugin = plugin
    this.#guard = new PluginGuard(plugin.name, options)
    this.#trusted = options.trusted
    if (plugin.authenticateExtended) this.authenticateExtended = (request) => this.#extended(request)
  }

  get generation(): number {
    return this.#plugin.generation
  }

  authenticate(request: AuthRequest): AuthResult | Promise<AuthResult> {
    const answer = this.#guard.ask<AuthResult>(
      'authenticate',
      { tenant: DEFAULT_TENANT, clientId: request.clientId },
      () => this.#plugin.authenticate(request),
      isAuthResult,
      () => UNAVAILABLE,
    )
    if (this.#trusted) return answer
    if (isPromise(answer)) return answer.then((result) => this.#guarded(request, result))
    return this.#guarded(request, answer)
  }

  async start(): Promise<void> {
    await this.#plugin.start?.()
  }

  async stop(): Promise<void> {
    await this.#plugin.stop?.()
  }

  collect(sink: MetricSink): void {
    this.#guard.collect(sink)
    if ('collect' in this.#plugin && typeof this.#plugin.collect === 'function') this.#plugin.collect(sink)
  }

  async #extended(request: ExtendedAuthRequest): Promise<ExtendedAuthResult> {
    const answer = await this.#guard.ask<ExtendedAuthResult>(
      'authenticateExtended',
      { tenant: DEFAULT_TENANT, clientId: request.clientId },
      () => this.#plugin.authenticateExtended!(request),
      isExtendedAuthResult,
      () => UNAVAILABLE,
    )
    return this.#trusted ? answer : this.#guarded(request, answer)
  }

  /** The same result, with permissions that cannot throw. */
  #guarded<Result extends AuthResult | ExtendedAuthResult>(request: AuthRequest, result: Result): Result {
    if (result.result !== 'accepted') return result
    const { identity } = result
    const asker = { tenant: identity.tenant, clientId: request.clientId }
    const permissions = new GuardedPermissions(identity.permissions, this.#guard, asker)
    return { ...result, identity: { ...identity, permissions } }
  }
}

class GuardedPermissions implements Permissions {
  readonly #permissions: Permissions
  readonly #guard: PluginGuard
  readonly #asker: Asker

  constructor(permissions: Permissions, guard: PluginGuard, asker: Asker) {
    this.#permissions = permissions
    this.#guard = guard
    this.#asker = asker
  }

  get all(): boolean {
    return this.#guard.askSync('all', this.#asker, () => this.#permissions.all === true, false)
  }

  publish(topic: string, qos: QoS, retain: boolean): boolean | Promise<boolean> {
    return this.#check('publish', () => this.#permissions.publish(topic, qos, retain))
  }

  subscribe(filter: string, qos: QoS): SubscribeDecision | Promise<SubscribeDecision> {
    const ask = () => this.#permissions.subscribe(filter, qos)
    return this.#guard.ask<SubscribeDecision>('subscribe', this.#asker, ask, isSubscribeDecision, () => false)
  }

  receive(topic: string): boolean {
    return this.#guard.askSync('receive', this.#asker, () => this.#permissions.receive(topic) === true, false)
  }

  #check(call: string, ask: () => boolean | Promise<boolean>): boolean | Promise<boolean> {
    return this.#guard.ask<boolean>(call, this.#asker, ask, isBoolean, () => false)
  }
}

function isBoolean(answer: unknown): boolean {
  return typeof answer === 'boolean'
}

function isSubscribeDecision(answer: unknown): boolean {
  return isBoolean(answer) || (typeof answer === 'number' && answer >= 0x80 && isReasonCode(answer))
}

function isAuthResult(answer: AuthResult): boolean {
  if (typeof answer !== 'object' || answer === null) return false
  if (answer.result === 'accepted') return isIdentity(answer.identity)
  return answer.result === 'refused' && isReasonCode(answer.reasonCode) && typeof answer.reason === 'string'
}

function isExtendedAuthResult(answer: ExtendedAuthResult): boolean {
  if (typeof answer !== 'object' || answer === null) return false
  if (answer.result === 'refused') return isAuthResult(answer)
  if (answer.data !== null && !(answer.data instanceof Uint8Array)) return false
  return answer.result === 'continue' || (answer.result === 'accepted' && isIdentity(answer.identity))
}

/** An error of MQTT 5.0 2.4; a refusal with a code of success would let the client believe it is in. */
function isReasonCode(code: unknown): boolean {
  return Number.isInteger(code) && (code as number) >= 0x80 && (code as number) <= 0xff
}

function isIdentity(identity: Identity): boolean {
  if (typeof identity !== 'object' || identity === null) return false
  const { tenant, user, attributes, permissions } = identity
  if (typeof tenant !== 'string' || !isTenantName(tenant) || typeof user !== 'string') return false
  if (typeof attributes !== 'object' || attributes === null || typeof permissions !== 'object') return false
  if (permissions === null || typeof permissions.all !== 'boolean') return false
  return [permissions.publish, permissions.subscribe, permissions.receive].every((check) => typeof check === 'function')
}
