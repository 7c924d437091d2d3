import { CommanderError } from 'commander'
import { tellParent } from './daemon.ts'
import { EXIT } from './exit.ts'
import { createProgram } from './program.ts'
import { describeFailure, printFailure } from './report-error.ts'

/** Runs one command line; resolves with the exit code. */
export async function run(args: readonly string[]): Promise<number> {
  let exitCode: number = EXIT.ok
  try {
    await createProgram((code) => {
      exitCode = code
    }).parseAsync(args, { from: 'user' })
    return exitCode
  } catch (error) {
    // Commander has printed its own message already; --help and --version end here too.
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage
    const failure = describeFailure(error)
    printFailure(failure.message)
    await tellParent({ type: 'failed', ...failure })
    return failure.exitCode
  }
}
