/**
 * Shared groups with persistent members: a queue whose entries are assigned to members, in the log.
 *
 * An entry belongs to the group until it is assigned to a member whose feed is open and has credit; it goes back when
 * that feed closes, unless delivery of a QoS 2 message had begun: that waits for the same member [MQTT-4.8.2-4] and is
 * given to nobody else [MQTT-4.8.2-5]. The tally's `window` is the last sequence looked at: what is above it was never
 * assigned and may be dropped at the limit.
 */
import type { FeedEntry } from '../contract.ts'
import type { Command, JoinCommand, Member, MemberOpenCommand, MemberTrimCommand, Response } from './command.ts'
import type { Box, Draft } from './draft.ts'
import { releaseEntry, removeEntry } from './entries.ts'
import { decodeEntry } from './entry.ts'
import type { Group, GroupMember } from './group-record.ts'
import { newTally, type Tally, toTallyLimits } from './records.ts'
import { rendezvous } from './rendezvous.ts'
import {
  after,
  PART_ASSIGNED,
  PART_RETURNED,
  parseGroupInbox,
  parseStart,
  partStart,
  partsBounds,
  sequenceKey,
  sequenceOf,
  textKey,
} from './schema.ts'
import { nextIncarnation } from './timers.ts'
import { Reading, Writer } from './wire.ts'

/** Entries that one command assigns: bounds an entry of the log. The next trim goes on. */
const ASSIGN_MAX = 1_024

const NOTHING: Uint8Array = Buffer.alloc(0)

interface Opened {
  box: Box
  tally: Tally
  group: Group
}

export function join(draft: Draft, command: JoinCommand): Response {
  const box = draft.box(command.key)
  let tally = box.tally.get()
  const created = tally === null
  if (tally === null) {
    tally = newTally(nextIncarnation(draft), toTallyLimits(command.limits))
    box.tally.set(tally)
  }
  const group = box.group.get() ?? { members: [], turn: 0, returned: 0 }
  const { member: inbox, incarnation, options } = command
  const known = group.members.find((member) => member.inbox === inbox)
  if (known === undefined) {
    group.members.push({ inbox, incarnation, options, connection: '', attachment: 0, node: '', credit: 0, assigned: 0 })
  } else if (known.incarnation <= incarnation) {
    if (known.incarnation < incarnation) known.attachment = 0
    known.incarnation = incarnation
    known.options = options
  }
  box.group.set(group)
  return { type: 'joined', incarnation: tally.incarnation, created }
}

export function leave(draft: Draft, command: Extract<Command, { type: 'leave' }>): Response {
  const opened = open(draft, command.key)
  const at = opened?.group.members.findIndex(({ inbox }) => inbox === command.member) ?? -1
  if (opened === null || at < 0) return { type: 'left', endedIncarnation: null }
  const member = opened.group.members[at]!
  // A newer session of this client id has joined since.
  if (command.incarnation !== null && member.incarnation > command.incarnation) {
    return { type: 'left', endedIncarnation: null }
  }
  giveBack(draft, opened, member)
  for (const { sequence } of assignedTo(draft, opened, member)) endEntry(draft, opened, member, sequence)
  opened.group.members.splice(at, 1)
  if (opened.group.members.length > 0) {
    assignAll(draft, opened)
    return { type: 'left', endedIncarnation: null }
  }
  return { type: 'left', endedIncarnation: endGroup(draft, opened) }
}

function endGroup(draft: Draft, { box, tally }: Opened): number {
  const bounds = partsBounds(box.key, tally.incarnation)
  if (tally.tail > 0) draft.deleteRange(bounds.start, bounds.end)
  draft.count.messages -= tally.messages
  draft.count.bytes -= tally.bytes
  box.tally.set(null)
  box.group.set(null)
  return tally.incarnation
}

/** A member's feed opens, maybe again: it gets all that it has, and its share from then on. */
export function openMember(draft: Draft, command: MemberOpenCommand): Response {
  const opened = open(draft, command.key)
  const member = opened?.group.members.find(({ inbox }) => inbox === command.member)
  if (opened === null || member === undefined || command.incarnation > member.incarnation) return 'none'
  if (command.incarnation < member.incarnation || command.attachment < member.attachment) return 'conflict'
  if (member.connection !== command.connection) giveBack(draft, opened, member)
  member.connection = command.connection
  member.attachment = command.attachment
  member.node = command.node
  member.credit = command.credit
  const owed = assignedTo(draft, opened, member).map((each) => owedEntry(draft, opened, member, each))
  assignAll(draft, opened)
  return { type: 'opened', owed: owed.filter((entry) => entry !== null) }
}

export function closeMember(draft: Draft, command: Extract<Command, { type: 'member-close' }>): Response {
  const found = findMember(draft, command)
  if (found === null) return 'none'
  giveBack(draft, found.opened, found.member)
  found.member.connection = ''
  assignAll(draft, found.opened)
  return 'done'
}

export function trimMember(draft: Draft, command: MemberTrimCommand): Response {
  const found = findMember(draft, command)
  if (found === null) return 'conflict'
  for (const sequence of command.sequences) endEntry(draft, found.opened, found.member, sequence)
  assignAll(draft, found.opened)
  return 'done'
}

