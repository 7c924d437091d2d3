import { closeSync, fsyncSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { BrokerError } from '../../base/errors.ts'
import { folderError } from './folder-error.ts'

const FILE = 'incarnation'

/**
 * Numbers the lives of this node: its process begins one, and begins another where the others held it for gone. On the disk
 * before it is used, so that no number comes twice.
 */
export class StoredIncarnations {
  readonly #file: string

  constructor(dataPath: string) {
    this.#file = join(dataPath, FILE)
  }

  next(): number {
    const next = this.#read() + 1
    try {
      const handle = openSync(`${this.#file}.new`, 'w', 0o600)
      try {
        writeSync(handle, `${next}\n`)
        fsyncSync(handle)
      } finally {
        closeSync(handle)
      }
      renameSync(`${this.#file}.new`, this.#file)
      const folder = openSync(dirname(this.#file), 'r')
      fsyncSync(folder)
      closeSync(folder)
    } catch (error) {
      throw folderError(this.#file, error)
    }
    return next
  }

  #read(): number {
    let text: string
    try {
      text = readFileSync(this.#file, 'utf8')
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return 0
      throw folderError(this.#file, error)
    }
    const number = Number(text)
    if (Number.isSafeInteger(number) && number > 0) return number
    const message = `Cannot read "${this.#file}": it is damaged; remove it, and wait 10 s before the next start`
    throw new BrokerError('STORAGE_FAILED', message)
  }
}
