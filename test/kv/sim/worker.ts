/** A process that runs the seeds it is sent, one after the other. */
import { type Counts, type RunOptions, run } from './run.ts'

export interface Task {
  seed: number
  options: RunOptions
}

export interface Outcome {
  seed: number
  counts: Counts | null
  /** Of a run that failed. */
  error: string
  cpuMs: number
}

process.on('message', async ({ seed, options }: Task) => {
  const began = process.cpuUsage()
  const outcome: Outcome = { seed, counts: null, error: '', cpuMs: 0 }
  try {
    outcome.counts = await run(seed, options)
  } catch (error) {
    outcome.error = error instanceof Error ? (error.stack ?? error.message) : String(error)
  }
  const { user, system } = process.cpuUsage(began)
  outcome.cpuMs = (user + system) / 1_000
  process.send!(outcome)
})
