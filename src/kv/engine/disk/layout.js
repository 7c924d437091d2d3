// @ts-check
/**
 * Bytes that an engine and its storage worker share.
 *
 * Plain JavaScript, as all that the worker loads: a worker thread starts without the loader of the tests, and Node 20
 * cannot read TypeScript by itself.
 *
 * A group is what goes to the worker at once: batches one after the other, numbers in little endian.
 *
 *   batch:  bytes of this batch u32, header included | deleteRanges among its writes u32 | writes
 *   write:  type u8 | place of the family in FAMILIES u8 | bytes of the key u32 | bytes of the value u32 | key | value
 *           (OWN_PLACE: the engine's own keys)
 *
 * The value of a deleteRange is its end.
 */

export const BATCH_HEADER_BYTES = 8
export const WRITE_HEADER_BYTES = 10
export const PUT = 0
export const DELETE = 1
export const DELETE_RANGE = 2

/** In the place of a family: the engine's own keys. */
export const OWN_PLACE = 255
/** Version of what the engine itself writes, u32 BE; a newer one is refused. 2 has shared values. */
export const FORMAT = 2
export const FORMAT_KEY = Buffer.from('format')
/** Number of the last batch in the database, u64 BE: part of every write. */
export const NUMBER_KEY = Buffer.from('number')

/** @typedef {{ type: number, family: number, key: Uint8Array, value: Uint8Array }} Write */

/**
 * @param {number} number a whole number, at most 2^53
 * @returns {Buffer} as u64 BE
 */
export function encodeNumber(number) {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64BE(BigInt(number))
  return bytes
}

/**
 * @param {Uint8Array | undefined} bytes as {@link encodeNumber} made them
 * @returns {number} 0 where there are none
 */
export function decodeNumber(bytes) {
  if (bytes === undefined) return 0
  return Number(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).readBigUInt64BE())
}

/** @param {Uint8Array} bytes */
export function viewOf(bytes) {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
}

/**
 * @param {Uint8Array} bytes
 * @param {number} from
 * @param {number} to
 * @returns {Generator<Write>}
 */
export function* writesOf(bytes, from, to) {
  const view = viewOf(bytes)
  for (let at = from; at < to; ) {
    const write = readWrite(bytes, view, at)
    at += WRITE_HEADER_BYTES + write.key.length + write.value.length
    yield write
  }
}

/**
 * @param {Uint8Array} bytes
 * @param {DataView} view of the same bytes
 * @param {number} at
 * @returns {Write} views, no copies
 */
export function readWrite({ buffer, byteOffset }, view, at) {
  const keyAt = at + WRITE_HEADER_BYTES
  const keyBytes = view.getUint32(at + 2, true)
  const valueBytes = view.getUint32(at + 6, true)
  return {
    type: view.getUint8(at),
    family: view.getUint8(at + 1),
    key: new Uint8Array(buffer, byteOffset + keyAt, keyBytes),
    value: new Uint8Array(buffer, byteOffset + keyAt + keyBytes, valueBytes),
  }
}
