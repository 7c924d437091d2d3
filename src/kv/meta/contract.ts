import type { HostId } from '../../base/ids.ts'

/** Who this cluster is. Written once, by its founder. */
export interface ClusterRecord {
  id: string
  name: string
  founder: HostId
  /** ms since 1970 */
  foundedMs: number
}

/** Which store creates the first range of a service. Nobody else ever does. */
export interface Origin {
  service: string
  store: HostId
  /** It has been done: a store that finds no range any more must not make one. */
  created: boolean
}

/** A value that all nodes agree on, such as a tenant's setting, a quota, a balancer's rule or switch. */
export interface Setting {
  /** What kind: `tenant/<name>`, `balancer`, ... without U+0000. */
  section: string
  name: string
  value: Uint8Array
  /** The revision that wrote it. */
  version: number
}

/** A host that belongs to the cluster. */
export interface Member {
  host: HostId
  /** The newest that registered. Those before it are fenced. */
  incarnation: number
  /** This incarnation is fenced as well. */
  fenced: boolean
  /** Names of what its program can do. */
  features: readonly string[]
  /** Is being decommissioned. */
  leaving: boolean
}

/** Who left for ever: this host id is never accepted again. */
export interface GoneHost {
  host: HostId
  /** ms since 1970 */
  goneMs: number
}

/**
 * What changed, and equally one item of a snapshot: a snapshot is the changes that make an empty state into this one.
 */
export type MetaChange =
  | { type: 'cluster'; cluster: ClusterRecord }
  | { type: 'origin'; origin: Origin }
  | { type: 'setting'; setting: Setting }
  | { type: 'setting-removed'; section: string; name: string }
  | { type: 'gate'; gate: string }
  | { type: 'member'; member: Member }
  | { type: 'gone'; gone: GoneHost }

export interface SettingChange {
  section: string
  name: string
  /** Null removes it. */
  value: Uint8Array | null
  /** The version that it must have; 0 = must not exist; null = whatever it is. */
  expected: number | null
}

export type MetaCommand =
  /** The cluster's first entry. */
  | { type: 'found'; id: string; name: string; founder: HostId; services: readonly string[] }
  /** Another store shall create the service's first range, which `expected` has not done. */
  | { type: 'assign'; service: string; store: HostId; expected: HostId | null }
  | { type: 'created'; service: string; store: HostId }
  /** All of them or none. */
  | { type: 'set'; changes: readonly SettingChange[] }
  /** A process begins: it fences those of its host before it. */
  | { type: 'register'; host: HostId; incarnation: number; features: readonly string[] }
  /** This incarnation, and those before it, are held for gone. */
  | { type: 'fence'; host: HostId; incarnation: number }
  /** Decommission, first step: its replicas begin to move away. `leaving` false takes it back. */
  | { type: 'leave'; host: HostId; leaving: boolean }
  /** Decommission, last step: nothing is left there. */
  | { type: 'gone'; host: HostId }

export type MetaRefusal =
  | 'founded'
  | 'not-founded'
  | 'assigned'
  | 'created'
  | 'conflict'
  | 'full'
  | 'superseded'
  | 'fenced'
  | 'gone'
  | 'lacks-gate'
  | 'unknown'

export type MetaResponse =
  | { type: 'done'; revision: number }
  /** `detail` for the operator; `current` where a setting has another version than expected, null = it does not exist. */
  | { type: 'refused'; reason: MetaRefusal; detail: string; revision: number; current?: Setting | null }

export type MetaQuery =
  /** `unless`: the revision that the asker has. `from`: where the last page ended; null = the beginning. */
  | { type: 'snapshot'; from: Uint8Array | null; bytesMax: number; unless: number | null }
  | { type: 'setting'; section: string; name: string }

export type MetaAnswer =
  | { type: 'same'; revision: number }
  /** All pages of one snapshot have one revision: where it differs, begin again. `next` null = the last page. */
  | { type: 'page'; revision: number; changes: readonly MetaChange[]; next: Uint8Array | null }
  | { type: 'setting'; revision: number; setting: Setting | null }
