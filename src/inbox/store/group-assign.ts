/** Which member of a shared group gets an entry: see `group.ts`. */
import type { FeedEntry } from '../contract.ts'
import type { Box, Draft } from './draft.ts'
import { decodeEntry } from './entry.ts'
import type { Group, GroupMember } from './group-record.ts'
import type { Tally } from './records.ts'
import { rendezvous } from './rendezvous.ts'
import {
  after,
  PART_ASSIGNED,
  PART_RETURNED,
  parseGroupInbox,
  parseStart,
  partStart,
  sequenceKey,
  sequenceOf,
  textKey,
} from './schema.ts'
import { Reading } from './wire.ts'

/** Entries that one command assigns: bounds an entry of the log. The next trim goes on. */
const ASSIGN_MAX = 1_024

const NOTHING: Uint8Array = Buffer.alloc(0)

export interface Opened {
  box: Box
  tally: Tally
  group: Group
}

/** Called after an insert. */
export function assign(draft: Draft, box: Box, tally: Tally): void {
  const group = box.group.get()
  const online = group === null ? [] : onlineMembers(group)
  if (group === null || online.length === 0) return
  const opened = { box, tally, group }
  const ordered = isOrdered(opened)
  box.group.set(group)
  // What waits for a member with credit was assigned when the credit came: an insert need not look at it again.
  if (ordered ? group.returned <= ASSIGN_MAX : !online.every(isFull)) {
    if (group.returned > 0 && !ordered) assignAll(draft, opened)
    else assignNew(draft, opened, online, ordered, ASSIGN_MAX)
  }
}

/** Gives entries to members while there are both, in the order of the queue: first those that came back. */
export function assignAll(draft: Draft, opened: Opened): void {
  const { group } = opened
  const online = onlineMembers(group)
  if (online.length === 0) return
  const ordered = isOrdered(opened)
  if (!ordered && online.every(isFull)) return
  const left = group.returned === 0 ? ASSIGN_MAX : assignReturned(draft, opened, online, ordered)
  // With more of them than were looked at, a later entry might overtake.
  if (group.returned <= ASSIGN_MAX) assignNew(draft, opened, online, ordered, left)
}

/** Returns how many more may be assigned. */
function assignReturned(draft: Draft, opened: Opened, online: readonly GroupMember[], ordered: boolean): number {
  let left = ASSIGN_MAX
  for (const { key, value } of returnedEntries(draft, opened)) {
    const member = choose(opened.group, online, ordered ? publisherOf(value) : null)
    if (member === null && !ordered) return 0
    if (member === null) continue
    draft.delete(key)
    opened.group.returned--
    if (give(draft, opened, member, sequenceOf(key))) left--
  }
  return left
}

/** Those above the window. In an ordered group an entry that must wait for its member is put aside. */
function assignNew(draft: Draft, opened: Opened, online: readonly GroupMember[], ordered: boolean, most: number): void {
  const { box, tally, group } = opened
  for (let left = most, sequence = tally.window + 1; sequence <= tally.tail && left > 0; sequence++) {
    const value = sequence <= tally.droppedTo ? undefined : draft.entry(box, tally.incarnation, sequence)
    const publisher = ordered && value !== undefined ? publisherIn(value) : null
    const member = value === undefined ? null : choose(group, online, publisher)
    if (value !== undefined && member === null && !ordered) return
    tally.window = sequence
    if (value === undefined) continue
    if (member === null) putReturned(draft, opened, sequence, publisher!)
    else give(draft, opened, member, sequence)
    left--
  }
}

function isOrdered({ box }: Opened): boolean {
  return parseGroupInbox(parseStart(box.key))?.ordered === true
}

function onlineMembers(group: Group): GroupMember[] {
  return group.members.filter(({ connection }) => connection !== '')
}

function isFull({ assigned, credit }: GroupMember): boolean {
  return assigned >= credit
}

/** Round robin over those with credit; with a publisher, its one member or null while that one has none. */
function choose(group: Group, online: readonly GroupMember[], publisher: string | null): GroupMember | null {
  if (publisher !== null) {
    const member = rendezvous(publisher, online)
    return isFull(member) ? null : member
  }
  for (let i = 0; i < online.length; i++) {
    const member = online[(group.turn + i) % online.length]!
    if (isFull(member)) continue
    group.turn = (group.turn + i + 1) % online.length
    return member
  }
  return null
}

function give(draft: Draft, opened: Opened, member: GroupMember, sequence: number): boolean {
  const { box, tally } = opened
  const value = draft.entry(box, tally.incarnation, sequence)
  if (value === undefined) return false
  draft.put(assignedKey(opened, member, sequence), NOTHING)
  member.assigned++
  draft.effects.push({
    type: 'assigned',
    name: box.name,
    member: member.inbox,
    connection: member.connection,
    entry: forMember(decodeEntry(sequence, 0, false, value), member),
  })
  return true
}

/** As the member's subscription asks for it. */
export function forMember(entry: FeedEntry, { options }: GroupMember): FeedEntry {
  if (entry.released) return entry
  entry.qos = entry.qos < options.qos ? entry.qos : options.qos
  entry.retain = entry.retain && options.retainAsPublished
  if (options.subscriptionId !== 0) entry.subscriptionIds = [options.subscriptionId]
  return entry
}

/** Entries whose delivery has not begun go back to the group. */
export function giveBack(draft: Draft, opened: Opened, member: GroupMember): void {
  const ordered = isOrdered(opened)
  for (const { key, sequence, packetId } of assignedTo(draft, opened, member)) {
    if (packetId > 0) continue
    draft.delete(key)
    member.assigned--
    const value = draft.entry(opened.box, opened.tally.incarnation, sequence)
    if (value === undefined) continue
    const publisher = ordered ? publisherIn(value) : ''
    putReturned(draft, opened, sequence, publisher)
  }
}

export interface Assigned {
  key: Uint8Array
  sequence: number
  /** 0 = delivery has not begun. */
  packetId: number
}

export function assignedTo(draft: Draft, opened: Opened, member: GroupMember): Assigned[] {
  if (member.assigned === 0) return []
  const prefix = assignedStart(opened, member)
  return draft.scan({ start: prefix, end: after(prefix) }).map(({ key, value }) => ({
    key,
    sequence: sequenceOf(key),
    packetId: value.length === 0 ? 0 : new Reading(value).varint(),
  }))
}

function assignedStart({ box, tally }: Opened, member: GroupMember): Buffer {
  return textKey(partStart(box.key, tally.incarnation, PART_ASSIGNED), `${member.inbox}\0`)
}

export function assignedKey(opened: Opened, member: GroupMember, sequence: number): Buffer {
  return sequenceKey(assignedStart(opened, member), sequence)
}

function returnedEntries(draft: Draft, { box, tally }: Opened): { key: Uint8Array; value: Uint8Array }[] {
  const prefix = partStart(box.key, tally.incarnation, PART_RETURNED)
  return draft.scan({ start: prefix, end: after(prefix) }, ASSIGN_MAX)
}

function putReturned(draft: Draft, opened: Opened, sequence: number, publisher: string): void {
  const prefix = partStart(opened.box.key, opened.tally.incarnation, PART_RETURNED)
  draft.put(sequenceKey(prefix, sequence), Buffer.from(publisher))
  opened.group.returned++
}

function publisherIn(value: Uint8Array): string {
  return decodeEntry(0, 0, false, value).message?.publisher ?? ''
}

function publisherOf(value: Uint8Array): string {
  return Buffer.from(value).toString()
}
