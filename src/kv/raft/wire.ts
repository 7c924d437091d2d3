import { assert, unreachable } from '../../base/assert.ts'
import type { ConfigChange, ConfState, Entry, MemberChange, Message, ReplicaId, SnapshotMeta } from './contract.ts'
import { FrameBytes, FrameCursor } from './frame-bytes.ts'

/**
 * Messages of many groups between two stores, in one frame:
 *
 *     version u8 | message ...
 *     message:  kind u8 | group, unless kind has 0x80: that of the message before | from | to | term | by kind:
 *       1 append            previousIndex previousTerm commit count { termsUp << 2 | type, change if config, data } ...
 *       2 append-answer     accepted index [hintIndex hintTerm, if refused]
 *       3 heartbeat         commit round quiesce
 *       4 heartbeat-answer  round
 *       5 vote-request      bits pre, transfer; lastIndex lastTerm commit commitTerm
 *       6 vote-answer       bits pre, granted; commit commitTerm
 *       7 snapshot          index, term, configuration
 *       8 timeout-now       9 wake
 *
 * Numbers are varints, data and names have their length in front. Entries follow on `previousIndex`, so their indexes
 * are not written, and their terms only as far as they rise.
 *
 * What is read points into the frame: an entry's data keeps the whole frame in memory as long as it is kept.
 */
const VERSION = 1
const SAME_GROUP = 0x80
const GROUP_BYTES_MAX = 255
/** Of a configuration, all kinds together, and of one change. */
const MEMBERS_MAX = 256

const KINDS = {
  append: 1,
  'append-answer': 2,
  heartbeat: 3,
  'heartbeat-answer': 4,
  'vote-request': 5,
  'vote-answer': 6,
  snapshot: 7,
  'timeout-now': 8,
  wake: 9,
} as const satisfies Record<Message['type'], number>

const TYPES = ['command', 'config', 'empty'] as const
const MEMBERS = ['add-voter', 'add-learner', 'remove'] as const
const NO_BYTES = new Uint8Array(0)

/** A message with the name of its group, which raft itself does not know. */
export interface GroupMessage {
  group: string
  message: Message
}

/** Gathers what one store has to say to another until it is sent. */
export class FrameWriter {
  readonly #bytesMax: number
  readonly #bytes = new FrameBytes()
  #group = ''

  /** @param bytesMax beyond it a frame is full; one message always fits, so a frame may be longer by one */
  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  get empty(): boolean {
    return this.#bytes.length === 0
  }

  /** Send it, before the next message. */
  get full(): boolean {
    return this.#bytes.length >= this.#bytesMax
  }

