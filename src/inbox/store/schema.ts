import type { InboxId, TenantId } from '../../base/ids.ts'
import type { GroupKey, InboxKey } from '../contract.ts'
import { asBuffer, damaged } from './wire.ts'

/**
 * How sessions lie in the `inbox` family. Text is UTF-8 and never holds U+0000, so that 0x00 ends a part:
 *
 *     tenant 0x00 inbox 0x00 | 0x01                            -> session      who owns it, until when it lives
 *                            | 0x02                            -> tally        where its queue begins and ends
 *                            | 0x03                            -> will         of the connection, or waiting for its time
 *                            | 0x04                            -> numbers      QoS 2 packet ids received, publish numbers
 *                            | 0x05                            -> group        members, for a shared group's inbox
 *                            | 0x06 number u64 BE              -> a will on its way out
 *                            | 0x10 incarnation u64 BE | 0x01 sequence u64 BE             -> queue entry
 *                                                      | 0x02 filter                      -> subscription
 *                                                      | 0x03 publisher                   -> dedup marks
 *                                                      | 0x04 member 0x00 sequence u64 BE -> entry assigned to a member
 *                                                      | 0x05 sequence u64 BE             -> entry that a member gave back
 *     start of the range     | 0x00 | 0x00                                                -> head of the time index
 *                            | 0x00 | 0x01 due ms u64 BE | what u8 | number u64 BE | tenant 0x00 inbox 0x00 -> (empty)
 *                            | 0x00 | 0x02 node                                           -> what a node may have here
 *
 * All keys of an inbox begin alike, and a range begins with an inbox ({@link inboxStart}): a split never falls into one.
 * The time index stands before a range's first inbox, because it must lie in the range and be ordered by time: see
 * `timers.ts`. What is keyed by incarnation is dropped with it, in one range deletion, and never comes back.
 */
export const KIND_INDEX = 0x00
export const KIND_SESSION = 0x01
export const KIND_TALLY = 0x02
export const KIND_WILL = 0x03
export const KIND_NUMBERS = 0x04
export const KIND_GROUP = 0x05
export const KIND_FIRING = 0x06
export const KIND_PARTS = 0x10
const KIND_END = 0x11

export const PART_ENTRY = 0x01
export const PART_FILTER = 0x02
export const PART_MARKS = 0x03
export const PART_ASSIGNED = 0x04
export const PART_RETURNED = 0x05

const TIMER_HEAD = 0x00
const TIMER_ENTRY = 0x01
const NODE = 0x02

/** No key of this length or less is one of ours: the empty start of the first range. */
const NO_BYTES = Buffer.alloc(0)

/** The common start of all keys of an inbox; also where a range may be split. */
export function inboxStart(tenant: TenantId, inbox: InboxId): Buffer {
  return Buffer.from(`${tenant}\0${inbox}\0`)
}

/** The first key after all of the inbox that begins with `start`. */
export function inboxEnd(start: Uint8Array): Buffer {
  return withKind(start, KIND_END)
}

/** As a key of maps: one char for each byte. */
export function nameOf(start: Uint8Array): string {
  return asBuffer(start).toString('latin1')
}

/** Takes {@link inboxStart} apart. */
export function parseStart(start: Uint8Array): InboxKey {
  const bytes = asBuffer(start)
  const cut = bytes.indexOf(0)
  if (cut <= 0 || bytes.length < cut + 3 || bytes[bytes.length - 1] !== 0) throw damaged('a key names no inbox')
  return {
    tenant: bytes.toString('utf8', 0, cut) as TenantId,
    inbox: bytes.toString('utf8', cut + 1, bytes.length - 1) as InboxId,
  }
}

/** The start of the inbox that a stored key belongs to; null for keys of the first range's time index. */
export function startOf(key: Uint8Array): Buffer | null {
  const bytes = asBuffer(key)
  const cut = bytes.indexOf(0)
  const end = bytes.indexOf(0, cut + 1)
  return cut <= 0 || end < 0 ? null : bytes.subarray(0, end + 1)
}

export function tenantStart(tenant: TenantId): Buffer {
  return Buffer.from(`${tenant}\0`)
}

export function tenantEnd(tenant: TenantId): Buffer {
  return Buffer.from(`${tenant}\x01`)
}

/** Key of a record of which an inbox has one. */
export function withKind(start: Uint8Array, kind: number): Buffer {
  const key = Buffer.allocUnsafe(start.length + 1)
  key.set(start)
  key[start.length] = kind
  return key
}

export function firingKey(start: Uint8Array, number: number): Buffer {
  const key = Buffer.allocUnsafe(start.length + 9)
  key.set(start)
  key[start.length] = KIND_FIRING
  writeU64(key, number, start.length + 1)
  return key
}

/** Everything that goes with an incarnation: [start, end). */
export function partsBounds(start: Uint8Array, incarnation: number): { start: Buffer; end: Buffer } {
  return { start: incarnationStart(start, incarnation, 0), end: incarnationStart(start, incarnation + 1, 0) }
}