/** Binds an entry to a packet id before it is sent, or says that PUBREC came. */
export function bind(draft: Draft, command: Extract<Command, { type: 'member-bind' }>): Response {
  const found = findMember(draft, command)
  if (found === null) return 'conflict'
  const { opened, member } = found
  const key = assignedKey(opened, member, command.sequence)
  if (draft.get(key) === undefined) return 'none'
  const writer = new Writer(16)
  writer.varint(command.packetId)
  draft.put(key, writer.finish())
  if (command.released) releaseEntry(draft, opened.box, opened.tally, command.sequence)
  return 'done'
}

/** Called after an insert. */
export function assign(draft: Draft, box: Box, tally: Tally): void {
  const group = box.group.get()
  if (group?.members.some(({ connection }) => connection !== '') !== true) return
  box.group.set(group)
  assignAll(draft, { box, tally, group })
}

function open(draft: Draft, key: Uint8Array): Opened | null {
  const box = draft.box(key)
  const tally = box.tally.get()
  const group = box.group.get()
  if (tally === null || group === null) return null
  box.tally.set(tally)
  box.group.set(group)
  return { box, tally, group }
}

function findMember(draft: Draft, command: Member): { opened: Opened; member: GroupMember } | null {
  const opened = open(draft, command.key)
  const member = opened?.group.members.find(({ inbox }) => inbox === command.member)
  if (opened === null || member === undefined || member.connection !== command.connection) return null
  return { opened, member }
}

/** Gives entries to members while there are both, in the order of the queue: first those that came back. */
function assignAll(draft: Draft, opened: Opened): void {
  const { tally, group } = opened
  const online = group.members.filter((member) => member.connection !== '')
  if (online.length === 0) return
  const ordered = parseGroupInbox(parseStart(opened.box.key))?.ordered === true
  let left = ASSIGN_MAX
  if (group.returned > 0) {
    for (const { key, value } of returnedEntries(draft, opened)) {
      const sequence = sequenceOf(key)
      const member = choose(group, online, ordered ? publisherOf(value) : null)
      if (member === null && !ordered) return
      if (member === null) continue
      draft.delete(key)
      group.returned--
      if (give(draft, opened, member, sequence)) left--
    }
    // With more of them than were looked at, a later entry of some publisher might overtake.
    if (group.returned > ASSIGN_MAX) return
  }
  for (let sequence = tally.window + 1; sequence <= tally.tail && left > 0; sequence++) {
    const value = sequence <= tally.droppedTo ? undefined : draft.entry(opened.box, tally.incarnation, sequence)
    if (value === undefined) {
      tally.window = sequence
      continue
    }
    const publisher = ordered ? decodeEntry(sequence, 0, false, value).message!.publisher : null
    const member = choose(group, online, publisher)
    if (member === null && publisher === null) return
    tally.window = sequence
    if (member === null) putReturned(draft, opened, sequence, publisher!)
    else {
      give(draft, opened, member, sequence)
      left--
    }
  }
}

/** Round robin over those with credit; with a publisher, its one member or null while that one has none. */
function choose(group: Group, online: readonly GroupMember[], publisher: string | null): GroupMember | null {
  if (publisher !== null) {
    const member = rendezvous(publisher, online)
    return member.assigned < member.credit ? member : null
  }
  for (let i = 0; i < online.length; i++) {
    const member = online[(group.turn + i) % online.length]!
    if (member.assigned >= member.credit) continue
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
function forMember(entry: FeedEntry, { options }: GroupMember): FeedEntry {
  if (entry.released) return entry
  entry.qos = entry.qos < options.qos ? entry.qos : options.qos
  entry.retain = entry.retain && options.retainAsPublished
  if (options.subscriptionId !== 0) entry.subscriptionIds = [options.subscriptionId]
  return entry
}

function owedEntry(draft: Draft, opened: Opened, member: GroupMember, each: Assigned): FeedEntry | null {
  const value = draft.entry(opened.box, opened.tally.incarnation, each.sequence)
  if (value === undefined) return null
  return forMember(decodeEntry(each.sequence, each.packetId, each.packetId > 0, value), member)
}

/** Entries whose delivery has not begun go back to the group. */
function giveBack(draft: Draft, opened: Opened, member: GroupMember): void {
  const ordered = parseGroupInbox(parseStart(opened.box.key))?.ordered === true
  for (const { key, sequence, packetId } of assignedTo(draft, opened, member)) {
    if (packetId > 0) continue
    draft.delete(key)
    member.assigned--
    const value = draft.entry(opened.box, opened.tally.incarnation, sequence)
    if (value === undefined) continue
    const publisher = ordered ? (decodeEntry(sequence, 0, false, value).message?.publisher ?? '') : ''
    putReturned(draft, opened, sequence, publisher)
  }
}

/** Acknowledged to the end. Nothing where it is not the member's. */
function endEntry(draft: Draft, opened: Opened, member: GroupMember, sequence: number): void {
  const key = assignedKey(opened, member, sequence)
  if (draft.get(key) === undefined) return
  draft.delete(key)
  member.assigned--
  removeEntry(draft, opened.box, opened.tally, sequence)
}

interface Assigned {
  key: Uint8Array
  sequence: number
  /** 0 = delivery has not begun. */
  packetId: number
}

function assignedTo(draft: Draft, opened: Opened, member: GroupMember): Assigned[] {
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

function assignedKey(opened: Opened, member: GroupMember, sequence: number): Buffer {
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

function publisherOf(value: Uint8Array): string {
  return Buffer.from(value).toString()
}
