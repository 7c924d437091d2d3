/** Over how long arrivals are counted, in ms: two such windows, of which the older one fades. */
const WINDOW_MS = 16
/** Waiting pays where so many come in the time between two batches: each batch costs about as much as forty commands. */
const CROWD = 3

/**
 * How often batches begin: at once where little comes, so that nobody waits for nothing; else not before `gapMs` after the
 * last one, so that what comes meanwhile shares it. A batch costs the same for one command as for many.
 */
export class Pace {
  readonly #gapMs: number
  #beganMs = Number.NEGATIVE_INFINITY
  #windowMs = 0
  #count = 0
  #before = 0

  constructor(gapMs: number) {
    this.#gapMs = gapMs
  }

  /** So much has come that wants a batch. */
  note(count: number, nowMs: number): void {
    this.#roll(nowMs)
    this.#count += count
  }

  /** A batch begins, or what is to be in it. */
  began(nowMs: number): void {
    this.#beganMs = nowMs
  }

  /** How long the next batch gathers yet; 0: it may begin. */
  waitMs(nowMs: number): number {
    const waitMs = this.#beganMs + this.#gapMs - nowMs
    return waitMs > 0 && this.#expected(nowMs) >= CROWD ? waitMs : 0
  }

  /** What comes in a gap, by what came lately. */
  #expected(nowMs: number): number {
    this.#roll(nowMs)
    const share = 1 - (nowMs - this.#windowMs) / WINDOW_MS
    return ((this.#count + this.#before * share) / WINDOW_MS) * this.#gapMs
  }

  #roll(nowMs: number): void {
    const windows = Math.floor((nowMs - this.#windowMs) / WINDOW_MS)
    if (windows <= 0) return
    this.#before = windows === 1 ? this.#count : 0
    this.#count = 0
    this.#windowMs += windows * WINDOW_MS
  }
}
