/**
 * Variable Byte Integers, and bytes copied without a view.
 *
 * Source: MQTT 5.0 section 1.5.5.
 */

/** The largest value of a Variable Byte Integer, and so of a remaining length. */
export const VARINT_MAX = 268_435_455

/** Bytes that `value` takes, 1 to 4. */
export function varintSize(value: number): number {
  return value < 0x80 ? 1 : value < 0x4000 ? 2 : value < 0x20_0000 ? 3 : 4
}

/** Writes `value`, 0 to {@link VARINT_MAX}; returns the offset after it. */
export function writeVarint(target: Uint8Array, offset: number, value: number): number {
  let at = offset
  let rest = value
  while (rest >= 0x80) {
    target[at++] = (rest & 0x7f) | 0x80
    rest >>>= 7
  }
  target[at++] = rest
  return at
}

/**
 * Reads a Variable Byte Integer in its shortest form [MQTT-1.5.5-1]. Its size is {@link varintSize} of the value.
 * Returns -1 when it is cut off, longer than four bytes or not minimal.
 */
export function readVarint(bytes: Uint8Array, start: number, end: number): number {
  let value = 0
  for (let i = start; i < end && i < start + 4; i++) {
    const byte = bytes[i]!
    value |= (byte & 0x7f) << (7 * (i - start))
    if (byte < 0x80) return byte === 0 && i > start ? -1 : value
  }
  return -1
}

/** Up to here a loop beats the native copy, which costs 40 ns: bench/micro/codec.ts. */
const LOOP_BYTES_MAX = 20

/** Copies [start, end) of `source` to `target`; returns the offset after it. No view is made. */
export function copyBytes(source: Uint8Array, start: number, end: number, target: Uint8Array, offset: number): number {
  if (end - start > LOOP_BYTES_MAX) {
    // Buffer.copy takes a range; on a plain Uint8Array it works as well, and saves the view that `set` would need.
    Buffer.prototype.copy.call(source, target, offset, start, end)
  } else {
    for (let i = start, at = offset; i < end; i++, at++) target[at] = source[i]!
  }
  return offset + end - start
}
