import { compareBytes, overlaps, subtract, within } from '../engine/bytes.ts'
import type { RangeDescriptor } from '../range/coprocessor.ts'

/**
 * A client's map of one service's ranges. What it is told is a hint and may be old: along every key the epoch's version
 * only rises, so the higher one is the truth.
 *
 * Where a new descriptor covers a part of an old one, the rest of the old one stays: its range knows who took over.
 */
export class Landscape {
  /** By start; without overlaps. */
  #ranges: RangeDescriptor[] = []

  /** Learns descriptors; true where that changed anything. */
  update(descriptors: readonly RangeDescriptor[]): boolean {
    let changed = false
    for (const descriptor of descriptors) if (this.#learn(descriptor)) changed = true
    return changed
  }

  /** The range of `key`; undefined where the map has a hole. */
  locate(key: Uint8Array): RangeDescriptor | undefined {
    const ranges = this.#ranges
    let low = 0
    let high = ranges.length
    while (low < high) {
      const middle = (low + high) >>> 1
      const { start } = ranges[middle]!
      if (start === undefined || compareBytes(start, key) <= 0) low = middle + 1
      else high = middle
    }
    const found = ranges[low - 1]
    return found !== undefined && within(key, found) ? found : undefined
  }

  list(): readonly RangeDescriptor[] {
    return this.#ranges
  }

  #learn(next: RangeDescriptor): boolean {
    const overlapping = this.#ranges.filter((each) => overlaps(each, next))
    for (const each of overlapping) {
      const newer = next.epoch.version - each.epoch.version || next.epoch.confVersion - each.epoch.confVersion
      // Of one generation there is one range a key; an older one may only fill what no newer one covers.
      if (newer < 0 || (newer === 0 && overlapping.length === 1)) return false
    }
    const rest = overlapping.flatMap((each) => subtract(each, [next]).map((bounds) => ({ ...each, ...bounds })))
    const kept = this.#ranges.filter((each) => !overlapping.includes(each))
    this.#ranges = [...kept, next, ...rest].sort(byStart)
    return true
  }
}

function byStart(a: RangeDescriptor, b: RangeDescriptor): number {
  if (a.start === undefined || b.start === undefined) return a.start === b.start ? 0 : a.start === undefined ? -1 : 1
  return compareBytes(a.start, b.start)
}
