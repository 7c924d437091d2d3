import { statfs } from 'node:fs/promises'
import { join } from 'node:path'
import type { Clock } from '../../../base/clock.ts'
import { type FamilyFiles, Manifest } from './manifest.ts'

const LOOK_MS = 1_000

/** Looks once a second at the disk: its free space, and the files of each column family. */
export class DiskWatch {
  readonly #path: string
  readonly #clock: Clock
  readonly #manifest: Manifest
  #stopTimer: (() => void) | null = null
  #stopped = false
  /** What this user may still write. */
  freeBytes = Number.POSITIVE_INFINITY
  diskBytes = 0
  families: Record<string, FamilyFiles> = {}

  constructor(path: string, clock: Clock) {
    this.#path = path
    this.#clock = clock
    this.#manifest = new Manifest(join(path, 'rocksdb'))
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
      await this.#manifest.refresh()
      this.families = this.#manifest.families() ?? {}
    } catch {
      return
    }
  }
}
