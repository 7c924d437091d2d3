import type { ColumnOptions, OpenOptions } from 'rocksdb/binding.js'
import { assert } from '../../../base/assert.ts'
import type { Family } from '../engine.ts'
import { OWN_FAMILY } from './layout.js'

export interface TuningOptions {
  /**
   * Most bytes of all memtables together, 4 to 56 MiB; the write-ahead log grows to four times of it,
   * and by what is written during a flush: 228 MiB were seen at the default. Default 52 MiB.
   */
  memtableBytes?: number
  /** Blocks of all families that are kept in memory, with their indexes and filters. Default 64 MiB. */
  cacheBytes?: number
  /** Values that were read lately, ready for the next read. Default 32 MiB. */
  readCacheBytes?: number
  /** Background threads: one flushes, the others compact, so that a long merge holds no short one up. Default 3. */
  threads?: number
}

const MEBIBYTE = 1024 * 1024
const MEMTABLE_BYTES = 52 * MEBIBYTE
const BLOCK_BYTES = 8 * 1024
/** Memtables of one family, full ones that wait for their flush included: fixed by the binding for this shape. */
const MEMTABLES = 6
/** So many full ones are flushed together. */
const MEMTABLES_FLUSHED = 2
/** The binding makes one memtable of a quarter of the family's budget. */
const MEMTABLES_PER_BUDGET = 4

/**
 * Parts of memtables and cache. What is written much needs memtables, what is read at random needs cache. Queues are written
 * to at random places, and what a level holds grows with their memtables: so they cost less compaction. A log is flushed
 * when most of it is gone again. The own family takes one small key with every write, and is flushed once every few thousand.
 */
const SHARES: Record<Family | typeof OWN_FAMILY, { memtable: number; cache: number }> = {
  raft: { memtable: 0.22, cache: 0.12 },
  inbox: { memtable: 0.52, cache: 0.4 },
  retain: { memtable: 0.1, cache: 0.25 },
  dist: { memtable: 0.07, cache: 0.15 },
  meta: { memtable: 0.05, cache: 0.06 },
  cluster: { memtable: 0.01, cache: 0.01 },
  [OWN_FAMILY]: { memtable: 0.03, cache: 0.01 },
}

/**
 * Queues grow everywhere at once, so that each flush meets all of them. Levels then write a message some twenty times
 * over when gigabytes are queued, and stand still while they do; merging runs of like size (universal) writes it half as
 * often, and gives the space of drained queues back as soon. It may need the space of a family twice for a while.
 */
const UNIVERSAL: ReadonlySet<string> = new Set<Family>(['inbox'])

/**
 * How RocksDB is opened. The binding leaves few choices: memtables of a quarter of `memtableMemoryBudget`, six of them at
 * most, levels compressed from the third on. It ignores a bound on the log, so that RocksDB's own rule holds, four times
 * all memtables of all families: this is what bounds the log under 256 MiB.
 *
 * The log is not compressed: with JSON payloads that halves its bytes for a tenth more CPU, with random ones it saves
 * nothing and costs two thirds more, and the time is the fdatasync's.
 */
export function openOptions(options: TuningOptions): OpenOptions {
  const { memtableBytes = MEMTABLE_BYTES, cacheBytes = 64 * MEBIBYTE, threads = 3 } = options
  assert(memtableBytes >= 4 * MEBIBYTE && memtableBytes <= 56 * MEBIBYTE, 'Memtables are 4 to 56 MiB')
  const columns: Record<string, ColumnOptions> = {}
  for (const [name, share] of Object.entries(SHARES)) {
    columns[name] = {
      compaction: UNIVERSAL.has(name) ? 'universal' : 'level',
      memtableMemoryBudget: Math.floor((memtableBytes * share.memtable * MEMTABLES_PER_BUDGET) / MEMTABLES),
      compression: false,
      cacheSize: Math.max(MEBIBYTE / 4, Math.floor(cacheBytes * share.cache)),
      cacheIndexAndFilterBlocks: true,
      blockSize: BLOCK_BYTES,
    }
  }
  return { ...columns[OWN_FAMILY]!, createIfMissing: true, walCompression: false, parallelism: threads, columns }
}

/** Bytes of a family that are flushed together: about as much is in memory only. */
export function flushedBytes({ memtableBytes = MEMTABLE_BYTES }: TuningOptions, family: Family): number {
  return Math.floor((memtableBytes * SHARES[family].memtable * MEMTABLES_FLUSHED) / MEMTABLES)
}
