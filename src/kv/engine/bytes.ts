import type { Bounds } from './engine.ts'

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

/** Whether any key lies in both. */
export function overlaps(a: Bounds, b: Bounds): boolean {
  return startsBefore(a, b) && startsBefore(b, a)
}

/** What is left of `whole` beside all `parts`. */
export function subtract(whole: Bounds, parts: readonly Bounds[]): Bounds[] {
  let left: Bounds[] = [{ start: whole.start, end: whole.end }]
  for (const part of parts) left = left.flatMap((each) => (overlaps(each, part) ? around(each, part) : [each]))
  return left
}

function around(whole: Bounds, part: Bounds): Bounds[] {
  const rest: Bounds[] = []
  const { start, end } = part
  if (start !== undefined && (whole.start === undefined || compareBytes(whole.start, start) < 0)) {
    rest.push({ start: whole.start, end: start })
  }
  if (end !== undefined && (whole.end === undefined || compareBytes(end, whole.end) < 0)) {
    rest.push({ start: end, end: whole.end })
  }
  return rest
}

function startsBefore(a: Bounds, b: Bounds): boolean {
  return a.start === undefined || b.end === undefined || compareBytes(a.start, b.end) < 0
}

/**
 * A number of 30 bits for maps of keys, a small integer: without a string for each key. Equal keys have the same one;
 * others may have it too. By MurmurHash3's steps.
 */
export function hashOfKey(key: Uint8Array): number {
  let hash = key.length
  const words = key.length & ~3
  for (let i = 0; i < words; i += 4) {
    const word = key[i]! | (key[i + 1]! << 8) | (key[i + 2]! << 16) | (key[i + 3]! << 24)
    hash = Math.imul(hash ^ Math.imul(word, 0x1b873593), 0x85ebca6b)
    hash ^= hash >>> 13
  }
  for (let i = words; i < key.length; i++) hash = Math.imul(hash ^ key[i]!, 0x01000193)
  hash = Math.imul(hash ^ (hash >>> 16), 0xc2b2ae35)
  return (hash ^ (hash >>> 15)) & 0x3fff_ffff
}

export function equalKeys(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false
  for (let i = a.length - 1; i >= 0; i--) if (a[i] !== b[i]) return false
  return true
}
