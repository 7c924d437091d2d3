import { compareBytes, within } from '../../kv/engine/bytes.ts'
import type { Bounds, Write } from '../../kv/engine/engine.ts'
import type { MutateContext, Reader } from '../../kv/range/coprocessor.ts'
import type { CountEffect, Effect, Fenced } from './command.ts'
import { EntryCache } from './entry.ts'
import { decodeGroup, encodeGroup, type Group } from './group-record.ts'
import {
  decodeNumbers,
  decodeSession,
  decodeTally,
  decodeWill,
  encodeNumbers,
  encodeSession,
  encodeTally,
  encodeWill,
  type Numbers,
  type Session,
  type StoredWill,
  type Tally,
} from './records.ts'
import {
  KIND_GROUP,
  KIND_NUMBERS,
  KIND_SESSION,
  KIND_TALLY,
  KIND_WILL,
  nameOf,
  PART_ENTRY,
  partStart,
  sequenceKey,
  withKind,
} from './schema.ts'

interface Codec<Value> {
  kind: number
  decode(bytes: Uint8Array): Value
  encode(value: Value): Uint8Array
}

const SESSION: Codec<Session> = { kind: KIND_SESSION, decode: decodeSession, encode: encodeSession }
const TALLY: Codec<Tally> = { kind: KIND_TALLY, decode: decodeTally, encode: encodeTally }
const WILL: Codec<StoredWill> = { kind: KIND_WILL, decode: decodeWill, encode: encodeWill }
const NUMBERS: Codec<Numbers> = { kind: KIND_NUMBERS, decode: decodeNumbers, encode: encodeNumbers }
const GROUP: Codec<Group> = { kind: KIND_GROUP, decode: decodeGroup, encode: encodeGroup }

/** One record, read when first asked for, written once at the end of the batch. Null = absent. */
class Slot<Value extends object> {
  readonly #key: Buffer
  readonly #codec: Codec<Value>
  readonly #reader: Reader
  #value: Value | null | undefined
  #changed = false

  constructor(reader: Reader, start: Uint8Array, codec: Codec<Value>) {
    this.#reader = reader
    this.#key = withKind(start, codec.kind)
    this.#codec = codec
  }

  get(): Value | null {
    if (this.#value === undefined) {
      const bytes = this.#reader.get(this.#key)
      this.#value = bytes === undefined ? null : this.#codec.decode(bytes)
    }
    return this.#value
  }

  /** `value` may be what {@link get} gave, changed in place. */
  set(value: Value | null): void {
    this.#value = value
    this.#changed = true
  }

