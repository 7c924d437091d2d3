import type { MetricSink } from '../../base/metrics.ts'
import type { LinkKind, LinkState } from '../contract.ts'
import type { LinkMeters } from '../link/core/index.ts'

const KINDS: readonly LinkKind[] = ['raft', 'deliveries', 'bulk']
const STATES: readonly LinkState[] = ['idle', 'connecting', 'open', 'waiting', 'refused']

interface Figures {
  meters: { readonly [Kind in LinkKind]: LinkMeters }
  outgoing: readonly { kind: LinkKind; state: LinkState; bufferedBytes: number; pending: number }[]
  incoming: { open: number; pending: number; bufferedBytes: number }
  counts: { unreadable: number; unknown: number; unanswered: number }
  localCalls: number
}

export function collectLinks(sink: MetricSink, figures: Figures): void {
  for (const kind of KINDS) {
    const links = figures.outgoing.filter((link) => link.kind === kind)
    for (const state of STATES) {
      const count = links.filter((link) => link.state === state).length
      sink.gauge('flockmq_rpc_links', 'Links that this node opened, by state', count, { kind, state })
    }
    const buffered = links.reduce((sum, link) => sum + link.bufferedBytes, 0)
    sink.gauge('flockmq_rpc_buffered_bytes', 'Sent or waiting, and not acknowledged by the peer', buffered, { kind })
    const pending = links.reduce((sum, link) => sum + link.pending, 0)
    sink.gauge('flockmq_rpc_calls_pending', 'Calls that wait for an answer of a peer', pending, { kind })
    collectMeters(sink, figures.meters[kind], { kind })
  }
  const { incoming, counts, localCalls } = figures
  sink.gauge('flockmq_rpc_incoming_links', 'Connections of peers that have proven who they are', incoming.open)
  sink.gauge('flockmq_rpc_incoming_calls_pending', 'Calls of peers that this node works on', incoming.pending)
  sink.gauge('flockmq_rpc_incoming_buffered_bytes', 'Answers that peers have not acknowledged', incoming.bufferedBytes)
  sink.counter('flockmq_rpc_local_calls_total', 'Calls for this very node', localCalls)
  const help = 'Messages that could not be handled'
  for (const [reason, count] of Object.entries(counts)) {
    sink.counter('flockmq_rpc_errors_total', help, count, { reason })
  }
}

function collectMeters(sink: MetricSink, meters: LinkMeters, labels: { kind: LinkKind }): void {
  const count = (name: string, help: string, value: number, more: { [name: string]: string } = {}) =>
    sink.counter(`flockmq_rpc_${name}_total`, help, value, { ...labels, ...more })
  count('frames_sent', 'Frames written to connections', meters.framesSent)
  count('frames_received', 'Frames taken in order', meters.framesReceived)
  count('bytes_sent', 'Bytes of frames written', meters.bytesSent)
  count('bytes_received', 'Bytes of bodies of frames received', meters.bytesReceived)
  count('messages_sent', 'Messages in frames', meters.messagesSent)
  count('messages_received', 'Messages taken out of frames', meters.messagesReceived)
  count('frames_resent', 'Frames sent again after a reconnect', meters.framesResent)
  count('frames_duplicate', 'Frames that came twice, and were dropped', meters.framesDuplicate)
  count('acks_alone', 'Acknowledgements that no frame carried', meters.acksAlone)
  count('connections_opened', 'Connections that passed the handshake', meters.connectionsOpened)
  count('connections_broken', 'Open connections that ended', meters.connectionsBroken)
  count('attempts_failed', 'Connections that never opened', meters.attemptsFailed)
  count('violations', 'Packets that made no sense, from strangers too', meters.violations)
  count('refusals', 'Handshakes refused', meters.refusals)
  count('sessions_lost', 'Sessions given up: a peer started again, or is gone', meters.sessionsLost)
  const discarded = 'Messages given up or not taken, by reason'
  count('messages_dropped', discarded, meters.messagesDiscarded, { reason: 'session-lost' })
  count('messages_dropped', discarded, meters.messagesRefused, { reason: 'buffer-full' })
  count('bytes_discarded', 'Bodies given up with their session', meters.bytesDiscarded)
  sink.histogram('flockmq_rpc_batch_messages', 'Messages in a frame', meters.batchMessages, labels)
  const queued = 'From the first message of a frame until it was written'
  sink.histogram('flockmq_rpc_queue_seconds', queued, meters.queueSeconds, labels)
}
