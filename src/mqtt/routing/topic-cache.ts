/**
 * From the bytes of a topic to its routes, without making a string.
 *
 * Hot path: a string and a Map lookup cost 91 ns a message, hashing the bytes and comparing them 15
 * (bench/micro/codec.ts). Four topics share a set; the worst case is the slow path. Only topics that passed
 * {@link checkTopicName} are in here, so a hit needs no check.
 */
import type { TenantId } from '../../base/ids.ts'
import type { TopicEntry } from '../../dist/index.ts'

/** Slots: a power of two. With topics of 256 bytes at most some 20 MB. */
const SLOTS = 1 << 15
const WAYS = 4
const SET_MASK = (SLOTS - 1) & ~(WAYS - 1)
/** Longer topics are not kept here. */
const TOPIC_BYTES_MAX = 256

/** A checked topic, with its bytes and its routes. */
export interface TopicSlot {
  tenant: TenantId
  bytes: Uint8Array
  entry: TopicEntry
}

export class TopicCache {
  readonly #slots: (TopicSlot | undefined)[] = new Array(SLOTS)
  /** Beside the slots, so that a miss touches one line of memory and no object. */
  readonly #hashes = new Int32Array(SLOTS)
  hits = 0
  misses = 0

  /** The slot of a topic whose entry is alive, or null. */
  find(tenant: TenantId, buffer: Uint8Array, start: number, end: number): TopicSlot | null {
    const hash = hashBytes(buffer, start, end)
    const set = hash & SET_MASK
    for (let i = set; i < set + WAYS; i++) {
      if (this.#hashes[i] !== hash) continue
      const slot = this.#slots[i]
      if (slot === undefined || slot.tenant !== tenant || !slot.entry.alive) continue
      if (!equalBytes(slot.bytes, buffer, start, end)) continue
      this.hits++
      return slot
    }
    this.misses++
    return null
  }

  /** Remembers the entry under a copy of the topic's bytes: in place of a dead one, else of any of its set. */
  keep(tenant: TenantId, buffer: Uint8Array, start: number, end: number, entry: TopicEntry): TopicSlot {
    const slot = { tenant, bytes: Uint8Array.from(buffer.subarray(start, end)), entry }
    if (end - start > TOPIC_BYTES_MAX) return slot
    const hash = hashBytes(buffer, start, end)
    const set = hash & SET_MASK
    let at = set + (this.misses & (WAYS - 1))
    for (let i = set; i < set + WAYS; i++) if (!this.#slots[i]?.entry.alive) at = i
    this.#hashes[at] = hash
    this.#slots[at] = slot
    return slot
  }
}

/** FNV-1a, 32 bits. Source: draft-eastlake-fnv. */
function hashBytes(buffer: Uint8Array, start: number, end: number): number {
  let hash = 0x811c9dc5
  for (let i = start; i < end; i++) hash = Math.imul(hash ^ buffer[i]!, 0x01000193)
  return hash
}

export function equalBytes(known: Uint8Array, buffer: Uint8Array, start: number, end: number): boolean {
  const length = known.length
  if (end - start !== length) return false
  for (let i = 0; i < length; i++) if (known[i] !== buffer[start + i]) return false
  return true
}
