import { BrokerError } from '../../base/errors.ts'
import type { Reader } from './coprocessor.ts'

/** Whoever reads everything that is stored, to find what is damaged, tells it here. */
export interface VerifyReport {
  /** Something is not as it must be: the record at `key`; null = the range as a whole. */
  damage(key: Uint8Array | null, reason: string): void
  /** So much of a kind there is, for each tenant. */
  count(tenant: string, what: string, by?: number): void
  /** One more record was read. */
  step(): void
}

/**
 * Shows every record of `reader` to `visit`, in the order of keys. What `visit` throws is that record's damage; where
 * the disk gives no more, the rest is one damage.
 */
export function visitRecords(
  reader: Reader,
  report: VerifyReport,
  visit: (key: Uint8Array, value: Uint8Array) => void,
): void {
  const cursor = reader.cursor()
  let last: Uint8Array | null = null
  try {
    for (;;) {
      if (!advance(() => cursor.next(), last, report)) return
      last = cursor.key.slice()
      report.step()
      attempt(last, report, () => visit(last!, cursor.value))
    }
  } finally {
    cursor.close()
  }
}

/** Throws, so that it is damage, unless `condition` holds. */
export function demand(condition: unknown, reason: string): asserts condition {
  if (!condition) throw new BrokerError('STORAGE_FAILED', reason)
}

/** Runs a check of the record at `key`: what it throws is damage. */
export function attempt(key: Uint8Array | null, report: VerifyReport, work: () => void): void {
  try {
    work()
  } catch (error) {
    report.damage(key, error instanceof Error ? error.message : String(error))
  }
}

function advance(next: () => boolean, last: Uint8Array | null, report: VerifyReport): boolean {
  try {
    return next()
  } catch (error) {
    report.damage(last, `The records after this one cannot be read: ${(error as Error).message}`)
    return false
  }
}
