import type { MetricSink } from '../../base/metrics.ts'
import { type EngineStats, FAMILIES } from '../engine/engine.ts'
import type { RangeDescriptor } from '../range/coprocessor.ts'
import type { Range } from '../range/range.ts'
import type { Hosted } from './host.ts'

/** One range of a store, as an operator sees it. */
export interface RangeStats {
  descriptor: RangeDescriptor
  /** Index of the last entry applied. */
  index: number
  hash: number
  /** Commands and bytes under way. */
  commands: number
  bytes: number
  streams: number
  halted: string | null
  leads: boolean
  term: number
  /** Bytes of the log entries kept. */
  logBytes: number
}

type Served = Pick<Hosted, 'group' | 'halted'> & {
  readonly descriptor: RangeDescriptor
  readonly load: { commands: number; bytes: number }
  readonly range: Pick<Range<never, unknown, never, unknown, unknown>, 'applied' | 'streams'>
}

export function statsOf({ range, descriptor, halted, load, group }: Served): RangeStats {
  const { index, hash } = range.applied
  const { leads, term, log } = group
  return { descriptor, index, hash, ...load, streams: range.streams.size, halted, leads, term, logBytes: log.bytes }
}

export function collectStore(
  sink: MetricSink,
  { batches, syncs, bytes }: EngineStats,
  ranges: readonly RangeStats[],
  snapshots: { sent: number; installed: number; failed: number },
): void {
  sink.counter('flockmq_store_batches_total', 'Batches written to the storage engine', batches)
  sink.counter('flockmq_store_syncs_total', 'Batches that waited for the disk', syncs)
  for (const family of FAMILIES) {
    sink.gauge('flockmq_store_bytes', 'Bytes of keys and values', bytes[family], { family })
  }
  for (const [outcome, count] of Object.entries(snapshots)) {
    sink.counter('flockmq_store_snapshots_total', 'States of ranges, sent and installed', count, { outcome })
  }
  for (const { descriptor, index, commands, bytes: queued, halted, leads, term, logBytes } of ranges) {
    const labels = { range: descriptor.id }
    sink.counter('flockmq_range_entries_total', 'Entries applied', index, labels)
    sink.gauge('flockmq_range_queued_commands', 'Commands under way', commands, labels)
    sink.gauge('flockmq_range_queued_bytes', 'Bytes of commands under way', queued, labels)
    sink.gauge('flockmq_range_leader', '1 where this node leads the range', leads ? 1 : 0, labels)
    sink.gauge('flockmq_range_term', 'Term of the range', term, labels)
    sink.gauge('flockmq_range_log_bytes', 'Bytes of log entries kept', logBytes, labels)
    sink.gauge('flockmq_range_halted', '1 where the range is halted', halted === null ? 0 : 1, labels)
  }
}
