import type { SubscriptionOptions } from '../../dist/index.ts'
import type { Owner } from '../../inbox/index.ts'
import type { ExtendedAuthResult, Identity, SubscribeDecision, TenantSettings } from '../../plugin/index.ts'
import type { Auth, Connect, Disconnect, Packet, Subscribe, Unsubscribe } from '../codec/index.ts'
import type { Agreement } from './negotiate.ts'

/** All that can happen to a session, apart from messages and their acks. */
export type Input =
  | { type: 'connect'; packet: Connect }
  /** `settings` are those of the identity's tenant. */
  | { type: 'authenticated'; result: ExtendedAuthResult; settings: TenantSettings | null; assignedClientId: string }
  | { type: 'attached'; attachment: Attachment }
  /** The session could not be attached, or the balancer sends the client elsewhere. */
  | { type: 'refused'; reasonCode: number; reason: string; serverReference?: string }
  /** `allowed` answers for each filter of the packet. */
  | { type: 'subscribe'; packet: Subscribe; allowed: readonly SubscribeDecision[] }
  | { type: 'subscribed'; packetId: number; outcomes: readonly FilterOutcome[] }
  | { type: 'unsubscribe'; packet: Unsubscribe }
  | { type: 'unsubscribed'; packetId: number; existed: readonly boolean[] }
  | { type: 'auth'; packet: Auth }
  | { type: 'pingreq' }
  | { type: 'disconnect'; packet: Disconnect }
  /** The broker ends the connection: protocol errors, takeover, shutdown, an operator. */
  | { type: 'end'; reasonCode: number; reason: string; serverReference?: string }
  /** The transport is gone. */
  | { type: 'closed' }
  | { type: 'tick' }

/** What the host does, in this order. */
export type Effect =
  | { type: 'send'; packet: Packet }
  | { type: 'authenticate'; packet: Connect }
  | { type: 'authenticate-extended'; method: string; data: Uint8Array | null; reauthentication: boolean }
  /** Take over older connections of the client id, then attach to the inbox where the plan needs one. */
  | { type: 'attach'; agreement: Agreement; packet: Connect }
  /** The session is open: resume, start timers, read on. */
  | { type: 'open'; attachment: Attachment }
  | { type: 'subscribe'; packetId: number; filters: readonly FilterRequest[] }
  | { type: 'unsubscribe'; packetId: number; filters: readonly string[] }
  | { type: 'retained'; filter: string; options: SubscriptionOptions }
  /** The identity changed by re-authentication: cached permissions are void. */
  | { type: 'reauthenticated'; identity: Identity }
  /** Flush and close the transport; then give the session up. */
  | { type: 'close'; reasonCode: number; reason: string; detach: Detach }

export interface Attachment {
  /** Null for a session without a trace in the inbox service. */
  owner: Owner | null
  /** True: subscriptions and queue live in the inbox. False: they end with the connection. */
  persistent: boolean
  sessionPresent: boolean
}

/** How the session is left when the connection ends. */
export interface Detach {
  /** Session expiry given by DISCONNECT; null = unchanged. */
  expirySeconds: number | null
  discardWill: boolean
}

export interface FilterRequest {
  filter: string
  options: SubscriptionOptions
  retainHandling: number
  /** Set where the filter is refused already: the reason code for SUBACK. */
  refusal: number
}

/** `refusal` 0 = done. `fresh` = there was no such subscription before. */
export interface FilterOutcome {
  request: FilterRequest
  refusal: number
  fresh: boolean
}
