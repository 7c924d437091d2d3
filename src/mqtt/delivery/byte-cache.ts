/** Longer keys are not kept. */
const KEY_BYTES_MAX = 1024
const WAYS = 4

interface Slot<Value> {
  key: Uint8Array
  value: Value
}

/**
 * Values by bytes, found without making a string; bounded, four of them share a set.
 *
 * Hot path: one hash and one comparison for each topic of a batch (as in routing/topic-cache.ts).
 */
export class ByteCache<Value> {
  readonly #mask: number
  readonly #slots: (Slot<Value> | undefined)[]
  readonly #hashes: Int32Array
  #turn = 0

  /** @param slots a power of two */
  constructor(slots: number) {
    this.#mask = (slots - 1) & ~(WAYS - 1)
    this.#slots = new Array(slots)
    this.#hashes = new Int32Array(slots)
  }

  find(source: Uint8Array, start: number, end: number): Value | null {
    const hash = hashBytes(source, start, end)
    const set = hash & this.#mask
    for (let i = set; i < set + WAYS; i++) {
      if (this.#hashes[i] !== hash) continue
      const slot = this.#slots[i]
      if (slot !== undefined && equal(slot.key, source, start, end)) return slot.value
    }
    return null
  }

  /** Keeps the value under a copy of the bytes, in place of another one where it must. */
  keep(source: Uint8Array, start: number, end: number, value: Value): void {
    if (end - start > KEY_BYTES_MAX) return
    const hash = hashBytes(source, start, end)
    const set = hash & this.#mask
    let at = set + (this.#turn++ & (WAYS - 1))
    for (let i = set; i < set + WAYS; i++) if (this.#slots[i] === undefined) at = i
    this.#hashes[at] = hash
    this.#slots[at] = { key: new Uint8Array(source.subarray(start, end)), value }
  }
}

/** FNV-1a, 32 bits. Source: draft-eastlake-fnv. */
function hashBytes(source: Uint8Array, start: number, end: number): number {
  let hash = 0x811c9dc5
  for (let i = start; i < end; i++) hash = Math.imul(hash ^ source[i]!, 0x01000193)
  return hash
}

function equal(key: Uint8Array, source: Uint8Array, start: number, end: number): boolean {
  const { length } = key
  if (end - start !== length) return false
  for (let i = 0; i < length; i++) if (key[i] !== source[start + i]) return false
  return true
}
