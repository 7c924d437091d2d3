import type { MetricSink, MetricSource } from '../../base/metrics.ts'
import type { Listener } from './contract.ts'

/** The figures of all listeners, read when somebody scrapes. */
export class ListenerMetrics implements MetricSource {
  readonly #listeners: readonly Listener[]

  constructor(listeners: readonly Listener[]) {
    this.#listeners = listeners
  }

  collect(sink: MetricSink): void {
    for (const { name, counters } of this.#listeners) {
      const labels = { listener: name }
      sink.gauge('flockmq_listener_sockets', 'Sockets open, handshakes included', counters.open, labels)
      sink.gauge('flockmq_listener_handshakes', 'Handshakes under way or waiting', counters.handshaking, labels)
      sink.counter('flockmq_listener_accepted_total', 'Connections let in', counters.accepted, labels)
      for (const [reason, value] of [
        ['rate', counters.refusedRate],
        ['connections', counters.refusedConnections],
        ['accept_error', counters.acceptErrors],
        ['proxy', counters.proxyMalformed],
        ['tls', counters.tlsFailed],
        ['http', counters.httpRefused],
        ['timeout', counters.handshakeTimeouts],
        ['aborted', counters.handshakeAborted],
      ] as const) {
        sink.counter('flockmq_listener_refused_total', 'Connections closed before MQTT', value, { ...labels, reason })
      }
      for (const [result, value] of [
        ['ok', counters.certificateReloads],
        ['failed', counters.certificateReloadsFailed],
      ] as const) {
        const help = 'Certificates read again'
        sink.counter('flockmq_listener_certificate_reloads_total', help, value, { ...labels, result })
      }
    }
  }
}
