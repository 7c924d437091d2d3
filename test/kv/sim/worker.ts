/** A process that runs the seeds it is sent, one after the other. */
import type { Counts } from './run.ts'

export interface Task {
  /** What is simulated: stores alone, or the whole broker. */
  world: 'stores' | 'broker'
  seed: number
  /** Of its run. */
  options: object
}

export interface Outcome {
  seed: number
  counts: Counts | null
  /** Of a run that failed. */
  error: string
  cpuMs: number
}

process.on('message', async ({ world, seed, options }: Task) => {
  const began = process.cpuUsage()
  const outcome: Outcome = { seed, counts: null, error: '', cpuMs: 0 }
  try {
    outcome.counts = await runIn(world, seed, options)
  } catch (error) {
    outcome.error = error instanceof Error ? (error.stack ?? error.message) : String(error)
  }
  const { user, system } = process.cpuUsage(began)
  outcome.cpuMs = (user + system) / 1_000
  process.send!(outcome)
})

async function runIn(world: Task['world'], seed: number, options: object): Promise<Counts> {
  if (world === 'broker') return (await (await import('../../world/run.ts')).run(seed, options)).counts
  return (await import('./run.ts')).run(seed, options)
}
