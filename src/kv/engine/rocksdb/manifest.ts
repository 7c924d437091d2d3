import { open, readFile } from 'node:fs/promises'
import { join } from 'node:path'

/** Files of one column family: bytes in all, and by level. */
export interface FamilyFiles {
  bytes: number
  /** Files of level 0 wait to be compacted: RocksDB slows writes down at 20 and stops them at 36. */
  level0Files: number
  level0Bytes: number
}

const BLOCK_BYTES = 32 * 1024
const HEADER_BYTES = 7
/** Types of a piece of a record. */
const FULL = 1
const LAST = 4
/** Read at once. */
const READ_BYTES = 1024 * 1024
/** Tags of a version edit that are needed here or differ in shape; source: RocksDB 9.7, db/version_edit.h. */
const TAG = {
  comparator: 1,
  compactCursor: 5,
  deletedFile: 6,
  minLog: 10,
  newFile4: 103,
  family: 200,
  familyAdd: 201,
  familyDrop: 202,
  maxFamily: 203,
  atomicGroup: 300,
  /** Whatever has this bit is length-prefixed and may be skipped. */
  ignorable: 8192,
} as const
/** Ends the custom fields of a new file. */
const FIELDS_END = 1

interface File {
  level: number
  bytes: number
}

/**
 * Reads RocksDB's MANIFEST, the journal of which files each column family has at which level: the binding tells
 * properties of the default family only.
 *
 * Only read, and read again from where the last time ended; a format that is not understood gives nothing.
 */
export class Manifest {
  readonly #folder: string
  #name = ''
  /** Everything before is read; the beginning of a record. */
  #offset = 0
  #names = new Map<number, string>()
  #files = new Map<number, Map<number, File>>()
  #broken = false

  constructor(folder: string) {
    this.#folder = folder
  }

  /** Reads what is new. */
  async refresh(): Promise<void> {
    const name = (await readFile(join(this.#folder, 'CURRENT'), 'utf8')).trim()
    if (name !== this.#name) this.#restart(name)
    if (this.#broken) return
    const file = await open(join(this.#folder, name), 'r')
    try {
      const { size } = await file.stat()
      while (this.#offset < size) {
        const bytes = Buffer.alloc(Math.min(READ_BYTES, size - this.#offset))
        const { bytesRead } = await file.read(bytes, 0, bytes.length, this.#offset)
        if (this.#take(bytes.subarray(0, bytesRead)) === 0) break
      }
    } finally {
      await file.close()
    }
  }

  /** Files by column family; null where the format is not understood. */
  families(): Record<string, FamilyFiles> | null {
    if (this.#broken) return null
    const families: Record<string, FamilyFiles> = {}
    for (const [id, files] of this.#files) {
      const sum: FamilyFiles = { bytes: 0, level0Files: 0, level0Bytes: 0 }
      for (const { level, bytes } of files.values()) {
        sum.bytes += bytes
        if (level > 0) continue
        sum.level0Files++
        sum.level0Bytes += bytes
      }
      families[this.#names.get(id) ?? 'default'] = sum
    }
    return families
  }

  #restart(name: string): void {
    this.#name = name
    this.#offset = 0
    this.#broken = false
    this.#names = new Map()
    this.#files = new Map()
  }

  /** Takes the whole records in `bytes`, which begin at the offset; returns how many bytes they are. */
  #take(bytes: Buffer): number {
    let taken = 0
    let at = 0
    let pieces: Buffer[] = []
    while (at + HEADER_BYTES <= bytes.length) {
      const left = BLOCK_BYTES - ((this.#offset + at) % BLOCK_BYTES)
      if (left < HEADER_BYTES) {
        at += left
        continue
      }
      const length = bytes.readUInt16LE(at + 4)
      const type = bytes[at + 6]!
      const end = at + HEADER_BYTES + length
      if (type < FULL || type > LAST || end > bytes.length) break
      pieces.push(bytes.subarray(at + HEADER_BYTES, end))
      at = end
      if (type !== FULL && type !== LAST) continue
      this.#apply(pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces))
      pieces = []
      taken = at
    }
    this.#offset += taken
    return taken
  }

  #apply(record: Buffer): void {
    const edit = readEdit(record)
    if (edit === null) {
      this.#broken = true
      return
    }
    if (edit.name !== null) this.#names.set(edit.family, edit.name)
    const files = this.#files.get(edit.family) ?? new Map<number, File>()
    this.#files.set(edit.family, files)
    for (const number of edit.deleted) files.delete(number)
    for (const [number, file] of edit.added) files.set(number, file)
  }
}

interface Edit {
  family: number
  name: string | null
  deleted: number[]
  added: [number, File][]
}

/** One edit; null where a tag is unknown. */
function readEdit(record: Buffer): Edit | null {
  const reader = new EditReader(record)
  const edit: Edit = { family: 0, name: null, deleted: [], added: [] }
  while (!reader.ended) {
    const tag = reader.varint()
    if (tag === TAG.deletedFile) {
      reader.varint()
      edit.deleted.push(reader.varint())
    } else if (tag === TAG.newFile4) edit.added.push(readNewFile(reader))
    else if (tag === TAG.family) edit.family = reader.varint()
    else if (tag === TAG.familyAdd) edit.name = reader.slice().toString('latin1')
    else if (tag === TAG.comparator || (tag & TAG.ignorable) !== 0) reader.slice()
    else if (tag === TAG.compactCursor) {
      reader.varint()
      reader.slice()
    } else if (tag <= TAG.minLog || tag === TAG.maxFamily || tag === TAG.atomicGroup) reader.varint()
    else if (tag !== TAG.familyDrop) return null
  }
  return edit
}

function readNewFile(reader: EditReader): [number, File] {
  const level = reader.varint()
  const number = reader.varint()
  const bytes = reader.varint()
  // Smallest and largest key, smallest and largest sequence number.
  reader.slice()
  reader.slice()
  reader.varint()
  reader.varint()
  while (!reader.ended && reader.varint() !== FIELDS_END) reader.slice()
  return [number, { level, bytes }]
}

class EditReader {
  readonly #bytes: Buffer
  #at = 0

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  get ended(): boolean {
    return this.#at >= this.#bytes.length
  }

  /** Exact up to 2^53: beyond are only the sequence numbers of files that nobody needs here. */
  varint(): number {
    let value = 0
    let factor = 1
    while (!this.ended) {
      const byte = this.#bytes[this.#at++]!
      value += (byte & 0x7f) * factor
      if (byte < 0x80) break
      factor *= 128
    }
    return value
  }

  slice(): Buffer {
    const length = this.varint()
    this.#at += length
    return this.#bytes.subarray(this.#at - length, this.#at)
  }
}
