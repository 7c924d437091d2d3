import { assert } from '../../base/assert.ts'

/** One kind of lease. All times are on monotonic clocks, in ms; no two clocks are ever compared. */
export interface LeaseOptions {
  /** What a new leader waits before it holds that no lease of an older leader runs any more. */
  leaseMs: number
  /** A holder asks this often. */
  askMs: number
  /** A holder stops acting so long before its lease ends, to have time to close what rests on it. */
  closeMs: number
  /** How much faster or slower than real time a clock may run, in percent: ten thousand times what a good one does. */
  driftPercent: number
  /** Holders that one leader grants to, at most; others are refused. */
  holdersMax: number
}

/** What lets a replica of `dist` match QoS 1 and 2. */
export const MATCH_LEASE: LeaseOptions = { leaseMs: 1_500, askMs: 300, closeMs: 0, driftPercent: 1, holdersMax: 256 }

/**
 * What lets a front-end node act on the persistent sessions of a range of `inbox`. A leader that dies in silence is
 * followed within 5 s: who asks every second gets the next lease in time.
 */
export const NODE_LEASE: LeaseOptions = {
  leaseMs: 10_000,
  askMs: 1_000,
  closeMs: 1_000,
  driftPercent: 1,
  holdersMax: 1_024,
}

/**
 * The longest lease, in ms on whichever clocks it is measured: part of it may pass on the leader's clock, the rest on
 * the holder's. It has ended in real time before `leaseMs` have passed on any clock that began no later:
 *
 *     grantMax / (1 - drift) = leaseMs / (1 + drift)
 */
export function grantMaxMs({ leaseMs, driftPercent }: LeaseOptions): number {
  return (leaseMs * (100 - driftPercent)) / (100 + driftPercent)
}

/** How long a lease that a holder counts as `ms` may run on the leader's clock. */
export function onLeadersClock(ms: number, { driftPercent }: LeaseOptions): number {
  return (ms * (100 + driftPercent)) / (100 - driftPercent)
}

export function checkOptions(options: LeaseOptions): LeaseOptions {
  const { leaseMs, askMs, closeMs, driftPercent } = options
  assert(driftPercent >= 0 && driftPercent < 10, `A drift of ${driftPercent} % is no clock's`)
  assert(askMs > 0 && closeMs >= 0, 'askMs must be positive, closeMs not negative')
  assert(2 * askMs + closeMs < grantMaxMs(options), `${leaseMs} ms leave no time to ask twice and to close`)
  return options
}
