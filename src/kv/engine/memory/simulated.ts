import { assert } from '../../../base/assert.ts'
import type { Clock, Random } from '../../../base/clock.ts'
import { BrokerError } from '../../../base/errors.ts'
import type { Batch, Bounds, Cursor, Engine, EngineStats, Family } from '../engine.ts'
import { type Image, MemoryEngine } from './engine.ts'

export interface SimulatedOptions {
  clock: Clock
  random: Random
  /** Longest time that a batch takes, in milliseconds; each takes a random part of it. Default 5. */
  writeMsMax?: number
}

export interface CrashOptions {
  /** How many of the batches not yet durable had reached the disk all the same. Default 0. */
  survivors?: number
  /** How many of the last durable batches are lost too, as when the write-ahead log is damaged. Default 0, most 8. */
  tornDurable?: number
}

interface Pending {
  batch: Batch
  resolve: () => void
  reject: (error: Error) => void
}

/**
 * A disk to break: a memory engine whose batches take time, and whose unsynced ones are lost in a {@link crash}.
 *
 * Batches are readable, and resolve, in their order, one at a time: a synced batch when it is on disk, an unsynced one
 * before. A batch that was half written at the crash is lost whole, since a real log knows it by its checksum.
 */
export class SimulatedEngine implements Engine {
  readonly persistent = true
  readonly #options: SimulatedOptions
  readonly #memory: MemoryEngine
  readonly #queue: Pending[] = []
  /** Landed and not durable. */
  #unsynced: Batch[] = []
  /** The last durable states, the newest at the end. */
  readonly #images: Image[]
  #durable: number
  #syncs = 0
  #writing: (() => void) | null = null
  #state: 'open' | 'hung' | 'failed' | 'closed' | 'crashed' = 'open'
  #failNext: Error | null = null
  #drained: (() => void)[] = []

  constructor(options: SimulatedOptions, from?: { image: Image; durable: number }) {
    this.#options = options
    this.#memory = new MemoryEngine(from?.image)
    this.#images = [this.#memory.image()]
    this.#durable = from?.durable ?? 0
  }

  get(family: Family, key: Uint8Array): Uint8Array | undefined {
    assert(this.#state !== 'crashed', 'A crashed engine was read')
    return this.#memory.get(family, key)
  }

  cursor(family: Family, bounds: Bounds): Cursor {
    assert(this.#state !== 'crashed', 'A crashed engine was read')
    return this.#memory.cursor(family, bounds)
  }

  write(batch: Batch): Promise<void> {
    if (this.#state === 'closed') return Promise.reject(new BrokerError('CLOSED', 'Cannot write: the engine is closed'))
    if (this.#state === 'failed')
      return Promise.reject(new BrokerError('STORAGE_FAILED', 'Cannot write: the disk failed'))
    return new Promise((resolve, reject) => {
      // Whatever calls a crashed engine belongs to a process that is no more: it never hears an answer.
      if (this.#state === 'crashed') return
      this.#queue.push({ batch, resolve, reject })
      this.#pump()
    })
  }

  durable(): number {
    return this.#durable
  }

  stats(): EngineStats {
    return { ...this.#memory.stats(), syncs: this.#syncs }
  }

  async close(): Promise<void> {
    if (this.#state === 'hung') this.resume()
    if (this.#queue.length > 0) await new Promise<void>((resolve) => this.#drained.push(resolve))
    if (this.#state !== 'crashed') this.#state = 'closed'
  }

  /** The next batch fails, and the engine with it. */
  failNext(error: Error = new BrokerError('STORAGE_FAILED', 'The disk failed')): void {
    this.#failNext = error
  }

  /** Batches wait until {@link resume}. */
  hang(): void {
    if (this.#state !== 'open') return
    this.#state = 'hung'
    this.#writing?.()
    this.#writing = null
  }

  resume(): void {
    if (this.#state !== 'hung') return
    this.#state = 'open'
    this.#pump()
  }

  /** Batches that a crash now could lose. */
  get undurable(): number {
    return this.#unsynced.length + this.#queue.length
  }

  /** Ends this engine in the middle of things: what it leaves on disk is opened by the engine returned. */
  crash(options: CrashOptions = {}): SimulatedEngine {
    const { survivors = 0, tornDurable = 0 } = options
    this.#writing?.()
    this.#state = 'crashed'
    const torn = Math.min(tornDurable, this.#images.length - 1)
    const next = new SimulatedEngine(this.#options, {
      image: this.#images[this.#images.length - 1 - torn]!,
      durable: this.#durable - torn,
    })
    if (torn === 0) {
      const undurable = [...this.#unsynced, ...this.#queue.map((pending) => pending.batch)]
      for (const batch of undurable.slice(0, survivors)) {
        next.#memory.land(batch)
        next.#becomeDurable(1)
      }
    }
    this.#queue.length = 0
    return next
  }

  #pump(): void {
    if (this.#writing !== null || this.#state !== 'open') return
    const head = this.#queue[0]
    if (head === undefined) return
    const { clock, random, writeMsMax = 5 } = this.#options
    this.#writing = clock.after(random.float() * writeMsMax, () => {
      this.#writing = null
      this.#complete(head)
    })
  }

  #complete(head: Pending): void {
    this.#queue.shift()
    if (this.#failNext !== null) {
      this.#fail(head, this.#failNext)
      return
    }
    this.#memory.land(head.batch)
    this.#unsynced.push(head.batch)
    if (head.batch.sync) {
      this.#syncs++
      this.#becomeDurable(this.#unsynced.length)
      this.#unsynced = []
    }
    head.resolve()
    this.#pump()
    if (this.#queue.length === 0) for (const resolve of this.#drained.splice(0)) resolve()
  }

  #becomeDurable(batches: number): void {
    this.#durable += batches
    this.#images.push(this.#memory.image())
    if (this.#images.length > 9) this.#images.shift()
  }

  #fail(head: Pending, error: Error): void {
    this.#state = 'failed'
    head.reject(error)
    for (const pending of this.#queue.splice(0)) pending.reject(error)
    for (const resolve of this.#drained.splice(0)) resolve()
  }
}
