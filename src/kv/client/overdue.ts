import { BrokerError } from '../../base/errors.ts'

/** Nobody leads, as far as the replicas know, that were asked all the time: no majority of them is up. */
export function overdueCode(last: Error | null): 'NO_QUORUM' | 'TIMEOUT' {
  if (!(last instanceof BrokerError) || last.code !== 'NOT_LEADER') return 'TIMEOUT'
  return (last.hint as { leader?: string | null } | null)?.leader == null ? 'NO_QUORUM' : 'TIMEOUT'
}
