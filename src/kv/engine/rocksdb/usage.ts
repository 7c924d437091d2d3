import type Binding from 'rocksdb/binding.js'
import type { Database } from 'rocksdb/binding.js'
import { countFirst } from '../disk/count.ts'
import type { DiskWatch } from '../disk/disk-watch.ts'
import type { Group } from '../disk/group.ts'
import { type Cursor, type EnginePressure, FAMILIES, type Family } from '../engine.ts'
import type { FamilyFiles } from './manifest.ts'
import { flushedBytes, type TuningOptions } from './tuning.ts'

export interface UsageSource {
  binding: typeof Binding
  database: Database
  watch: DiskWatch<Record<string, FamilyFiles>>
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
    const counted = countFirst(this.#source.cursor(family))
    if (counted.all) return counted.bytes
    const inFiles = this.#source.watch.seen[family]?.bytes ?? 0
    const inMemory = Math.min(this.#written[FAMILIES.indexOf(family)]!, flushedBytes(this.#source.tuning, family))
    return Math.max(counted.bytes, inFiles + inMemory)
  }

  pressure(oldestWriteMs: number): EnginePressure {
    const pressure = { level0Files: 0, level0Bytes: 0, stalled: this.#isStalled(), oldestWriteMs }
    for (const { level0Files, level0Bytes } of Object.values(this.#source.watch.seen)) {
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
}
