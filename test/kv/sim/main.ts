/** The command line of the simulations, of stores alone and of the whole broker: many seeds in some processes, what failed, and how much was done. */
import { type ChildProcess, fork } from 'node:child_process'
import { Argument, Command, InvalidArgumentError } from 'commander'
import type { Outcome, Task } from './worker.ts'

interface Given {
  seeds: number
  from: number
  seed?: number
  nodes?: number
  workers: number
}

const WORKERS = 2
const WORKER = new URL(import.meta.url.endsWith('.ts') ? './worker.ts' : './worker.js', import.meta.url)
const PROGRESS_MS = 2_000
/** Of a run that does not end; a usual one takes a second. */
const RUN_MS_MAX = 300_000

const integer = (text: string): number => {
  const number = Number(text)
  if (!Number.isInteger(number) || number < 1) throw new InvalidArgumentError('It must be an integer above 0.')
  return number
}

const command = new Command('sim')
  .description('Stores, or whole brokers, under faults, by seed. Fails where a seed does; replay one with --seed.')
  .addArgument(new Argument('[world]', 'what is simulated').choices(['stores', 'broker']).default('stores'))
  .option('--seeds <count>', 'how many', integer, 100)
  .option('--from <seed>', 'the first one', integer, 1)
  .option('--seed <seed>', 'this one alone', integer)
  .option('--nodes <count>', 'stores or nodes in each run; default by the seed', integer)
  .option('--workers <count>', 'processes', integer, WORKERS)
  .parse()
const { seeds, from, seed, nodes, workers } = command.opts<Given>()
const world = command.processedArgs[0] as Task['world']

const options = nodes === undefined ? {} : { stores: nodes, nodes }
const todo = seed === undefined ? Array.from({ length: seeds }, (_, i) => from + i) : [seed]
const total = todo.length
const sums = new Map<string, number>()
const failed: number[] = []
const beganMs = performance.now()
let cpuMs = 0
let ended = 0

function take({ seed: at, counts, error, cpuMs: took }: Outcome): void {
  ended++
  cpuMs += took
  for (const [name, count] of Object.entries(counts ?? {})) sums.set(name, (sums.get(name) ?? 0) + count)
  if (counts !== null) return
  failed.push(at)
  const more = nodes === undefined ? '' : ` --nodes ${nodes}`
  process.stderr.write(`\nseed ${at} failed; replay: npm run sim -- ${world} --seed ${at}${more}\n${error}\n`)
}

/** Runs seeds in one process until none is left; in another one after a run that did not end. */
async function work(): Promise<void> {
  let child: ChildProcess | null = null
  for (let at = todo.shift(); at !== undefined; at = todo.shift()) {
    child ??= fork(WORKER, { execArgv: ['--max-semi-space-size=32'] })
    const outcome = await runIn(child, { world, seed: at, options })
    take(outcome)
    if (outcome.cpuMs === 0) {
      child.kill('SIGKILL')
      child = null
    }
  }
  child?.disconnect()
}

function runIn(child: ChildProcess, task: Task): Promise<Outcome> {
  return new Promise((resolve) => {
    const end = (outcome: Outcome) => {
      clearTimeout(timer)
      child.removeAllListeners()
      resolve(outcome)
    }
    const lost = (error: string) => end({ seed: task.seed, counts: null, error, cpuMs: 0 })
    const timer = setTimeout(() => lost(`It did not end within ${RUN_MS_MAX} ms`), RUN_MS_MAX)
    child.on('message', (outcome) => end(outcome as Outcome))
    child.on('exit', (code) => lost(`The process ended with ${code}`))
    child.send(task)
  })
}

const progress = setInterval(() => {
  const rate = (ended / (performance.now() - beganMs)) * 1_000
  process.stderr.write(`${ended} of ${total} seeds, ${rate.toFixed(1)}/s, ${failed.length} failed\n`)
}, PROGRESS_MS)

await Promise.all(Array.from({ length: Math.min(workers, total) }, work))
clearInterval(progress)
for (const [name, sum] of [...sums].sort(([a], [b]) => (a < b ? -1 : 1))) process.stdout.write(`${name}: ${sum}\n`)
const wallSeconds = (performance.now() - beganMs) / 1_000
process.stdout.write(
  `${total} seeds, ${failed.length} failed, ${wallSeconds.toFixed(0)} s, CPU ${(cpuMs / 1_000).toFixed(0)} s\n`,
)
if (failed.length > 0) process.stdout.write(`failed: ${failed.sort((a, b) => a - b).join(', ')}\n`)
process.exitCode = failed.length > 0 ? 1 : 0
