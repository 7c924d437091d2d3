/**
 * Latencies in an HDR histogram. Messages of one burst carry the same time and arrive in one chunk, so equal
 * neighbours are counted and recorded together: exact, at a fraction of a record per message.
 */
import { build, type Histogram } from 'hdr-histogram-js'
import type { Latency } from '../spec.ts'

const microsMax = 120_000_000

export class LatencyRecorder {
  readonly #histogram: Histogram = build({
    bitBucketSize: 32,
    lowestDiscernibleValue: 1,
    highestTrackableValue: microsMax,
    numberOfSignificantValueDigits: 3,
  })
  #sent = 0
  #now = 0
  #count = 0

  /** Both times in microseconds of the generator's clock, modulo 2^32. */
  record(sent: number, now: number): void {
    if (sent === this.#sent && now === this.#now) {
      this.#count++
      return
    }
    this.#take()
    this.#sent = sent
    this.#now = now
    this.#count = 1
  }

  reset(): void {
    this.#count = 0
    this.#histogram.reset()
  }

  summary(): Latency | null {
    this.#take()
    const histogram = this.#histogram
    if (histogram.totalCount === 0) return null
    return {
      p50: histogram.getValueAtPercentile(50),
      p99: histogram.getValueAtPercentile(99),
      p999: histogram.getValueAtPercentile(99.9),
      max: histogram.maxValue,
    }
  }

  #take(): void {
    if (this.#count === 0) return
    // A difference above 2^31 is negative: an intended time a moment ahead of the clock counts as 0.
    const micros = Math.max(0, (this.#now - this.#sent) | 0)
    this.#histogram.recordValueWithCount(Math.min(micros, microsMax), this.#count)
    this.#count = 0
  }
}

/** The generator's clock: microseconds modulo 2^32 (71 minutes), the form in which messages carry time. */
export function clockMicros(): number {
  return (performance.now() * 1000) >>> 0
}
