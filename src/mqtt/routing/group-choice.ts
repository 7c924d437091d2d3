import type { LocalGroup } from './local-table.ts'
import type { LocalTarget } from './subscriber.ts'

/**
 * Which of this node's members gets the next message of a shared group.
 *
 * Unordered: round robin over those that have room. Ordered: rendezvous of the publisher over the members, so that one
 * publisher's messages stay with one member and few move when members change.
 * @param evenWithoutRoom false where somebody else can take the message when no member has room
 */
export function pickLocalMember(group: LocalGroup, publisher: string, evenWithoutRoom: boolean): LocalTarget | null {
  const members = group.members
  if (members.length === 0) return null
  let chosen = -1
  if (group.ordered) chosen = rendezvous(group, publisher)
  else {
    for (let i = 0; i < members.length && chosen < 0; i++) {
      const candidate = (group.next + i) % members.length
      if (members[candidate]!.subscriber.credit() > 0) chosen = candidate
    }
    if (chosen < 0 && evenWithoutRoom) chosen = group.next % members.length
    group.next = (chosen + 1) % members.length
  }
  if (chosen < 0) return null
  return members[chosen]!
}

/** Highest random weight. Source: Thaler and Ravishankar, "A Name-Based Mapping Scheme for Rendezvous", 1996. */
function rendezvous(group: LocalGroup, publisher: string): number {
  let best = -1
  let bestWeight = -1
  for (let i = 0; i < group.members.length; i++) {
    const weight = hashText(group.members[i]!.subscriber.clientId, hashText(publisher, 0x811c9dc5))
    if (weight > bestWeight) {
      bestWeight = weight
      best = i
    }
  }
  return best
}

function hashText(text: string, seed: number): number {
  let hash = seed
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193)
  hash ^= hash >>> 16
  hash = Math.imul(hash, 0x7feb352d)
  return (hash ^ (hash >>> 15)) >>> 0
}
