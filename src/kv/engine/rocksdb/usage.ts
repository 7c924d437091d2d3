import type Binding from 'rocksdb/binding.js'
import type { Database } from 'rocksdb/binding.js'
import { type Cursor, type EnginePressure, FAMILIES, type Family } from '../engine.ts'
import type { DiskWatch } from './disk-watch.ts'
import type { Group } from './group.ts'
import { flushedBytes, type TuningOptions } from './tuning.ts'

/** A family of fewer entries and bytes is counted exactly. */
const COUNTED_ROWS = 64
const COUNTED_BYTES = 64 * 1024

export interface UsageSource {
  binding: typeof Binding
  database: Database
  watch: DiskWatch
  tuning: TuningOptions
  cursor(family: Family): Cursor
}

/** How much each family holds, and whether the disk is behind. */
export class Usage {
  readonly #source: UsageSource
  /** Bytes written since the start, by place in FAMILIES. */
  readonly #written = new Float64Array(FAMILIES.length)

  constructor(source: UsageSource) {
    this.#source = source
  }

  landed(group: Group): void {
    group.familyBytes.forEach((bytes, place) => {
      this.#written[place]! += bytes
    })
  }

  /**
   * Bytes of a family: exact where it is small, else those of its files, which are compressed below level 1, and what may
   * be in memory yet. Costs up to 50 us.
   */
  bytes(family: Family): number {
    const counted = this.#countFirst(family)
    if (counted.all) return counted.bytes
    const inFiles = this.#source.watch.families[family]?.bytes ?? 0
    const inMemory = Math.min(this.#written[FAMILIES.indexOf(family)]!, flushedBytes(this.#source.tuning, family))
    return Math.max(counted.bytes, inFiles + inMemory)
  }

  pressure(oldestWriteMs: number): EnginePressure {
    const pressure = { level0Files: 0, level0Bytes: 0, stalled: this.#isStalled(), oldestWriteMs }
    for (const { level0Files, level0Bytes } of Object.values(this.#source.watch.families)) {
      pressure.level0Files = Math.max(pressure.level0Files, level0Files)
      pressure.level0Bytes += level0Bytes
    }
    return pressure
  }

  /** Whether RocksDB slows writes down, or stops them, until compaction has caught up. */
  #isStalled(): boolean {
    const { binding, database } = this.#source
    const number = (name: string) => Number(binding.db_get_property(database, `rocksdb.${name}`))
    return number('is-write-stopped') > 0 || number('actual-delayed-write-rate') > 0
  }

  /** Bytes of the first entries of a family, and whether these are all. */
  #countFirst(family: Family): { bytes: number; all: boolean } {
    const cursor = this.#source.cursor(family)
    let bytes = 0
    let all = false
    for (let rows = 0; rows < COUNTED_ROWS && bytes < COUNTED_BYTES && !all; rows++) {
      all = !cursor.next()
      bytes += cursor.key.length + cursor.value.length
    }
    cursor.close()
    return { bytes, all }
  }
}
