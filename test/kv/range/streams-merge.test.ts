import { expect, test } from 'vitest'
import type { Run } from '../../../src/kv/range/entry.ts'
import { decodeMark, encodeMark } from '../../../src/kv/range/schema.ts'
import { STREAM_LIMITS, Streams } from '../../../src/kv/range/streams.ts'

const streams = (range: string) => new Streams({ service: 'inbox', range }, null, STREAM_LIMITS)
const run = (previous: number, first: number, count = 1, apart?: Run['apart']): Run => ({
  ...{ stream: 's', previous, first, count, answered: 0 },
  ...(apart === undefined ? {} : { apart }),
})

/** Applies a run as a range does; true where it was fresh. */
function apply(to: Streams, each: Run): boolean {
  const { repeated, error } = to.admit(each, 1, [])
  if (error !== null) throw error
  const fresh = Array.from({ length: each.count - repeated }, (_, i) => each.first + repeated + i)
  if (fresh.length > 0) to.record(each, repeated, fresh, [])
  return repeated === 0
}

test('each side of a split goes on with its numbers, and the two are one again without a loss or a repetition', () => {
  const left = streams('l')
  apply(left, run(0, 1, 10))
  const right = streams('r')
  left.copyTo(right, [])
  // 11 and 13 are the left one's, 12 and 14 the right one's; 13 and 12 have not come when they become one.
  expect(apply(left, run(10, 11))).toBe(true)
  left.absorb(right, [])
  expect(apply(left, run(10, 12, 1, []))).toBe(true)
  expect(apply(left, run(12, 14, 1, [[13, 13]]))).toBe(true)
  expect(apply(left, run(11, 13, 1, []))).toBe(true)
  for (const number of [11, 12, 13, 14]) expect(left.recall(run(number - 1, number), 1)).toEqual([number])
  for (const number of [11, 12, 13, 14]) expect(apply(left, run(10, number)), `${number} again`).toBe(false)
})

test('what one side has applied beyond the other is not taken for applied there', () => {
  const left = streams('l')
  apply(left, run(0, 1, 10))
  const right = streams('r')
  left.copyTo(right, [])
  apply(right, run(10, 12, 1, [[11, 11]]))
  apply(right, run(12, 14, 1, [[13, 13]]))
  left.absorb(right, [])
  expect(apply(left, run(12, 14))).toBe(false)
  expect(left.admit(run(11, 13), 1, []).error?.code).toBe('SEQUENCE_GAP')
  expect(apply(left, run(10, 11))).toBe(true)
  expect(apply(left, run(11, 13))).toBe(true)
  expect(apply(left, run(10, 11))).toBe(false)
})

test('a number that was given up does not come late', () => {
  const left = streams('l')
  apply(left, run(0, 1, 10))
  apply(left, run(10, 12, 1, []))
  expect(apply(left, run(10, 11))).toBe(false)
})

test('a mark with open numbers is read as it was written', () => {
  const mark = { number: 14, nowMs: 5, open: [[11, 11] as const, [13, 13] as const] }
  expect(decodeMark(encodeMark(mark))).toEqual(mark)
  expect(decodeMark(encodeMark({ number: 14, nowMs: 5 }))).toEqual({ number: 14, nowMs: 5 })
})
