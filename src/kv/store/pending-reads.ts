import type { BrokerError } from '../../base/errors.ts'

type Run = (error: BrokerError | null) => void

/** Linearizable reads of one range that wait until this replica may answer them. */
export class PendingReads {
  #reads: { index: number; run: Run }[] = []

  /** Granted at `index`: answered once that is applied. */
  untilApplied(index: number, run: Run): void {
    this.#reads.push({ index, run })
  }

  /** Came before a sole voter led: it knows everything when it is established. */
  untilEstablished(run: Run): void {
    this.#reads.push({ index: Number.POSITIVE_INFINITY, run })
  }

  /** Runs what may be answered now; a halted range applies nothing any more, and says so to each. */
  run(applied: number, established: boolean, halted: boolean): void {
    if (this.#reads.length === 0) return
    const waiting = this.#reads
    this.#reads = []
    for (const read of waiting) {
      const known = read.index === Number.POSITIVE_INFINITY ? established : read.index <= applied
      if (known || halted) read.run(null)
      else this.#reads.push(read)
    }
  }

  fail(error: BrokerError): void {
    for (const { run } of this.#reads.splice(0)) run(error)
  }
}
