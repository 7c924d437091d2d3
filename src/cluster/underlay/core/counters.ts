import { Histogram } from '../../../base/metrics.ts'

/** What the underlay counts, in plain fields: the host gives them to the metrics. */
export class UnderlayCounters {
  datagramsSent = 0
  datagramBytesSent = 0
  datagramsReceived = 0
  datagramBytesReceived = 0
  exchangesOpened = 0
  exchangesFailed = 0
  exchangesAnswered = 0
  exchangeBytesSent = 0
  exchangeBytesReceived = 0

  /** Bytes that are no packet, by reason; nothing of them is used. */
  oversized = 0
  otherVersion = 0
  malformed = 0
  /** Packets of another cluster name, of another cluster of our name, messages of a later version. */
  foreignName = 0
  foreignCluster = 0
  unknownMessages = 0
  /** Refused for a limit: records of hosts, exchanges, pings for others, payloads without a receiver. */
  hostsRefused = 0
  exchangesRefused = 0
  relaysRefused = 0
  payloadsDropped = 0

  probes = 0
  probesFailed = 0
  indirectProbes = 0
  /** Answered over TCP only: UDP may be blocked. */
  probesByTcp = 0
  nacksMissed = 0
  /** From ping to ack, direct ones, in seconds. */
  readonly probeSeconds = new Histogram([0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1])

  /** Hosts that became suspect, dead, left in our view; what we refuted of ourselves. */
  suspected = 0
  died = 0
  left = 0
  refutations = 0
  /** Steps that came late, and by how much in all. */
  stalls = 0
  stallMs = 0
  payloadsSent = 0
  payloadsReceived = 0
}
