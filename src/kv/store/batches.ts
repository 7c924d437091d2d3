import type { Clock } from '../../base/clock.ts'
import type { MetricSink } from '../../base/metrics.ts'
import type { Engine } from '../engine/engine.ts'
import { BatchMeter } from './batch-meter.ts'
import { type Gathered, hasWrites, mayWait, nothingGathered } from './gathered.ts'
import { Pace } from './pace.ts'

/** How long effects that are seen already may wait for a batch that somebody waits for, in ms. */
const LAZY_MS = 20

export interface BatchesOptions {
  engine: Engine
  clock: Clock
  /** See {@link StoreLimits.gatherMs}. */
  gatherMs: number
  /** Asks for a turn of the loop: something may begin now. */
  wake(): void
  landed(landings: readonly (() => void)[]): void
  failed(error: Error): void
}

/** What turns gather, and when it goes to the disk: one batch at a time, and not more often than it pays. */
export class Batches {
  /** For the next batch. */
  gathered: Gathered = nothingGathered()
  /** One is under way. */
  writing = false
  readonly #options: BatchesOptions
  readonly #pace: Pace
  readonly #meter = new BatchMeter()
  /** What is gathered began when it might: it only waits for the one under way. */
  #due = false
  /** Landings gathered by then. */
  #begun = 0
  /** Until then lazy effects wait; 0 = there are none. */
  #lazyMs = 0
  #stopTimer: (() => void) | null = null
  #timerMs = 0

  constructor(options: BatchesOptions) {
    this.#options = options
    this.#pace = new Pace(options.gatherMs)
  }

  get pending(): boolean {
    return hasWrites(this.gathered)
  }

  /** So many came that want to be in a batch. */
  note(count: number): void {
    this.#pace.note(count, this.#options.clock.monotonic())
  }

  /** Whether what waits may begin now: the entries of the next batch are made, and appended elsewhere. */
  get open(): boolean {
    return this.#pace.waitMs(this.#options.clock.monotonic()) === 0
  }

  /** The turn has gathered all that it could. `open`: as it was in this turn; `ends`: nothing more comes. */
  turned(open: boolean, ends: boolean): void {
    if (!hasWrites(this.gathered)) return
    const nowMs = this.#options.clock.monotonic()
    if (mayWait(this.gathered) && this.#lazyWaitMs(nowMs) > 0 && !ends) return
    const { length } = this.gathered.landings
    if (open && length > this.#begun) this.#pace.began(nowMs)
    if (open) {
      this.#due = true
      this.#begun = length
    }
    if (this.#due || ends) this.write()
  }

  /** Begins a batch of all that is gathered, unless one is under way. */
  write(): void {
    const { gathered } = this
    if (this.writing || !hasWrites(gathered)) return
    const { engine, clock, landed, failed } = this.#options
    this.gathered = nothingGathered()
    this.#due = false
    this.#begun = 0
    this.#lazyMs = 0
    this.writing = true
    this.stop()
    engine.write(this.#meter.begun(gathered, clock.monotonic())).then(
      () => {
        this.writing = false
        this.#meter.landed(clock.monotonic())
        landed(gathered.landings)
      },
      (error: Error) => {
        this.writing = false
        failed(error)
      },
    )
  }

  /** The one before has landed: what waited only for that goes. */
  follow(): void {
    if (this.#due || this.gathered.ample) this.write()
  }

  /** Asks for a turn when what waits may begin. `others`: something waits that is not gathered yet. */
  plan(others: boolean): void {
    const pending = hasWrites(this.gathered) && !this.#due
    if (!pending && !others) return
    const nowMs = this.#options.clock.monotonic()
    const lazy = !others && mayWait(this.gathered)
    // It may begin when neither holds it back: else it would be asked for in a circle.
    const waitMs = Math.max(lazy ? this.#lazyWaitMs(nowMs) : 0, this.#pace.waitMs(nowMs))
    if (waitMs > 0) this.#wakeIn(waitMs, nowMs)
    else if (!this.writing) this.#options.wake()
  }

  collect(sink: MetricSink): void {
    this.#meter.collect(sink)
  }

  /** Forgets the turn that was planned. */
  stop(): void {
    this.#stopTimer?.()
    this.#stopTimer = null
  }

  #lazyWaitMs(nowMs: number): number {
    if (this.#lazyMs === 0) this.#lazyMs = nowMs + LAZY_MS
    return Math.max(0, this.#lazyMs - nowMs)
  }

  #wakeIn(waitMs: number, nowMs: number): void {
    const atMs = nowMs + waitMs
    if (this.#stopTimer !== null && this.#timerMs <= atMs) return
    this.#stopTimer?.()
    this.#timerMs = atMs
    this.#stopTimer = this.#options.clock.after(Math.ceil(waitMs), () => {
      this.#stopTimer = null
      this.#options.wake()
    })
  }
}
