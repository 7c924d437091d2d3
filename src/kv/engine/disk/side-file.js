// @ts-check
import { closeSync, existsSync, fdatasyncSync, fsyncSync, openSync, readSync, writeSync } from 'node:fs'
import { dirname } from 'node:path'
import { crc32 } from 'node:zlib'

/** Number u64 LE, mark u32, CRC-32 of what is before u32. */
const SLOT_BYTES = 16
/** A slot has a sector for itself, so that a torn write hurts one only. */
const SLOT_DISTANCE = 512
const MARK = 0x464d5131

/**
 * The number of a batch that is durable for certain, beside the database: a database that opens with a lower one has
 * lost writes, which RocksDB does not tell when it cuts a damaged log.
 *
 * Two slots, written in turn: the valid one with the higher number counts.
 */
export class SideFile {
  #file
  #turn = 0
  /** The number in the file; null where no slot is valid. */
  number = /** @type {number | null} */ (null)

  /** @param {string} path */
  constructor(path) {
    const isNew = !existsSync(path)
    this.#file = openSync(path, isNew ? 'w+' : 'r+')
    if (isNew) syncFolder(dirname(path))
    const slots = [0, 1].map((slot) => this.#read(slot))
    for (const [slot, number] of slots.entries()) {
      if (number === null || (this.number !== null && number < this.number)) continue
      this.number = number
      this.#turn = 1 - slot
    }
  }

  /**
   * Blocks until the number is on disk.
   * @param {number} number
   */
  write(number) {
    const slot = Buffer.alloc(SLOT_BYTES)
    slot.writeBigUInt64LE(BigInt(number), 0)
    slot.writeUInt32LE(MARK, 8)
    slot.writeUInt32LE(crc32(slot.subarray(0, 12)), 12)
    writeSync(this.#file, slot, 0, SLOT_BYTES, this.#turn * SLOT_DISTANCE)
    fdatasyncSync(this.#file)
    this.#turn = 1 - this.#turn
    this.number = number
  }

  close() {
    closeSync(this.#file)
  }

  /**
   * @param {number} slot
   * @returns {number | null}
   */
  #read(slot) {
    const bytes = Buffer.alloc(SLOT_BYTES)
    if (readSync(this.#file, bytes, 0, SLOT_BYTES, slot * SLOT_DISTANCE) < SLOT_BYTES) return null
    if (bytes.readUInt32LE(8) !== MARK || bytes.readUInt32LE(12) !== crc32(bytes.subarray(0, 12))) return null
    return Number(bytes.readBigUInt64LE(0))
  }
}

/** @param {string} path */
function syncFolder(path) {
  const folder = openSync(path, 'r')
  fsyncSync(folder)
  closeSync(folder)
}
