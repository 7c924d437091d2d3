import type { TenantId } from '../base/ids.ts'
import type { QoS } from '../base/message.ts'
import type { EventType } from './events.ts'
import type { TenantSettings } from './settings.ts'

/**
 * Who may connect and do what. One answer at CONNECT gives tenant and permissions; checks on the message path are
 * synchronous on what that answer gave, or promises bounded by a deadline.
 */
export interface AuthPlugin {
  readonly name: string
  /** Password or certificate, any protocol version. Never throws for bad credentials: answers `refused`. */
  authenticate(request: AuthRequest): AuthResult | Promise<AuthResult>
  /** MQTT 5 enhanced authentication (4.12), first and every further AUTH, and re-authentication. Absent: 0x8C. */
  authenticateExtended?(request: ExtendedAuthRequest): Promise<ExtendedAuthResult>
  /** Raised whenever permissions may have changed (a file was reloaded): cached decisions are void. */
  readonly generation: number
  start?(): Promise<void>
  stop?(): Promise<void>
}

export interface AuthRequest {
  protocol: 3 | 4 | 5
  clientId: string
  /** Null where the client sent none. */
  username: string | null
  password: Uint8Array | null
  address: string
  listener: string
  /** Present where the client gave a verified certificate. */
  certificate: { commonName: string; subject: Record<string, string>; fingerprint: string } | null
  userProperties: readonly (readonly [string, string])[]
}

export type AuthResult =
  | { result: 'accepted'; identity: Identity }
  /** MQTT 5 reason code: 0x86 bad user name or password, 0x87 not authorized, 0x8A banned, 0x88 unavailable. */
  | { result: 'refused'; reasonCode: number; reason: string }

export interface Identity {
  tenant: TenantId
  /** Stable name of the user; empty for anonymous ones. */
  user: string
  attributes: Readonly<Record<string, string>>
  permissions: Permissions
  /** What MQTT 5 response information shall say; null = none. */
  responseInformation?: string | null
}

/** True = allowed. */
export type SubscribeDecision = boolean | number

/** What a client may do. `all` spares every check. */
export interface Permissions {
  readonly all: boolean
  publish(topic: string, qos: QoS, retain: boolean): boolean | Promise<boolean>
  /** False is 0x87; a number is the MQTT 5 reason code of another refusal, 0x80 or more. */
  subscribe(filter: string, qos: QoS): SubscribeDecision | Promise<SubscribeDecision>
  /** Asked for a message of a wildcard subscription before delivery of a retained message. */
  receive(topic: string): boolean
}

export interface ExtendedAuthRequest extends AuthRequest {
  method: string
  data: Uint8Array | null
  /** The same for all steps of one exchange: a place for the plugin's state. */
  exchange: object
  reauthentication: boolean
}

export type ExtendedAuthResult =
  | { result: 'continue'; data: Uint8Array | null }
  | { result: 'accepted'; identity: Identity; data: Uint8Array | null }
  | { result: 'refused'; reasonCode: number; reason: string }

/** Per-tenant values; the same object until one changes. */
export interface SettingsPlugin {
  /** What this plugin overrides for a tenant; absent keys keep the configured value. Synchronous, from memory. */
  provide(tenant: TenantId): Partial<TenantSettings> | null
}

export type { TenantSettings }

/** Something happened to a client or a message. `type` is from the catalogue in `events.ts`. */
export interface BrokerEvent {
  type: EventType
  tenant: TenantId
  clientId: string
  /** Ms since 1970. */
  timeMs: number
  reasonCode: number
  detail: Readonly<Record<string, string | number | boolean>>
}

/** Takes events; must not throw, must not block. */
export interface EventPlugin {
  readonly name: string
  /** Which types it wants; null = all. */
  readonly types: readonly string[] | null
  report(event: BrokerEvent): void
  stop?(): Promise<void>
}

/** May a tenant use more of something? Asked at CONNECT, SUBSCRIBE and by second, not by message. */
export interface ThrottlePlugin {
  hasResource(tenant: TenantId, resource: string): boolean
}

/** Where a client should go instead of here: MQTT 5 0x9C (use another server) or 0x9D (server moved). */
export interface BalancerPlugin {
  redirect(client: {
    tenant: TenantId
    clientId: string
    address: string
  }): { permanent: boolean; reference: string } | null
}
