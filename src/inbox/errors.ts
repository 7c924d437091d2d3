import { BrokerError } from '../base/errors.ts'
import type { InboxKey } from './contract.ts'

/** Somebody else owns the session, or it is gone. */
export function conflict({ tenant, inbox }: InboxKey): BrokerError {
  return new BrokerError(
    'CONFLICT',
    `Cannot act on session "${inbox}" of tenant "${tenant}": another connection owns it, or it has ended`,
  )
}
