/**
 * From the bytes of a topic to its routes, without making a string.
 *
 * Hot path: a string and a Map lookup cost 91 ns a message, hashing the bytes and comparing them 15
 * (bench/micro/codec.ts). Direct-mapped: a colliding topic takes the slot, and the worst case is the slow path. Only
 * topics that passed {@link checkTopicName} are in here, so a hit needs no check.
 */
import type { TenantId } from '../../base/ids.ts'
import type { TopicEntry } from '../../dist/index.ts'

/** Slots: a power of two. With topics of 256 bytes at most some 20 MB. */
const SLOTS = 1 << 15
/** Longer topics are not kept here. */
const TOPIC_BYTES_MAX = 256

/** A checked topic, with its bytes and its routes. */
export interface TopicSlot {
  tenant: TenantId
  hash: number
  bytes: Uint8Array
  entry: TopicEntry
}

export class TopicCache {
  readonly #slots: (TopicSlot | undefined)[] = new Array(SLOTS)
  hits = 0
  misses = 0

  /** The slot of a topic whose entry is alive, or null. */
  find(tenant: TenantId, buffer: Uint8Array, start: number, end: number): TopicSlot | null {
    const hash = hashBytes(buffer, start, end)
    const slot = this.#slots[hash & (SLOTS - 1)]
    if (
      slot === undefined ||
      slot.hash !== hash ||
      slot.tenant !== tenant ||
      !slot.entry.alive ||
      !equalBytes(slot.bytes, buffer, start, end)
    ) {
      this.misses++
      return null
    }
    this.hits++
    return slot
  }

  /** Remembers the entry under a copy of the topic's bytes. */
  keep(tenant: TenantId, buffer: Uint8Array, start: number, end: number, entry: TopicEntry): TopicSlot {
    const hash = hashBytes(buffer, start, end)
    const slot = { tenant, hash, bytes: Uint8Array.from(buffer.subarray(start, end)), entry }
    if (end - start <= TOPIC_BYTES_MAX) this.#slots[hash & (SLOTS - 1)] = slot
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
