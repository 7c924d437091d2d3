import { BrokerError } from '../../base/errors.ts'

/** One line for what the file system refused. */
export function folderError(path: string, error: unknown): BrokerError {
  const code = (error as NodeJS.ErrnoException).code ?? ''
  const reasons: Record<string, string> = {
    EACCES: 'this user may not write there',
    EPERM: 'this user may not write there',
    ENOENT: 'it cannot be made there',
    EROFS: 'the file system is read-only',
    ENOSPC: 'the disk is full',
    ENOTDIR: 'a part of the path is a file and no folder',
  }
  const reason = reasons[code] ?? (error instanceof Error ? error.message : String(error))
  return new BrokerError('STORAGE_FAILED', `Cannot use the data folder "${path}": ${reason}`, { cause: error })
}
