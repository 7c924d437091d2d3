import type { Output } from './output.ts'

/** Bytes gathered over all connections before they are written within the turn. */
const GATHERED_BYTES_MAX = 32 * 1024 * 1024
/** Reads of one turn up to which the loop counts as quiet: then latency wins over batching. */
const QUIET_READS = 3

/**
 * Outputs that have something to write. In a busy loop they are written once a turn, after every readable socket was
 * read, so that packets from many publishers share a write; in a quiet one at the end of the read itself.
 */
export class FlushQueue {
  /** Bytes that all outputs hold: kept by them. */
  pendingBytes = 0
  #dirty: Output[] = []
  #scheduled = false
  #reads = 0
  #quiet = true
  #counting = false
  readonly #defer: (callback: () => void) => void
  readonly #onTurn = () => this.#turn()

  /** @param defer runs a callback after the reads of this turn: `setImmediate` */
  constructor(defer: (callback: () => void) => void) {
    this.#defer = defer
  }

  add(output: Output): void {
    output.queued = true
    this.#dirty.push(output)
    if (!this.#scheduled) this.#schedule()
  }

  /** A connection handled one read. */
  readEnded(): void {
    this.#reads++
    if (!this.#counting) {
      this.#counting = true
      if (!this.#scheduled) this.#schedule()
    }
    if (this.#quiet || this.pendingBytes > GATHERED_BYTES_MAX) this.flush()
  }

  /** Called while much is produced within one read. */
  relieve(): void {
    if (this.pendingBytes > GATHERED_BYTES_MAX) this.flush()
  }

  flush(): void {
    const dirty = this.#dirty
    if (dirty.length === 0) return
    this.#dirty = []
    for (let i = 0; i < dirty.length; i++) {
      const output = dirty[i]!
      output.queued = false
      output.flush()
    }
  }

  #schedule(): void {
    this.#scheduled = true
    this.#defer(this.#onTurn)
  }

  #turn(): void {
    this.#scheduled = false
    this.#counting = false
    this.#quiet = this.#reads <= QUIET_READS
    this.#reads = 0
    this.flush()
  }
}
