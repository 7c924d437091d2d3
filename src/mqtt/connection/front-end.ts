import type { Clock } from '../../base/clock.ts'
import type { HybridClock } from '../../base/hlc.ts'
import type { TenantId } from '../../base/ids.ts'
import type { Logger } from '../../base/logging.ts'
import type { Dist } from '../../dist/index.ts'
import type { Inbox } from '../../inbox/index.ts'
import type { AuthGate, BalancerPlugin, EventBus, FlapGuard, SettingsSource } from '../../plugin/index.ts'
import type { Retain } from '../../retain/index.ts'
import type { ClusterClients } from '../registry/index.ts'
import type { LocalTable } from '../routing/local-table.ts'
import type { Router } from '../routing/router.ts'
import type { AttachRefusal } from './attach.ts'
import type { Counters } from './counters.ts'
import type { FlushQueue } from './flush-queue.ts'
import type { Leftovers } from './leftovers.ts'
import type { RefusalLog } from './refusal-log.ts'
import type { Registry } from './registry.ts'
import type { SessionRoutes } from './session-routes.ts'
import type { Turn } from './turn.ts'

/** What all connections of a node share. */
export interface FrontEnd {
  router: Router
  table: LocalTable
  dist: Dist
  inbox: Inbox
  retain: Retain
  routes: SessionRoutes
  leftovers: Leftovers
  registry: Registry
  /** Connections of the other nodes; left out where this one is alone. */
  clients?: ClusterClients
  auth: AuthGate
  balancer: BalancerPlugin
  flapping: FlapGuard
  settings: SettingsSource
  events: EventBus
  counters: Counters
  clock: Clock
  hlc: HybridClock
  flush: FlushQueue
  turn: Turn
  log: Logger
  refusals: RefusalLog
  node: string
  limits: ConnectionLimits
  /** A client id that nobody uses. */
  assignClientId(): string
  /** Names an attachment; never given twice, not after a restart either. */
  nextConnectionId(): string
  defer(callback: () => void): void
  /** True once the node closes its connections. */
  stopping(): boolean
  /** Why one more connection is not taken now; null where it is. */
  refuses(tenant: TenantId, clientId: string): AttachRefusal | null
}

export interface ConnectionLimits {
  /** Largest packet before the tenant is known. */
  packetBytesMax: number
  connectTimeoutMs: number
  /** Bytes that may wait for one client. */
  outputBytesMax: number
  /** Publishes of QoS 1 and 2 of a 3.x client that may be under way before it is read no further. */
  inFlight3Max: number
}
