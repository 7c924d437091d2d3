/** `npm run cluster`: nodes of one cluster on this machine, in one terminal. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { styleText } from 'node:util'
import { Command, InvalidArgumentError } from 'commander'
import { type Ended, NodeProcess } from './node-process.ts'
import { BASE_PORT_MAX, howToConnect, MQTT_PORT, NODES_MAX, planNodes } from './plan.ts'

interface Given {
  basePort: number
  data?: string
  set: string[]
  keepGoing?: boolean
}

const COLORS = ['cyan', 'yellow', 'green', 'magenta', 'blue', 'red', 'white', 'gray'] as const
const LOOK_MS = 100

const program = new Command('npm run cluster --')
  .description('Run a cluster of nodes on this machine until Ctrl-C, with the log of each behind its name.')
  .argument('[nodes]', 'how many', integer(1, NODES_MAX), 3)
  .option('--base-port <port>', 'for MQTT of the first node; all other ports move along', port(), MQTT_PORT)
  .option('--data <folder>', 'keeps their state, for the next run; without it, it is gone at the end')
  .option('--set <key=value>', 'a setting of all nodes; may be repeated', (value, all: string[]) => [...all, value], [])
  .option('--keep-going', 'go on with the others when a node dies')
  .addHelpText(
    'after',
    `
Node i listens on 1883+i (MQTT), 8083+i (WebSocket), 8091+i (HTTP), and for the others on 7946+2i and 7947+2i, i from 0.
The end is 0 after Ctrl-C or SIGTERM, 1 where a node died or did not stop by itself. A second Ctrl-C kills them.

Examples:
  npm run cluster -- 3
  npm run cluster -- 5 --data data-cluster --base-port 2883 --set log.level=debug`,
  )
  .parse()

const [nodes] = program.processedArgs as [number]
const { basePort, data, set: settings, keepGoing = false } = program.opts<Given>()
const folder = data === undefined ? mkdtempSync(join(tmpdir(), 'flockmq-cluster-')) : resolve(data)
const plans = planNodes({ nodes, basePort, data: folder, settings })
/** Asked for where a setting gives it to the nodes. */
const token = settings.findLast((setting) => setting.startsWith('api.token='))?.slice('api.token='.length) ?? null

const width = plans.at(-1)!.name.length
const say = (text: string) => process.stdout.write(`${''.padEnd(width)} | ${text}\n`)
const running = new Map<string, NodeProcess>()
/** Signals until now; the end of the run counts as one. */
let stops = 0
let failed = false

const stopAsked = new Promise<void>((stop) => {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      if (++stops > 1) for (const node of running.values()) node.kill('SIGKILL')
      stop()
    })
  }
  // A SIGTERM for npm ends npm and its shell, and does not reach this process.
  const parent = process.ppid
  setInterval(() => process.ppid !== parent && stop(), LOOK_MS).unref()
})
// Who reads the logs may be gone before the nodes are.
process.stdout.on('error', () => {})
// Whatever ends this process: no node goes on without it.
process.on('exit', () => {
  for (const node of running.values()) node.kill('SIGKILL')
})

process.exitCode = await run()
if (data === undefined) rmSync(folder, { recursive: true, force: true })

async function run(): Promise<number> {
  const startedMs = performance.now()
  let endOne: () => void = () => {}
  const oneDied = new Promise<void>((resolve) => {
    endOne = resolve
  })
  plans.forEach((plan, i) => {
    const prefix = styleText(COLORS[i % COLORS.length]!, plan.name.padEnd(width), { stream: process.stdout })
    const node = new NodeProcess(plan, (line) => process.stdout.write(`${prefix} | ${line}\n`))
    running.set(plan.name, node)
    void node.ended.then((end) => {
      running.delete(plan.name)
      if (stops === 0) died(end)
      else failed ||= end.failed
      if (stops === 0 && (!keepGoing || running.size === 0)) endOne()
    })
  })
  void tellWhenReady(startedMs)
  await Promise.race([stopAsked, oneDied])
  await stopAll()
  return failed ? 1 : 0
}

function died({ name, how }: Ended): void {
  failed = true
  say(`${name} ended (${how})${keepGoing && running.size > 0 ? '; the others go on' : ''}`)
}

async function tellWhenReady(startedMs: number): Promise<void> {
  for (let ready = false; !ready; ) {
    await delay(LOOK_MS)
    if (stops > 0 || running.size === 0) return
    const answers = await Promise.all([...running.values()].map((node) => node.isReady(running.size, token)))
    ready = answers.every(Boolean)
  }
  const seconds = ((performance.now() - startedMs) / 1_000).toFixed(1)
  say(`ready: ${running.size} nodes in ${seconds} s, state in ${folder}`)
  for (const line of howToConnect(plans)) say(line)
}

/** The first one, which the others were started with, last. */
async function stopAll(): Promise<void> {
  stops = Math.max(stops, 1)
  for (const node of [...running.values()].reverse()) {
    say(`stopping ${node.plan.name}`)
    node.kill('SIGTERM')
    await node.ended
  }
}

function integer(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = Number(text)
    if (Number.isInteger(value) && value >= min && value <= max) return value
    throw new InvalidArgumentError(`It must be an integer from ${min} to ${max}.`)
  }
}

function port(): (text: string) => number {
  return integer(1, BASE_PORT_MAX)
}