  commit(writes: Write[]): void {
    if (!this.#changed) return
    const value = this.#value!
    const key = this.#key
    writes.push(value === null ? { type: 'delete', key } : { type: 'put', key, value: this.#codec.encode(value) })
  }
}

/** One inbox as the batch has made it so far. */
export class Box {
  readonly key: Uint8Array
  readonly name: string
  readonly tally: Slot<Tally>
  /** Entries of the current incarnation that this batch wrote; null = deleted. Most batches read none of them. */
  #entries: Map<number, Uint8Array | null> | null = null
  readonly #reader: Reader
  #session: Slot<Session> | null = null
  #will: Slot<StoredWill> | null = null
  #numbers: Slot<Numbers> | null = null
  #group: Slot<Group> | null = null
  #entriesOf = 0
  #entryStart: Buffer | null = null

  constructor(reader: Reader, key: Uint8Array, name: string) {
    this.#reader = reader
    this.key = key
    this.name = name
    this.tally = new Slot(reader, key, TALLY)
  }

  /** True for the inbox of a shared group: see `GROUP_MARK`. */
  get isGroup(): boolean {
    return this.name.charCodeAt(this.name.indexOf('\0') + 1) === 1
  }

  get session(): Slot<Session> {
    return (this.#session ??= new Slot(this.#reader, this.key, SESSION))
  }

  get will(): Slot<StoredWill> {
    return (this.#will ??= new Slot(this.#reader, this.key, WILL))
  }

  get numbers(): Slot<Numbers> {
    return (this.#numbers ??= new Slot(this.#reader, this.key, NUMBERS))
  }

  get group(): Slot<Group> {
    return (this.#group ??= new Slot(this.#reader, this.key, GROUP))
  }

  entryKey(incarnation: number, sequence: number): Buffer {
    if (this.#entryStart === null || this.#entriesOf !== incarnation) {
      this.#entryStart = partStart(this.key, incarnation, PART_ENTRY)
      this.#entriesOf = incarnation
      this.#entries = null
    }
    return sequenceKey(this.#entryStart, sequence)
  }

  /** After {@link entryKey} for the same incarnation. */
  noteEntry(sequence: number, value: Uint8Array | null): void {
    this.#entries ??= new Map()
    this.#entries.set(sequence, value)
  }

  notedEntry(sequence: number): Uint8Array | null | undefined {
    return this.#entries?.get(sequence)
  }

  commit(writes: Write[]): void {
    this.tally.commit(writes)
    this.#session?.commit(writes)
    this.#will?.commit(writes)
    this.#numbers?.commit(writes)
    this.#group?.commit(writes)
  }
}

/**
 * A batch being applied: what is stored, under what its earlier commands wrote. Commands of one inbox share its records,
 * which are decoded and encoded once a batch.
 */
export class Draft {
  readonly reader: Reader
  readonly context: MutateContext
  readonly effects: Effect[] = []
  readonly cache = new EntryCache()
  readonly count: CountEffect = {
    type: 'count',
    sessions: 0,
    attached: 0,
    messages: 0,
    bytes: 0,
    inserts: 0,
    drops: 0,
    wills: 0,
  }
  readonly #writes: Write[] = []
  readonly #boxes = new Map<string, Box>()
  /** Plain keys written in this batch; null = deleted. */
  readonly #plain = new Map<string, { key: Uint8Array; value: Uint8Array | null }>()

  constructor(reader: Reader, context: MutateContext) {
    this.reader = reader
    this.context = context
  }

  get nowMs(): number {
    return this.context.nowMs
  }

  box(key: Uint8Array): Box {
    const name = nameOf(key)
    let box = this.#boxes.get(name)
    if (box === undefined) {
      box = new Box(this.reader, key, name)
      this.#boxes.set(name, box)
    }
    return box
  }

  /** The session, where the caller owns it. */
  owned(box: Box, fence: Fenced): Session | null {
    const session = box.session.get()
    if (session === null || !session.attached) return null
    return session.incarnation === fence.incarnation && session.connection === fence.connection ? session : null
  }

  get(key: Uint8Array): Uint8Array | undefined {
    const written = this.#plain.size === 0 ? undefined : this.#plain.get(nameOf(key))
    return written === undefined ? this.reader.get(key) : (written.value ?? undefined)
  }

  /** This batch wrote to the plain key. */
  hasWritten(key: Uint8Array): boolean {
    return this.#plain.has(nameOf(key))
  }

  put(key: Uint8Array, value: Uint8Array): void {
    this.#plain.set(nameOf(key), { key, value })
    this.#writes.push({ type: 'put', key, value })
  }

  delete(key: Uint8Array): void {
    this.#plain.set(nameOf(key), { key, value: null })
    this.#writes.push({ type: 'delete', key })
  }

  /** For keys that are read no more. */
  deleteRange(start: Uint8Array, end: Uint8Array): void {
    this.#writes.push({ type: 'deleteRange', start, end })
  }

  putEntry(box: Box, incarnation: number, sequence: number, value: Uint8Array): void {
    this.#writes.push({ type: 'put', key: box.entryKey(incarnation, sequence), value })
    box.noteEntry(sequence, value)
  }

  deleteEntry(box: Box, incarnation: number, sequence: number): void {
    this.#writes.push({ type: 'delete', key: box.entryKey(incarnation, sequence) })
    box.noteEntry(sequence, null)
  }

  entry(box: Box, incarnation: number, sequence: number): Uint8Array | undefined {
    const key = box.entryKey(incarnation, sequence)
    const written = box.notedEntry(sequence)
    return written === undefined ? this.reader.get(key) : (written ?? undefined)
  }

  /** All plain keys that begin with `bounds`, in order: for parts that are small. */
  scan(bounds: Bounds, limit = Number.POSITIVE_INFINITY): { key: Uint8Array; value: Uint8Array }[] {
    const found: { key: Uint8Array; value: Uint8Array }[] = []
    for (const [, written] of this.#plain) {
      if (written.value !== null && within(written.key, bounds)) found.push({ key: written.key, value: written.value })
    }
    const cursor = this.reader.cursor(bounds)
    try {
      for (let left = limit; left > 0 && cursor.next(); ) {
        if (this.#plain.size > 0 && this.#plain.has(nameOf(cursor.key))) continue
        found.push({ key: Buffer.from(cursor.key), value: Buffer.from(cursor.value) })
        left--
      }
    } finally {
      cursor.close()
    }
    found.sort((a, b) => compareBytes(a.key, b.key))
    return found.length > limit ? found.slice(0, limit) : found
  }

  /** The batch's writes and effects; the records come last. */
  finish(): { writes: Write[]; effects: Effect[] } {
    for (const box of this.#boxes.values()) box.commit(this.#writes)
    const { count } = this
    if (
      count.sessions ||
      count.attached ||
      count.messages ||
      count.bytes ||
      count.inserts ||
      count.drops ||
      count.wills
    ) {
      this.effects.push(count)
    }
    return { writes: this.#writes, effects: this.effects }
  }
}
