import { BrokerError } from '../../base/errors.ts'
import type { TenantId } from '../../base/ids.ts'
import { type Message, messageBytes, NO_EXPIRY, readMessage, writeMessage } from '../../base/message.ts'
import type { Bounds } from '../../kv/engine/engine.ts'

/**
 * How retained messages lie in the `retain` family, in the order of topics:
 *
 *     tenant 0x01 | level 0x01 level 0x01 ...                        -> slot: a message, or a tombstone
 *     start of the range | 0x00 | 0x00                               -> head of the books
 *                        | 0x00 | 0x01 tenant 0x01                   -> usage: what the tenant has in this range
 *                        | 0x00 | 0x02 deadline ms u64 BE | slot key -> (empty)
 *
 *     slot = kind u8 | timestamp f64 BE | deadline ms f64 BE (Infinity: none) | message without its topic
 *
 * Text is UTF-8 without U+0000; its bytes 0x01 and 0x02 are written 0x02 0x02 and 0x02 0x03. So the byte that ends a
 * level is lower than all in levels: a topic comes right before the topics below it, and those before its next sibling.
 * That makes seek-and-skip work.
 *
 * The books (counters, time index) must lie in their range and apart from topics: they stand right behind its first
 * key, and no other key holds the byte 0x00. A split leaves them with one half: see `books.ts`.
 */
const LEVEL_END = 0x01
const BOOKS = 0x00
const BOOK_HEAD = 0x00
const BOOK_USAGE = 0x01
const BOOK_TIME = 0x02

const KIND_MESSAGE = 1
const KIND_TOMBSTONE = 2
const SLOT_HEAD_BYTES = 17

/** What a range remembers of a cleared topic, so that no older message comes back that was on its way, ms. */
export const TOMBSTONE_MS = 30_000

const NO_BYTES = Buffer.alloc(0)

// Slots: keys.

/** The common start of the keys of a tenant; also the first of them. */
export function tenantStart(tenant: TenantId): Buffer {
  return Buffer.from(`${escaped(tenant)}\x01`)
}

/** The key of a topic, or of the levels of a filter that hold no wildcard. */
export function topicKey(tenant: TenantId, topic: string): Buffer {
  return Buffer.from(`${escaped(tenant)}\x01${escaped(topic).replaceAll('/', '\x01')}\x01`)
}

export function levelBytes(level: string): Buffer {
  return Buffer.from(`${escaped(level)}\x01`)
}

export function topicOf(key: Uint8Array): string {
  const bytes = asBuffer(key)
  return unescaped(bytes.toString('utf8', tenantLength(bytes), bytes.length - 1).replaceAll('\x01', '/'))
}

export function tenantOf(key: Uint8Array): TenantId {
  return unescaped(asBuffer(key).toString('utf8', 0, tenantLength(key) - 1)) as TenantId
}

/** Bytes of the tenant in a slot's key, its end included. */
export function tenantLength(key: Uint8Array): number {
  const end = key.indexOf(LEVEL_END)
  if (end <= 0 || end === key.length - 1 || key[key.length - 1] !== LEVEL_END) throw damaged('a key names no topic')
  return end + 1
}

function escaped(text: string): string {
  if (!text.includes('\x01') && !text.includes('\x02')) return text
  return text.replaceAll('\x02', '\x02\x03').replaceAll('\x01', '\x02\x02')
}

function unescaped(text: string): string {
  return text.includes('\x02') ? text.replaceAll('\x02\x02', '\x01').replaceAll('\x02\x03', '\x02') : text
}

/** The first key after all that begin with `prefix`, which ends a tenant or a level. */
export function afterSubtree(prefix: Uint8Array): Buffer {
  const next = Buffer.from(prefix)
  next[next.length - 1] = LEVEL_END + 1
  return next
}

/** The smallest key after `key`. */
export function keyAfter(key: Uint8Array): Buffer {
  return Buffer.concat([key, Buffer.of(0)])
}

// Slots: values.

export interface Slot {
  message: boolean
  timestamp: number
  deadlineMs: number
}

