import { NO_BYTES, type QoS } from '../../base/message.ts'
import type { SubscriptionOptions } from '../../dist/index.ts'
import type { InboxLimits, InboxSubscription, Will } from '../contract.ts'
import { asBuffer, damaged, Reading, Writer } from './wire.ts'

/** The values behind the keys of `schema.ts`. Each begins with its version. */
const VERSION = 1

/** Session expiry interval that never ends [MQTT 5.0 3.1.2.11.2]. */
export const NEVER_SECONDS = 0xffffffff

/** Who owns the session, and until when it lives. Changes with connections and subscriptions only. */
export interface Session {
  incarnation: number
  /** The present owner, or the last one. */
  connection: string
  attached: boolean
  /** Rises with each attach. */
  attachment: number
  /** What the owner's attach answered: repeated for a repeated attach. */
  resumed: boolean
  node: string
  /** Of the node, when it attached; 0 where it was not told. */
  nodeIncarnation: number
  user: string
  address: string
  protocol: 3 | 4 | 5
  expirySeconds: number
  /** Ms since 1970; 0 while attached. */
  detachedAtMs: number
  filters: number
  filtersMax: number
}

/** Ms since 1970 when a detached session ends; Infinity = not by time. */
export function sessionEndMs(session: Session): number {
  if (session.attached || session.expirySeconds === NEVER_SECONDS) return Number.POSITIVE_INFINITY
  return session.detachedAtMs + session.expirySeconds * 1_000
}

export function encodeSession(session: Session): Buffer {
  const writer = new Writer()
  writer.u8(VERSION)
  writer.u8((session.attached ? 1 : 0) | (session.resumed ? 2 : 0))
  writer.varint(session.incarnation)
  writer.text(session.connection)
  writer.text(session.node)
  writer.text(session.user)
  writer.text(session.address)
  writer.u8(session.protocol)
  writer.varint(session.expirySeconds)
  writer.varint(session.detachedAtMs)
  writer.varint(session.filters)
  writer.varint(session.filtersMax)
  writer.varint(session.attachment)
  writer.varint(session.nodeIncarnation)
  return writer.finish()
}

export function decodeSession(bytes: Uint8Array): Session {
  const reading = open(bytes)
  const flags = reading.u8()
  return {
    incarnation: reading.varint(),
    connection: reading.text(),
    attached: (flags & 1) !== 0,
    resumed: (flags & 2) !== 0,
    node: reading.text(),
    user: reading.text(),
    address: reading.text(),
    protocol: reading.u8() as 3 | 4 | 5,
    expirySeconds: reading.varint(),
    detachedAtMs: reading.varint(),
    filters: reading.varint(),
    filtersMax: reading.varint(),
    attachment: reading.varint(),
    // Earlier versions did not know it.
    nodeIncarnation: reading.left > 0 ? reading.varint() : 0,
  }
}

/**
 * Where the queue begins and ends. Read and written by every insert and trim, so it is small, of fixed size, and holds
 * all they need: they never read the session.
 */
export interface Tally {
  incarnation: number
  attached: boolean
  limits: TallyLimits
  /** Lowest sequence that may be there: scans start here. */
  head: number
  /** Highest sequence given out; 0 = none yet. */
  tail: number
  /**
   * Highest sequence that the owner may push: it asks for more ahead of need. Up to here entries may be in flight, so
   * they are never dropped; beyond, nothing was ever sent.
   */
  window: number
  /** Every entry above `window` and up to here was dropped at the limit. */
  droppedTo: number
  /** Up to here an earlier connection may have sent: DUP. */
  sentUpTo: number
  messages: number
  bytes: number
  /** Number of the owner's last trim: a repetition changes nothing. */
  trim: number
  /** Publishers of whom dedup marks are kept. */
  publishers: number
}

export interface TallyLimits {
  messagesMax: number
  bytesMax: number
  dropNewest: boolean
  queueQos0: boolean
}

const TALLY_BYTES = 102

export function newTally(incarnation: number, limits: TallyLimits): Tally {
  return {
    incarnation,
    attached: false,
    limits,
    head: 1,
    tail: 0,
    window: 0,
    droppedTo: 0,
    sentUpTo: 0,
    messages: 0,
    bytes: 0,
    trim: 0,
    publishers: 0,
  }
}

export function toTallyLimits(limits: InboxLimits): TallyLimits {
  return {
    messagesMax: limits.messagesMax,
    bytesMax: limits.bytesMax,
    dropNewest: limits.dropPolicy === 'newest',
    queueQos0: limits.queueQos0 === true,
  }
}

/** A tally passes here twice for every insert: a view of its own is much faster than the reads and writes of a Buffer. */
const tallyBytes = new Uint8Array(TALLY_BYTES)
const tallyView = new DataView(tallyBytes.buffer)

export function encodeTally(tally: Tally): Uint8Array {
  const { limits } = tally
  tallyBytes[0] = VERSION
  tallyBytes[1] = (tally.attached ? 1 : 0) | (limits.dropNewest ? 2 : 0) | (limits.queueQos0 ? 4 : 0)
  tallyView.setFloat64(2, tally.incarnation)
  tallyView.setFloat64(10, limits.messagesMax)
  tallyView.setFloat64(18, limits.bytesMax)
  tallyView.setFloat64(26, tally.head)
  tallyView.setFloat64(34, tally.tail)
  tallyView.setFloat64(42, tally.window)
  tallyView.setFloat64(50, tally.droppedTo)
  tallyView.setFloat64(58, tally.sentUpTo)
  tallyView.setFloat64(66, tally.messages)
  tallyView.setFloat64(74, tally.bytes)
  tallyView.setFloat64(82, tally.trim)
  tallyView.setFloat64(90, tally.publishers)
  tallyView.setUint32(98, 0)
  return tallyBytes.slice()
}

