import { type FSWatcher, watch } from 'node:fs'
import { stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { Clock } from '../../base/clock.ts'

/**
 * Calls `onHint` when one of some files may have changed: at once where the system tells, and every `pollMs` in any
 * case, since network and container file systems often do not. What to do with the hint, {@link fingerprint} tells.
 *
 * It watches the folders, not the files: a file that is replaced by a rename, as editors and Kubernetes do, is
 * another file.
 */
export class FileWatch {
  readonly #watchers: FSWatcher[] = []
  #cancel: () => void = () => {}

  constructor(files: readonly string[], clock: Clock, pollMs: number, onHint: () => void) {
    for (const folder of new Set(files.map((file) => dirname(file)))) {
      try {
        const watcher = watch(folder, { persistent: false }, onHint)
        watcher.on('error', () => watcher.close())
        this.#watchers.push(watcher)
      } catch {
        // No more watches, or none on this file system: the poll is enough.
      }
    }
    const poll = (): void => {
      this.#cancel = clock.after(pollMs, () => {
        onHint()
        poll()
      })
    }
    poll()
  }

  close(): void {
    this.#cancel()
    for (const watcher of this.#watchers) watcher.close()
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
