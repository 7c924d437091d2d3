/** The command line of the benchmarks: one command per scenario, `compare` and `goals`. */
import { writeFileSync } from 'node:fs'
import { Command, InvalidArgumentError, Option } from 'commander'
import type { BrokerOptions } from './brokers/index.ts'
import { clusterCommands } from './cluster/commands.ts'
import { compare } from './compare.ts'
import { STAMP_BYTES } from './generator/codec.ts'
import { durableTable, goals, goalTable } from './goals.ts'
import { rangesCommands } from './kv/commands.ts'
import { describeSpec, progressLine, resultText } from './report.ts'
import { runOnce } from './run.ts'
import { type BrokerName, brokerNames, completeSpec, type ScenarioName, type Spec, scenarioNames } from './spec.ts'

interface Given extends Partial<Omit<Spec, 'scenario'>> {
  broker?: BrokerName
  brokers?: BrokerName[]
  rounds?: number
  host: string
  port: number
  pid: number
  apiPort: number
  set: string[]
  mosquittoConf: string[]
  json?: string
  quiet?: boolean
}

const about: Record<ScenarioName, string> = {
  pairs: 'each publisher to a subscriber of its own',
  'fan-out': 'one publisher to all subscribers',
  'fan-in': 'all publishers to one subscriber with a + filter',
  shared: 'all publishers to one $share group',
  wildcard: 'pairs over many filters with + and #',
  'persistent-online': 'pairs whose subscribers have persistent sessions, attached',
  latency: 'pairs on a fixed schedule, latency from the intended time',
  flood: 'pairs that saturate the broker; reads its event-loop delay',
  'persistent-offline': 'queue for absent persistent sessions, then drain',
  'offline-acks': 'from PUBLISH to PUBACK for absent persistent sessions; cost in CPU, fdatasyncs and bytes',
  'offline-fan-out': 'each publish to very many absent persistent sessions',
  long: 'queues that fill and drain for minutes: rate, latency, memory and disk over time',
  retained: 'set retained messages, then read all by a wildcard',
  connect: 'connects per second',
  idle: 'memory of idle connections',
  start: 'time from the start of the broker to the first message',
  restart: 'time from a start on a full data folder to the first persistent session',
}

const log = (text: string) => process.stderr.write(`${text}\n`)

const program = new Command('bench')
  .description('Benchmarks of FlockMQ and its peers. Figures go to stdout, progress to stderr.')
  .showHelpAfterError()

for (const name of scenarioNames) {
  const command = brokerOptions(loadOptions(program.command(name).description(about[name])))
  command
    .addOption(new Option('--broker <name>', 'broker under test').choices(brokerNames).default('flockmq'))
    .action(async (given: Given) => {
      const spec = specOf(name, given)
      log(`${given.broker}, ${describeSpec(spec)}`)
      const result = await runOnce(brokerOf(given.broker!, given), spec, (line) => {
        if (!given.quiet) log(progressLine(line))
      })
      process.stdout.write(`${given.broker}, ${describeSpec(spec)}\n${resultText(result)}\n`)
      writeJson(given, result)
    })
}

brokerOptions(loadOptions(program.command('compare').argument('[scenario...]', scenarioNames.join(', '))))
  .description('the same scenarios against several brokers, in alternation')
  .addOption(
    new Option('--brokers <names...>', 'brokers to compare')
      .choices(brokerNames)
      .default(['flockmq', 'mosquitto', 'aedes']),
  )
  .option('--rounds <n>', 'runs of each cell; the median counts', positive, 1)
  .action(async (names: string[], given: Given) => {
    const scenarios = names.length > 0 ? names.map(scenarioName) : scenarioNames.filter((name) => name !== 'flood')
    const brokers = given.brokers!.map((name) => brokerOf(name, given))
    const specs = scenarios.map((name) => specOf(name, given))
    const { results, text } = await compare({ brokers, specs, rounds: given.rounds!, log })
    process.stdout.write(`${text}\n`)
    writeJson(given, results)
  })

brokerOptions(program.command('goals'))
  .description('the goals of the first release, or of the durable one: goal, measured, met')
  .option('--durable', 'those with every acknowledgement on disk')
  .option('--seconds <n>', 'measured window of each run', positive, 4)
  .option('--flood-seconds <n>', 'length of the flood', positive, 60)
  .option('--rounds <n>', 'runs of each cell; the median counts', positive, 1)
  .option('--only <text>', 'only goals whose name contains this')
  .action(async (given: Given & { floodSeconds: number; only?: string; durable?: boolean }) => {
    const { rows, text } = await goals({
      table: given.durable ? durableTable : goalTable,
      seconds: given.seconds!,
      floodSeconds: given.floodSeconds,
      rounds: given.rounds!,
      only: given.only ?? '',
      broker: (name) => brokerOf(name, given),
      log,
    })
    process.stdout.write(`${text}\n`)
    writeJson(given, rows)
  })

