import { expect, test } from 'vitest'
import { metricOf } from '../../bench/generator/ledger.ts'
import { StridedTracker } from '../../bench/generator/tracker.ts'

test('a metric is the sum over its labels', () => {
  const page = [
    '# TYPE flockmq_store_syncs_total counter',
    'flockmq_store_syncs_total 12',
    'flockmq_store_syncs_total_more 7',
    'flockmq_store_bytes{family="raft"} 5',
    'flockmq_store_bytes{family="inbox"} 6e2',
  ].join('\n')
  expect(metricOf(page, 'flockmq_store_syncs_total')).toBe(12)
  expect(metricOf(page, 'flockmq_store_bytes')).toBe(605)
  expect(metricOf(page, 'flockmq_absent')).toBeNull()
})

test('a session that gets every third message has no gaps, and notices one', () => {
  const tracker = new StridedTracker(3)
  for (const sequence of [1, 4, 7]) tracker.accept(sequence)
  expect([tracker.received, tracker.duplicated, tracker.outOfOrder]).toEqual([3, 0, 0])
  tracker.accept(13)
  tracker.accept(10)
  tracker.accept(13)
  expect([tracker.received, tracker.duplicated, tracker.outOfOrder]).toEqual([5, 1, 1])
  expect(tracker.lost(6)).toBe(1)
})
