/** The commands `ranges ...`: replicated ranges in processes of this machine. */
import { fileURLToPath } from 'node:url'
import { type Command, InvalidArgumentError, Option } from 'commander'
import { type FailureOptions, failures, idle, move, throughput } from './workloads.ts'

interface Given {
  stores: number
  ranges: number
  rate: number
  inFlight: number
  seconds: number
  warmup: number
  rounds: number
  failure: FailureOptions['failure']
  mebibytes: number
  cpuProf?: string
  heap?: number
}

const program = fileURLToPath(new URL('./process.js', import.meta.url))
const say = (text: string) => process.stderr.write(`${text}\n`)

/** Adds them to the command line. */
export function rangesCommands(parent: Command): void {
  const ranges = parent
    .command('ranges')
    .description('replicated ranges: store processes, RocksDB, links, fdatasync on')

  common(ranges.command('throughput').description('mutations that a majority of disks has'), 8)
    .option('--rate <n>', 'mutations a second; 0 = as many as there is room for', number, 0)
    .option('--in-flight <n>', 'mutations under way', number, 512)
    .option('--warmup <n>', 'seconds under load before it: compilers need ten', number, 10)
    .option('--seconds <n>', 'measured window', number, 10)
    .action(async (given: Given) => {
      const { rate, inFlight, seconds, warmup } = given
      const load = { rate, inFlight, warmupMs: warmup * 1_000, ms: seconds * 1_000 }
      show(await throughput({ ...fleetOf(given), ...load }, say))
    })

  common(ranges.command('failures').description('the store that leads most fails, again and again'), 8)
    .addOption(
      new Option('--failure <kind>', 'kill -9; SIGSTOP; links that go silent')
        .choices(['kill', 'stop', 'cut'])
        .default('kill'),
    )
    .option('--rounds <n>', 'failures', number, 50)
    .option('--rate <n>', 'mutations a second', number, 1_000)
    .action(async (given: Given) => {
      const { rounds, failure, rate } = given
      const { recoveriesMs, ...audit } = await failures({ ...fleetOf(given), rounds, failure, rate }, say)
      const sorted = recoveriesMs.toSorted((a, b) => a - b)
      show({ ...audit, medianMs: sorted[Math.floor(sorted.length / 2)]!, slowestMs: sorted.at(-1)! })
    })

  common(ranges.command('move').description('a large range gets a replica on a new store under load'), 1)
    .option('--mebibytes <n>', 'of the range', number, 1_024)
    .option('--rate <n>', 'mutations a second', number, 2_000)
    .action(async (given: Given) => {
      const { rssMib, figures } = await move(
        { ...fleetOf({ heap: 256, ...given }), bytes: given.mebibytes * 1_048_576, rate: given.rate, beforeMs: 5_000 },
        say,
      )
      show(figures)
      for (const row of rssMib) say(row.join(' '))
    })

  common(ranges.command('idle').description('what ranges cost that nobody uses'), 1_000)
    .option('--warmup <n>', 'seconds until they sleep', number, 30)
    .option('--seconds <n>', 'measured window', number, 20)
    .action(async (given: Given) => {
      const { warmup, seconds } = given
      show(await idle({ ...fleetOf(given), settleMs: warmup * 1_000, ms: seconds * 1_000 }, say))
    })
}

function common(command: Command, ranges: number): Command {
  return command
    .option('--stores <n>', 'processes; every range has a voter on each', number, 3)
    .option('--ranges <n>', 'ranges', number, ranges)
    .option('--cpu-prof <folder>', 'writes a CPU profile of each process')
    .option('--heap <n>', 'most MiB of the old generation of each store (move: 256)', number)
}

function fleetOf({ stores, ranges, cpuProf, heap }: Partial<Given>) {
  const nodeOptions: string[] = []
  if (cpuProf !== undefined) nodeOptions.push('--cpu-prof', `--cpu-prof-dir=${cpuProf}`)
  if (heap !== undefined) nodeOptions.push(`--max-old-space-size=${heap}`)
  return { program, stores: stores!, ranges: ranges!, nodeOptions }
}

function show(figures: Record<string, number | string>): void {
  const width = Math.max(...Object.keys(figures).map((key) => key.length))
  for (const [key, value] of Object.entries(figures)) process.stdout.write(`${key.padEnd(width)}  ${value}\n`)
}

function number(text: string): number {
  const value = Number(text)
  if (text.trim() === '' || !(value >= 0)) throw new InvalidArgumentError('Must be a number from 0 on.')
  return value
}
