/** The load generator's process: takes one spec over IPC, runs it, answers with the figures. */
import { randomBytes } from 'node:crypto'
import type { Measured, Progress, ScenarioName, Spec, Target } from '../spec.ts'
import { runConnect, runIdle } from './connects.ts'
import type { Scenario } from './context.ts'
import { setOnLost } from './link.ts'
import { runLong } from './long.ts'
import { Meter } from './meter.ts'
import { runPersistentOffline } from './offline.ts'
import { runOfflineAcks } from './offline-acks.ts'
import { runOfflineFanOut } from './offline-fan-out.ts'
import { runRetained } from './retained.ts'
import { runSteady } from './steady.ts'

export interface Order {
  spec: Spec
  target: Target
  /** Begins names of clients and topics; by default a few letters of its own. */
  run?: string
}

export type Report =
  | { type: 'progress'; line: Progress }
  | { type: 'measured'; measured: Measured }
  | { type: 'failed'; reason: string }

const scenarios: Partial<Record<ScenarioName, Scenario>> = {
  'persistent-offline': runPersistentOffline,
  long: runLong,
  'offline-acks': runOfflineAcks,
  'offline-fan-out': runOfflineFanOut,
  retained: runRetained,
  connect: runConnect,
  idle: runIdle,
}

let finished = false

process.once('message', (order: Order) => {
  const fail = (error: unknown) =>
    finish({ type: 'failed', reason: error instanceof Error ? error.message : String(error) })
  setOnLost(fail)
  start(order).then((measured) => finish({ type: 'measured', measured }), fail)
})
process.once('disconnect', () => process.exit(1))

function start({ spec, target, run }: Order): Promise<Measured> {
  const scenario = scenarios[spec.scenario] ?? runSteady
  return scenario({
    spec,
    target,
    meter: new Meter(target.pid, ...(target.others ?? []).map(({ pid }) => pid)),
    run: run ?? randomBytes(3).toString('hex'),
    report: (line) => send({ type: 'progress', line }),
  })
}

/** The first report counts. The parent ends this process: one that exits by itself may lose its last message. */
function finish(report: Report): void {
  if (finished) return
  finished = true
  send(report)
}

function send(report: Report): void {
  process.send?.(report)
}
