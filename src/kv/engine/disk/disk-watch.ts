import { statfs } from 'node:fs/promises'
import type { Clock } from '../../../base/clock.ts'

const LOOK_MS = 1_000

/** Looks once a second at the disk: its free space, and what the engine wants to see besides. */
export class DiskWatch<Seen> {
  readonly #path: string
  readonly #clock: Clock
  readonly #see: () => Promise<Seen> | Seen
  #stopTimer: (() => void) | null = null
  #stopped = false
  /** What this user may still write. */
  freeBytes = Number.POSITIVE_INFINITY
  diskBytes = 0
  seen: Seen

  /** @param first until the first look */
  constructor(path: string, clock: Clock, see: () => Promise<Seen> | Seen, first: Seen) {
    this.#path = path
    this.#clock = clock
    this.#see = see
    this.seen = first
  }

  /** Looks once, then again and again until {@link stop}. */
  async start(): Promise<void> {
    await this.#look()
    if (this.#stopped) return
    this.#stopTimer = this.#clock.after(LOOK_MS, () => void this.start())
  }

  stop(): void {
    this.#stopped = true
    this.#stopTimer?.()
  }

  /** A look that fails leaves what was seen before: it must not stop what the database itself still does. */
  async #look(): Promise<void> {
    try {
      const { bavail, blocks, bsize } = await statfs(this.#path)
      this.freeBytes = bavail * bsize
      this.diskBytes = blocks * bsize
      if (!this.#stopped) this.seen = await this.#see()
    } catch {
      return
    }
  }
}
