import { BrokerError } from '../../base/errors.ts'
import { CommandError, EXIT } from './exit.ts'

export interface Failure {
  exitCode: number
  /** For standard error: one line, or one for each mistake in a configuration. */
  message: string
}

/** What to tell the user of an error: expected ones in one line, ours with their stack. */
export function describeFailure(error: unknown): Failure {
  if (error instanceof CommandError) return { exitCode: error.exitCode, message: error.message }
  if (error instanceof BrokerError) return { exitCode: EXIT.failed, message: error.message }
  const { code, syscall, address, port } = error as NodeJS.ErrnoException & { address?: string; port?: number }
  if (syscall === 'listen' || syscall === 'getaddrinfo' || syscall === 'bind') {
    const place = port === undefined ? address : `${address}:${port}`
    return { exitCode: EXIT.failed, message: `Cannot listen on ${place}: ${listenReason(code)}` }
  }
  return { exitCode: EXIT.failed, message: error instanceof Error ? (error.stack ?? error.message) : String(error) }
}

function listenReason(code: string | undefined): string {
  const reasons: Record<string, string> = {
    EADDRINUSE: 'another process uses it',
    EACCES: 'this user may not; ports below 1024 need a privilege',
    EADDRNOTAVAIL: 'this machine has no such address',
    ENOTFOUND: 'there is no such host name',
  }
  return reasons[code ?? ''] ?? String(code)
}

/** Prefixes every line, so that it is clear who speaks when several programs share a terminal. */
export function printFailure(message: string): void {
  process.stderr.write(
    message
      .split('\n')
      .map((line) => `flockmq: ${line}\n`)
      .join(''),
  )
}
