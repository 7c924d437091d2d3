/**
 * Payloads as bytes: integers are varints of seven bits a byte, the lowest first, or big-endian where they are u32.
 *
 * ```
 * payload   version u8 = 1 | message *
 * message   type u8 | length u32 | body
 * text,blob length | bytes
 * digest    flags u8: 1 asks, 2 hints | hints: u32 u32, where flagged | (mark | version | resetTo) *
 * delta     host text | life | from | to | last | forgotten | entry *
 * entry     key text | (version - the one before) * 2 + deleted | value blob, unless deleted
 * sums      u32 * 256
 * hints     flags u8: 1 news, 2 more | number of buckets | bucket u8 * | hint *
 * hint      key text | timestamp | by text | ttl ms * 2 + deleted | value blob, unless deleted
 * ```
 * Bodies may be of types that this version does not know: they are skipped, so that versions mix while a cluster is
 * upgraded. Decoding never throws and allocates in proportion to the bytes.
 */

import type { HostId } from '../../../base/ids.ts'
import { FieldReader, FieldWriter } from './bytes.ts'
import { type Entry, parseKey } from './entries.ts'
import { BUCKETS, type Hint } from './hint-map.ts'
import type { Delta, Digest, HintPush, HintSums, Message, Position } from './message.ts'
import { HINT_TTL_MS_MAX, HINT_VALUE_BYTES_MAX, KEY_BYTES_MAX, VALUE_BYTES_MAX, VERSION_MAX } from './options.ts'

export const WIRE_VERSION = 1
const HOST_BYTES_MAX = 64
const MARK_MAX = 2 ** 48 - 1

const TYPE = { digest: 1, delta: 2, 'hint-sums': 3, hints: 4 } as const satisfies Record<Message['type'], number>

export interface DecodedPayload {
  messages: Message[]
  /** Messages of types that a later version has: skipped. */
  unknown: number
}

export function encodePayload(messages: readonly Message[]): Uint8Array {
  const writer = new FieldWriter()
  writer.uint8(WIRE_VERSION)
  for (const message of messages) {
    writer.uint8(TYPE[message.type])
    const hole = writer.hole()
    writeBody(writer, message)
    writer.patch(hole)
  }
  return writer.bytes()
}

/** Null: malformed. */
export function decodePayload(bytes: Uint8Array): DecodedPayload | null {
  const reader = new FieldReader(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength))
  if (reader.uint8() !== WIRE_VERSION) return null
  const decoded: DecodedPayload = { messages: [], unknown: 0 }
  while (reader.left > 0) {
    const type = reader.uint8()
    const body = reader.part(reader.uint32())
    if (reader.bad) return null
    const message = readBody(type, body)
    if (body.bad) return null
    if (message === null) decoded.unknown++
    else decoded.messages.push(message)
  }
  return decoded
}

/** What one position takes. */
export function positionBytes(position: Position): number {
  return varintBytes(position.mark) + varintBytes(position.version) + varintBytes(position.resetTo)
}

/** What one hint takes, at most. */
export function hintBytes(hint: Hint): number {
  return Buffer.byteLength(hint.key) + Buffer.byteLength(hint.by) + (hint.value?.length ?? 0) + 24
}

function varintBytes(value: number): number {
  let bytes = 1
  for (let rest = value; rest >= 128; rest = Math.floor(rest / 128)) bytes++
  return bytes
}

function writeBody(writer: FieldWriter, message: Message): void {
  switch (message.type) {
    case 'digest':
      return writeDigest(writer, message)
    case 'delta':
      return writeDelta(writer, message)
    case 'hint-sums':
      for (const sum of message.sums) writer.uint32(sum)
      return
    case 'hints':
      return writeHints(writer, message)
  }
}

/** Null for a type that this version does not know. */
function readBody(type: number, body: FieldReader): Message | null {
  switch (type) {
    case TYPE.digest:
      return readDigest(body)
    case TYPE.delta:
      return readDelta(body)
    case TYPE['hint-sums']:
      return readSums(body)
    case TYPE.hints:
      return readHints(body)
    default:
      return null
  }
}

