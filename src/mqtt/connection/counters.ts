import type { MetricSink, MetricSource } from '../../base/metrics.ts'

/** The front end's figures: plain fields, counted in place, read at scrape. */
export class Counters implements MetricSource {
  connections = 0
  connectionsOpened = 0
  connectionsRefused = 0
  readonly published = [0, 0, 0]
  bytesReceived = 0
  delivered = 0
  readonly dropped = { 'slow-consumer': 0, 'too-large': 0, 'queue-full': 0, expired: 0 }
  malformed = 0
  takeovers = 0
  keepAliveTimeouts = 0
  turnDeferrals: () => number = () => 0
  subscriptions: () => number = () => 0

  collect(sink: MetricSink): void {
    sink.gauge('flockmq_mqtt_connections', 'Clients connected to this node', this.connections)
    sink.counter('flockmq_mqtt_connections_opened_total', 'Accepted CONNECTs', this.connectionsOpened)
    sink.counter('flockmq_mqtt_connections_refused_total', 'Refused or failed CONNECTs', this.connectionsRefused)
    for (let qos = 0; qos < 3; qos++) {
      const labels = { qos: String(qos) }
      sink.counter('flockmq_mqtt_publish_received_total', 'PUBLISH packets of clients', this.published[qos]!, labels)
    }
    sink.counter('flockmq_mqtt_received_bytes_total', 'Bytes read from clients', this.bytesReceived)
    sink.counter('flockmq_mqtt_publish_sent_total', 'PUBLISH packets to clients', this.delivered)
    for (const [reason, count] of Object.entries(this.dropped)) {
      sink.counter('flockmq_mqtt_dropped_total', 'Messages that were not delivered', count, { reason })
    }
    sink.counter('flockmq_mqtt_malformed_total', 'Connections closed for a malformed packet', this.malformed)
    sink.counter('flockmq_mqtt_takeovers_total', 'Connections closed by a newer one', this.takeovers)
    sink.counter('flockmq_mqtt_keep_alive_timeouts_total', 'Connections closed in silence', this.keepAliveTimeouts)
    sink.counter('flockmq_mqtt_turn_deferrals_total', 'Reads put off to a later turn', this.turnDeferrals())
    sink.gauge('flockmq_mqtt_transient_subscriptions', 'Subscriptions that end with a connection', this.subscriptions())
  }
}
