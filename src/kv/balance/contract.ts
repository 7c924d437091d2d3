import type { Epoch, RangeDescriptor, ServiceName } from '../range/coprocessor.ts'
import type { Survey } from './survey.ts'

/**
 * What balancers see and what they say. Everything here is a hint: what a proposal does is decided by the range, which
 * refuses it when its epoch is another by then.
 */
export interface Landscape {
  /** Who asks: only proposals for ranges that this store leads come back. Null = all, as a dry run shows them. */
  self: string | null
  stores: readonly StoreView[]
  ranges: readonly RangeView[]
}

/** A node with a store. One that is in no list counts as dead, and its replicas are left alone. */
export interface StoreView {
  id: string
  /** Failure domain; '' where none is set, which is a zone as well. */
  zone: string
  alive: boolean
  /** 0 while alive. */
  deadForMs: number
  /** Leaves for ever: its replicas move away first. */
  decommissioning: boolean
  /** Pauses, as SIGTERM asks: gives up its leaders, keeps its replicas, takes no new ones. */
  draining: boolean
  /** What the node runs: `mqtt`, and the services that it holds voters of. */
  roles: readonly string[]
  freeBytes: number
  /** Says itself that it has too little space to go on: its leaders leave. Its own margin keeps this from flapping. */
  full: boolean
}

/** A range as its leader tells it. */
export interface RangeView {
  descriptor: RangeDescriptor
  /** Null while nobody leads: then nothing is proposed for it. */
  leaderStore: string | null
  sizeBytes: number
  /** Commands a second, a mean over some seconds. */
  writeLoad: number
  queryLoad: number
  /** Where the service would cut the load in two; null = nowhere, or not known yet. */
  splitHint: Uint8Array | null
  /** Where about half of the bytes lie before; null = not known. */
  middleKey: Uint8Array | null
  /** Entries that each store's replica is behind; absent = has not been heard. The leader's own need not be named. */
  lag: Readonly<Record<string, number>>
  /** A joint configuration, a split or a merge is under way: nothing else is proposed until it is done. */
  busy: boolean
  /** Since the last change of the descriptor, in ms. */
  changedForMs: number
  /** Since this leader was elected, in ms. */
  ledForMs: number
}

/** Becomes a voter, becomes a learner, or leaves. */
export interface ReplicaChange {
  store: string
  to: 'voter' | 'learner' | 'none'
}

export type Action =
  | { type: 'change'; changes: readonly ReplicaChange[] }
  | { type: 'transfer'; to: string }
  | { type: 'split'; key: Uint8Array }
  /** The range takes over its right neighbour. */
  | { type: 'merge'; right: string }

export interface Proposal {
  balancer: BalancerName
  range: string
  service: ServiceName
  /** Who carries it out: the range's leader. */
  store: string
  /** Of the range as seen: the proposal is void under another. */
  epoch: Epoch
  action: Action
  /** A sentence for the operator. */
  reason: string
}

/** In order of precedence: a range follows the first one that has something for it. */
export const BALANCERS = [
  'drain',
  'replacement',
  'decommission',
  'replica-count',
  'catch-up',
  'pre-split',
  'size-split',
  'load-split',
  'zones',
  'range-spread',
  'leader-spread',
  'merge',
] as const
export type BalancerName = (typeof BALANCERS)[number]

/** One concern. A pure function of what it is shown, the same on every store that is shown the same. */
export interface Balancer {
  readonly name: BalancerName
  /** For those of `ranges`, which nobody before it has something for. */
  propose(survey: Survey, ranges: RangeView[]): Proposal[]
}
