import { type FSWatcher, watch } from 'node:fs'
import { stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { Clock } from '../../base/clock.ts'

/** In a busy folder many hints become one; also gives an editor the time to finish. */
const SETTLE_MS = 50

/**
 * Calls `onHint` when one of some files may have changed: at once where the system tells, and every `pollMs` in any
 * case, since network and container file systems often do not. What to do with the hint, {@link fingerprint} tells.
 *
 * It watches the folders, not the files: a file that is replaced by a rename, as editors and Kubernetes do, is
 * another file.
 */
export class FileWatch {
  readonly #watchers: FSWatcher[] = []
  readonly #clock: Clock
  readonly #onHint: () => void
  #cancelPoll: () => void = () => {}
  #cancelHint: (() => void) | null = null

  constructor(files: readonly string[], clock: Clock, pollMs: number, onHint: () => void) {
    this.#clock = clock
    this.#onHint = onHint
    for (const folder of new Set(files.map((file) => dirname(file)))) {
      try {
        const watcher = watch(folder, { persistent: false }, () => this.#hint())
        watcher.on('error', () => watcher.close())
        this.#watchers.push(watcher)
      } catch {
        // No more watches, or none on this file system: the poll is enough.
      }
    }
    const poll = (): void => {
      this.#cancelPoll = clock.after(pollMs, () => {
        this.#hint()
        poll()
      })
    }
    poll()
  }

  close(): void {
    this.#cancelPoll()
    this.#cancelHint?.()
    for (const watcher of this.#watchers) watcher.close()
  }

  #hint(): void {
    this.#cancelHint ??= this.#clock.after(SETTLE_MS, () => {
      this.#cancelHint = null
      this.#onHint()
    })
  }
}

/** Differs whenever the content may: which file it is, its size and its time. 'missing' where there is none. */
export async function fingerprint(file: string): Promise<string> {
  try {
    const { ino, size, mtimeNs, ctimeNs } = await stat(file, { bigint: true })
    return `${ino}:${size}:${mtimeNs}:${ctimeNs}`
  } catch {
    return 'missing'
  }
}
