/** Counts of one run, its measured window, and the progress line of every second. */
import { cpuMicros } from '../proc.ts'
import type { Measured, Progress } from '../spec.ts'
import { LatencyRecorder } from './latency.ts'

type WindowFigures = Pick<
  Measured,
  | 'received'
  | 'seconds'
  | 'receivedPerSecond'
  | 'latency'
  | 'cpuMicrosPerMessage'
  | 'brokerCpuPercent'
  | 'generatorCpuPercent'
>

export class Meter {
  received = 0
  sent = 0
  readonly latency = new LatencyRecorder()
  /** Since somebody looked last; null where nobody does. */
  recent: LatencyRecorder | null = null
  /** Open loop: how late the generator itself was, a part of every latency. */
  readonly lateness = new LatencyRecorder()
  readonly #pids: readonly number[]
  #opened = { at: 0, received: 0, brokers: [] as (number | null)[], own: 0 }

  /** @param pids the broker's process, or those of its nodes; 0 when unknown */
  constructor(...pids: number[]) {
    this.#pids = pids
  }

  /** Of each node, since the window was opened: CPU microseconds a received message. */
  byNode(): Record<string, number> {
    const received = this.received - this.#opened.received
    const figures: Record<string, number> = {}
    this.#usedByNode().forEach((used, i) => {
      if (used !== null) figures[`n${i + 1}CpuMicros`] = used / Math.max(1, received)
    })
    return figures
  }

  open(): void {
    this.latency.reset()
    this.lateness.reset()
    this.#opened = { at: performance.now(), received: this.received, brokers: this.#brokerCpu(), own: ownCpu() }
  }

  close(): WindowFigures {
    const opened = this.#opened
    const seconds = (performance.now() - opened.at) / 1000
    const received = this.received - opened.received
    const each = this.#usedByNode()
    const used = each.includes(null) ? null : each.reduce<number>((sum, one) => sum + one!, 0)
    return {
      received,
      seconds,
      receivedPerSecond: received / seconds,
      latency: this.latency.summary(),
      cpuMicrosPerMessage: used === null || received === 0 ? null : used / received,
      brokerCpuPercent: used === null ? null : used / seconds / 10_000,
      generatorCpuPercent: (ownCpu() - opened.own) / seconds / 10_000,
    }
  }

  /** Reports once a second until the returned function is called. */
  progress(report: (line: Progress) => void): () => void {
    const began = performance.now()
    let last = { at: began, received: this.received, sent: this.sent }
    const timer = setInterval(() => {
      const now = { at: performance.now(), received: this.received, sent: this.sent }
      const seconds = (now.at - last.at) / 1000
      report({
        at: (now.at - began) / 1000,
        receivedPerSecond: (now.received - last.received) / seconds,
        sentPerSecond: (now.sent - last.sent) / seconds,
      })
      last = now
    }, 1000)
    return () => clearInterval(timer)
  }

  #brokerCpu(): (number | null)[] {
    return this.#pids.map((pid) => (pid === 0 ? null : cpuMicros(pid)))
  }

  #usedByNode(): (number | null)[] {
    const { brokers } = this.#opened
    return this.#brokerCpu().map((now, i) => {
      const before = brokers[i] ?? null
      return now === null || before === null ? null : now - before
    })
  }
}

function ownCpu(): number {
  const { user, system } = process.cpuUsage()
  return user + system
}
