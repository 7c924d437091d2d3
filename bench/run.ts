/** One run: starts the broker and the load generator, follows both, stops both, returns the result. */
import { fileURLToPath } from 'node:url'
import { generatorCore, startPinned } from './brokers/child.ts'
import { type Broker, type BrokerOptions, startBroker, unsupported } from './brokers/index.ts'
import { watchEventLoop } from './event-loop.ts'
import type { Order, Report } from './generator/main.ts'
import { cpuMicros, rssMib } from './proc.ts'
import { measureRestart } from './restart.ts'
import { type Measured, type Progress, type Result, type Spec, sharingScenarios } from './spec.ts'
import { measureStart } from './start.ts'

export interface Line extends Progress {
  /** Of one core, since the line before; null when no pid is known. */
  brokerCpuPercent: number | null
  rssMib: number | null
}

const generator = fileURLToPath(new URL('./generator/main.js', import.meta.url))
const rssEveryMs = 200
/** For connecting, draining and the phases that no `--seconds` bounds. */
const spareMs = 120_000

export async function runOnce(options: BrokerOptions, spec: Spec, onLine: (line: Line) => void): Promise<Result> {
  const reason = unsupported(options.name, spec)
  if (reason) throw new Error(`Cannot run "${spec.scenario}": ${reason}`)
  if (spec.scenario === 'start') return { broker: options.name, spec, rssMib: null, ...(await measureStart(options)) }
  if (spec.scenario === 'restart') {
    const log = (text: string) => process.stderr.write(`${text}\n`)
    return { broker: options.name, spec, rssMib: null, ...(await measureRestart(options, spec, log)) }
  }
  const broker = await startBroker({ ...options, allCores: sharingScenarios.includes(spec.scenario) })
  try {
    const memory = watchMemory(broker.target.pid)
    const loop = spec.scenario === 'flood' ? watchEventLoop(broker, spec) : null
    const measured = await generate(broker, spec, (line) => {
      loop?.onLine(line)
      onLine(line)
    }).finally(() => clearInterval(memory.timer))
    const extra = { ...measured.extra, ...(await loop?.figures()) }
    return { broker: options.name, spec, ...measured, extra, rssMib: memory.figures() }
  } finally {
    await broker.stop()
  }
}

/** Runs the load generator against a broker that is there. */
export function generate(
  { target }: Pick<Broker, 'target'>,
  spec: Spec,
  onLine: (line: Line) => void,
  { run, shared = false }: { run?: string; shared?: boolean } = {},
): Promise<Measured> {
  const child = startPinned(
    shared ? null : generatorCore,
    process.execPath,
    ['--max-semi-space-size=32', generator],
    true,
  )
  // What is queued in the end of `long` takes its time too.
  const limit = spareMs + (spec.warmup + spec.seconds * (spec.scenario === 'long' ? 3 : 1)) * 1000
  return new Promise<Measured>((resolve, reject) => {
    const fail = (why: string) => reject(new Error(`Run "${spec.scenario}" failed: ${why}`))
    const timer = setTimeout(() => fail(`not done after ${limit / 1000} s`), limit)
    const addUsage = usageReader(target.pid)
    child.process.on('message', (report: Report) => {
      if (report.type === 'progress') onLine({ ...report.line, ...addUsage() })
      else if (report.type === 'measured') resolve(report.measured)
      else fail(report.reason)
    })
    child.process.once('exit', () => {
      clearTimeout(timer)
      fail(`the load generator stopped: ${child.output()}`)
    })
    child.process.send({ spec, target, ...(run === undefined ? {} : { run }) } satisfies Order)
  }).finally(() => child.stop())
}

function usageReader(pid: number): () => Pick<Line, 'brokerCpuPercent' | 'rssMib'> {
  let last = { at: performance.now(), cpu: pid === 0 ? null : cpuMicros(pid) }
  return () => {
    const now = { at: performance.now(), cpu: pid === 0 ? null : cpuMicros(pid) }
    const used = now.cpu === null || last.cpu === null ? null : (now.cpu - last.cpu) / (now.at - last.at) / 10
    last = now
    return { brokerCpuPercent: used, rssMib: pid === 0 ? null : rssMib(pid) }
  }
}

/** Samples the resident set: what it was before, is now, and was at most. */
function watchMemory(pid: number): { timer: NodeJS.Timeout; figures(): Result['rssMib'] } {
  const before = pid === 0 ? null : rssMib(pid)
  let peak = before ?? 0
  const timer = setInterval(() => {
    peak = Math.max(peak, rssMib(pid) ?? 0)
  }, rssEveryMs)
  const figures = () => {
    const after = pid === 0 ? null : rssMib(pid)
    return before === null || after === null ? null : { before, after, peak: Math.max(peak, after) }
  }
  return { timer, figures }
}
