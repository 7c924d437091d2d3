import type { Random } from '../base/clock.ts'
import type { GroupMember } from './contract.ts'

export interface PickOptions {
  /** True for `$oshare`: every message of one publisher goes to the same member. */
  ordered: boolean
  /** What stands for the publisher; used where ordered. */
  publisherKey: string
  random: Random
  localNode: string
  /** Messages that the node may still be sent for the group; 0 or less = none now. Not asked where ordered. */
  creditOf: (node: string) => number
}

/** Share of a group's own inbox beside `count` members of a node. */
const INBOX_WEIGHT = 1

/**
 * The member of a shared group that gets a message; null where none has credit.
 *
 * Unordered: the local node if it has credit, else the others that have; by chance, weighted by their members; the
 * group's inbox always takes part. Ordered: the publisher's rendezvous over all members, whatever their credit, for
 * another one would overtake; a member that joins or leaves moves only the publishers that it gains or loses.
 */
export function pickMember(members: readonly GroupMember[], options: PickOptions): GroupMember | null {
  return options.ordered ? pickByRendezvous(members, options.publisherKey) : pickByCredit(members, options)
}

function pickByCredit(members: readonly GroupMember[], options: PickOptions): GroupMember | null {
  const { localNode, creditOf } = options
  const local = members.find((member) => member.kind === 'node' && member.node === localNode)
  const localOnly = local !== undefined && creditOf(localNode) > 0
  let total = 0
  let picked: GroupMember | null = null
  for (const member of members) {
    if (member.kind === 'node' && (localOnly ? member !== local : creditOf(member.node) <= 0)) continue
    const weight = weightOf(member)
    if (weight <= 0) continue
    total += weight
    // Of all seen so far, each is the picked one with the chance of its weight.
    if (total === weight || options.random.float() * total < weight) picked = member
  }
  return picked
}

/** Source: Mosko and Perkins, "Rendezvous hashing with weights"; score = -weight / ln(uniform hash). */
function pickByRendezvous(members: readonly GroupMember[], publisherKey: string): GroupMember | null {
  let best: GroupMember | null = null
  let bestScore = Number.NEGATIVE_INFINITY
  const seed = hashText(0x811c9dc5, publisherKey)
  for (const member of members) {
    const name = member.kind === 'node' ? `n${member.node}` : `i${member.inbox}`
    const score = -weightOf(member) / Math.log((finish(hashText(seed, name)) + 0.5) / 0x1_0000_0000)
    if (score > bestScore) {
      best = member
      bestScore = score
    }
  }
  return best
}

function weightOf(member: GroupMember): number {
  return member.kind === 'node' ? member.count : INBOX_WEIGHT
}

/** Source: Fowler, Noll, Vo, FNV-1a, over UTF-16 units; the end of a text counts as one more. */
function hashText(seed: number, text: string): number {
  let hash = seed
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193)
  return Math.imul(hash ^ 0x1_0000, 0x01000193)
}

/** Spreads a hash over 32 bits, unsigned. Source: Appleby, MurmurHash3 finalizer, public domain. */
function finish(hash: number): number {
  let h = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return (h ^ (h >>> 16)) >>> 0
}
