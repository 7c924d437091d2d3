/** Single entries of a queue, and what the tally says of them. */
import type { Box, Draft } from './draft.ts'
import { isReleased, RELEASED_VALUE } from './entry.ts'
import type { Tally } from './records.ts'

/** Takes one entry away; false where it is not there. */
export function removeEntry(draft: Draft, box: Box, tally: Tally, sequence: number): boolean {
  if (tally.head === sequence) tally.head++
  const value = draft.entry(box, tally.incarnation, sequence)
  if (value === undefined) return false
  draft.deleteEntry(box, tally.incarnation, sequence)
  addTo(draft, tally, -1, -value.length)
  return true
}

/** PUBREC: the payload goes, what is owed is remembered. False where it was so already. */
export function releaseEntry(draft: Draft, box: Box, tally: Tally, sequence: number): boolean {
  const value = draft.entry(box, tally.incarnation, sequence)
  if (value === undefined || isReleased(value)) return false
  draft.putEntry(box, tally.incarnation, sequence, RELEASED_VALUE)
  addTo(draft, tally, 0, RELEASED_VALUE.length - value.length)
  return true
}

export function addTo(draft: Draft, tally: Tally, messages: number, bytes: number): void {
  tally.messages += messages
  tally.bytes += bytes
  draft.count.messages += messages
  draft.count.bytes += bytes
}
