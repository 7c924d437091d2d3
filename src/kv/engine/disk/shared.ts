import type { Write } from '../engine.ts'

/**
 * Values that many keys of a batch share are stored once: the keys hold references.
 *
 * A publish to ten thousand queues is ten thousand equal values. Written out, 1 KB each, they were 5 KB a queue of log,
 * tables and compaction; as references they are a tenth (bench: `offline-fan-out`).
 *
 *     own family:  "shared" id u64 BE | bytes u32 BE | place of the family u8 -> the value
 *     families:    key -> MARK 8 bytes | id u64 BE | bytes u32 BE | place u8
 *
 * Value and references land in one atomic write. A reference is never copied to another key: who puts a value that it
 * has read, puts bytes. So a value without references stays so, and may be swept up at any time: see `rocksdb/sweep.ts`.
 */
export const SHARED_PREFIX: Uint8Array = Buffer.from('shared')
const MARK = Buffer.from([0xf1, 0x0c, 0x6b, 0x5a, 0xe2, 0x94, 0x01, 0xdd])
const NUMBER_BYTES = 13
const REFERENCE_BYTES = MARK.length + NUMBER_BYTES
/** Fewer keys or shorter values are not worth a lookup at every read. */
const KEYS_MIN = 8
const VALUE_BYTES_MIN = 256

/** Gives the id of a value that keys of a family will share. */
export type Share = (place: number, bytes: number) => number

/** True for what stands in the place of a value. A user's value that looks like it is stored as a shared one. */
export function isReference(value: Uint8Array): boolean {
  if (value.length !== REFERENCE_BYTES || value[0] !== MARK[0]) return false
  for (let i = 1; i < MARK.length; i++) if (value[i] !== MARK[i]) return false
  return true
}

/** Key of the value that a reference stands for. */
export function sharedKeyOf(reference: Uint8Array): Uint8Array {
  const key = Buffer.allocUnsafe(SHARED_PREFIX.length + NUMBER_BYTES)
  key.set(SHARED_PREFIX)
  key.set(reference.subarray(MARK.length), SHARED_PREFIX.length)
  return key
}

export function sharedIdOf(key: Uint8Array): number {
  return viewOf(key).getUint32(SHARED_PREFIX.length) * 0x1_0000_0000 + viewOf(key).getUint32(SHARED_PREFIX.length + 4)
}

export function idOfReference(reference: Uint8Array): number {
  return viewOf(reference).getUint32(MARK.length) * 0x1_0000_0000 + viewOf(reference).getUint32(MARK.length + 4)
}

export function sharedBytesOf(key: Uint8Array): number {
  return viewOf(key).getUint32(SHARED_PREFIX.length + 8)
}

export function sharedPlaceOf(key: Uint8Array): number {
  return key[SHARED_PREFIX.length + 12]!
}

export function referenceTo(id: number, bytes: number, place: number): Uint8Array {
  const reference = Buffer.allocUnsafe(REFERENCE_BYTES)
  reference.set(MARK)
  reference.writeUInt32BE(Math.floor(id / 0x1_0000_0000), 8)
  reference.writeUInt32BE(id % 0x1_0000_0000, 12)
  reference.writeUInt32BE(bytes, 16)
  reference[20] = place
  return reference
}

/** The values of a batch that are to be shared; null where there are none, which is nearly always. */
export function findShared(writes: readonly { write: Write }[]): Set<Uint8Array> | null {
  let found: Set<Uint8Array> | null = null
  let counts: Map<Uint8Array, number> | null = null
  for (const { write } of writes) {
    if (write.type !== 'put') continue
    const { value } = write
    if (value.length < VALUE_BYTES_MIN) {
      if (isReference(value)) (found ??= new Set()).add(value)
      continue
    }
    counts ??= new Map()
    const count = (counts.get(value) ?? 0) + 1
    counts.set(value, count)
    if (count === KEYS_MIN) (found ??= new Set()).add(value)
  }
  return found
}

/** The first own key behind all shared values. */
export function prefixEnd(): Uint8Array {
  const end = Buffer.from(SHARED_PREFIX)
  end[end.length - 1]!++
  return end
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
}
