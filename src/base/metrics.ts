/**
 * How the layers give their figures without knowing who asks: hot code counts in plain number fields, and whoever
 * holds them implements {@link MetricSource}, which is read only when somebody scrapes.
 *
 * Names follow Prometheus: `flockmq_` first, the base unit last (`_seconds`, `_bytes`), `_total` for counters.
 */
export interface MetricSource {
  /** Gives every figure to the sink. Called on each scrape; must not wait and must not change anything. */
  collect(sink: MetricSink): void
}

export type MetricLabels = { readonly [name: string]: string }

export interface MetricSink {
  /** A figure that only grows while the process lives. */
  counter(name: string, help: string, value: number, labels?: MetricLabels): void
  /** A figure that goes up and down. */
  gauge(name: string, help: string, value: number, labels?: MetricLabels): void
  histogram(name: string, help: string, value: Histogram, labels?: MetricLabels): void
}

/** Counts values by upper bounds. Observing costs a short loop and allocates nothing. */
export class Histogram {
  /** Upper bounds, inclusive, rising. */
  readonly bounds: readonly number[]
  /** Values at most `bounds[i]` and above the bound before; the last one counts the values above all bounds. */
  readonly counts: Float64Array
  sum = 0

  constructor(bounds: readonly number[]) {
    this.bounds = bounds
    this.counts = new Float64Array(bounds.length + 1)
  }

  observe(value: number): void {
    let index = 0
    while (index < this.bounds.length && value > this.bounds[index]!) index++
    this.counts[index]!++
    this.sum += value
  }
}
