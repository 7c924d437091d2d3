/** What the layers above see of the underlay, and what the composition root gives it. */

import type { Clock, Random } from '../../base/clock.ts'
import type { HostId } from '../../base/ids.ts'
import type { Logger } from '../../base/logging.ts'
import type { ClusterIdentity, HostRecord, HostView, Metadata, SwimOptions, UnderlayEvent } from './core/index.ts'

/** All that the core tells but payloads, which have a way of their own. */
export type UnderlayNotice = Exclude<UnderlayEvent, { type: 'payload' }>

/** The hosts of the cluster, as this one sees them: a hint, never a decision. Everything here answers at once. */
export interface UnderlayPort {
  /** This host, as it tells the others. */
  readonly self: HostRecord
  /** Null: not in a cluster yet, or changing over to another one. */
  readonly cluster: ClusterIdentity | null
  /** All hosts but this one, also the dead and those who left, for a day. */
  members(): HostView[]
  member(host: HostId): HostView | null
  /** Each change, after `members()` shows it. The returned function ends it. A listener must not throw. */
  on(listener: (notice: UnderlayNotice) => void): () => void
  /** Replaces what this host tells of itself: at most 512 bytes, METADATA_BYTES_MAX. */
  setMetadata(metadata: Metadata): void
  /**
   * For the layer above on another host: at most PAYLOAD_BYTES_MAX, in one datagram up to PAYLOAD_DATAGRAM_BYTES, over
   * TCP above. May be lost, doubled, overtaken; lost and counted where the host is not alive or suspect. The bytes are
   * copied before this returns.
   */
  sendPayload(to: HostId, payload: Uint8Array): void
  /** Payloads of hosts of our cluster. One receiver: a second one is our mistake. The bytes belong to the receiver. */
  onPayload(receiver: (from: HostId, payload: Uint8Array) => void): void
  /** A layer above lost its way to this host: it is probed next. */
  doubt(host: HostId): void
}

export interface UnderlayHostOptions {
  /** `cluster.name`: printable ASCII, at most 64 letters. */
  clusterName: string
  /** `cluster.host`: where to listen, UDP and TCP; an IP address or a name of one. `0.0.0.0`: all of IPv4, `::`: all. */
  host: string
  /** `cluster.port`; 0: any that is free. */
  port: number
  /**
   * `cluster.advertise`: where others find this host, `host`, `host:port` or `[ip6]:port`. Null: `host`, or where that
   * stands for all addresses, the one from which the way to the first seed goes out.
   */
  advertise: string | null
  /** `cluster.seeds`: each `host:port`, `host` (then `port` is ours) or `[ip6]:port`. A name stands for all its addresses. */
  seeds: readonly string[]
  /** `cluster.expect`; 0: not set. */
  expect: number
  /** `cluster.secret`: the first encrypts, all decrypt. At most 8; none: packets are plain. */
  secrets: readonly string[]
  /** `cluster.insecure`: beyond loopback without a secret. */
  insecure: boolean
  /** Links are authenticated by certificates: beyond loopback without a secret, too. */
  mutualTls: boolean
  /** Of the data folder. */
  hostId: HostId
  /** Where what must survive a restart is kept: a file in the data folder. */
  statePath: string
  metadata: Metadata
  /** Whether users' data are on this host: see {@link UnderlayHostOptions.dissolve}, and setUserData(). */
  userData: boolean
  /**
   * This host founded a cluster in which nobody else ever was, and now meets its older one: wipe what was founded here.
   * False: there are users' data after all, and both clusters stay.
   */
  dissolve: () => Promise<boolean>
  /** The host cannot go on: its id is in use elsewhere, or its state cannot be written. It is silent from now on. */
  fatal: (error: Error) => void
  log: Logger
  clock: Clock
  random: Random
  /** For tests; default: LAN. */
  swim?: Partial<SwimOptions>
  /** All addresses of a name; throws where there is none. Default: as the system resolves names. */
  resolve?: (name: string) => Promise<string[]>
}
