#!/usr/bin/env -S node --max-semi-space-size=32
import { run } from './node/cli/index.ts'

// The reader of a pipe may go away early, as `head` does: nothing is wrong then.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0)
  throw error
})

const exitCode = await run(process.argv.slice(2))
// Not left to the event loop: after a stop that took too long it still holds what would not end.
process.exit(exitCode)
