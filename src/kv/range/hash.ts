import type { Write } from '../engine/engine.ts'

const KINDS = { put: 1, delete: 2, deleteRange: 3 }

/**
 * Goes on with a 32-bit rolling hash over `writes`. Replicas that applied the same entries have the same hash; one that
 * differs has gone wrong. It finds mistakes, not attackers.
 * A value counts by a hash of its own, so that one of ten thousand keys is read once: 1.5 us each at 1 KB.
 * Source: Austin Appleby's MurmurHash3 (x86, 32 bit), public domain, without its final mix between writes.
 */
export function hashWrites(hash: number, writes: readonly Write[]): number {
  let h = hash
  let value: Uint8Array | null = null
  let valueHash = 0
  for (const write of writes) {
    h = mix(h, KINDS[write.type])
    if (write.type === 'deleteRange') h = hashBytes(hashBytes(h, write.start), write.end)
    else {
      h = hashBytes(h, write.key)
      if (write.type === 'delete') continue
      if (write.value !== value) {
        value = write.value
        valueHash = hashBytes(0, value)
      }
      h = mix(h, valueHash)
    }
  }
  return h >>> 0
}

/** The hash of a range that took over another one with the hash `right`. */
export function joinHashes(left: number, right: number): number {
  return mix(left, right) >>> 0
}

function hashBytes(hash: number, bytes: Uint8Array): number {
  let h = mix(hash, bytes.length)
  const words = bytes.length & ~3
  for (let i = 0; i < words; i += 4) {
    h = mix(h, bytes[i]! | (bytes[i + 1]! << 8) | (bytes[i + 2]! << 16) | (bytes[i + 3]! << 24))
  }
  for (let i = words; i < bytes.length; i++) h = mix(h, bytes[i]!)
  return h
}

function mix(hash: number, word: number): number {
  let k = Math.imul(word, 0xcc9e2d51)
  k = Math.imul((k << 15) | (k >>> 17), 0x1b873593)
  const h = hash ^ k
  return (Math.imul((h << 13) | (h >>> 19), 5) + 0xe6546b64) | 0
}
