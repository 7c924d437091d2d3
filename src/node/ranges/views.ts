import type { HostId } from '../../base/ids.ts'
import type { Epoch } from '../../kv/range/coprocessor.ts'
import type { RangeStats } from '../../kv/store/figures.ts'
import type { HeardRange } from './tidings.ts'

/** Which ranges are asked for: those behind `after`, in the order of their ids. */
export interface RangeQuery {
  /** Null: of all services. */
  service: string | null
  /** Null: all of them. */
  id: string | null
  after: string
  limit: number
}

/** What a store tells of one of its replicas, over the control channel. */
export interface ToldReplica {
  id: string
  service: string
  /** Hexadecimal; null: no bound. */
  start: string | null
  end: string | null
  epoch: Epoch
  replicas: { store: string; replica: number; role: 'voter' | 'learner' }[]
  role: RangeStats['role']
  term: number
  leads: boolean
  lastIndex: number
  commit: number
  applied: number
  logBytes: number
  halted: string | null
  quiescent: boolean
  joint: boolean
  /** Of a leader: entries that each store lacks; null: it has not been heard of late. */
  lag: Readonly<Record<string, number | null>>
}

export interface ToldPage {
  ranges: ToldReplica[]
  /** There are more behind the last one. */
  more: boolean
}

/** A node that was asked. */
export interface AskedNode {
  name: string
  id: HostId
  state: string
  /** Why it did not answer; null: it did. */
  error: string | null
}

export interface ReplicaInfo {
  node: string
  /** Host id of the node. */
  id: string
  /** Its number in the group. */
  replica: number
  kind: 'voter' | 'learner'
  /** Null: its node did not answer, or has no state of the range yet. */
  role: RangeStats['role'] | null
  commit: number | null
  applied: number | null
  /** Entries that the leader has and this one lacks; null: not heard of late, or nobody leads. 0 for the leader. */
  lag: number | null
  logBytes: number | null
  /** Why it serves nothing any more. */
  halted: string | null
  /** `ok`, or what is to be known of it. */
  note: string
}

export interface RangeInfo {
  id: string
  service: string
  start: string | null
  end: string | null
  epoch: Epoch
  term: number
  leader: { node: string; id: string } | null
  /** A change of the replicas is under way. */
  joint: boolean
  sizeBytes: number | null
  /** A second. */
  writeLoad: number | null
  queryLoad: number | null
  replicas: ReplicaInfo[]
}

export interface RangeList {
  nodes: AskedNode[]
  ranges: RangeInfo[]
  /** What `after` is for the next page; null: this is the last one. */
  next: string | null
}

/** One page of what a store has. */
export function pageOf(stats: readonly RangeStats[], query: RangeQuery): ToldPage {
  const found = stats.filter(({ descriptor }) => matches(descriptor, query)).sort(byId)
  return { ranges: found.slice(0, query.limit).map(toldOf), more: found.length > query.limit }
}

/**
 * One page of all: up to where every node has told, so that no range is shown without a replica that is only behind its
 * node's page. `heard`: what leaders told everybody, also of ranges whose nodes do not answer.
 */
export function mergePages(
  pages: ReadonlyMap<string, ToldPage>,
  heard: readonly HeardRange[],
  query: RangeQuery,
): { groups: RangeGroup[]; next: string | null } {
  const groups = new Map<string, RangeGroup>()
  const groupOf = (id: string): RangeGroup => {
    const group = groups.get(id) ?? { id, told: new Map(), heard: null }
    groups.set(id, group)
    return group
  }
  let until: string | null = null
  for (const [store, { ranges, more }] of pages) {
    for (const told of ranges) groupOf(told.id).told.set(store, told)
    const last = ranges.at(-1)?.id
    if (more && last !== undefined && (until === null || last < until)) until = last
  }
  for (const tiding of heard) {
    if (matches(tiding.descriptor, query)) groupOf(tiding.descriptor.id).heard = tiding
  }
  // A hint of a range that none of its nodes knows is old: the range has become part of another one.
  const isThere = ({ told, heard: hint }: RangeGroup) =>
    told.size > 0 || hint?.descriptor.replicas.some(({ store }) => !pages.has(store))
  const all = [...groups.values()].filter(isThere).sort((a, b) => compare(a.id, b.id))
  const whole = until === null ? all : all.filter(({ id }) => id <= until)
  const page = whole.slice(0, query.limit)
  return { groups: page, next: page.length < all.length ? page.at(-1)!.id : null }
}

