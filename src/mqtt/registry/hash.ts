/** FNV-1a over UTF-16 units. Source: draft-eastlake-fnv. */
export function hashKey(key: string): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < key.length; i++) hash = Math.imul(hash ^ key.charCodeAt(i), 0x01000193)
  return hash >>> 0
}

/** Of one claim, for digests: they are xored, so that their order does not matter. */
export function hashClaim(key: string, time: number): number {
  return finish(hashKey(key) ^ finish(time % 0x1_0000_0000) ^ Math.floor(time / 0x1_0000_0000))
}

/**
 * The member that owns a key: highest random weight. A member that comes or goes moves only the keys that it gains or
 * loses. Source: Thaler and Ravishankar, "A Name-Based Mapping Scheme for Rendezvous", 1996.
 */
export class Rendezvous {
  readonly members: readonly string[]
  readonly #hashes: readonly number[]

  constructor(members: readonly string[]) {
    this.members = [...members].sort()
    this.#hashes = this.members.map((member) => finish(hashKey(member)))
  }

  /** Null where there is no member. */
  ownerOf(key: string): string | null {
    const hash = hashKey(key)
    let owner: string | null = null
    let best = -1
    for (let i = 0; i < this.members.length; i++) {
      const weight = finish(hash ^ this.#hashes[i]!)
      if (weight <= best) continue
      best = weight
      owner = this.members[i]!
    }
    return owner
  }
}

/** Spreads a hash over 32 bits, unsigned. Source: Appleby, MurmurHash3 finalizer, public domain. */
function finish(hash: number): number {
  let h = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return (h ^ (h >>> 16)) >>> 0
}
