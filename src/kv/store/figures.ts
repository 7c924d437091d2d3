import type { HealthReason } from '../../base/health.ts'
import type { MetricSink } from '../../base/metrics.ts'
import { type EngineStats, FAMILIES } from '../engine/engine.ts'
import type { RangeDescriptor } from '../range/coprocessor.ts'
import type { Range } from '../range/range.ts'
import type { Group } from './group.ts'
import type { Hosted } from './hosted.ts'
import type { Traffic } from './traffic.ts'

/** One replica of a range on this store, as an operator and a balancer see it. */
export interface RangeStats {
  descriptor: RangeDescriptor
  role: 'leader' | 'follower' | 'learner' | 'candidate'
  /** Its number in the group. */
  replica: number
  leads: boolean
  term: number
  /** Where the leader is; null: nobody knows of one here. */
  leaderStore: string | null
  /** Last index in the log, committed, applied. */
  lastIndex: number
  commit: number
  index: number
  hash: number
  /** A change of the group is under way. */
  joint: boolean
  quiescent: boolean
  /** Commands and bytes under way. */
  commands: number
  bytes: number
  streams: number
  halted: string | null
  /** Bytes of the log entries kept. */
  logBytes: number
  /** Commands and queries since it was opened, and where the load would be cut in two. */
  taken: { commands: number; queries: number }
  /** Commands that were not taken: it does not lead, another epoch, overload, a closing store. */
  refused: number
  splitHint: Uint8Array | null
  /** Of a leader: what its log has and each store's replica has not, in entries; null: it has not been heard of late. */
  lag: Readonly<Record<string, number | null>>
}

type Served = Pick<Hosted, 'group' | 'halted'> & {
  readonly descriptor: RangeDescriptor
  readonly load: { commands: number; bytes: number }
  readonly traffic: Traffic
  readonly range: Pick<Range<never, unknown, never, unknown, unknown>, 'applied' | 'streams'>
}

export function statsOf({ range, descriptor, halted, load, group, traffic }: Served): RangeStats {
  const { index, hash } = range.applied
  const { leads, term, log, leaderStore, replica } = group
  const { commit, lastIndex, role, quiescent, config } = group.status()
  const learner = config.learners.includes(replica) || config.learnersNext.includes(replica)
  const { commands, queries, refused } = traffic
  return {
    ...{ descriptor, index, hash, ...load, streams: range.streams.size, halted, leads, term, logBytes: log.bytes },
    ...{ replica, leaderStore, commit, lastIndex, quiescent, joint: config.outgoing.length > 0 },
    role: role === 'leader' ? 'leader' : learner ? 'learner' : role === 'follower' ? 'follower' : 'candidate',
    taken: { commands, queries },
    refused,
    splitHint: leads ? traffic.middle(descriptor) : null,
    lag: leads ? lagOf(group) : {},
  }
}

/** What a leader's log has and each store's replica has not, in entries; null: it has not been heard of late. */
export function lagOf(group: Group): Record<string, number | null> {
  const lag: Record<string, number | null> = {}
  const { lastIndex } = group.status()
  for (const { id, match, active, state } of group.peers()) {
    const store = group.storeOf(id)
    if (store === undefined || id === group.replica) continue
    // One that waits for its state lacks all of it, however short the log is.
    lag[store] = active && match > 0 && state !== 'snapshot' ? Math.max(0, lastIndex - match) : null
  }
  return lag
}

/** What keeps the ranges of a store from serving: too little space, a failed disk, an entry that cannot be applied. */
export function healthOf(space: Error | null, failure: Error | null, ranges: readonly RangeStats[]): HealthReason[] {
  const reasons: HealthReason[] = []
  if (space !== null) reasons.push({ part: 'disk', message: space.message })
  if (failure !== null) reasons.push({ part: 'store', message: failure.message })
  for (const { descriptor, halted } of ranges) {
    if (halted !== null) reasons.push({ part: `range ${descriptor.id}`, message: halted })
  }
  return reasons
}

export function collectStore(
  sink: MetricSink,
  { batches, syncs, bytes }: EngineStats,
  ranges: readonly RangeStats[],
  snapshots: { sent: number; installed: number; failed: number },
  meter: { collect(sink: MetricSink): void },
): void {
  meter.collect(sink)
  sink.counter('flockmq_store_batches_total', 'Batches written to the storage engine', batches)
  sink.counter('flockmq_store_syncs_total', 'Batches that waited for the disk', syncs)
  for (const family of FAMILIES) {
    sink.gauge('flockmq_store_bytes', 'Bytes of keys and values', bytes[family], { family })
  }
  for (const [outcome, count] of Object.entries(snapshots)) {
    sink.counter('flockmq_store_snapshots_total', 'States of ranges, sent and installed', count, { outcome })
  }
  for (const range of ranges) collectRange(sink, range)
}

function collectRange(sink: MetricSink, range: RangeStats): void {
  const labels = { range: range.descriptor.id }
  const { commands, queries } = range.taken
  sink.counter('flockmq_range_entries_total', 'Entries applied', range.index, labels)
  sink.counter('flockmq_range_commands_total', 'Commands taken from clients', commands, labels)
  sink.counter('flockmq_range_commands_refused_total', 'Commands that were not taken', range.refused, labels)
  sink.counter('flockmq_range_queries_total', 'Questions answered', queries, labels)
  sink.gauge('flockmq_range_queued_commands', 'Commands under way', range.commands, labels)
  sink.gauge('flockmq_range_queued_bytes', 'Bytes of commands under way', range.bytes, labels)
  sink.gauge('flockmq_range_leader', '1 where this node leads the range', range.leads ? 1 : 0, labels)
  const voters = range.descriptor.replicas.filter(({ role }) => role === 'voter').length
  sink.gauge('flockmq_range_voters', 'Replicas that decide by majority', voters, labels)
  sink.gauge('flockmq_range_term', 'Term of the range', range.term, labels)
  sink.gauge('flockmq_range_commit_index', 'Last entry known to be committed', range.commit, labels)
  sink.gauge('flockmq_range_log_bytes', 'Bytes of log entries kept', range.logBytes, labels)
  sink.gauge('flockmq_range_halted', '1 where the range is halted', range.halted === null ? 0 : 1, labels)
  for (const [store, lag] of Object.entries(range.lag)) {
    if (lag !== null) sink.gauge('flockmq_range_lag_entries', 'Entries that a replica lacks', lag, { ...labels, store })
  }
}
