import { describe, expect, test } from 'vitest'
import { CopyCounter, OrderedTracker, SharedTracker, type Tracker } from '../../bench/generator/tracker.ts'

/** What each arrival settles, then received / duplicated / out of order / lost. */
function play(tracker: Tracker, sent: number, arrivals: readonly (number | [number, number])[]): string {
  const settled = arrivals.map((arrival) =>
    Array.isArray(arrival) ? tracker.accept(...arrival) : tracker.accept(arrival, 0),
  )
  return `${settled.join(' ')} | ${tracker.received} ${tracker.duplicated} ${tracker.outOfOrder} ${tracker.lost(sent)}`
}

describe('OrderedTracker', () => {
  test.each([
    ['in order', 3, [0, 1, 2], '1 1 1 | 3 0 0 0'],
    ['the last one missing', 3, [0, 1], '1 1 | 2 0 0 1'],
    ['the first one missing', 3, [1, 2], '2 1 | 2 0 0 1'],
    ['a gap settles what it skips', 5, [0, 4], '1 4 | 2 0 0 3'],
    ['a late one is out of order and settles nothing more', 3, [0, 2, 1], '1 2 0 | 3 0 1 0'],
    ['a second copy', 2, [0, 1, 1, 0], '1 1 0 0 | 2 2 0 0'],
    ['a late one twice', 3, [2, 0, 0, 1], '3 0 0 0 | 3 1 2 0'],
  ] as const)('%s', (_name, sent, arrivals, expected) => {
    expect(play(new OrderedTracker(), sent, arrivals)).toBe(expected)
  })

  test('what was given up may still come, out of order', () => {
    const tracker = new OrderedTracker()
    tracker.accept(0)
    expect(tracker.giveUp(3)).toBe(2)
    expect(tracker.giveUp(3)).toBe(0)
    expect(play(tracker, 4, [3, 2])).toBe('1 0 | 3 0 1 1')
  })
})

describe('SharedTracker', () => {
  test.each([
    [
      'members in turn',
      4,
      [
        [0, 0],
        [1, 1],
        [2, 0],
        [3, 1],
      ],
      '1 1 1 1 | 4 0 0 0',
    ],
    [
      'members overtake each other',
      4,
      [
        [1, 1],
        [0, 0],
        [3, 1],
        [2, 0],
      ],
      '1 1 1 1 | 4 0 0 0',
    ],
    [
      'one member out of order',
      3,
      [
        [1, 0],
        [0, 0],
        [2, 0],
      ],
      '1 1 1 | 3 0 1 0',
    ],
    [
      'two members get the same',
      2,
      [
        [0, 0],
        [0, 1],
        [1, 0],
      ],
      '1 0 1 | 2 1 0 0',
    ],
    [
      'the same open one twice',
      3,
      [
        [2, 0],
        [2, 1],
      ],
      '1 0 | 1 1 0 2',
    ],
    [
      'missing',
      3,
      [
        [0, 0],
        [2, 1],
      ],
      '1 1 | 2 0 0 1',
    ],
  ] as const)('%s', (_name, sent, arrivals, expected) => {
    expect(play(new SharedTracker(2, 8), sent, arrivals as unknown as [number, number][])).toBe(expected)
  })

  test('beyond the window the oldest missing ones are settled as lost', () => {
    const tracker = new SharedTracker(1, 4)
    expect(play(tracker, 10, [1, 5, 6, 9])).toBe('1 2 2 3 | 4 0 0 6')
  })

  test('giving up settles exactly the missing ones, and the window is clean behind', () => {
    const tracker = new SharedTracker(1, 4)
    tracker.accept(1, 0)
    expect(tracker.giveUp(4)).toBe(3)
    expect(play(tracker, 8, [4, 5, 6, 7, 3])).toBe('1 1 1 1 0 | 5 1 0 3')
  })
})

test('CopyCounter settles a message with its last copy', () => {
  const counter = new CopyCounter(3, 4)
  expect(counter.settle(0, 2)).toBe(0)
  expect(counter.settle(1, 3)).toBe(0)
  expect(counter.settle(2, 1)).toBe(1)
  expect(counter.settle(2, 2)).toBe(1)
  expect(counter.settle(0, 1)).toBe(1)
  for (let turn = 0; turn < 10; turn++) {
    expect([0, 1, 2].map((copy) => counter.settle(copy, 4))).toEqual([0, 0, 4])
  }
})