rangesCommands(program)
clusterCommands(program)

for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130))
await program.parseAsync().catch((error: unknown) => {
  log(error instanceof Error ? error.message : String(error))
  process.exit(1)
})

function loadOptions(command: Command): Command {
  const level = (text: string) => Number(text)
  return command
    .addOption(
      new Option('--version <level>', '3 is MQTT 3.1, 4 is 3.1.1, 5 is 5.0').choices(['3', '4', '5']).argParser(level),
    )
    .addOption(new Option('--qos <n>', 'QoS of publishes and subscriptions').choices(['0', '1', '2']).argParser(level))
    .option('--payload <bytes>', `bytes of payload, at least ${STAMP_BYTES}`, atLeast(STAMP_BYTES))
    .option(
      '--connections <n>',
      'pairs; subscribers (fan-out); publishers (fan-in, shared, retained); clients (idle)',
      positive,
    )
    .option('--in-flight <n>', 'unreceived messages of one publisher; connects under way', positive)
    .option('--rate <n>', 'messages a second in all, on a fixed schedule (open loop); 0 for closed loop', atLeast(0))
    .option('--burst <n>', 'messages that a publisher sends at once, in the open loop', positive)
    .option('--seconds <n>', 'measured window', positive)
    .option('--warmup <n>', 'seconds under load before it', atLeast(0))
    .option('--one-per-segment', 'write each message by itself; window 1, pairs 500 unless given')
    .option('--group <n>', 'members of the shared group', positive)
    .option('--filters <n>', 'filters in "wildcard"', positive)
    .option(
      '--messages <n>',
      'per subscriber (persistent-offline), in all (retained, restart, offline-fan-out)',
      positive,
    )
    .option('--sessions <n>', 'absent sessions (offline-acks, offline-fan-out, long, restart)', positive)
    .option('--queue-bytes <n>', 'payload in queues at which sessions come back (long)', positive)
    .option('--will', 'CONNECT with a will')
}

function brokerOptions(command: Command): Command {
  return command
    .option('--host <name>', 'of an external broker', '127.0.0.1')
    .option('--port <n>', 'of an external broker', positive, 1883)
    .option('--pid <n>', 'of an external broker, to read its CPU time and memory', atLeast(0), 0)
    .option('--api-port <n>', 'HTTP port of an external FlockMQ', atLeast(0), 0)
    .option('--set <key=value>', 'setting of FlockMQ, may be repeated', collect, [])
    .option('--mosquitto-conf <line>', 'further line of mosquitto.conf, may be repeated', collect, [])
    .option('--json <file>', 'write the figures as JSON; "-" for stdout')
    .option('--quiet', 'no progress lines')
}

function specOf(scenario: ScenarioName, given: Given): Spec {
  const { version, qos, payload, connections, inFlight, rate, seconds, warmup } = given
  const { onePerSegment, group, filters, messages, sessions, queueBytes, will } = given
  const all = {
    version,
    qos,
    payload,
    connections,
    inFlight,
    rate,
    seconds,
    warmup,
    onePerSegment,
    group,
    filters,
    messages,
    sessions,
    queueBytes,
    will,
  }
  return completeSpec(scenario, Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined)))
}

function brokerOf(name: BrokerName, given: Given): BrokerOptions {
  const { host, port, pid, apiPort, set, mosquittoConf } = given
  return { name, host, port, pid, apiPort, set, mosquittoConf }
}

function scenarioName(name: string): ScenarioName {
  const found = scenarioNames.find((known) => known === name)
  if (!found) throw new Error(`Unknown scenario "${name}": use ${scenarioNames.join(', ')}`)
  return found
}

function atLeast(min: number): (text: string) => number {
  return (text) => {
    const value = Number(text)
    if (text.trim() === '' || !(value >= min)) throw new InvalidArgumentError(`Must be a number from ${min} on.`)
    return value
  }
}

function collect(value: string, all: string[]): string[] {
  return [...all, value]
}

function positive(text: string): number {
  return atLeast(1)(text)
}

function writeJson(given: Given, value: unknown): void {
  if (given.json === undefined) return
  const text = `${JSON.stringify(value, null, 2)}\n`
  if (given.json === '-') process.stdout.write(text)
  else writeFileSync(given.json, text)
}