function writeDigest(writer: FieldWriter, digest: Digest): void {
  writer.uint8((digest.asks ? 1 : 0) | (digest.hints === null ? 0 : 2))
  if (digest.hints !== null) {
    writer.uint32(digest.hints[0])
    writer.uint32(digest.hints[1])
  }
  for (const { mark, version, resetTo } of digest.positions) {
    writer.varint(mark)
    writer.varint(version)
    writer.varint(resetTo)
  }
}

function readDigest(body: FieldReader): Digest {
  const flags = body.uint8()
  const hints = (flags & 2) === 0 ? null : ([body.uint32(), body.uint32()] as const)
  const positions: Position[] = []
  while (body.left > 0) {
    const mark = body.varint(MARK_MAX)
    const version = body.varint(VERSION_MAX)
    positions.push({ mark, version, resetTo: body.varint(VERSION_MAX) })
  }
  return { type: 'digest', asks: (flags & 1) !== 0, positions, hints }
}

function writeDelta(writer: FieldWriter, delta: Delta): void {
  writer.text(delta.host)
  writer.varint(delta.life)
  writer.varint(delta.from)
  writer.varint(delta.to)
  writer.varint(delta.last)
  writer.varint(delta.forgotten)
  let version = delta.from
  for (const entry of delta.entries) {
    writer.text(entry.key)
    writer.varint((entry.version - version) * 2 + (entry.value === null ? 1 : 0))
    if (entry.value !== null) writer.blob(entry.value)
    version = entry.version
  }
}

function readDelta(body: FieldReader): Delta {
  const host = body.text(1, HOST_BYTES_MAX) as HostId
  const life = body.varint()
  const from = body.varint(VERSION_MAX)
  const to = body.varint(VERSION_MAX)
  const last = body.varint(VERSION_MAX)
  const forgotten = body.varint(VERSION_MAX)
  if (from > to || to > last || forgotten > last) body.bad = true
  const entries: Entry[] = []
  let version = from
  while (body.left > 0) {
    const key = body.text(2, KEY_BYTES_MAX + 1)
    const step = body.varint()
    const value = step % 2 === 1 ? null : body.blob(VALUE_BYTES_MAX)
    if (step < 2 || parseKey(key) === null) body.bad = true
    version += Math.floor(step / 2)
    if (version > to) body.bad = true
    if (!body.bad) entries.push({ key, value, version })
  }
  return { type: 'delta', host, life, from, to, last, forgotten, entries }
}

function readSums(body: FieldReader): HintSums {
  const sums = new Uint32Array(BUCKETS)
  for (let bucket = 0; bucket < BUCKETS; bucket++) sums[bucket] = body.uint32()
  return { type: 'hint-sums', sums }
}

function writeHints(writer: FieldWriter, push: HintPush): void {
  writer.uint8((push.news ? 1 : 0) | (push.more ? 2 : 0))
  writer.varint(push.buckets.length)
  for (const bucket of push.buckets) writer.uint8(bucket)
  for (const hint of push.hints) {
    writer.text(hint.key)
    writer.varint(hint.timestamp)
    writer.text(hint.by)
    writer.varint(hint.ttlMs * 2 + (hint.value === null ? 1 : 0))
    if (hint.value !== null) writer.blob(hint.value)
  }
}

function readHints(body: FieldReader): HintPush {
  const flags = body.uint8()
  const count = body.varint(BUCKETS)
  const buckets: number[] = []
  for (let at = 0; at < count && !body.bad; at++) buckets.push(body.uint8())
  const hints: Hint[] = []
  while (body.left > 0) {
    const key = body.text(1, KEY_BYTES_MAX)
    const timestamp = body.varint()
    const by = body.text(1, HOST_BYTES_MAX) as HostId
    const ttl = body.varint(HINT_TTL_MS_MAX * 2 + 1)
    const value = ttl % 2 === 1 ? null : body.blob(HINT_VALUE_BYTES_MAX)
    if (ttl < 2) body.bad = true
    if (!body.bad) hints.push({ key, value, timestamp, by, ttlMs: Math.floor(ttl / 2) })
  }
  return { type: 'hints', news: (flags & 1) !== 0, more: (flags & 2) !== 0, buckets, hints }
}
