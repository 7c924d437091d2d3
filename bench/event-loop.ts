/** The broker's own event-loop delay over the measured window, read from its Prometheus page. */
import type { Broker } from './brokers/index.ts'
import type { Progress, Spec } from './spec.ts'

const answerTimeoutMs = 10_000

export interface EventLoopWatch {
  /** Follows the run: the page is read when the load is up, and again shortly before it ends. */
  onLine(line: Progress): void
  /** `eventLoopP99Ms`; empty for a broker without the page or the metric. */
  figures(): Promise<Record<string, number>>
}

/**
 * FlockMQ's page counts from the reading before: the first reading starts the period, the second one is the figure,
 * so that nothing in between cuts the minute into small samples.
 */
export function watchEventLoop(broker: Broker, spec: Spec): EventLoopWatch {
  const url = `http://${broker.target.host}:${broker.target.apiPort}/metrics`
  const secondAt = spec.warmup + spec.seconds - 1
  let first: Promise<number | null> | null = null
  let second: Promise<number | null> | null = null
  return {
    onLine({ at }) {
      if (broker.target.apiPort === 0) return
      if (first === null) first = readP99Seconds(url)
      else if (at >= secondAt) second ??= readP99Seconds(url)
    },
    async figures() {
      const seconds = await (second ?? first)
      return seconds === null ? {} : { eventLoopP99Ms: seconds * 1000 }
    },
  }
}

async function readP99Seconds(url: string): Promise<number | null> {
  try {
    const page = await fetch(url, { signal: AbortSignal.timeout(answerTimeoutMs) })
    return eventLoopP99Seconds(await page.text())
  } catch {
    return null
  }
}

/** Value of `flockmq_event_loop_delay_seconds{quantile="0.99"}`, other labels allowed. */
export function eventLoopP99Seconds(page: string): number | null {
  const found = /^flockmq_event_loop_delay_seconds\{[^}\n]*quantile="0\.99"[^}\n]*\}\s+(\S+)/m.exec(page)?.[1]
  const value = found === undefined ? Number.NaN : Number(found)
  return Number.isFinite(value) ? value : null
}
