import { BrokerError } from '../../base/errors.ts'

/**
 * A call is given up so long after the last sign of its range where no majority of that can be reached, ms: a node that is
 * cut off refuses within 5 s. Where a majority can be reached, it may take longer to elect a leader.
 */
export const CUT_OFF_MS = 4_000

/** Nobody leads, as far as the replicas know, that were asked all the time: no majority of them is up. */
export function overdueCode(last: Error | null): 'NO_QUORUM' | 'TIMEOUT' {
  if (!(last instanceof BrokerError) || last.code !== 'NOT_LEADER') return 'TIMEOUT'
  return (last.hint as { leader?: string | null } | null)?.leader == null ? 'NO_QUORUM' : 'TIMEOUT'
}
