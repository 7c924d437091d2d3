import type { Clock } from '../../base/clock.ts'
import type { HostId } from '../../base/ids.ts'
import type { HostRecord, HostState, UnderlayHost } from '../../cluster/underlay/index.ts'
import { identityOf, rpcAddressOf } from './identity.ts'

/** A node of the cluster, as this one sees it. */
export interface Member {
  name: string
  id: HostId
  /** Of gossip. */
  address: string
  /** Null: it tells none. */
  rpc: string | null
  state: HostState
  /** Since when it has been in this state, as this node heard: ISO 8601. */
  since: string
  version: string
  zone: string | null
  roles: readonly string[]
  incarnation: number
  /** This very node. */
  self: boolean
}

export interface MemberList {
  cluster: {
    name: string
    /** Null: this node is in no cluster yet. */
    id: string | null
  }
  members: Member[]
}

/** The nodes with what they tell of themselves, and since when they have been in their state. */
export class Roster {
  readonly #underlay: UnderlayHost
  readonly #clock: Clock
  readonly #clusterName: string
  readonly #startedMs: number

  constructor(underlay: UnderlayHost, clock: Clock, clusterName: string) {
    this.#underlay = underlay
    this.#clock = clock
    this.#clusterName = clusterName
    this.#startedMs = clock.now()
  }

  /** By name, this very node among them. */
  list(): MemberList {
    const { self, cluster } = this.#underlay
    const nowMs = this.#clock.now()
    const others = this.#underlay.members().map((host) => {
      return memberOf(host, host.state, nowMs - (this.#underlay.stateAgeMs(host.id) ?? 0), false)
    })
    const members = [memberOf(self, 'alive', this.#startedMs, true), ...others]
    members.sort((a, b) => compare(a.name, b.name) || compare(a.id, b.id))
    return { cluster: { name: this.#clusterName, id: cluster?.id ?? null }, members }
  }
}

function memberOf(host: HostRecord, state: HostState, sinceMs: number, self: boolean): Member {
  const { name, version, zone, roles } = identityOf(host)
  const { id, address, incarnation } = host
  const since = new Date(sinceMs).toISOString()
  return { name, id, address, rpc: rpcAddressOf(host), state, since, version, zone, roles, incarnation, self }
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
