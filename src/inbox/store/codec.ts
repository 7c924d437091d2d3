/**
 * A batch of commands as the log holds it:
 *
 *     version u8 | messages varint | message... | commands varint | command...
 *
 * Commands name messages by their place, so that a payload for ten thousand inboxes is there once. Messages are told
 * apart by object identity, which costs nothing. Hot path: `insert` and `trim` (bench: `insert`).
 */
import { assert, unreachable } from '../../base/assert.ts'
import type { InboxId } from '../../base/ids.ts'
import type { Message, QoS } from '../../base/message.ts'
import type { SubscriptionOptions } from '../../dist/index.ts'
import type { Dedup, InboxLimits, InboxSubscription } from '../contract.ts'
import type { Command, InsertCommand } from './command.ts'
import { decodeSubscription, encodeSubscription } from './records.ts'
import { TIMERS } from './schema.ts'
import { damaged, Reading, Writer } from './wire.ts'

const VERSION = 1

/** By their place: new ones come at the end. */
const TYPES: readonly Command['type'][] = [
  'insert',
  'trim',
  'received',
  'receive',
  'release',
  'attach',
  'detach',
  'remove',
  'subscribe',
  'confirm',
  'unsubscribe',
  'fired',
  'join',
  'leave',
  'member-open',
  'member-close',
  'member-trim',
  'member-bind',
  'due',
  'index',
  'enter',
  'fence',
  'exit',
  'routed',
  'sweep',
]
const TYPE_NUMBERS = new Map(TYPES.map((type, i) => [type, i]))

const RETAIN = 4
const IDENTIFIERS = 8
const DEDUP = 16
const FLOOR = 32

export function encodeCommands(commands: readonly Command[]): Uint8Array {
  const messages = new Map<Message, number>()
  let bytes = 64
  for (const command of commands) {
    bytes += 64 + command.key.length
    const message = messageOf(command)
    if (message === null || messages.has(message)) continue
    messages.set(message, messages.size)
    bytes += message.payload.length + message.properties.length + message.topic.length * 3 + 64
  }
  const writer = new Writer(bytes)
  writer.u8(VERSION)
  writer.varint(messages.size)
  for (const message of messages.keys()) writer.message(message)
  writer.varint(commands.length)
  for (const command of commands) {
    writer.u8(TYPE_NUMBERS.get(command.type)!)
    writer.bytes(command.key)
    writeCommand(writer, command, messages)
  }
  return writer.finish()
}

function messageOf(command: Command): Message | null {
  if (command.type === 'insert') return command.message
  return command.type === 'attach' ? (command.will?.message ?? null) : null
}

function writeCommand(writer: Writer, command: Command, messages: Map<Message, number>): void {
  switch (command.type) {
    case 'insert':
      return writeInsert(writer, command, messages)
    case 'trim':
      writeFence(writer, command)
      writer.varint(command.number)
      writeNumbers(writer, command.ranges)
      writer.varint(command.messages)
      writer.varint(command.bytes)
      writer.varint(command.floor)
      return writer.varint(command.window)
    case 'received':
      writeFence(writer, command)
      return writer.varint(command.sequence)
    case 'receive':
    case 'release':
      writeFence(writer, command)
      return writer.varint(command.packetId)
    case 'attach':
      return writeAttach(writer, command, messages)
    case 'detach':
      writeFence(writer, command)
      writeOptional(writer, command.expirySeconds)
      writer.u8(command.discardWill ? 1 : 0)
      return writer.varint(command.sentUpTo)
    case 'remove':
      return writeOptional(writer, command.incarnation)
    case 'subscribe':
      writeFence(writer, command)
      writer.varint(command.subscriptions.length)
      for (const subscription of command.subscriptions) writeSubscription(writer, subscription)
      return
    case 'confirm':
    case 'unsubscribe':
      writeFence(writer, command)
      writer.varint(command.filters.length)
      for (const filter of command.filters) writer.text(filter)
      return
    case 'fired':
      return writer.varint(command.number)
    case 'due':
      writer.u8(TIMERS.indexOf(command.kind))
      writer.varint(command.dueMs)
      return writer.varint(command.number)
    case 'index':
    case 'sweep':
      return
    case 'enter':
    case 'fence':
    case 'exit':
    case 'routed':
      writer.text(command.node)
      return writer.varint(command.incarnation)
    default:
      return writeMemberCommand(writer, command)
  }
}

type MemberCommand = Extract<Command, { member: string }>

