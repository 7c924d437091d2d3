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
import type { Draft } from './draft.ts'
import { releaseEntry, removeEntry } from './entries.ts'
import { decodeEntry } from './entry.ts'
import { type Assigned, assignAll, assignedKey, assignedTo, forMember, giveBack, type Opened } from './group-assign.ts'
import type { GroupMember } from './group-record.ts'
import { admit } from './nodes.ts'
import { newTally, toTallyLimits } from './records.ts'
import { partsBounds } from './schema.ts'
import { nextIncarnation } from './timers.ts'
import { Writer } from './wire.ts'

const AWAY = { node: '', nodeIncarnation: 0, credit: 0, assigned: 0 }

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
    group.members.push({ inbox, incarnation, options, connection: '', attachment: 0, ...AWAY })
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
  if (!admit(draft, command.node, command.nodeIncarnation)) return 'conflict'
  const opened = open(draft, command.key)
  const member = opened?.group.members.find(({ inbox }) => inbox === command.member)
  if (opened === null || member === undefined || command.incarnation > member.incarnation) return 'none'
  if (command.incarnation < member.incarnation || command.attachment < member.attachment) return 'conflict'
  if (member.connection !== command.connection) giveBack(draft, opened, member)
  member.connection = command.connection
  member.attachment = command.attachment
  member.node = command.node
  member.nodeIncarnation = command.nodeIncarnation
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

function owedEntry(draft: Draft, opened: Opened, member: GroupMember, each: Assigned): FeedEntry | null {
  const value = draft.entry(opened.box, opened.tally.incarnation, each.sequence)
  if (value === undefined) return null
  return forMember(decodeEntry(each.sequence, each.packetId, each.packetId > 0, value), member)
}

/** Acknowledged to the end. Nothing where it is not the member's. */
function endEntry(draft: Draft, opened: Opened, member: GroupMember, sequence: number): void {
  const key = assignedKey(opened, member, sequence)
  if (draft.get(key) === undefined) return
  draft.delete(key)
  member.assigned--
  removeEntry(draft, opened.box, opened.tally, sequence)
}
