/** Byte strings as keys: unsigned, lexicographic, a prefix before its extensions: the order of RocksDB's default. */

/** Negative, zero or positive, as `a` sorts before, with or after `b`. */
export function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const shared = a.length < b.length ? a.length : b.length
  for (let i = 0; i < shared; i++) {
    const difference = a[i]! - b[i]!
    if (difference !== 0) return difference
  }
  return a.length - b.length
}

/** Whether `key` lies in [start, end); undefined is open. */
export function within(key: Uint8Array, bounds: { start?: Uint8Array | undefined; end?: Uint8Array | undefined }) {
  if (bounds.start !== undefined && compareBytes(key, bounds.start) < 0) return false
  return bounds.end === undefined || compareBytes(key, bounds.end) < 0
}

/** The later of two inclusive starts; undefined is open. */
export function laterStart(a: Uint8Array | undefined, b: Uint8Array | undefined): Uint8Array | undefined {
  if (a === undefined) return b
  if (b === undefined) return a
  return compareBytes(a, b) >= 0 ? a : b
}

/** The earlier of two exclusive ends; undefined is open. */
export function earlierEnd(a: Uint8Array | undefined, b: Uint8Array | undefined): Uint8Array | undefined {
  if (a === undefined) return b
  if (b === undefined) return a
  return compareBytes(a, b) <= 0 ? a : b
}