/** @param message with its own timestamp and expiry; its topic is in the key */
export function messageSlot(message: Message): Buffer {
  const { expirySeconds, timestamp } = message
  const deadlineMs = expirySeconds === NO_EXPIRY ? Infinity : Math.floor(timestamp / 1024) + expirySeconds * 1000
  const body = { ...message, topic: '' }
  const slot = Buffer.allocUnsafe(SLOT_HEAD_BYTES + messageBytes(body))
  writeHead(slot, KIND_MESSAGE, timestamp, deadlineMs)
  writeMessage(slot, SLOT_HEAD_BYTES, body)
  return slot
}

export function tombstoneSlot(timestamp: number, deadlineMs: number): Buffer {
  const slot = Buffer.allocUnsafe(SLOT_HEAD_BYTES)
  writeHead(slot, KIND_TOMBSTONE, timestamp, deadlineMs)
  return slot
}

function writeHead(slot: Buffer, kind: number, timestamp: number, deadlineMs: number): void {
  slot[0] = kind
  slot.writeDoubleBE(timestamp, 1)
  slot.writeDoubleBE(deadlineMs, 9)
}

/** The head of a slot, without reading the message. */
export function readSlot(value: Uint8Array): Slot {
  const bytes = asBuffer(value)
  const kind = bytes[0]
  if (bytes.length < SLOT_HEAD_BYTES || (kind !== KIND_MESSAGE && kind !== KIND_TOMBSTONE)) {
    throw damaged(`a slot has kind ${kind}`)
  }
  return { message: kind === KIND_MESSAGE, timestamp: bytes.readDoubleBE(1), deadlineMs: bytes.readDoubleBE(9) }
}

/** True for a message that still lives at `nowMs`. */
export function isLive(value: Uint8Array, nowMs: number): boolean {
  return value[0] === KIND_MESSAGE && asBuffer(value).readDoubleBE(9) > nowMs
}

/** A copy: what a cursor shows lasts until its next move. */
export function readSlotMessage(key: Uint8Array, value: Uint8Array): Message {
  const message = readMessage(Buffer.from(value.subarray(SLOT_HEAD_BYTES)))
  message.topic = topicOf(key)
  return message
}

/** What a slot counts against its tenant's quota. */
export function slotBytes(key: Uint8Array, value: Uint8Array): number {
  return key.length + value.length
}

// Books.

/** Where the books of a range begin; null for the odd range that ends before them, which has one topic at most. */
export function booksStart(boundary: Bounds): Buffer | null {
  const start = boundary.start ?? NO_BYTES
  const prefix = Buffer.concat([start, Buffer.of(BOOKS)])
  const { end } = boundary
  if (end === undefined || end.length < prefix.length) return prefix
  return prefix.compare(end, 0, prefix.length) === 0 ? null : prefix
}

/** Where a key is of somebody's books: the first key behind these books. Null for a slot's key. */
export function behindBooks(key: Uint8Array): Buffer | null {
  const at = key.indexOf(BOOKS)
  if (at < 0) return null
  const behind = Buffer.from(key.subarray(0, at + 1))
  behind[at] = BOOKS + 1
  return behind
}

export function headKey(books: Uint8Array): Buffer {
  return Buffer.concat([books, Buffer.of(BOOK_HEAD)])
}

export function usageKey(books: Uint8Array, tenant: Uint8Array): Buffer {
  return Buffer.concat([books, Buffer.of(BOOK_USAGE), tenant])
}

/** Of what is due before `deadlineMs`, the end; with a slot's key, its entry. */
export function timeKey(books: Uint8Array, deadlineMs: number, slotKey: Uint8Array = NO_BYTES): Buffer {
  const key = Buffer.allocUnsafe(books.length + 9 + slotKey.length)
  key.set(books)
  key[books.length] = BOOK_TIME
  key.writeBigUInt64BE(BigInt(deadlineMs), books.length + 1)
  key.set(slotKey, books.length + 9)
  return key
}

export function readTimeKey(books: Uint8Array, key: Uint8Array): { deadlineMs: number; slotKey: Buffer } {
  const bytes = Buffer.from(key)
  const at = books.length + 1
  if (bytes.length <= at + 8) throw damaged('an entry of the time index names no topic')
  return { deadlineMs: Number(bytes.readBigUInt64BE(at)), slotKey: bytes.subarray(at + 8) }
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
}

export function damaged(reason: string): BrokerError {
  return new BrokerError('STORAGE_FAILED', `Cannot read the retained messages of a range: ${reason}`)
}
