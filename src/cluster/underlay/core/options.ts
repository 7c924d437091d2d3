import { assert } from '../../../base/assert.ts'

/**
 * The numbers of the protocol, as memberlist's LAN profile has them except where said. All times in milliseconds.
 *
 * Source: Das, Gupta, Motivala, "SWIM", DSN 2002; Dadgar et al., "Lifeguard", arXiv:1707.00788.
 */
export interface SwimOptions {
  /** Every so often one host is probed, each once a round. The local health stretches it. */
  probeIntervalMs: number
  /** A ping not answered by then is repeated through others and over TCP. Stretched as well. */
  probeTimeoutMs: number
  /** How many others are asked to ping for us. */
  indirectProbes: number
  /** See suspicionRange() in formulas.ts. */
  suspicionMultiplier: number
  /** The longest suspicion, without any confirmation, as a multiple of the shortest. */
  suspicionMaxMultiplier: number
  /** Local health runs from 0 to this less 1; timeouts are stretched by health + 1, so by this at most. */
  healthMultiplierMax: number
  gossipIntervalMs: number
  /** How many hosts hear the gossip of each interval. */
  gossipHosts: number
  /** See retransmitLimit() in formulas.ts. */
  retransmitMultiplier: number
  /** The dead still hear gossip for so long, to learn of it and to refute. */
  gossipToDeadMs: number
  /** Full exchange of views with one host; see pushPullIntervalMs() in formulas.ts for larger clusters. */
  pushPullIntervalMs: number
  /** Each dead host, and each seed that is no member, is asked every so often whether it is back. */
  deadProbeIntervalMs: number
  /** Seeds and remembered peers are asked so often by who sees nobody. */
  aloneProbeIntervalMs: number
  /** A dead host is forgotten after this: 24 h. */
  deadKeepMs: number
  /** A leaving host keeps telling so for this long, then is silent. */
  leaveMs: number
  /** The longest an exchange over TCP may take. */
  exchangeTimeoutMs: number
  /** A step that comes later than announced by more than this was a stall of our own: nobody is blamed for it. */
  stallToleranceMs: number
  /** Local health is worsened by 1 for so much of measured lag. */
  lagPerHealthMs: number
  /** Of one datagram, before encryption: the host subtracts what that adds from 1,400. */
  packetBytesMax: number
  /** Records of hosts, dead ones too; one more is refused and counted. */
  hostsMax: number
}

export const LAN: Readonly<SwimOptions> = {
  probeIntervalMs: 1_000,
  probeTimeoutMs: 500,
  indirectProbes: 3,
  suspicionMultiplier: 3,
  suspicionMaxMultiplier: 6,
  healthMultiplierMax: 8,
  gossipIntervalMs: 200,
  gossipHosts: 3,
  retransmitMultiplier: 4,
  gossipToDeadMs: 30_000,
  pushPullIntervalMs: 30_000,
  deadProbeIntervalMs: 10_000,
  aloneProbeIntervalMs: 1_000,
  deadKeepMs: 24 * 3_600_000,
  leaveMs: 1_000,
  exchangeTimeoutMs: 10_000,
  stallToleranceMs: 100,
  lagPerHealthMs: 500,
  packetBytesMax: 1_400,
  hostsMax: 1_024,
}

export function checkSwimOptions(options: SwimOptions): void {
  assert(options.probeTimeoutMs < options.probeIntervalMs, 'A probe must time out before the next one begins')
  assert(options.suspicionMultiplier >= 1, 'The suspicion multiplier must be at least 1')
  assert(options.suspicionMaxMultiplier >= 1, 'The longest suspicion must not be below the shortest')
  assert(options.healthMultiplierMax >= 1, 'The health multiplier must be at least 1')
  assert(options.packetBytesMax >= 1_200, 'A datagram must hold the largest record: 1,200 bytes at least')
  assert(options.hostsMax >= 1, 'There must be room for one host')
}
