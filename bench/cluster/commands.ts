import { type Command, InvalidArgumentError, Option } from 'commander'
import { describeSpec, figure, progressLine, resultText } from '../report.ts'
import { completeSpec, type Qos, type ScenarioName, type Spec } from '../spec.ts'
import { load, start, subscriptions } from './workloads.ts'

interface Given {
  nodes: number
  set: string[]
  cpuProf?: string
  quiet?: boolean
  qos?: Qos
  rate?: number
  connections?: number
  inFlight?: number
  seconds?: number
  warmup?: number
  sessions?: number
  payload?: number
  spread: boolean
  count: number
  rounds: number
}

const log = (line: string) => process.stderr.write(`${line}\n`)
/** Of `kill`: the load is at its rate by then. */
const KILL_AFTER_SECONDS = 8

interface Scenario {
  name: string
  about: string
  scenario: ScenarioName
  defaults: Partial<Spec>
  spread?: boolean
  kill?: boolean
}

/** With the goals' loads. */
const scenarios: Scenario[] = [
  {
    ...{ name: 'pairs', about: 'publishers on one node, their subscribers on another', scenario: 'pairs' },
    defaults: { placing: 'across', warmup: 3 },
  },
  {
    ...{ name: 'fan-out', about: 'one publisher, 300 subscribers on all nodes', scenario: 'fan-out' },
    defaults: { placing: 'spread', connections: 300, warmup: 3 },
  },
  {
    ...{ name: 'offline-acks', about: 'QoS 1 to absent persistent sessions on three disks', scenario: 'offline-acks' },
    ...{ defaults: { placing: 'spread', payload: 256 }, spread: true },
  },
  {
    ...{
      name: 'latency',
      about: 'publishers on one node, their subscribers on another, on a schedule',
      scenario: 'latency',
    },
    defaults: { placing: 'across', rate: 2_000, warmup: 3 },
  },
  {
    ...{
      name: 'kill',
      about: 'offline-acks at 5,000/s on all nodes but the last, which is killed',
      scenario: 'offline-acks',
    },
    ...{ defaults: { placing: 'survivors', rate: 5_000, seconds: 10 }, spread: true, kill: true },
  },
  {
    ...{ name: 'flood', about: 'pairs that saturate nodes for minutes: elections and suspicions', scenario: 'pairs' },
    ...{ defaults: { placing: 'spread', seconds: 300 }, spread: true },
  },
]

/** Adds `cluster` to the command line. */
export function clusterCommands(parent: Command): void {
  const cluster = parent.command('cluster').description('nodes of one cluster, clients on several of them')
  for (const each of scenarios) {
    common(cluster.command(each.name).description(each.about))
      .addOption(new Option('--qos <n>', 'QoS').choices(['0', '1', '2']).argParser(Number))
      .option('--rate <n>', 'messages a second in all; 0 for closed loop', number)
      .option('--connections <n>', 'pairs, subscribers or publishers', number)
      .option('--in-flight <n>', 'unreceived messages of one publisher', number)
      .option('--payload <bytes>', 'bytes of payload', number)
      .option('--sessions <n>', 'absent sessions', number)
      .option('--seconds <n>', 'measured window', number)
      .option('--warmup <n>', 'seconds under load before it', number)
      .option('--no-spread', 'one range a service, wherever it is led')
      .action(async (given: Given) => await run(each, given))
  }
  common(cluster.command('start').description('from the start of the processes until all are ready'))
    .option('--rounds <n>', 'starts', number, 3)
    .action(async (given: Given) => {
      for (let i = 0; i < given.rounds; i++) show(await start(flockOf(given)))
    })
  common(cluster.command('subscriptions').description('very many subscribers of one filter on all nodes'))
    .option('--count <n>', 'subscribers', number, 100_000)
    .action(async (given: Given) => show(await subscriptions({ ...flockOf(given), count: given.count }, log)))
}

async function run({ name, scenario, defaults, spread = false, kill = false }: Scenario, given: Given): Promise<void> {
  const { qos, rate, connections, inFlight, seconds, warmup, sessions, payload } = given
  const own = { qos, rate, connections, inFlight, seconds, warmup, sessions, payload }
  const spec = completeSpec(scenario, {
    ...defaults,
    ...Object.fromEntries(Object.entries(own).filter(([, value]) => value !== undefined)),
  })
  const title = `cluster ${name}, ${given.nodes} nodes: ${describeSpec(spec)}`
  log(title)
  const options = { ...flockOf(given), spec, spread: spread && given.spread }
  const killAfterSeconds = kill ? KILL_AFTER_SECONDS : null
  const onLine = (line: Parameters<typeof progressLine>[0]) => {
    if (!given.quiet) log(progressLine(line))
  }
  const result = await load({ ...options, killAfterSeconds }, onLine, log)
  process.stdout.write(`${title}\n${resultText(result)}\n`)
}

function common(command: Command): Command {
  return command
    .option('--nodes <n>', 'processes', number, 3)
    .option('--set <key=value>', 'setting of all nodes, may be repeated', (value, all: string[]) => [...all, value], [])
    .option('--cpu-prof <folder>', 'writes a CPU profile of each process')
    .option('--quiet', 'no progress lines')
}

function flockOf({ nodes, set, cpuProf }: Given) {
  return { nodes, set, nodeOptions: cpuProf === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${cpuProf}`] }
}

function show(figures: Record<string, number>): void {
  for (const [name, value] of Object.entries(figures)) process.stdout.write(`${name.padEnd(20)} ${figure(value)}\n`)
}

function number(text: string): number {
  const value = Number(text)
  if (text.trim() === '' || !(value >= 0)) throw new InvalidArgumentError('Must be a number from 0 on.')
  return value
}
