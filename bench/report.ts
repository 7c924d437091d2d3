/** Results as text: the progress line, the block of one run, and tables. */
import type { Line } from './run.ts'
import type { Result, Spec } from './spec.ts'

export function progressLine(line: Line): string {
  const { at, receivedPerSecond, sentPerSecond, brokerCpuPercent, rssMib, more = {} } = line
  const cpu = brokerCpuPercent === null ? '' : `  broker ${brokerCpuPercent.toFixed(0)} % CPU`
  const rss = rssMib === null ? '' : `  ${rssMib.toFixed(0)} MiB`
  const rest = Object.entries(more).map(([name, value]) => `  ${name} ${figure(value)}`)
  const rates = `received ${count(receivedPerSecond)}/s  sent ${count(sentPerSecond)}/s`
  return `${at.toFixed(0).padStart(4)} s  ${rates}${cpu}${rss}${rest.join('')}`
}

export function describeSpec(spec: Spec): string {
  const { scenario, version, qos, payload, connections, inFlight, rate, onePerSegment, will } = spec
  if (scenario === 'start') return scenario
  const name = { 3: '3.1', 4: '3.1.1', 5: '5.0' }[version]
  const load = rate > 0 ? `${rate} msg/s open loop` : `${inFlight} in flight`
  const more = `${onePerSegment ? ', one message per segment' : ''}${will ? ', with a will' : ''}`
  if (scenario === 'connect') return `connect: MQTT ${name}, ${inFlight} under way${more}`
  if (scenario === 'idle') return `idle: MQTT ${name}, ${connections} connections${more}`
  return `${scenario}: MQTT ${name}, QoS ${qos}, ${payload} B, ${connections} connections, ${load}${more}`
}

export function resultText(result: Result): string {
  const { latency, rssMib, extra } = result
  const rows: [string, string][] = [
    ['received', `${count(result.receivedPerSecond)}/s (${result.received} in ${result.seconds.toFixed(2)} s)`],
  ]
  if (latency) {
    const { p50, p99, p999, max } = latency
    rows.push(['latency', `p50 ${micros(p50)}  p99 ${micros(p99)}  p99.9 ${micros(p999)}  max ${micros(max)}`])
  }
  rows.push(['accounting', accounting(result)])
  if (result.cpuMicrosPerMessage !== null) {
    const core = `${result.brokerCpuPercent?.toFixed(0)} % of a core`
    rows.push(['broker CPU', `${figure(result.cpuMicrosPerMessage)} us per received message (${core})`])
  }
  rows.push(['generator', `${result.generatorCpuPercent.toFixed(0)} % of a core`])
  if (rssMib) {
    const { before, after, peak } = rssMib
    rows.push(['broker RSS', `${before.toFixed(0)} MiB before, ${after.toFixed(0)} after, ${peak.toFixed(0)} peak`])
  }
  for (const [name, value] of Object.entries(extra)) rows.push([name, figure(value)])
  const lines = rows.map(([name, value]) => `  ${name.padEnd(12)} ${value}`)
  return [...lines, ...(result.series ? [seriesText(result.series)] : [])].join('\n')
}

function seriesText(series: readonly Record<string, number>[]): string {
  return table(
    Object.keys(series[0] ?? {}),
    series.map((row) => Object.values(row).map(figure)),
  )
}

export function accounting({ sent, lost, duplicated, outOfOrder }: Result): string {
  return `${sent} sent, ${lost} lost, ${duplicated} duplicated, ${outOfOrder} out of order`
}

/** Columns as wide as their widest cell; the first one to the left, the others to the right. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((title, i) => Math.max(title.length, ...rows.map((row) => row[i]?.length ?? 0)))
  const line = (cells: readonly string[]) =>
    cells.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join('  ')
  return [line(head), widths.map((width) => '-'.repeat(width)).join('  '), ...rows.map(line)].join('\n')
}

/** 1234567 as 1.23M. */
export function count(value: number): string {
  if (value >= 1e6) return `${(value / 1e6).toFixed(2)}M`
  if (value >= 1e4) return `${(value / 1e3).toFixed(0)}k`
  if (value >= 1e3) return `${(value / 1e3).toFixed(1)}k`
  return value.toFixed(0)
}

/** Three significant digits, never an exponent. */
export function figure(value: number): string {
  if (value === 0) return '0'
  return Math.abs(value) >= 100 ? String(Math.round(value)) : String(Number(value.toPrecision(3)))
}

function micros(value: number): string {
  return value >= 10_000 ? `${(value / 1000).toFixed(1)} ms` : `${value} us`
}
