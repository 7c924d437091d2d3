import type { Clock, Random } from '../../base/clock.ts'
import type { HostId } from '../../base/ids.ts'
import type { Logger } from '../../base/logging.ts'
import type { LinkKind, LinkState } from '../contract.ts'
import type { Authenticator, LinkMeters, LinkOptions } from '../link/core/index.ts'
import type { LinkTransport } from '../link/transport.ts'
import type { Deadlines } from './deadlines.ts'
import type { Handlers } from './handlers.ts'
import type { Outlet } from './outlet.ts'

export interface PeersOptions {
  cluster: string
  node: HostId
  /** Of this life of the node: a later one has a higher number. */
  incarnation: number
  authenticator: Authenticator
  transport: LinkTransport
  clock: Clock
  random: Random
  log: Logger
  /** Runs the callback at the end of this turn: setImmediate. */
  defer: (work: () => void) => void
  links: { readonly [Kind in LinkKind]: LinkOptions }
  /** Calls under way to one peer on one kind of link. */
  pendingMax: number
  /** Streams that one peer has open here. */
  streamsMax: number
  /** Connections that have not yet proven who they are. */
  strangersMax: number
  /** Sessions of peers. */
  sessionsMax: number
}

/** What the parts of one node's links share. */
export interface PeersContext extends PeersOptions {
  meters: { readonly [Kind in LinkKind]: LinkMeters }
  handlers: Handlers
  deadlines: Deadlines
  /** The outlet has something for the end of this turn. */
  schedule: (outlet: Outlet) => void
  stateChanged: (peer: HostId, kind: LinkKind, state: LinkState) => void
  unreadable: () => void
  unknown: () => void
  unanswered: () => void
  draining: () => boolean
  /** False for nodes that are never let in again. */
  admits: (node: HostId) => boolean
}