function writeMemberCommand(writer: Writer, command: MemberCommand): void {
  writer.text(command.member)
  if (command.type === 'join') {
    writer.varint(command.incarnation)
    writer.bytes(encodeSubscription(command.options, false))
    return writeLimits(writer, command.limits)
  }
  if (command.type === 'leave') return writeOptional(writer, command.incarnation)
  writer.text(command.connection)
  switch (command.type) {
    case 'member-open':
      writer.varint(command.incarnation)
      writer.varint(command.attachment)
      writer.text(command.node)
      writer.varint(command.nodeIncarnation)
      return writer.varint(command.credit)
    case 'member-close':
      return
    case 'member-trim':
      return writeNumbers(writer, command.sequences)
    case 'member-bind':
      writer.varint(command.sequence)
      writer.varint(command.packetId)
      return writer.u8(command.released ? 1 : 0)
    default:
      return unreachable(command)
  }
}

function writeInsert(writer: Writer, command: InsertCommand, messages: Map<Message, number>): void {
  const { qos, retain, subscriptionIds, dedup } = command
  let flags: number = qos | (retain ? RETAIN : 0) | (subscriptionIds.length > 0 ? IDENTIFIERS : 0)
  if (dedup !== null) flags |= dedup.floor === undefined ? DEDUP : DEDUP | FLOOR
  writer.u8(flags)
  writer.varint(command.incarnation)
  writer.varint(messages.get(command.message)!)
  if (subscriptionIds.length > 0) writeNumbers(writer, subscriptionIds)
  if (dedup === null) return
  writer.text(dedup.publisher)
  writer.varint(dedup.number)
  if (dedup.floor !== undefined) writer.varint(dedup.floor)
}

function writeAttach(writer: Writer, command: Extract<Command, { type: 'attach' }>, messages: Map<Message, number>) {
  writer.text(command.connection)
  writer.text(command.node)
  writer.varint(command.nodeIncarnation)
  writer.u8(command.cleanStart ? 1 : 0)
  writer.varint(command.expirySeconds)
  writer.u8(command.will === null ? 0 : 1)
  if (command.will !== null) {
    writer.varint(messages.get(command.will.message)!)
    writer.varint(command.will.delaySeconds)
  }
  writer.text(command.user)
  writer.text(command.address)
  writer.u8(command.protocol)
  writeLimits(writer, command.limits)
}

function writeFence(writer: Writer, command: { incarnation: number; connection: string }): void {
  writer.varint(command.incarnation)
  writer.text(command.connection)
}

function writeLimits(writer: Writer, limits: InboxLimits): void {
  writer.varint(limits.messagesMax)
  writer.varint(limits.bytesMax)
  writer.u8((limits.dropPolicy === 'newest' ? 1 : 0) | (limits.queueQos0 ? 2 : 0))
  writer.varint(limits.filtersMax)
}

function writeSubscription(writer: Writer, { filter, options, pending }: InboxSubscription): void {
  writer.text(filter)
  writer.bytes(encodeSubscription(options, pending))
}

function writeNumbers(writer: Writer, numbers: readonly number[]): void {
  writer.varint(numbers.length)
  for (const number of numbers) writer.varint(number)
}

/** Null as 0, else one more than the number. */
function writeOptional(writer: Writer, value: number | null): void {
  writer.varint(value === null ? 0 : value + 1)
}

// --- and back

export function decodeCommands(entry: Uint8Array): Command[] {
  const reading = new Reading(entry)
  const version = reading.u8()
  if (version !== VERSION) throw damaged(`a batch has version ${version}`)
  const messages: Message[] = []
  for (let left = reading.varint(); left > 0; left--) messages.push(reading.message())
  const commands: Command[] = []
  for (let left = reading.varint(); left > 0; left--) {
    const type = TYPES[reading.u8()]
    if (type === undefined) throw damaged('a command has an unknown type')
    commands.push(readCommand(reading, type, reading.bytes(), messages))
  }
  reading.end()
  return commands
}

function readCommand(reading: Reading, type: Command['type'], key: Uint8Array, messages: readonly Message[]): Command {
  switch (type) {
    case 'insert':
      return readInsert(reading, key, messages)
    case 'trim':
      return {
        ...{ type, key, ...readFence(reading) },
        ...{ number: reading.varint(), ranges: readNumbers(reading), messages: reading.varint() },
        ...{ bytes: reading.varint(), floor: reading.varint(), window: reading.varint() },
      }
    case 'received':
      return { type, key, ...readFence(reading), sequence: reading.varint() }
    case 'receive':
    case 'release':
      return { type, key, ...readFence(reading), packetId: reading.varint() }
    case 'attach':
      return readAttach(reading, key, messages)
    case 'detach':
      return {
        ...{ type, key, ...readFence(reading), expirySeconds: readOptional(reading) },
        ...{ discardWill: reading.u8() === 1, sentUpTo: reading.varint() },
      }
    case 'remove':
      return { type, key, incarnation: readOptional(reading) }
    case 'subscribe':
      return { type, key, ...readFence(reading), subscriptions: readList(reading, readSubscription) }
    case 'confirm':
    case 'unsubscribe':
      return { type, key, ...readFence(reading), filters: readList(reading, (each) => each.text()) }
    case 'fired':
      return { type, key, number: reading.varint() }
    case 'due': {
      const kind = TIMERS[reading.u8()]
      assert(kind !== undefined, 'A timer in the log is of a known kind')
      return { type, key, kind, dueMs: reading.varint(), number: reading.varint() }
    }
    case 'index':
    case 'sweep':
      return { type, key }
    case 'enter':
    case 'fence':
    case 'exit':
    case 'routed':
      return { type, key, node: reading.text(), incarnation: reading.varint() }
    default:
      return readMemberCommand(reading, type, key)
  }
}

