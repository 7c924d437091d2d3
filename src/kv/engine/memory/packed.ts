/**
 * Search among packed keys: `slots[i * stride]` is the offset of key i in `bytes`, the next number its length.
 *
 * Hot: three or four searches a read. Neighbouring keys share long prefixes (tenant, topic), so the bytes that the key
 * is known to share with both ends of the interval are not compared again.
 * Source: Manber and Myers, "Suffix arrays", 1993, 2.1 (binary search with the lesser of two common prefixes).
 *
 * @returns the index of the first key >= `key`, `count` where there is none; or its complement (`~index`) where that key
 * equals `key`.
 */
export function searchPacked(
  packed: { readonly bytes: Uint8Array; readonly slots: Uint32Array; readonly count: number },
  stride: number,
  key: Uint8Array,
): number {
  const { bytes, slots } = packed
  const keyLength = key.length
  let low = 0
  let high = packed.count
  let sharedLow = 0
  let sharedHigh = 0
  while (low < high) {
    const middle = (low + high) >>> 1
    const offset = slots[middle * stride]!
    const length = slots[middle * stride + 1]!
    const end = length < keyLength ? length : keyLength
    let at = sharedLow < sharedHigh ? sharedLow : sharedHigh
    while (at < end && bytes[offset + at] === key[at]) at++
    let order: number
    if (at < end) order = bytes[offset + at]! - key[at]!
    else if (length === keyLength) return ~middle
    else order = length - keyLength
    if (order < 0) {
      low = middle + 1
      sharedLow = at
    } else {
      high = middle
      sharedHigh = at
    }
  }
  return low
}
