import { compareBytes, earlierEnd } from '../../kv/engine/bytes.ts'
import type { Bounds, Write } from '../../kv/engine/engine.ts'
import type { Reader } from '../../kv/range/coprocessor.ts'
import { ByteReader, ByteWriter } from '../../kv/range/wire.ts'
import {
  behindBooks,
  booksStart,
  damaged,
  headKey,
  readSlot,
  slotBytes,
  tenantLength,
  timeKey,
  usageKey,
} from './schema.ts'

/** Messages and their bytes. */
export interface Usage {
  topics: number
  bytes: number
}

interface Head {
  /** End of the range that the books were made for; null = open. */
  end: Uint8Array | null
  /** The books know the slots before this key; null = all. */
  position: Uint8Array | null
  /** All tenants together. */
  total: Usage
}

interface TenantUsage extends Usage {
  /** As its keys begin. */
  tenant: Uint8Array
  changed: boolean
}

const FORMAT = 1
/** Slots that one step of a rebuild takes, and bytes of keys that it writes: a step is one command. */
const REBUILD_SLOTS_MAX = 1_000
const REBUILD_BYTES_MAX = 1024 * 1024

/**
 * A range's counters and its time index, as one entry of the log sees and changes them.
 *
 * They are made for one boundary. After a split both halves find books that are not theirs (or none): they count and
 * index anew, step by step, while the range serves. Until a rebuild has passed a slot, the slot is not counted, and no
 * quota holds; a message that expires is invisible all the same.
 */
export class Books {
  /** Null where the range has no room for books. */
  readonly start: Buffer | null
  readonly #reader: Reader
  readonly #boundary: Bounds
  #head: Head
  /** Someone else's books, or none: the first step of a rebuild clears them. */
  #foreign: boolean
  /** What the reader shows of these books is deleted by this entry. */
  #cleared = false
  #changed = false
  readonly #usages = new Map<string, TenantUsage>()
  #last: TenantUsage | null = null

  constructor(reader: Reader, boundary: Bounds) {
    this.#reader = reader
    this.#boundary = boundary
    this.start = booksStart(boundary)
    const stored = readHead(reader, boundary)
    this.#foreign = stored === null && !isEmpty(reader)
    this.#changed = stored === null && !this.#foreign
    this.#head = stored ?? { end: boundary.end ?? null, position: null, total: { topics: 0, bytes: 0 } }
  }

