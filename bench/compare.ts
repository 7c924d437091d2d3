/** The same specs against several brokers in alternation, so that a slow minute of the machine hits all of them. */
import { type BrokerOptions, unsupported } from './brokers/index.ts'
import { count, describeSpec, figure, table } from './report.ts'
import { runOnce } from './run.ts'
import type { BrokerName, Result, Spec } from './spec.ts'

export interface Cell {
  spec: Spec
  broker: BrokerName
  /** The run with the median rate; null when none succeeded. */
  result: Result | null
  /** Why a run failed or was not tried. */
  problem: string | null
}

export interface Comparison {
  brokers: readonly BrokerOptions[]
  specs: readonly Spec[]
  rounds: number
  log(text: string): void
}

export async function compare(comparison: Comparison): Promise<{ results: Cell[]; text: string }> {
  const results: Cell[] = []
  for (const spec of comparison.specs) results.push(...(await compareSpec(spec, comparison)))
  return { results, text: comparisonText(results) }
}

/** All rounds of one spec: a b c, a b c, ... */
export async function compareSpec(spec: Spec, { brokers, rounds, log }: Omit<Comparison, 'specs'>): Promise<Cell[]> {
  const cells = brokers.map(({ name }) => ({ name, runs: [] as Result[], problem: unsupported(name, spec) }))
  for (let round = 0; round < rounds; round++) {
    for (const [i, cell] of cells.entries()) {
      if (cell.problem !== null) continue
      try {
        const result = await runOnce(brokers[i]!, spec, () => {})
        cell.runs.push(result)
        log(`${cell.name.padEnd(10)} ${describeSpec(spec)}: ${count(result.receivedPerSecond)}/s`)
      } catch (error) {
        cell.problem = error instanceof Error ? error.message : String(error)
        log(`${cell.name.padEnd(10)} ${describeSpec(spec)}: ${cell.problem}`)
      }
    }
  }
  return cells.map(({ name, runs, problem }) => ({ spec, broker: name, result: median(runs), problem }))
}

/** The run in the middle by rate; of an even number the slower of the two. */
export function median(runs: readonly Result[]): Result | null {
  const sorted = [...runs].sort((a, b) => a.receivedPerSecond - b.receivedPerSecond)
  return sorted[Math.floor((sorted.length - 1) / 2)] ?? null
}

/** A row per spec and broker; ratios are the first broker's rate over the row's, and the row's CPU over the first's. */
export function comparisonText(cells: readonly Cell[]): string {
  const head = [
    'scenario',
    'broker',
    'msg/s',
    'ratio',
    'CPU us/msg',
    'ratio',
    'p50 us',
    'p99 us',
    'lost',
    'gen %',
    'RSS MiB',
    'more',
  ]
  const rows: string[][] = []
  let first: Cell | null = null
  for (const cell of cells) {
    if (cell.spec !== first?.spec) first = cell
    rows.push(row(cell, first))
  }
  const note =
    'ratio: rate of the first broker over this one; CPU of this one over the first broker. More than 1: the first is better.'
  return `${table(head, rows)}\n${note}`
}

function row(cell: Cell, first: Cell): string[] {
  const { result, broker } = cell
  const name = cell === first ? shortName(cell.spec) : ''
  if (!result) return [name, broker, (cell.problem ?? 'no run').split('\n')[0]!.slice(0, 60)]
  const base = first.result
  const { latency, rssMib } = result
  return [
    name,
    broker,
    count(result.receivedPerSecond),
    base && base !== result ? ratio(base.receivedPerSecond, result.receivedPerSecond) : '',
    result.cpuMicrosPerMessage === null ? '' : figure(result.cpuMicrosPerMessage),
    base && base !== result ? ratio(result.cpuMicrosPerMessage, base.cpuMicrosPerMessage) : '',
    latency ? String(latency.p50) : '',
    latency ? String(latency.p99) : '',
    String(result.lost),
    result.generatorCpuPercent.toFixed(0),
    rssMib ? rssMib.peak.toFixed(0) : '',
    Object.entries(result.extra)
      .map(([key, value]) => `${key} ${figure(value)}`)
      .join(', '),
  ]
}

export function shortName({ scenario, qos, onePerSegment, will }: Spec): string {
  return `${scenario} Q${qos}${onePerSegment ? ' w1' : ''}${will ? ' will' : ''}`
}

function ratio(a: number | null, b: number | null): string {
  return a === null || b === null || b === 0 ? '' : `${(a / b).toFixed(2)}x`
}
