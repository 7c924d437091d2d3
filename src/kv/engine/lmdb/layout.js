// @ts-check
import { crc32 } from 'node:zlib'

/**
 * How keys and values lie in LMDB, one of its databases for each family.
 *
 * LMDB takes keys of 1 to 1,978 bytes, ours have 0 to some hundred thousand (a topic is up to 64 KiB). So keys form a
 * tree of nodes. A node is a sorted map; a key of it has less than CHUNK_BYTES, and lies here as
 *
 *     root:   0x01 | key                  -> crc u32 | value
 *     others: 0x02 | node u48 BE | key    -> crc u32 | value
 *
 * A longer key is cut: its first CHUNK_BYTES lead to another node, which holds the rest in the same way:
 *
 *     ... | CHUNK_BYTES bytes             -> crc u32 | node u48 BE
 *
 * That keeps the order: what begins with these bytes stands together, behind all that is shorter. Numbers of nodes are
 * never used twice; a node without keys is gone, with the way to it. Hardly any key leaves the root.
 *
 * LMDB has no checksums of its own: the crc is over key and value as they lie here.
 */
export const CHUNK_BYTES = 1_900
export const ROOT = 0

/** Database of the engine's own keys, which are not cut. */
export const OWN_FAMILY = 'own'
/** The next free number of a node, u64 BE. */
export const NODE_KEY = Buffer.from('node')

const CRC_BYTES = 4
const NODE_BYTES = 6

/**
 * @param {number} node
 * @param {Uint8Array} key of the node: at most CHUNK_BYTES
 */
export function placeOf(node, key) {
  const start = prefixBytes(node)
  const place = Buffer.allocUnsafe(start + key.length)
  place[0] = node === ROOT ? 1 : 2
  if (node !== ROOT) place.writeUIntBE(node, 1, NODE_BYTES)
  place.set(key, start)
  return place
}

/**
 * Bytes of a place before the node's own key.
 * @param {number} node
 */
export function prefixBytes(node) {
  return node === ROOT ? 1 : 1 + NODE_BYTES
}

/**
 * The first place behind all of a node.
 * @param {number} node
 */
export function endOf(node) {
  return node === ROOT ? Buffer.from([2]) : placeOf(node + 1, NOTHING)
}

/**
 * @param {Uint8Array} place
 * @param {Uint8Array} value
 */
export function seal(place, value) {
  const bytes = Buffer.allocUnsafe(CRC_BYTES + value.length)
  bytes.set(value, CRC_BYTES)
  bytes.writeUInt32LE(crc32(value, crc32(place)))
  return bytes
}

/**
 * Throws where it is not what was written.
 * @param {Uint8Array} place
 * @param {Uint8Array} bytes
 * @returns {Uint8Array} the value, a view
 */
export function unseal(place, bytes) {
  const value = bytes.subarray(CRC_BYTES)
  const isWhole = bytes.length >= CRC_BYTES && viewOf(bytes).getUint32(0, true) === crc32(value, crc32(place))
  if (!isWhole) throw new Error(`the record at ${Buffer.from(place).toString('hex')} is damaged: its checksum differs`)
  return value
}

/** @param {number} node */
export function encodeNode(node) {
  const bytes = Buffer.alloc(NODE_BYTES)
  bytes.writeUIntBE(node, 0, NODE_BYTES)
  return bytes
}

/** @param {Uint8Array} bytes */
export function decodeNode(bytes) {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).readUIntBE(0, NODE_BYTES)
}

const NOTHING = new Uint8Array(0)

/** @param {Uint8Array} bytes */
function viewOf(bytes) {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
}