  /** Whether the slot of `key` is in the counters, so that quotas hold for it. */
  knows(key: Uint8Array): boolean {
    if (this.start === null || this.#foreign) return false
    const { position } = this.#head
    return position === null || compareBytes(key, position) < 0
  }

  /** What the tenant of a slot's key has in this range, as far as it is counted. */
  usage(key: Uint8Array): Usage {
    return this.#usageOf(key)
  }

  /** A slot becomes another one; undefined = none. The time index follows by `writes`. */
  change(key: Uint8Array, from: Uint8Array | undefined, to: Uint8Array | undefined, writes: Write[]): void {
    if (this.start === null) return
    const before = from === undefined ? null : readSlot(from)
    const after = to === undefined ? null : readSlot(to)
    if (before?.deadlineMs !== after?.deadlineMs) {
      if (before !== null && before.deadlineMs !== Infinity) {
        writes.push({ type: 'delete', key: timeKey(this.start, before.deadlineMs, key) })
      }
      if (after !== null) this.#index(key, after.deadlineMs, writes)
    }
    if (!this.knows(key)) return
    const topics = (after?.message ? 1 : 0) - (before?.message ? 1 : 0)
    const bytes = (after?.message ? slotBytes(key, to!) : 0) - (before?.message ? slotBytes(key, from!) : 0)
    this.#count(key, topics, bytes)
  }

  /**
   * Counts and indexes the next slots; removes books of ranges that are no more.
   * @param reader sees the writes of the entry so far
   */
  rebuild(reader: Reader, writes: Write[]): void {
    if (this.start === null) return
    if (this.#foreign) this.#clear(writes)
    const { position } = this.#head
    if (position === null) return
    this.#changed = true
    const cursor = reader.cursor({ start: position })
    try {
      let bytes = 0
      let slots = 0
      for (let found = cursor.seek(position); found; ) {
        const { key } = cursor
        if (slots >= REBUILD_SLOTS_MAX || bytes >= REBUILD_BYTES_MAX) {
          this.#head.position = key.slice()
          return
        }
        const behind = behindBooks(key)
        slots++
        if (behind !== null) {
          if (!startsWith(key, this.start)) writes.push(this.#removeBooks(key, behind))
          found = cursor.seek(behind)
          continue
        }
        const slot = readSlot(cursor.value)
        bytes += key.length
        this.#index(key, slot.deadlineMs, writes)
        if (slot.message) this.#count(key, 1, slotBytes(key, cursor.value))
        found = cursor.next()
      }
      this.#head.position = null
    } finally {
      cursor.close()
    }
  }

  /** Writes the changed books; the totals where these may have changed. */
  finish(writes: Write[]): Usage | null {
    if (this.start === null) return null
    for (const { tenant, topics, bytes, changed } of this.#usages.values()) {
      if (!changed) continue
      const key = usageKey(this.start, tenant)
      writes.push(topics === 0 ? { type: 'delete', key } : { type: 'put', key, value: encodeUsage({ topics, bytes }) })
    }
    if (this.#changed) writes.push({ type: 'put', key: headKey(this.start), value: encodeHead(this.#head) })
    return this.#changed ? { ...this.#head.total } : null
  }

  #clear(writes: Write[]): void {
    const start = this.start!
    const end = Buffer.from(start)
    end[end.length - 1] = 1
    writes.push({ type: 'deleteRange', start, end })
    this.#foreign = false
    this.#cleared = true
    this.#usages.clear()
    this.#last = null
    const { end: rangeEnd = null, start: rangeStart = new Uint8Array(0) } = this.#boundary
    this.#head = { end: rangeEnd, position: rangeStart, total: { topics: 0, bytes: 0 } }
  }

  /** Books that a merge, or a split right in them, left behind. */
  #removeBooks(key: Uint8Array, behind: Buffer): Write {
    return { type: 'deleteRange', start: key.slice(), end: earlierEnd(behind, this.#boundary.end)! }
  }

  #index(key: Uint8Array, deadlineMs: number, writes: Write[]): void {
    if (deadlineMs === Infinity) return
    writes.push({ type: 'put', key: timeKey(this.start!, deadlineMs, key), value: new Uint8Array(0) })
  }

  #count(key: Uint8Array, topics: number, bytes: number): void {
    if (topics === 0 && bytes === 0) return
    const usage = this.#usageOf(key)
    usage.topics += topics
    usage.bytes += bytes
    usage.changed = true
    this.#head.total.topics += topics
    this.#head.total.bytes += bytes
    this.#changed = true
  }

  #usageOf(key: Uint8Array): TenantUsage {
    // Mostly one tenant's messages come one after the other.
    if (this.#last !== null && startsWith(key, this.#last.tenant)) return this.#last
    const tenant = key.slice(0, tenantLength(key))
    const name = Buffer.from(tenant).toString('latin1')
    let usage = this.#usages.get(name)
    if (usage === undefined) {
      const known = this.start !== null && !this.#foreign && !this.#cleared
      const stored = known ? this.#reader.get(usageKey(this.start!, tenant)) : undefined
      usage = { tenant, changed: false, ...(stored === undefined ? { topics: 0, bytes: 0 } : decodeUsage(stored)) }
      this.#usages.set(name, usage)
    }
    this.#last = usage
    return usage
  }
}

/** The head of the books that were made for this boundary; null where there are none. */
export function readHead(reader: Reader, boundary: Bounds): Head | null {
  const start = booksStart(boundary)
  const stored = start === null ? undefined : reader.get(headKey(start))
  if (stored === undefined) return null
  const head = decodeHead(stored)
  const { end } = boundary
  if (end === undefined) return head.end === null ? head : null
  return head.end !== null && compareBytes(head.end, end) === 0 ? head : null
}

/** True where the range has something that no books of its own know. */
export function needsRebuild(reader: Reader, boundary: Bounds): boolean {
  if (booksStart(boundary) === null) return false
  const head = readHead(reader, boundary)
  return head === null ? !isEmpty(reader) : head.position !== null
}

/** @param tenant its bytes in keys, their end included */
export function readUsage(reader: Reader, boundary: Bounds, tenant: Uint8Array): Usage {
  const start = booksStart(boundary)
  const known = start !== null && readHead(reader, boundary) !== null
  const stored = known ? reader.get(usageKey(start, tenant)) : undefined
  return stored === undefined ? { topics: 0, bytes: 0 } : decodeUsage(stored)
}

function isEmpty(reader: Reader): boolean {
  const cursor = reader.cursor()
  const found = cursor.next()
  cursor.close()
  return !found
}

function startsWith(key: Uint8Array, prefix: Uint8Array): boolean {
  if (key.length < prefix.length) return false
  for (let i = 0; i < prefix.length; i++) if (key[i] !== prefix[i]) return false
  return true
}

function encodeUsage({ topics, bytes }: Usage): Uint8Array {
  const writer = new ByteWriter()
  writer.varint(topics)
  writer.varint(bytes)
  return writer.finish().slice()
}

function decodeUsage(value: Uint8Array): Usage {
  const reader = new ByteReader(value)
  return { topics: reader.varint(), bytes: reader.varint() }
}

function encodeHead({ end, position, total }: Head): Uint8Array {
  const writer = new ByteWriter()
  writer.u8(FORMAT)
  writer.u8((end === null ? 0 : 1) | (position === null ? 0 : 2))
  writer.varint(total.topics)
  writer.varint(total.bytes)
  if (end !== null) writer.bytes(end)
  if (position !== null) writer.bytes(position)
  return writer.finish().slice()
}

function decodeHead(value: Uint8Array): Head {
  const reader = new ByteReader(value)
  const format = reader.u8()
  if (format !== FORMAT) throw damaged(`its books have format ${format}`)
  const flags = reader.u8()
  const total = { topics: reader.varint(), bytes: reader.varint() }
  const end = (flags & 1) === 0 ? null : reader.bytes().slice()
  const position = (flags & 2) === 0 ? null : reader.bytes().slice()
  return { end, position, total }
}