/** All that is known of one range. */
export interface RangeGroup {
  id: string
  /** By store. */
  told: Map<string, ToldReplica>
  heard: HeardRange | null
}

type Shape = Pick<ToldReplica, 'service' | 'start' | 'end' | 'epoch' | 'replicas' | 'term'>

/** @param answered whether that node has answered; `nameOf` its name */
export function rangeOf(
  group: RangeGroup,
  nameOf: (store: string) => string,
  answered: (store: string) => boolean,
): RangeInfo {
  const told = [...group.told.entries()]
  const shape = newest(group)
  const leading = told.filter(([, { leads }]) => leads).sort(([, a], [, b]) => b.term - a.term)[0]
  const leader = leading?.[0] ?? group.heard?.leader ?? null
  const { id, heard } = group
  const replicas = shape.replicas.map(({ store, replica, role: kind }): ReplicaInfo => {
    const own = group.told.get(store)
    const lag = store === leader ? 0 : (leading?.[1].lag[store] ?? heard?.lag[store] ?? null)
    const { role = null, commit = null, applied = null, logBytes = null, halted = null } = own ?? {}
    const known = { role, commit, applied, lag, logBytes, halted }
    const note = halted ?? noteOf(own, answered(store), lag)
    return { node: nameOf(store), id: store, replica, kind, ...known, note }
  })
  replicas.sort((a, b) => compare(a.kind, b.kind) * -1 || compare(a.node, b.node))
  const { service, start, end, epoch, term } = shape
  return {
    ...{ id, service, start, end, epoch, term },
    leader: leader === null ? null : { node: nameOf(leader), id: leader },
    joint: told.some(([, { joint }]) => joint),
    sizeBytes: heard?.sizeBytes ?? null,
    writeLoad: heard?.writeLoad ?? null,
    queryLoad: heard?.queryLoad ?? null,
    replicas,
  }
}

function noteOf(own: ToldReplica | undefined, answered: boolean, lag: number | null): string {
  if (!answered) return 'node does not answer'
  if (own === undefined) return 'waits for a state'
  if (own.leads) return 'ok'
  return lag === null ? 'not heard by the leader' : 'ok'
}

/** What was told last of boundaries and replicas. */
function newest({ told, heard }: RangeGroup): Shape {
  let best: Shape | null = null
  let term = heard?.term ?? 0
  const hinted = heard === null ? [] : [shapeOf(heard)]
  for (const shape of [...hinted, ...told.values()]) {
    term = Math.max(term, shape.term)
    if (best === null || isNewer(shape.epoch, best.epoch)) best = shape
  }
  return { ...best!, term }
}

function shapeOf({ descriptor, term }: HeardRange): Shape {
  const { service, epoch, replicas } = descriptor
  return { service, ...boundsOf(descriptor), epoch, replicas: [...replicas], term }
}

function isNewer(a: Epoch, b: Epoch): boolean {
  return a.version > b.version || (a.version === b.version && a.confVersion > b.confVersion)
}

function toldOf(stats: RangeStats): ToldReplica {
  const { descriptor, role, term, leads, lastIndex, commit, index, logBytes, halted, quiescent, joint, lag } = stats
  const { id, service, epoch, replicas } = descriptor
  return {
    ...{ id, service, ...boundsOf(descriptor), epoch, replicas: [...replicas], role, term, leads, lastIndex, commit },
    ...{ applied: index, logBytes, halted, quiescent, joint, lag },
  }
}

function boundsOf({ start, end }: RangeStats['descriptor']): { start: string | null; end: string | null } {
  return { start: hexOf(start), end: hexOf(end) }
}

function hexOf(key: Uint8Array | undefined): string | null {
  return key === undefined ? null : Buffer.from(key).toString('hex')
}

function matches({ id, service }: { id: string; service: string }, query: RangeQuery): boolean {
  if (query.id !== null && id !== query.id) return false
  return (query.service === null || service === query.service) && id > query.after
}

function byId(a: RangeStats, b: RangeStats): number {
  return compare(a.descriptor.id, b.descriptor.id)
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
