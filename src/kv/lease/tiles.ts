import { compareBytes } from '../engine/bytes.ts'

/** A range's boundary as the holder has applied it, and whether the holder has a lease on it. */
export interface Span {
  /** Inclusive; undefined = from the first key. */
  start?: Uint8Array | undefined
  /** Exclusive; undefined = to the last key. */
  end?: Uint8Array | undefined
  held: boolean
}

/**
 * Whether ranges with leases hold every key of [start, end): a tenant's routes, say. Only then is a match in this node's
 * table a match in the cluster's.
 */
export function tiles(spans: readonly Span[], start: Uint8Array, end: Uint8Array): boolean {
  let at = start
  // Each pass gets further by one span at least, so their order does not matter.
  for (let passes = 0; passes <= spans.length; passes++) {
    let reached: Uint8Array | undefined = at
    for (const span of spans) {
      if (!span.held || (span.start !== undefined && compareBytes(span.start, at) > 0)) continue
      if (span.end === undefined) return true
      if (compareBytes(span.end, reached) > 0) reached = span.end
    }
    if (compareBytes(reached, end) >= 0) return true
    if (reached === at) return false
    at = reached
  }
  return false
}
