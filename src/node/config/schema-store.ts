import type { OptionTable } from '../../base/option.ts'

const MIB = 1024 * 1024

/** What the node keeps its state in. */
export const STORE_OPTIONS = {
  engine: {
    type: 'choice',
    default: 'auto',
    choices: ['auto', 'rocksdb', 'lmdb', 'memory'],
    sentence:
      "'auto' takes RocksDB, and LMDB where that has no binary; a folder stays with its engine. 'memory' forgets at the end.",
  },
  cacheBytes: {
    type: 'integer',
    default: 64 * MIB,
    min: 4 * MIB,
    max: 1024 * 1024 * MIB,
    unit: 'bytes',
    sentence: 'Memory for blocks that were read from disk (RocksDB only).',
  },
  memtableBytes: {
    type: 'integer',
    default: 52 * MIB,
    min: 4 * MIB,
    max: 56 * MIB,
    unit: 'bytes',
    sentence: 'Memory for what was written last (RocksDB only); the write-ahead log grows to four times of it.',
  },
  hangMs: {
    type: 'integer',
    default: 5_000,
    min: 100,
    max: 600_000,
    unit: 'ms',
    sentence: 'A write that waits longer for the disk makes the node not ready, and it refuses what needs space.',
  },
  acceptLoss: {
    type: 'boolean',
    default: false,
    sentence: 'Starts although the disk lost acknowledged writes; set it for one start, when you know what is gone.',
  },
} as const satisfies OptionTable
