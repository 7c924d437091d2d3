/** The broker's own event-loop delay, read from its Prometheus page while the load runs. */
import type { Broker } from './brokers/index.ts'

const everyMs = 1000
const answerTimeoutMs = 10_000

/**
 * Reads once a second until called. `eventLoopP99Ms` is the highest p99 seen: a page may count from the start
 * of the broker or since the last reading. Empty for a broker without the page or the metric.
 */
export function watchEventLoop(broker: Broker): () => Record<string, number> {
  if (broker.apiPort === 0) return () => ({})
  const url = `http://${broker.target.host}:${broker.apiPort}/metrics`
  let highest = -1
  let underWay = false
  const read = async () => {
    if (underWay) return
    underWay = true
    try {
      const page = await fetch(url, { signal: AbortSignal.timeout(answerTimeoutMs) })
      highest = Math.max(highest, eventLoopP99Seconds(await page.text()) ?? -1)
    } catch {
      // A page that does not answer leaves the figure out.
    }
    underWay = false
  }
  const timer = setInterval(() => void read(), everyMs)
  return () => {
    clearInterval(timer)
    return highest < 0 ? {} : { eventLoopP99Ms: highest * 1000 }
  }
}

/** Value of `flockmq_event_loop_delay_seconds{quantile="0.99"}`, other labels allowed. */
export function eventLoopP99Seconds(page: string): number | null {
  const found = /^flockmq_event_loop_delay_seconds\{[^}\n]*quantile="0\.99"[^}\n]*\}\s+(\S+)/m.exec(page)?.[1]
  const value = found === undefined ? Number.NaN : Number(found)
  return Number.isFinite(value) ? value : null
}
