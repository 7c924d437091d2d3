import { type IntervalHistogram, monitorEventLoopDelay } from 'node:perf_hooks'
import type { MetricSink, MetricSource } from '../base/metrics.ts'

const RESOLUTION_MS = 10

/**
 * How late the event loop is: the time a timer fires after it was due, since the last scrape. One figure that shows
 * every overload of this process, whatever its cause.
 */
export class EventLoopDelay implements MetricSource {
  readonly #histogram: IntervalHistogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS })

  start(): void {
    this.#histogram.enable()
  }

  stop(): void {
    this.#histogram.disable()
  }

  collect(sink: MetricSink): void {
    for (const quantile of [0.5, 0.99, 1]) {
      sink.gauge(
        'flockmq_event_loop_delay_seconds',
        'How late timers fire, over the time since the last scrape.',
        delaySeconds(this.#histogram.percentile(quantile * 100)),
        { quantile: String(quantile) },
      )
    }
    this.#histogram.reset()
  }
}

/** Node measures the time between two firings in nanoseconds, the timer's own period included. */
function delaySeconds(intervalNs: number): number {
  return Math.max(0, intervalNs / 1e9 - RESOLUTION_MS / 1e3)
}
