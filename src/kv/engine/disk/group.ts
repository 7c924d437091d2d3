import { assert } from '../../../base/assert.ts'
import { type Batch, FAMILIES, type Family, type Write } from '../engine.ts'
import { BATCH_HEADER_BYTES, DELETE, DELETE_RANGE, OWN_PLACE, PUT, WRITE_HEADER_BYTES } from './layout.js'
import { findShared, referenceTo, type Share, sharedKeyOf } from './shared.ts'

// Hot: every byte that is stored passes here once, about 0.2 us a write (bench/micro/rocksdb.ts).

const PLACES = Object.fromEntries(FAMILIES.map((family, place) => [family, place])) as Record<Family, number>
const TYPES: Record<Write['type'], number> = { put: PUT, delete: DELETE, deleteRange: DELETE_RANGE }
const START_BYTES = 64 * 1024
/** A longer buffer is not kept for the next group. */
const KEPT_BYTES_MAX = 4 * 1024 * 1024
const KEPT_MAX = 2
/** Shorter keys and values are copied by a loop, which is faster. */
const LOOP_BYTES_MAX = 24

/** Batches in one piece of memory, which is handed over to the storage worker whole. Bytes as drawn in `layout.js`. */
export class Group {
  bytes: Uint8Array
  used = 0
  readonly batches: Batch[] = []
  /** Bytes of keys and values, by place in FAMILIES. */
  readonly familyBytes = new Float64Array(FAMILIES.length)
  sync = false
  /** Of the last shared value in it; 0 = none. */
  sharedId = 0
  readonly waiters: { resolve: () => void; reject: (error: Error) => void }[] = []
  #view: DataView

  constructor(buffer: ArrayBuffer) {
    this.bytes = new Uint8Array(buffer)
    this.#view = new DataView(buffer)
  }

  /** @param share where values of many keys are stored once: see `shared.ts` */
  add(batch: Batch, share: Share | null = null): void {
    const start = this.used
    this.#reserve(BATCH_HEADER_BYTES)
    this.used += BATCH_HEADER_BYTES
    let ranges = 0
    const shared = share === null ? null : findShared(batch.writes)
    const references = shared === null ? null : new Map<Uint8Array, Uint8Array>()
    for (const { family, write } of batch.writes) {
      const place = PLACES[family]
      const { type, key, value } = partsOf(write)
      if (type === DELETE_RANGE) ranges++
      if (references !== null && type === PUT && shared!.has(value)) {
        let reference = references.get(value)
        if (reference === undefined) {
          this.sharedId = share!(place, value.length)
          reference = referenceTo(this.sharedId, value.length, place)
          references.set(value, reference)
          this.#append(PUT, OWN_PLACE, sharedKeyOf(reference), value)
        }
        this.#append(PUT, place, key, reference)
      } else this.#append(type, place, key, value)
    }
    this.#view.setUint32(start, this.used - start, true)
    this.#view.setUint32(start + 4, ranges, true)
    this.batches.push(batch)
    if (batch.sync) this.sync = true
  }

  /** Deletes of the engine's own keys, as a batch. */
  addOwnDeletes(keys: readonly Uint8Array[]): void {
    const start = this.used
    this.#reserve(BATCH_HEADER_BYTES)
    this.used += BATCH_HEADER_BYTES
    for (const key of keys) this.#append(DELETE, OWN_PLACE, key, NOTHING)
    this.#view.setUint32(start, this.used - start, true)
    this.#view.setUint32(start + 4, 0, true)
    this.batches.push({ writes: [], sync: false })
  }

  #append(type: number, place: number, key: Uint8Array, value: Uint8Array): void {
    const bytes = WRITE_HEADER_BYTES + key.length + value.length
    this.#reserve(bytes)
    const at = this.used
    if (place !== OWN_PLACE) this.familyBytes[place]! += key.length + value.length
    this.#view.setUint8(at, type)
    this.#view.setUint8(at + 1, place)
    this.#view.setUint32(at + 2, key.length, true)
    this.#view.setUint32(at + 6, value.length, true)
    copy(key, this.bytes, at + WRITE_HEADER_BYTES)
    copy(value, this.bytes, at + WRITE_HEADER_BYTES + key.length)
    this.used = at + bytes
  }

  #reserve(more: number): void {
    const needed = this.used + more
    if (needed <= this.bytes.length) return
    assert(needed < 2 ** 31, 'A batch is smaller than 2 GiB')
    const bytes = new Uint8Array(Math.max(needed, this.bytes.length * 2))
    bytes.set(this.bytes.subarray(0, this.used))
    this.bytes = bytes
    this.#view = new DataView(bytes.buffer)
  }
}

/** Buffers that come back from the worker serve again. */
export class GroupPool {
  #buffers: ArrayBuffer[] = []

  take(): Group {
    return new Group(this.#buffers.pop() ?? new ArrayBuffer(START_BYTES))
  }

  giveBack(buffer: ArrayBuffer): void {
    if (buffer.byteLength <= KEPT_BYTES_MAX && this.#buffers.length < KEPT_MAX) this.#buffers.push(buffer)
  }
}

const NOTHING = new Uint8Array(0)

function partsOf(write: Write): { type: number; key: Uint8Array; value: Uint8Array } {
  const type = TYPES[write.type]
  if (write.type === 'put') return { type, key: write.key, value: write.value }
  if (write.type === 'delete') return { type, key: write.key, value: NOTHING }
  return { type, key: write.start, value: write.end }
}

function copy(from: Uint8Array, to: Uint8Array, at: number): void {
  if (from.length > LOOP_BYTES_MAX) {
    to.set(from, at)
    return
  }
  for (let i = 0; i < from.length; i++) to[at + i] = from[i]!
}
