/** The formulas of SWIM and Lifeguard. `hosts` counts who is alive or suspect, with ourselves. */

import type { SwimOptions } from './options.ts'

/** Shortest and longest time that a suspect has to refute, and how many confirmations lead from one to the other. */
export interface SuspicionRange {
  minMs: number
  maxMs: number
  confirmations: number
}

/**
 * `min = multiplier * max(1, log10(hosts)) * probe interval`, `max = min * max multiplier`. Expected are
 * `multiplier - 2` confirmations, none where not enough others are left to confirm.
 * Source: memberlist, suspicionTimeout() and suspectNode(); Lifeguard, IV-B.
 */
export function suspicionRange(hosts: number, options: SwimOptions): SuspicionRange {
  const minMs = options.suspicionMultiplier * Math.max(1, Math.log10(Math.max(1, hosts))) * options.probeIntervalMs
  const expected = Math.max(0, options.suspicionMultiplier - 2)
  const confirmations = hosts - 2 < expected ? 0 : expected
  return { minMs, maxMs: confirmations === 0 ? minMs : minMs * options.suspicionMaxMultiplier, confirmations }
}

/**
 * Time left before a suspect is declared dead, in milliseconds; negative once overdue. The timeout falls from max to
 * min with the logarithm of the confirmations: `max - (max - min) * log(c + 1) / log(k + 1)`.
 * Source: Dadgar et al., "Lifeguard", arXiv:1707.00788, IV-B.
 * @param confirmations independent hosts that agree with the first, >= 0
 */
export function remainingSuspicionMs(confirmations: number, elapsedMs: number, range: SuspicionRange): number {
  if (range.confirmations < 1) return range.minMs - elapsedMs
  const fraction = Math.log(confirmations + 1) / Math.log(range.confirmations + 1)
  const timeoutMs = range.maxMs - fraction * (range.maxMs - range.minMs)
  return Math.max(range.minMs, timeoutMs) - elapsedMs
}

/**
 * How often a host passes one rumour on: `multiplier * ceil(log10(hosts + 1))`.
 * Source: memberlist, retransmitLimit(); SWIM 4.1 (lambda log n suffices).
 */
export function retransmitLimit(hosts: number, multiplier: number): number {
  return multiplier * Math.ceil(Math.log10(hosts + 1))
}

/**
 * Between two full exchanges, in milliseconds: above 32 hosts once more for every doubling, so that the whole cluster
 * does not exchange n * n records in one interval.
 * Source: memberlist, pushPullScale().
 */
export function pushPullIntervalMs(hosts: number, options: SwimOptions): number {
  if (hosts <= 32) return options.pushPullIntervalMs
  return options.pushPullIntervalMs * (Math.ceil(Math.log2(hosts) - 5) + 1)
}

/**
 * By how much a stall or a measured lag worsens the local health: 1 for each `lagPerHealthMs`.
 * Source: Lifeguard, IV-A counts missed nacks only; an event loop can be measured directly.
 */
export function lagPenalty(lagMs: number, options: SwimOptions): number {
  return Math.min(options.healthMultiplierMax - 1, Math.floor(Math.max(0, lagMs) / options.lagPerHealthMs))
}

/**
 * How long a rumour needs to reach everybody, in milliseconds, but for one case in a million: each interval multiplies
 * those who know by `1 + gossipHosts * (1 - loss)` while they are few, and once most know, each interval leaves out
 * `e^-gossipHosts` of the rest at most.
 * Source: Demers et al., "Epidemic algorithms", 1987, 1.3 (push).
 */
export function spreadMs(hosts: number, lossPercent: number, options: SwimOptions): number {
  const reached = options.gossipHosts * (1 - lossPercent / 100)
  const growing = Math.log(hosts) / Math.log(1 + reached)
  const closing = (Math.log(hosts) + Math.log(1_000_000)) / reached
  return Math.ceil(growing + closing) * options.gossipIntervalMs
}

/**
 * The bound of the simulation: two hosts that are up and reach each other know each other to be alive after this many
 * milliseconds, whatever they believed before, but for one case in a million.
 *
 * Each asks the other once in `deadProbeIntervalMs`. A question and its answer both arrive with probability
 * `(1 - loss)^2`, so both directions fail in one interval with `(1 - (1 - loss)^2)^2`. Then come the refutation's way to
 * everybody, and one full exchange for what gossip left out. The local health stretches none of these.
 */
export function reunionBoundMs(hosts: number, lossPercent: number, options: SwimOptions): number {
  const answered = (1 - lossPercent / 100) ** 2
  const bothFail = (1 - answered) ** 2
  const rounds = bothFail === 0 ? 1 : Math.ceil(Math.log(1e-6) / Math.log(bothFail))
  const askedMs = options.deadProbeIntervalMs * rounds
  return askedMs + spreadMs(hosts, lossPercent, options) + pushPullIntervalMs(hosts, options)
}
