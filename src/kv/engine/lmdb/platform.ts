import { BrokerError } from '../../../base/errors.ts'

/** Loads LMDB, or says that this machine has no binary of it. */
export async function loadEnvironment(): Promise<typeof import('./environment.js').openEnvironment> {
  try {
    return (await import('./environment.js')).openEnvironment
  } catch (cause) {
    const [reason] = (cause as Error).message.split('\n', 1)
    const message =
      `Cannot use LMDB: its binary does not load here (${reason}). It runs on Linux (x64, arm64, arm; glibc and musl), ` +
      'Windows (x64, arm64) and macOS'
    throw new BrokerError('STORAGE_FAILED', message, { cause })
  }
}