/** Start of all keys of one part, such as the queue. */
export function partStart(start: Uint8Array, incarnation: number, part: number): Buffer {
  const key = incarnationStart(start, incarnation, 1)
  key[key.length - 1] = part
  return key
}

export function sequenceKey(partStart: Uint8Array, sequence: number): Buffer {
  const key = Buffer.allocUnsafe(partStart.length + 8)
  key.set(partStart)
  writeU64(key, sequence, partStart.length)
  return key
}

export function sequenceOf(key: Uint8Array): number {
  return readU64(asBuffer(key), key.length - 8)
}

export function textKey(partStart: Uint8Array, text: string): Buffer {
  return Buffer.concat([partStart, Buffer.from(text)])
}

export function textOf(key: Uint8Array, partStart: Uint8Array): string {
  return asBuffer(key).toString('utf8', partStart.length)
}

/** Key after the last one that begins with `prefix`; prefixes of ours never end in 0xFF. */
export function after(prefix: Uint8Array): Buffer {
  const end = Buffer.from(prefix)
  end[end.length - 1]!++
  return end
}

function incarnationStart(start: Uint8Array, incarnation: number, room: number): Buffer {
  const key = Buffer.allocUnsafe(start.length + 9 + room)
  key.set(start)
  key[start.length] = KIND_PARTS
  writeU64(key, incarnation, start.length + 1)
  return key
}

// --- the time index

/** `expiry`: a session ends. `will`: its delay is over. `firing`: an announced will was not confirmed. */
export const TIMERS = ['expiry', 'will', 'firing'] as const
export type TimerKind = (typeof TIMERS)[number]

export interface Timer {
  dueMs: number
  kind: TimerKind
  /** Publish number of a will that is being fired; else 0. */
  number: number
  /** {@link inboxStart} of whom it is for. */
  start: Uint8Array
}

export function timerHeadKey(rangeStart: Uint8Array | undefined): Buffer {
  return Buffer.from([...(rangeStart ?? NO_BYTES), KIND_INDEX, TIMER_HEAD])
}

export function timersStart(rangeStart: Uint8Array | undefined): Buffer {
  const key = timerHeadKey(rangeStart)
  key[key.length - 1] = TIMER_ENTRY
  return key
}

export function timerKey(rangeStart: Uint8Array | undefined, timer: Timer): Buffer {
  const prefix = timersStart(rangeStart)
  const key = Buffer.allocUnsafe(prefix.length + 17 + timer.start.length)
  key.set(prefix)
  writeU64(key, timer.dueMs, prefix.length)
  key[prefix.length + 8] = TIMERS.indexOf(timer.kind)
  writeU64(key, timer.number, prefix.length + 9)
  key.set(timer.start, prefix.length + 17)
  return key
}

export function readTimer(key: Uint8Array, timersStart: Uint8Array): Timer {
  const bytes = asBuffer(key)
  const at = timersStart.length
  const kind = TIMERS[bytes[at + 8] ?? 255]
  if (kind === undefined) throw damaged('a key of the time index is not one')
  return { dueMs: readU64(bytes, at), kind, number: readU64(bytes, at + 9), start: bytes.subarray(at + 17) }
}

/** The first key after a range's own records: its time index and its nodes. */
export function ownEnd(rangeStart: Uint8Array | undefined): Buffer {
  return Buffer.from([...(rangeStart ?? NO_BYTES), KIND_INDEX + 1])
}

// --- nodes

/** Start of the records of all nodes: see `nodes.ts`. */
export function nodesStart(rangeStart: Uint8Array | undefined): Buffer {
  return Buffer.from([...(rangeStart ?? NO_BYTES), KIND_INDEX, NODE])
}

export function nodeKey(rangeStart: Uint8Array | undefined, node: string): Buffer {
  return textKey(nodesStart(rangeStart), node)
}

// --- groups

/** Client ids may not begin with this: it marks the inboxes of shared groups. */
export const GROUP_MARK = '\u0001'

/** A group's own inbox. Group names hold no `/`. */
export function groupInbox(group: GroupKey): InboxId {
  return `${GROUP_MARK}${group.ordered ? 'o' : 's'}${group.group}/${group.filter}` as InboxId
}

export function parseGroupInbox({ tenant, inbox }: InboxKey): GroupKey | null {
  if (!inbox.startsWith(GROUP_MARK)) return null
  const cut = inbox.indexOf('/')
  return { tenant, group: inbox.slice(2, cut), filter: inbox.slice(cut + 1), ordered: inbox[1] === 'o' }
}

/** Numbers below 2^53 in eight bytes, so that they sort. */
export function writeU64(target: Buffer, value: number, at: number): void {
  target.writeUInt32BE(Math.floor(value / 0x1_0000_0000), at)
  target.writeUInt32BE(value % 0x1_0000_0000, at + 4)
}

export function readU64(source: Buffer, at: number): number {
  return source.readUInt32BE(at) * 0x1_0000_0000 + source.readUInt32BE(at + 4)
}