function readMemberCommand(reading: Reading, type: MemberCommand['type'], key: Uint8Array): MemberCommand {
  const member = reading.text()
  if (type === 'join') {
    const incarnation = reading.varint()
    return { type, key, member, incarnation, options: readOptions(reading), limits: readLimits(reading) }
  }
  if (type === 'leave') return { type, key, member, incarnation: readOptional(reading) }
  const connection = reading.text()
  switch (type) {
    case 'member-open':
      return {
        ...{ type, key, member, connection, incarnation: reading.varint(), attachment: reading.varint() },
        ...{ node: reading.text(), nodeIncarnation: reading.varint(), credit: reading.varint() },
      }
    case 'member-close':
      return { type, key, member, connection }
    case 'member-trim':
      return { type, key, member, connection, sequences: readNumbers(reading) }
    case 'member-bind': {
      const sequence = reading.varint()
      return { type, key, member, connection, sequence, packetId: reading.varint(), released: reading.u8() === 1 }
    }
    default:
      return unreachable(type)
  }
}

const NO_IDS: readonly number[] = []

function readInsert(reading: Reading, key: Uint8Array, messages: readonly Message[]): InsertCommand {
  const flags = reading.u8()
  const incarnation = reading.varint()
  const message = readMessageAt(reading, messages)
  const subscriptionIds = (flags & IDENTIFIERS) !== 0 ? readNumbers(reading) : NO_IDS
  const dedup = (flags & DEDUP) !== 0 ? readDedup(reading, (flags & FLOOR) !== 0) : null
  const qos = (flags & 3) as QoS
  return { type: 'insert', key, incarnation, qos, retain: (flags & RETAIN) !== 0, subscriptionIds, message, dedup }
}

function readDedup(reading: Reading, hasFloor: boolean): Dedup {
  const dedup = { publisher: reading.text() as InboxId, number: reading.varint() }
  return hasFloor ? { ...dedup, floor: reading.varint() } : dedup
}

function readAttach(reading: Reading, key: Uint8Array, messages: readonly Message[]): Command {
  const at = { connection: reading.text(), node: reading.text(), nodeIncarnation: reading.varint() }
  const head = { ...at, cleanStart: reading.u8() === 1 }
  const expirySeconds = reading.varint()
  const will = reading.u8() === 0 ? null : { message: readMessageAt(reading, messages), delaySeconds: reading.varint() }
  const client = { user: reading.text(), address: reading.text(), protocol: reading.u8() as 3 | 4 | 5 }
  return { type: 'attach', key, ...head, expirySeconds, will, ...client, limits: readLimits(reading) }
}

function readMessageAt(reading: Reading, messages: readonly Message[]): Message {
  const message = messages[reading.varint()]
  if (message === undefined) throw damaged('a command names a message that is not there')
  return message
}

function readFence(reading: Reading): { incarnation: number; connection: string } {
  return { incarnation: reading.varint(), connection: reading.text() }
}

function readLimits(reading: Reading): InboxLimits {
  const messagesMax = reading.varint()
  const bytesMax = reading.varint()
  const flags = reading.u8()
  const dropPolicy = (flags & 1) !== 0 ? 'newest' : 'oldest'
  return { messagesMax, bytesMax, dropPolicy, queueQos0: (flags & 2) !== 0, filtersMax: reading.varint() }
}

function readOptions(reading: Reading): SubscriptionOptions {
  return decodeSubscription('', reading.bytes()).options
}

function readSubscription(reading: Reading): InboxSubscription {
  const filter = reading.text()
  return decodeSubscription(filter, reading.bytes())
}

function readNumbers(reading: Reading): number[] {
  return readList(reading, (each) => each.varint())
}

function readList<Item>(reading: Reading, read: (reading: Reading) => Item): Item[] {
  const items: Item[] = []
  for (let left = reading.varint(); left > 0; left--) items.push(read(reading))
  return items
}

function readOptional(reading: Reading): number | null {
  const value = reading.varint()
  return value === 0 ? null : value - 1
}
