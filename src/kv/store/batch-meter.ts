import { Histogram, type MetricSink } from '../../base/metrics.ts'
import type { Batch } from '../engine/engine.ts'
import { type Gathered, inFamilies } from './gathered.ts'

/** From a memory disk to one that hangs. */
const SYNC_SECONDS = [0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1, 2, 4, 8]
/** Powers of four: what one client writes, and what thousands do. */
const WRITES = [1, 4, 16, 64, 256, 1_024, 4_096, 16_384, 65_536]

/** How large the store's batches are, and how long they wait for the disk. One is under way at a time. */
export class BatchMeter {
  readonly #seconds = new Histogram(SYNC_SECONDS)
  readonly #writes = new Histogram(WRITES)
  #beganMs = 0
  #synced = false

  /**
   * What was gathered, as a batch that begins now.
   * @param nowMs monotonic
   */
  begun(gathered: Gathered, nowMs: number): Batch {
    const writes = inFamilies(gathered)
    this.#writes.observe(writes.length)
    this.#beganMs = nowMs
    this.#synced = gathered.sync
    return { writes, sync: gathered.sync }
  }

  landed(nowMs: number): void {
    if (this.#synced) this.#seconds.observe((nowMs - this.#beganMs) / 1_000)
  }

  collect(sink: MetricSink): void {
    const help = 'How long batches that wait for the disk took, from the store to the disk'
    sink.histogram('flockmq_store_sync_seconds', help, this.#seconds)
    sink.histogram('flockmq_store_batch_writes', 'Keys written or deleted in one batch', this.#writes)
  }
}