  add(group: string, message: Message): void {
    const bytes = this.#bytes
    if (bytes.length === 0) bytes.u8(VERSION)
    const kind = KINDS[message.type]
    if (group === this.#group) bytes.u8(kind | SAME_GROUP)
    else {
      bytes.u8(kind)
      bytes.text(group)
      this.#group = group
    }
    bytes.varint(message.from)
    bytes.varint(message.to)
    bytes.varint(message.term)
    writeBody(bytes, message)
  }

  /** The frame, which the caller owns. */
  take(): Uint8Array {
    this.#group = ''
    return this.#bytes.take()
  }
}

/** All messages of a frame, or a BrokerError. As many as fit its bytes: bound these before. */
export function readFrame(frame: Uint8Array): GroupMessage[] {
  const cursor = new FrameCursor(frame, 'a frame of raft messages')
  const version = cursor.u8()
  if (version !== VERSION) throw cursor.malformed(`version ${version} is not known here`)
  const messages: GroupMessage[] = []
  let group = ''
  while (!cursor.done) {
    const kind = cursor.u8()
    if ((kind & SAME_GROUP) === 0) group = cursor.text(GROUP_BYTES_MAX)
    else if (group === '') throw cursor.malformed('the first message names no group')
    messages.push({ group, message: readMessage(cursor, kind & ~SAME_GROUP) })
  }
  return messages
}

function writeBody(bytes: FrameBytes, message: Message): void {
  switch (message.type) {
    case 'append':
      return writeAppend(bytes, message)
    case 'append-answer':
      bytes.u8(message.accepted ? 1 : 0)
      bytes.varint(message.index)
      if (message.accepted) return
      bytes.varint(message.hintIndex)
      return bytes.varint(message.hintTerm)
    case 'heartbeat':
      bytes.varint(message.commit)
      bytes.varint(message.round)
      return bytes.u8(message.quiesce ? 1 : 0)
    case 'heartbeat-answer':
      return bytes.varint(message.round)
    case 'vote-request':
      bytes.u8((message.pre ? 1 : 0) | (message.transfer ? 2 : 0))
      bytes.varint(message.lastIndex)
      bytes.varint(message.lastTerm)
      bytes.varint(message.commit)
      return bytes.varint(message.commitTerm)
    case 'vote-answer':
      bytes.u8((message.pre ? 1 : 0) | (message.granted ? 2 : 0))
      bytes.varint(message.commit)
      return bytes.varint(message.commitTerm)
    case 'snapshot':
      return writeSnapshot(bytes, message.snapshot)
    case 'timeout-now':
    case 'wake':
      return
    default:
      return unreachable(message)
  }
}

function writeAppend(bytes: FrameBytes, message: Extract<Message, { type: 'append' }>): void {
  const { previousIndex, previousTerm, commit, entries } = message
  bytes.varint(previousIndex)
  bytes.varint(previousTerm)
  bytes.varint(commit)
  bytes.varint(entries.length)
  let index = previousIndex
  let term = previousTerm
  for (const entry of entries) {
    assert(entry.index === ++index && entry.term >= term, `Entry ${entry.index} does not follow in an append`)
    assert((entry.type === 'config') === (entry.change !== null), `Entry ${entry.index} is a change without one`)
    bytes.varint((entry.term - term) * 4 + TYPES.indexOf(entry.type))
    if (entry.change !== null) writeChange(bytes, entry.change)
    bytes.data(entry.data)
    term = entry.term
  }
}

function writeChange(bytes: FrameBytes, { members, leave }: ConfigChange): void {
  bytes.u8(leave === 'auto' ? 0 : 1)
  bytes.varint(members.length)
  for (const { type, id } of members) {
    bytes.u8(MEMBERS.indexOf(type))
    bytes.varint(id)
  }
}

export function writeSnapshot(bytes: FrameBytes, { index, term, config }: SnapshotMeta): void {
  bytes.varint(index)
  bytes.varint(term)
  for (const ids of [config.voters, config.outgoing, config.learners, config.learnersNext]) {
    bytes.varint(ids.length)
    for (const id of ids) bytes.varint(id)
  }
  bytes.u8(config.autoLeave ? 1 : 0)
}

function readMessage(cursor: FrameCursor, kind: number): Message {
  const from = cursor.positive()
  const to = cursor.positive()
  const term = cursor.varint()
  switch (kind) {
    case KINDS.append:
      return readAppend(cursor, from, to, term)
    case KINDS['append-answer']:
      return readAppendAnswer(cursor, from, to, term)
    case KINDS.heartbeat: {
      const commit = cursor.varint()
      const round = cursor.varint()
      return { type: 'heartbeat', from, to, term, commit, round, quiesce: cursor.flag() }
    }
    case KINDS['heartbeat-answer']:
      return { type: 'heartbeat-answer', from, to, term, round: cursor.varint() }
    case KINDS['vote-request']: {
      const [pre, transfer] = readBits(cursor)
      const last = { lastIndex: cursor.varint(), lastTerm: cursor.varint() }
      return { type: 'vote-request', from, to, term, pre, transfer, ...last, ...readCommit(cursor) }
    }
    case KINDS['vote-answer']: {
      const [pre, granted] = readBits(cursor)
      return { type: 'vote-answer', from, to, term, pre, granted, ...readCommit(cursor) }
    }
    case KINDS.snapshot:
      return { type: 'snapshot', from, to, term, snapshot: readSnapshot(cursor) }
    case KINDS['timeout-now']:
      return { type: 'timeout-now', from, to, term }
    case KINDS.wake:
      return { type: 'wake', from, to, term }
    default:
      throw cursor.malformed(`${kind} is not a kind of message that is known here`)
  }
}

function readAppend(cursor: FrameCursor, from: ReplicaId, to: ReplicaId, term: number): Message {
  const previousIndex = cursor.varint()
  const previousTerm = cursor.varint()
  const commit = cursor.varint()
  const entries: Entry[] = []
  let index = previousIndex
  let entryTerm = previousTerm
  for (let left = cursor.varint(); left > 0; left--) {
    const head = cursor.varint()
    const type = TYPES[head % 4]
    if (type === undefined) throw cursor.malformed('an entry is of a type that is not known here')
    index++
    entryTerm += Math.floor(head / 4)
    const change = type === 'config' ? readChange(cursor) : null
    const data = cursor.data()
    entries.push({ index, term: entryTerm, type, data: data.length === 0 ? NO_BYTES : data, change })
  }
  if (!Number.isSafeInteger(index) || !Number.isSafeInteger(entryTerm)) throw cursor.malformed('a number is too large')
  return { type: 'append', from, to, term, previousIndex, previousTerm, entries, commit }
}

function readAppendAnswer(cursor: FrameCursor, from: ReplicaId, to: ReplicaId, term: number): Message {
  const accepted = cursor.flag()
  const index = cursor.varint()
  const hintIndex = accepted ? 0 : cursor.varint()
  const hintTerm = accepted ? 0 : cursor.varint()
  return { type: 'append-answer', from, to, term, accepted, index, hintIndex, hintTerm }
}

function readChange(cursor: FrameCursor): ConfigChange {
  const leave = cursor.flag() ? 'explicit' : 'auto'
  const members: MemberChange[] = []
  const count = cursor.varint()
  if (count > MEMBERS_MAX) throw cursor.malformed(`a change has ${count} members`)
  for (let left = count; left > 0; left--) {
    const type = MEMBERS[cursor.u8()]
    if (type === undefined) throw cursor.malformed('a change is of a kind that is not known here')
    members.push({ type, id: cursor.positive() })
  }
  return { members, leave }
}

export function readSnapshot(cursor: FrameCursor): SnapshotMeta {
  const index = cursor.positive()
  const term = cursor.varint()
  let left = MEMBERS_MAX
  const ids = (): ReplicaId[] => {
    const count = cursor.varint()
    if (count > left) throw cursor.malformed('a configuration has too many members')
    left -= count
    return Array.from({ length: count }, () => cursor.positive())
  }
  const members = { voters: ids(), outgoing: ids(), learners: ids(), learnersNext: ids() }
  const config: ConfState = { ...members, autoLeave: cursor.flag() }
  return { index, term, config }
}

function readCommit(cursor: FrameCursor): { commit: number; commitTerm: number } {
  return { commit: cursor.varint(), commitTerm: cursor.varint() }
}

function readBits(cursor: FrameCursor): [boolean, boolean] {
  const bits = cursor.u8()
  if (bits > 3) throw cursor.malformed(`${bits} has bits that are not known here`)
  return [(bits & 1) !== 0, (bits & 2) !== 0]
}
