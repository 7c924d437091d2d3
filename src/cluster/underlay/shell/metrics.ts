import type { MetricSink } from '../../../base/metrics.ts'
import type { HostState, Underlay } from '../core/index.ts'
import type { ShellCounters } from './counters.ts'

const STATES: readonly HostState[] = ['alive', 'suspect', 'dead', 'left']

/** Gives all figures of the underlay. */
export function collectUnderlay(core: Underlay, shell: ShellCounters, sink: MetricSink): void {
  collectHosts(core, sink)
  collectTraffic(core, sink)
  collectRefusals(core, shell, sink)
}

function collectHosts(core: Underlay, sink: MetricSink): void {
  const { counters } = core
  const states = core.members().map(({ state }) => state)
  for (const state of STATES) {
    // This host is alive to itself.
    const count = states.filter((other) => other === state).length + (state === 'alive' ? 1 : 0)
    sink.gauge('flockmq_cluster_hosts', 'Hosts of the cluster as this one sees them, with itself.', count, { state })
  }
  sink.gauge('flockmq_cluster_member', '1 while this host is in a cluster.', core.cluster === null ? 0 : 1)
  sink.gauge(
    'flockmq_cluster_health_score',
    'How slow this host finds itself: 0 is well, 7 is worst.',
    core.healthScore,
  )
  sink.gauge('flockmq_cluster_gossip_queue', 'News that are still passed on.', core.gossipQueued)
  for (const [state, value] of [
    ['suspect', counters.suspected],
    ['dead', counters.died],
    ['left', counters.left],
  ] as const) {
    sink.counter('flockmq_cluster_state_changes_total', 'Hosts that entered this state.', value, { state })
  }
  sink.counter('flockmq_cluster_refutations_total', 'Accusations of this host that it refuted.', counters.refutations)
  sink.counter('flockmq_cluster_stalls_total', 'Times that this process stood still.', counters.stalls)
  sink.counter('flockmq_cluster_stall_seconds_total', 'How long it stood still in all.', counters.stallMs / 1_000)
}

function collectTraffic(core: Underlay, sink: MetricSink): void {
  const { counters } = core
  sink.histogram('flockmq_cluster_probe_seconds', 'From ping to ack, of direct probes.', counters.probeSeconds)
  sink.counter('flockmq_cluster_probes_total', 'Probes of other hosts.', counters.probes)
  sink.counter('flockmq_cluster_probes_failed_total', 'Probes without any answer.', counters.probesFailed)
  sink.counter('flockmq_cluster_probes_indirect_total', 'Pings that others were asked for.', counters.indirectProbes)
  sink.counter('flockmq_cluster_probes_tcp_total', 'Probes answered over TCP only.', counters.probesByTcp)
  for (const [transport, direction, value] of [
    ['udp', 'sent', counters.datagramBytesSent],
    ['udp', 'received', counters.datagramBytesReceived],
    ['tcp', 'sent', counters.exchangeBytesSent],
    ['tcp', 'received', counters.exchangeBytesReceived],
  ] as const) {
    const help = 'Gossip, probes and payloads, before encryption.'
    sink.counter('flockmq_cluster_gossip_bytes_total', help, value, { transport, direction })
  }
  sink.counter('flockmq_cluster_datagrams_total', 'Datagrams.', counters.datagramsSent, { direction: 'sent' })
  sink.counter('flockmq_cluster_datagrams_total', 'Datagrams.', counters.datagramsReceived, { direction: 'received' })
  sink.counter('flockmq_cluster_exchanges_total', 'TCP exchanges begun.', counters.exchangesOpened)
  sink.counter('flockmq_cluster_exchanges_failed_total', 'TCP exchanges without an answer.', counters.exchangesFailed)
  sink.counter('flockmq_cluster_payloads_total', 'Payloads.', counters.payloadsSent, { direction: 'sent' })
  sink.counter('flockmq_cluster_payloads_total', 'Payloads.', counters.payloadsReceived, { direction: 'received' })
}

function collectRefusals(core: Underlay, shell: ShellCounters, sink: MetricSink): void {
  const { counters } = core
  for (const [reason, value] of [
    ['plain', shell.plain],
    ['encrypted', shell.encrypted],
    ['undecryptable', shell.undecryptable],
    ['replayed', shell.replayed],
    ['oversized', shell.oversized + counters.oversized],
    ['other-version', counters.otherVersion],
    ['malformed', counters.malformed],
    ['foreign-name', counters.foreignName],
    ['foreign-cluster', counters.foreignCluster],
    ['unknown-message', counters.unknownMessages],
  ] as const) {
    sink.counter('flockmq_cluster_packets_refused_total', 'Packets that were not used.', value, { reason })
  }
  for (const [what, value] of [
    ['host', counters.hostsRefused],
    ['relay', counters.relaysRefused],
    ['exchange', counters.exchangesRefused + shell.exchangesRefused],
    ['payload', counters.payloadsDropped],
    ['connection', shell.connectionsRefused],
    ['connection-overdue', shell.connectionsOverdue],
    ['connection-broken', shell.connectionsBroken],
    ['send', shell.sendFailures],
    ['lookup', shell.lookupsFailed],
  ] as const) {
    sink.counter('flockmq_cluster_refused_total', 'What was not done for a limit or a failure.', value, { what })
  }
}
