import { expect, test } from 'vitest'
import type { Histogram } from '../../../src/base/metrics.ts'
import { BatchMeter } from '../../../src/kv/store/batch-meter.ts'
import { nothingGathered } from '../../../src/kv/store/gathered.ts'

function histograms(meter: BatchMeter): Map<string, Histogram> {
  const found = new Map<string, Histogram>()
  meter.collect({ counter: () => {}, gauge: () => {}, histogram: (name, _help, value) => void found.set(name, value) })
  return found
}

test('sizes of all batches, times of those that waited for the disk', () => {
  const meter = new BatchMeter()
  const write = { type: 'delete', key: new Uint8Array(1) } as const
  const batch = meter.begun({ ...nothingGathered(), raft: [write], meta: [write], sync: true }, 1_000)
  expect(batch).toMatchObject({ sync: true, writes: [{ family: 'raft' }, { family: 'meta' }] })
  meter.landed(1_003)
  meter.begun({ ...nothingGathered(), raft: [write] }, 2_000)
  meter.landed(2_500)
  const found = histograms(meter)
  expect(found.get('flockmq_store_sync_seconds')).toMatchObject({ sum: 0.003 })
  expect(found.get('flockmq_store_sync_seconds')!.counts[3]).toBe(1)
  expect([...found.get('flockmq_store_batch_writes')!.counts.slice(0, 3)]).toEqual([1, 1, 0])
})
