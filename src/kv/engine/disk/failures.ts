import { BrokerError } from '../../../base/errors.ts'

/** What opening rejects with. */
export function openFailed(path: string, cause: Error): BrokerError {
  const { code, message } = cause as Error & { code?: string }
  const reason = code === 'LEVEL_LOCKED' ? 'another process has it open' : message
  return new BrokerError('STORAGE_FAILED', `Cannot open the database in "${path}": ${reason}`, { cause })
}

/** What a read that the disk refused throws: damaged data is known by its checksums and never served. */
export function readFailed(cause: unknown): BrokerError {
  return new BrokerError('STORAGE_FAILED', `Cannot read the database: ${(cause as Error).message}`, { cause })
}
