// @ts-check
import { closeSync, existsSync, fstatSync, openSync, readFileSync, statSync, writeSync } from 'node:fs'
import { join } from 'node:path'

/**
 * How long the database's file is at least, beside it: LMDB reads it as memory, and what was cut off would end the
 * process at the first look. Noted after each commit that made the file longer, not synced: it may lag behind.
 */
export class LengthFile {
  #data
  #file
  #noted = 0

  /** @param {string} path of the folder */
  constructor(path) {
    this.#data = openSync(join(path, 'data.mdb'), 'r')
    const file = join(path, 'length')
    this.#file = openSync(file, existsSync(file) ? 'r+' : 'w+')
  }

  note() {
    const { size } = fstatSync(this.#data)
    if (size === this.#noted) return
    const bytes = Buffer.alloc(8)
    bytes.writeBigUInt64LE(BigInt(size))
    writeSync(this.#file, bytes, 0, bytes.length, 0)
    this.#noted = size
  }

  close() {
    closeSync(this.#data)
    closeSync(this.#file)
  }
}

/**
 * Throws where the database's file was cut, before anything reads it.
 * @param {string} path of the folder
 */
export function refuseShortFile(path) {
  const file = join(path, 'data.mdb')
  if (!existsSync(file) || !existsSync(join(path, 'length'))) return
  const noted = readFileSync(join(path, 'length'))
  if (noted.length < 8) return
  const { size } = statSync(file)
  if (size >= Number(noted.readBigUInt64LE())) return
  const needed = noted.readBigUInt64LE()
  throw new Error(`"${file}" was cut: it has ${size} of ${needed} bytes, acknowledged writes are lost`)
}
