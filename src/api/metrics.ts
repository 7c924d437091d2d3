import { collectDefaultMetrics, type Metric, Registry } from 'prom-client'
import type { Logger } from '../base/logging.ts'
import type { Histogram, MetricLabels, MetricSink, MetricSource } from '../base/metrics.ts'

interface Sample {
  value: number
  labels: MetricLabels
  metricName?: string
}

interface Family {
  name: string
  help: string
  type: 'counter' | 'gauge' | 'histogram'
  values: Sample[]
}

/**
 * The figures of all sources in Prometheus' text format. Nothing is kept between two scrapes: the sources' plain
 * fields are read when somebody asks, so that counting costs hot code one addition.
 */
export class Exposition {
  readonly contentType = Registry.PROMETHEUS_CONTENT_TYPE
  readonly #sources: readonly MetricSource[]
  readonly #process = new Registry()
  readonly #log: Logger
  #failures = 0

  constructor(sources: readonly MetricSource[], log: Logger) {
    this.#sources = sources
    this.#log = log
    collectDefaultMetrics({ register: this.#process })
  }

  async render(): Promise<string> {
    const families = new Families()
    for (const source of this.#sources) {
      try {
        source.collect(families)
      } catch (error) {
        this.#failures++
        this.#log.error({ err: error }, 'A source of metrics failed: its figures are missing')
      }
    }
    families.counter('flockmq_metric_source_failures_total', 'Sources that threw when read.', this.#failures)
    return `${await families.render()}${await this.#process.metrics()}`
  }
}

class Families implements MetricSink {
  readonly #families = new Map<string, Family>()

  counter(name: string, help: string, value: number, labels: MetricLabels = {}): void {
    this.#family(name, help, 'counter').values.push({ value, labels })
  }

  gauge(name: string, help: string, value: number, labels: MetricLabels = {}): void {
    this.#family(name, help, 'gauge').values.push({ value, labels })
  }

  histogram(name: string, help: string, value: Histogram, labels: MetricLabels = {}): void {
    const { values } = this.#family(name, help, 'histogram')
    let count = 0
    for (const [index, bound] of value.bounds.entries()) {
      count += value.counts[index]!
      values.push({ metricName: `${name}_bucket`, value: count, labels: { ...labels, le: String(bound) } })
    }
    count += value.counts.at(-1)!
    values.push({ metricName: `${name}_bucket`, value: count, labels: { ...labels, le: '+Inf' } })
    values.push({ metricName: `${name}_sum`, value: value.sum, labels })
    values.push({ metricName: `${name}_count`, value: count, labels })
  }

  render(): Promise<string> {
    const registry = new Registry()
    for (const family of this.#families.values()) {
      // The registry asks a metric for nothing but its name and get(); its own classes would count a second time.
      registry.registerMetric({ name: family.name, get: async () => family } as unknown as Metric)
    }
    return registry.metrics()
  }

  #family(name: string, help: string, type: Family['type']): Family {
    let family = this.#families.get(name)
    if (!family) this.#families.set(name, (family = { name, help, type, values: [] }))
    return family
  }
}
