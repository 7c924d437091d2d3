/**
 * Rendezvous hashing: each publisher has one member, and a member that comes or goes moves only its own share.
 * Source: Thaler and Ravishankar, "A Name-Based Mapping Scheme for Rendezvous", 1996.
 * @param members at least one
 */
export function rendezvous<Member extends { inbox: string }>(publisher: string, members: readonly Member[]): Member {
  let best = members[0]!
  let bestWeight = -1
  for (const member of members) {
    const weight = hash(member.inbox, hash(publisher, 0x811c9dc5))
    if (weight > bestWeight || (weight === bestWeight && member.inbox < best.inbox)) {
      best = member
      bestWeight = weight
    }
  }
  return best
}

/** FNV-1a over UTF-16 units, then the final mix of MurmurHash3, so that close names lie far apart. */
function hash(text: string, seed: number): number {
  let h = seed
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193)
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return (h ^ (h >>> 16)) >>> 0
}
