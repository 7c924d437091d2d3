import type { MetricSink } from '../../base/metrics.ts'
import type { OverlayCore } from './core/index.ts'

export function collectOverlay(core: OverlayCore, metadataMalformed: number, sink: MetricSink): void {
  const { counters, sizes } = core
  const counter = (name: string, help: string, value: number, labels?: { [name: string]: string }) =>
    sink.counter(`flockmq_overlay_${name}_total`, help, value, labels)
  sink.gauge('flockmq_overlay_hosts', 'Other hosts whose entries are followed.', core.hosts)
  sink.gauge('flockmq_overlay_entries', 'Members and keys of all hosts, deletions too.', sizes.entries)
  sink.gauge('flockmq_overlay_entry_bytes', 'Bytes of the entries of all hosts.', sizes.bytes)
  sink.gauge('flockmq_overlay_hints', 'Hints, deletions too.', sizes.hints)

  counter('payloads_sent', 'Payloads given to the underlay.', counters.payloadsSent)
  counter('payload_sent_bytes', 'Bytes of payloads given to the underlay.', counters.payloadBytesSent)
  counter('payloads_received', 'Payloads of other hosts.', counters.payloadsReceived)
  counter('payload_received_bytes', 'Bytes of payloads of other hosts.', counters.payloadBytesReceived)
  counter('digests_sent', 'Messages that say how far this host knows others.', counters.digestsSent)
  counter('deltas_sent', 'Messages with entries that the receiver lacks.', counters.deltasSent)
  counter('entries_sent', 'Entries in those messages.', counters.entriesSent)
  counter('entries_applied', 'Entries that were news here.', counters.entriesApplied)
  counter('hints_sent', 'Hints sent.', counters.hintsSent)
  counter('hints_applied', 'Hints that were news here, of this host too.', counters.hintsApplied)
  counter('hints_evicted', 'Hints that the limit pushed out before their time.', counters.hintsEvicted)
  counter('resets', 'Hosts whose entries were read anew, since a deletion was missed.', counters.resets)
  counter('refutations', 'Versions that somebody claimed of our entries and that we never wrote.', counters.refutations)

  const refused = 'Payloads, deltas and hints of other hosts that were not used, by reason.'
  const reasons: [string, number][] = [
    ['malformed', counters.malformed],
    ['malformed_metadata', metadataMalformed],
    ['stranger', counters.strangers],
    ['unknown_message', counters.unknownMessages],
    ['unknown_life', counters.foreignDeltas],
    ['known_already', counters.staleDeltas],
    ['gap', counters.gaps],
    ['limit', counters.refusedDeltas],
    ['too_many_hosts', counters.hostsRefused],
    ['hint_ahead', counters.hintsAhead],
    ['hint_over', counters.hintsLate],
  ]
  for (const [reason, value] of reasons) counter('refused', refused, value, { reason })
}
