import { compareBytes, overlaps } from '../../kv/engine/bytes.ts'
import type { RangeDescriptor } from '../../kv/range/coprocessor.ts'

const FIRST = new Uint8Array(0)

/**
 * The ranges that hold all keys now, in their order, of descriptors of different age: the newest where two hold the same
 * key. Null where some keys are in none: half of a split or merge is not heard of yet.
 */
export function arrange(descriptors: readonly RangeDescriptor[]): RangeDescriptor[] | null {
  const newest = new Map<string, RangeDescriptor>()
  for (const each of descriptors) {
    const known = newest.get(each.id)
    if (known === undefined || isNewer(each, known)) newest.set(each.id, each)
  }
  const sorted = [...newest.values()].sort((a, b) => b.epoch.version - a.epoch.version)
  const kept: RangeDescriptor[] = []
  for (const each of sorted) if (!kept.some((other) => overlaps(each, other))) kept.push(each)
  kept.sort((a, b) => compareBytes(a.start ?? FIRST, b.start ?? FIRST))
  let at: Uint8Array | undefined = FIRST
  for (const { start = FIRST, end } of kept) {
    if (at === undefined || compareBytes(start, at) !== 0) return null
    at = end
  }
  return at === undefined ? kept : null
}

/** The one of `ranges`, as {@link arrange} gives them, that holds the key. */
export function rangeOf(ranges: readonly RangeDescriptor[], key: Uint8Array): RangeDescriptor | null {
  let low = 0
  for (let high = ranges.length - 1; low < high; ) {
    const middle = (low + high + 1) >> 1
    if (compareBytes(ranges[middle]!.start ?? FIRST, key) <= 0) low = middle
    else high = middle - 1
  }
  return ranges[low] ?? null
}

function isNewer(a: RangeDescriptor, b: RangeDescriptor): boolean {
  if (a.epoch.version !== b.epoch.version) return a.epoch.version > b.epoch.version
  return a.epoch.confVersion > b.epoch.confVersion
}
