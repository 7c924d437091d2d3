import { expect, test } from 'vitest'
import { BrokerError } from '../../../src/base/errors.ts'
import type { EnginePressure, EngineStats } from '../../../src/kv/engine/engine.ts'
import { judgePressure, PRESSURE_LIMITS } from '../../../src/kv/store/pressure.ts'

const GIB = 1024 ** 3
const quiet: EnginePressure = { level0Files: 0, level0Bytes: 0, stalled: false, oldestWriteMs: 0 }
const before = new BrokerError('OVERLOADED', 'x')

function stats(freeBytes: number, diskBytes: number, pressure: Partial<EnginePressure> = {}): EngineStats {
  const bytes = { raft: 0, meta: 0, dist: 0, inbox: 0, retain: 0, cluster: 0 }
  return { bytes, freeBytes, diskBytes, batches: 0, syncs: 0, pressure: { ...quiet, ...pressure } }
}

test.each([
  ['plenty of room', stats(50 * GIB, 100 * GIB), null, null],
  ['less than a GiB of a small disk', stats(0.9 * GIB, 10 * GIB), null, 'nearly full'],
  ['less than a twentieth of a large disk', stats(4.9 * GIB, 100 * GIB), null, 'nearly full'],
  ['just enough, and it was enough before', stats(5.1 * GIB, 100 * GIB), null, null],
  ['just enough after too little: more must be free first', stats(5.1 * GIB, 100 * GIB), before, 'nearly full'],
  ['a tenth more than needed after too little', stats(5.6 * GIB, 100 * GIB), before, null],
  ['many files wait for compaction', stats(50 * GIB, 100 * GIB, { level0Files: 19 }), null, 'behind'],
  ['RocksDB slows writes down', stats(50 * GIB, 100 * GIB, { stalled: true }), null, 'behind'],
  ['a write hangs', stats(50 * GIB, 100 * GIB, { oldestWriteMs: 6_000 }), null, 'not come back'],
] as const)('%s', (_name, given, held, wanted) => {
  const judged = judgePressure(given, held, PRESSURE_LIMITS)
  if (wanted === null) expect(judged).toBeNull()
  else {
    expect(judged?.message).toContain(wanted)
    expect(judged?.code).toBe('OVERLOADED')
  }
})
