/** The integers from the first to the second, both included. */
export type Interval = readonly [from: number, to: number]

/** Sorted, without overlaps. */
export type Intervals = readonly Interval[]

export const NO_INTERVALS: Intervals = []

export function holds(intervals: Intervals, number: number): boolean {
  for (const [from, to] of intervals) if (from <= number && number <= to) return true
  return false
}

/** What is in both. */
export function intersect(a: Intervals, b: Intervals): Intervals {
  const both: Interval[] = []
  let i = 0
  let j = 0
  while (i < a.length && j < b.length) {
    const from = Math.max(a[i]![0], b[j]![0])
    const to = Math.min(a[i]![1], b[j]![1])
    if (from <= to) both.push([from, to])
    if (a[i]![1] < b[j]![1]) i++
    else j++
  }
  return both
}

/** What is left of `intervals` without the integers from `from` to `to`. */
export function without(intervals: Intervals, from: number, to: number): Intervals {
  if (from > to || intervals.length === 0) return intervals
  const left: Interval[] = []
  for (const [first, last] of intervals) {
    if (first < from) left.push([first, Math.min(last, from - 1)])
    if (last > to) left.push([Math.max(first, to + 1), last])
  }
  return left
}

/** Both together; they have no integer in common. */
export function join(a: Intervals, b: Intervals): Intervals {
  if (a.length === 0) return b
  return b.length === 0 ? a : [...a, ...b].sort((x, y) => x[0] - y[0])
}
