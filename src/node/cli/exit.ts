/** What the process answers to the shell; printed by `flockmq --help`. */
export const EXIT = {
  ok: 0,
  /** The action failed: a taken port, an unwritable folder, a stop that took too long. */
  failed: 1,
  /** A wrong command line or configuration. Nothing was done. */
  usage: 2,
  /** No node runs on the data folder that is asked. */
  notRunning: 3,
  /** `status`: the node runs and is not ready; `members`: it is in no cluster yet; `ranges`: one has no leader. */
  notReady: 4,
} as const

/** Ends a command with one line on standard error. */
export class CommandError extends Error {
  override name = 'CommandError'
  readonly exitCode: number

  constructor(exitCode: number, message: string, options?: ErrorOptions) {
    super(message, options)
    this.exitCode = exitCode
  }
}
