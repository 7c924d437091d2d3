/** The command line of the chaos run: real nodes under load and faults, by seed; a report, and exit code 1 where a promise broke. */
import { writeFileSync } from 'node:fs'
import { Command, InvalidArgumentError, Option } from 'commander'
import { type CheckName, checkNames } from './judge.ts'
import { describeFault, planRound } from './plan.ts'
import { markdown, verdict } from './report.ts'
import { chaos } from './run.ts'

interface Given {
  minutes: number
  seed: number
  nodes: number
  rate: number
  round: number
  network: boolean
  set: string[]
  without: CheckName[]
  report?: string
  plan?: boolean
}

const positive = (text: string): number => {
  const number = Number(text)
  if (!(number > 0)) throw new InvalidArgumentError('It must be a number above 0.')
  return number
}

const given = new Command('chaos')
  .description(
    'Real nodes under load and faults, by seed. Fails where a promise broke; the seed repeats the plan of faults.',
  )
  .option('--minutes <n>', 'no round begins later', positive, 1)
  .option('--seed <n>', 'decides what goes wrong, and when', positive, 1)
  .option('--nodes <n>', 'processes', positive, 3)
  .option('--rate <n>', 'publishes a second, of all clients', positive, 200)
  .option('--round <seconds>', 'faults begin in so much of each round; then all must be well', positive, 40)
  .option('--no-network', 'leaves the network alone: nodes on loopback')
  .option('--set <key=value>', 'setting of all nodes, may be repeated', (value, all: string[]) => [...all, value], [])
  .addOption(new Option('--without <check...>', 'leaves checks out').choices(checkNames).default([]))
  .option('--report <file>', 'writes it as Markdown, or JSON where it ends so; without: Markdown on stdout')
  .option('--plan', 'prints the faults of the first rounds, and does nothing')
  .parse()
  .opts<Given>()

const say = (line: string) => process.stderr.write(`${(performance.now() / 1_000).toFixed(1).padStart(7)}  ${line}\n`)

if (given.plan) {
  for (let round = 1; round <= Math.max(3, given.minutes); round++) {
    const powers = { cuts: given.network, slows: given.network }
    const plan = planRound(given.seed, round, { nodes: given.nodes, ms: given.round * 1_000, powers })
    process.stdout.write(`round ${round}\n${plan.map((fault) => `  ${describeFault(fault)}\n`).join('')}`)
  }
} else {
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130))
  const { minutes, round, plan: _plan, ...rest } = given
  const report = await chaos({ ...rest, ms: minutes * 60_000, roundMs: round * 1_000 }, say)
  const text = given.report?.endsWith('.json') ? `${JSON.stringify(report, null, 2)}\n` : `${markdown(report)}\n`
  if (given.report === undefined) process.stdout.write(text)
  else writeFileSync(given.report, text)
  say(verdict(report))
  process.exitCode = report.findings.length > 0 ? 1 : 0
}