export function decodeTally(bytes: Uint8Array): Tally {
  if (bytes.length !== TALLY_BYTES || bytes[0] !== VERSION) throw damaged(`a tally has version ${bytes[0]}`)
  tallyBytes.set(bytes)
  const flags = tallyBytes[1]!
  return {
    incarnation: tallyView.getFloat64(2),
    attached: (flags & 1) !== 0,
    limits: {
      messagesMax: tallyView.getFloat64(10),
      bytesMax: tallyView.getFloat64(18),
      dropNewest: (flags & 2) !== 0,
      queueQos0: (flags & 4) !== 0,
    },
    head: tallyView.getFloat64(26),
    tail: tallyView.getFloat64(34),
    window: tallyView.getFloat64(42),
    droppedTo: tallyView.getFloat64(50),
    sentUpTo: tallyView.getFloat64(58),
    messages: tallyView.getFloat64(66),
    bytes: tallyView.getFloat64(74),
    trim: tallyView.getFloat64(82),
    publishers: tallyView.getFloat64(90),
  }
}

/** A will that is committed. `dueMs` 0: its connection lives; else the time when it fires. */
export interface StoredWill extends Will {
  dueMs: number
}

export function encodeWill(will: StoredWill): Buffer {
  const writer = new Writer()
  writer.u8(VERSION)
  writer.varint(will.delaySeconds)
  writer.varint(will.dueMs)
  writer.message(will.message)
  return writer.finish()
}

export function decodeWill(bytes: Uint8Array): StoredWill {
  const reading = open(bytes)
  return { delaySeconds: reading.varint(), dueMs: reading.varint(), message: reading.message() }
}

/**
 * QoS 2 publishes of the session's own client. Numbers rise over all incarnations of a client id, because a new one
 * begins with its incarnation, which is a time: receivers can tell repetitions by number alone.
 */
export interface Numbers {
  /** The next one. */
  next: number
  /** Packet ids not released, by rising number. */
  received: { packetId: number; number: number }[]
  /** Numbers of wills on their way out, rising. */
  firing: number[]
}

export function encodeNumbers(numbers: Numbers): Buffer {
  const writer = new Writer(64 + numbers.received.length * 8)
  writer.u8(VERSION)
  writer.varint(numbers.next)
  writer.varint(numbers.received.length)
  for (const { packetId, number } of numbers.received) {
    writer.varint(packetId)
    writer.varint(numbers.next - number)
  }
  writer.varint(numbers.firing.length)
  for (const number of numbers.firing) writer.varint(numbers.next - number)
  return writer.finish()
}

export function decodeNumbers(bytes: Uint8Array): Numbers {
  const reading = open(bytes)
  const numbers: Numbers = { next: reading.varint(), received: [], firing: [] }
  for (let left = reading.varint(); left > 0; left--) {
    numbers.received.push({ packetId: reading.varint(), number: numbers.next - reading.varint() })
  }
  for (let left = reading.varint(); left > 0; left--) numbers.firing.push(numbers.next - reading.varint())
  return numbers
}

/** What an inbox keeps of one publisher's numbered publishes. */
export interface Marks {
  /** Lower numbers never come again. */
  floor: number
  /** Time of the last one, ms since 1970. */
  lastMs: number
  /** Numbers seen, rising, none below the floor. */
  seen: number[]
}

export function encodeMarks(marks: Marks): Buffer {
  const writer = new Writer(32 + marks.seen.length * 3)
  writer.u8(VERSION)
  writer.varint(marks.floor)
  writer.varint(marks.lastMs)
  writer.varint(marks.seen.length)
  let last = marks.floor
  for (const number of marks.seen) {
    writer.varint(number - last)
    last = number
  }
  return writer.finish()
}

export function decodeMarks(bytes: Uint8Array): Marks {
  const reading = open(bytes)
  const marks: Marks = { floor: reading.varint(), lastMs: reading.varint(), seen: [] }
  let last = marks.floor
  for (let left = reading.varint(); left > 0; left--) {
    last += reading.varint()
    marks.seen.push(last)
  }
  return marks
}

export function encodeSubscription(options: SubscriptionOptions, pending: boolean): Buffer {
  const bytes = Buffer.allocUnsafe(6)
  bytes[0] = VERSION
  bytes[1] = options.qos | (options.noLocal ? 4 : 0) | (options.retainAsPublished ? 8 : 0) | (pending ? 16 : 0)
  bytes.writeUInt32BE(options.subscriptionId, 2)
  return bytes
}

export function decodeSubscription(filter: string, bytes: Uint8Array): InboxSubscription {
  const source = asBuffer(bytes)
  if (source.length !== 6 || source[0] !== VERSION) throw damaged('a subscription is not one')
  const flags = source[1]!
  return {
    filter,
    options: {
      qos: (flags & 3) as QoS,
      noLocal: (flags & 4) !== 0,
      retainAsPublished: (flags & 8) !== 0,
      subscriptionId: source.readUInt32BE(2),
    },
    pending: (flags & 16) !== 0,
  }
}

export function open(bytes: Uint8Array): Reading {
  const reading = new Reading(bytes.length === 0 ? NO_BYTES : bytes)
  const version = reading.u8()
  if (version !== VERSION) throw damaged(`it has version ${version}`)
  return reading
}
