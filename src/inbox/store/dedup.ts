/** Repetitions of numbered publishes: QoS 2 of persistent publishers, and wills. */
import type { Dedup } from '../contract.ts'
import type { Box, Draft } from './draft.ts'
import { decodeMarks, encodeMarks, type Marks, type Tally } from './records.ts'
import { after, PART_MARKS, partStart, textKey } from './schema.ts'

/** Numbers kept of a publisher that tells no floor. */
const SEEN_MAX = 1_024
/** Publishers that an inbox keeps marks of: at this number those not heard for longest go. */
export const PUBLISHERS_MAX = 1_024
/** Numbers kept in any case: a client has no more packet ids. */
const OUTSTANDING_MAX = 65_535

export function isRepeated(draft: Draft, box: Box, tally: Tally, dedup: Dedup): boolean {
  const marks = readMarks(draft, box, tally, dedup.publisher)
  return marks !== null && (dedup.number < marks.floor || marks.seen.includes(dedup.number))
}

/** Call where it is not repeated. Numbers come nearly in order. */
export function remember(draft: Draft, box: Box, tally: Tally, dedup: Dedup): void {
  const known = readMarks(draft, box, tally, dedup.publisher)
  if (known === null) countPublisher(draft, box, tally)
  const marks = known ?? { floor: 0, lastMs: 0, seen: [] }
  const { seen } = marks
  let at = seen.length
  while (at > 0 && seen[at - 1]! > dedup.number) at--
  seen.splice(at, 0, dedup.number)
  const keep = dedup.floor === undefined ? SEEN_MAX : OUTSTANDING_MAX
  if (seen.length > keep) marks.floor = Math.max(marks.floor, seen[seen.length - keep]!)
  if (dedup.floor !== undefined) marks.floor = Math.max(marks.floor, dedup.floor)
  marks.seen = seen.filter((number) => number >= marks.floor)
  marks.lastMs = draft.nowMs
  draft.put(marksKey(box, tally, dedup.publisher), encodeMarks(marks))
}

function countPublisher(draft: Draft, box: Box, tally: Tally): void {
  if (tally.publishers >= PUBLISHERS_MAX) forgetOldest(draft, box, tally)
  tally.publishers++
}

/** Half of them go at once, so that this is rare. */
function forgetOldest(draft: Draft, box: Box, tally: Tally): void {
  const prefix = partStart(box.key, tally.incarnation, PART_MARKS)
  const all = draft.scan({ start: prefix, end: after(prefix) })
  const byAge = all.map(({ key, value }) => ({ key, lastMs: decodeMarks(value).lastMs }))
  byAge.sort((a, b) => a.lastMs - b.lastMs)
  const gone = byAge.slice(0, PUBLISHERS_MAX / 2)
  for (const { key } of gone) draft.delete(key)
  tally.publishers = all.length - gone.length
}

function readMarks(draft: Draft, box: Box, tally: Tally, publisher: string): Marks | null {
  const bytes = draft.get(marksKey(box, tally, publisher))
  return bytes === undefined ? null : decodeMarks(bytes)
}

function marksKey(box: Box, tally: Tally, publisher: string): Buffer {
  return textKey(partStart(box.key, tally.incarnation, PART_MARKS), publisher)
}
