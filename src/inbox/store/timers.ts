/**
 * The time index of a range: what is due, in order of time, on disk.
 *
 * It stands at the start of its range, so a split leaves it with the left part. Timers of inboxes that are no longer in
 * the range are forgotten when they come due. A range without an index, which is a split's right part, builds one from
 * its records, a slice at a time; its head says how far that got. Until then timers are late, never lost.
 *
 * Each timer is also in the record that it is for, and one that the record does not know is stale and does nothing.
 */
import { compareBytes, laterStart, within } from '../../kv/engine/bytes.ts'
import type { Bounds, Write } from '../../kv/engine/engine.ts'
import type { Reader } from '../../kv/range/coprocessor.ts'
import type { Command } from './command.ts'
import type { Draft } from './draft.ts'
import { decodeGroup } from './group-record.ts'
import { decodeHead, encodeHead, type IndexHead, readHead, writeHead } from './index-head.ts'
import { mergeNodes, note } from './nodes.ts'
import { decodeSession, decodeWill, sessionEndMs } from './records.ts'
import {
  after,
  KIND_FIRING,
  KIND_GROUP,
  KIND_INDEX,
  KIND_SESSION,
  KIND_WILL,
  ownEnd,
  readTimer,
  readU64,
  type Timer,
  timerHeadKey,
  timerKey,
  timersStart,
  withKind,
} from './schema.ts'
import { walk } from './walk.ts'
import { asBuffer } from './wire.ts'

/** Inboxes that one command adds to the index. */
const INDEX_SLICE = 256

const NO_KEY = Buffer.alloc(0)

export function arm(draft: Draft, timer: Timer): void {
  draft.put(timerKey(draft.context.boundary.start, timer), NO_KEY)
}

export function disarm(draft: Draft, timer: Timer): void {
  draft.delete(timerKey(draft.context.boundary.start, timer))
}

/**
 * An incarnation above all of this range before: the time in units of 1/1024 ms, so that it also rises from range to
 * range and over a removal.
 */
export function nextIncarnation(draft: Draft): number {
  const head = readHead(draft)
  const incarnation = Math.max(head.incarnation + 1, draft.nowMs * 1_024)
  writeHead(draft, { ...head, incarnation })
  return incarnation
}

/** Whether the inbox is still in the range; a timer of one that is not is only taken out of the index. */
export function isHere(draft: Draft, start: Uint8Array): boolean {
  return within(start, draft.context.boundary)
}

/** Adds the next slice of inboxes to the index. */
export function indexSlice(draft: Draft): 'done' {
  const head = readHead(draft)
  if (head.covered === null) return 'done'
  const { start, end } = draft.context.boundary
  let left = INDEX_SLICE
  const covered = walk(draft.reader, { start: laterStart(head.covered, start), end }, (inbox) => {
    if (left-- === 0) return false
    armAll(draft, inbox)
    return true
  })
  writeHead(draft, { ...readHead(draft), covered })
  return 'done'
}

/** The inboxes of `right` came behind this range's own: its index goes, and its timers are still to come into this one. */
export function mergeIndexes(reader: Reader, { start }: Bounds, right: Bounds): Write[] {
  const [own, other] = [start, right.start].map((each) => {
    const bytes = reader.get(timerHeadKey(each))
    return bytes === undefined ? null : decodeHead(bytes)
  })
  const nodes = mergeNodes(reader, start, right.start)
  if (!own && !other && nodes.writes.length === 0) return []
  const from = right.start ?? NO_KEY
  const known = own ? (own.covered ?? from) : NO_KEY
  const covered = compareBytes(known, from) < 0 ? known : from
  const sweeping = (own?.sweeping ?? false) || nodes.sweeping
  const head = { incarnation: Math.max(own?.incarnation ?? 0, other?.incarnation ?? 0), covered, sweeping }
  return [
    { type: 'deleteRange', start: withKind(Buffer.from(from), KIND_INDEX), end: ownEnd(right.start) },
    ...nodes.writes,
    { type: 'put', key: timerHeadKey(start), value: encodeHead(head) },
  ]
}

function armAll(draft: Draft, start: Buffer): void {
  const stored = draft.get(withKind(start, KIND_SESSION))
  if (stored !== undefined) {
    const session = decodeSession(stored)
    const dueMs = sessionEndMs(session)
    if (dueMs !== Number.POSITIVE_INFINITY) arm(draft, { dueMs, kind: 'expiry', number: 0, start })
    if (session.attached) note(draft, session.node, session.nodeIncarnation)
  }
  const group = draft.get(withKind(start, KIND_GROUP))
  for (const member of group === undefined ? [] : decodeGroup(group).members) {
    if (member.connection !== '') note(draft, member.node, member.nodeIncarnation)
  }
  const will = draft.get(withKind(start, KIND_WILL))
  const willDueMs = will === undefined ? 0 : decodeWill(will).dueMs
  if (willDueMs > 0) arm(draft, { dueMs: willDueMs, kind: 'will', number: 0, start })
  const prefix = withKind(start, KIND_FIRING)
  for (const { key, value } of draft.scan({ start: prefix, end: after(prefix) })) {
    const number = readU64(asBuffer(key), prefix.length)
    arm(draft, { dueMs: decodeWill(value).dueMs, kind: 'firing', number, start })
  }
}

/** What the leader proposes now: see `Coprocessor.due`. */
export function dueCommands(reader: Reader, nowMs: number, limit: number, boundary: Bounds): Command[] {
  const index = findIndex(reader, boundary)
  if (index === null) return []
  const commands: Command[] = []
  if (index.head === null || index.head.covered !== null) commands.push({ type: 'index', key: index.rangeStart })
  if (index.head === null) return commands
  if (index.head.sweeping) commands.push({ type: 'sweep', key: index.rangeStart })
  const prefix = timersStart(index.rangeStart)
  const cursor = reader.cursor(timerBounds(prefix))
  try {
    while (commands.length < limit && cursor.next()) {
      const { dueMs, kind, number, start } = readTimer(Buffer.from(cursor.key), prefix)
      if (dueMs > nowMs) break
      commands.push({ type: 'due', key: start, kind, dueMs, number })
    }
  } finally {
    cursor.close()
  }
  return commands
}

export function nextDue(reader: Reader, boundary: Bounds): number | null {
  const index = findIndex(reader, boundary)
  if (index === null) return null
  if (index.head === null || index.head.covered !== null || index.head.sweeping) return 0
  const prefix = timersStart(index.rangeStart)
  const cursor = reader.cursor(timerBounds(prefix))
  try {
    return cursor.next() ? readTimer(cursor.key, prefix).dueMs : null
  } finally {
    cursor.close()
  }
}

/** The index is the first thing in its range. Null in an empty range; `head` null where there is none yet. */
function findIndex(reader: Reader, { start }: Bounds): { rangeStart: Uint8Array; head: IndexHead | null } | null {
  // Asked fifty times a second under load: a read that is remembered, where a cursor costs 0.1 ms.
  const known = reader.get(timerHeadKey(start))
  if (known !== undefined) return { rangeStart: start ?? NO_KEY, head: decodeHead(known) }
  const cursor = reader.cursor()
  try {
    return cursor.next() ? { rangeStart: start ?? NO_KEY, head: null } : null
  } finally {
    cursor.close()
  }
}

function timerBounds(prefix: Uint8Array): Bounds {
  return { start: prefix, end: after(prefix) }
}
