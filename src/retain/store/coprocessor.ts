import { unreachable } from '../../base/assert.ts'
import type { TenantId } from '../../base/ids.ts'
import type { Message } from '../../base/message.ts'
import { compareBytes, earlierEnd, laterStart } from '../../kv/engine/bytes.ts'
import type { Bounds, Write } from '../../kv/engine/engine.ts'
import type { Coprocessor, MutateContext, Mutation, QueryContext, Reader } from '../../kv/range/coprocessor.ts'
import { Overlay } from '../../kv/range/overlay.ts'
import { Books, needsRebuild, readUsage, type Usage } from './books.ts'
import {
  type ClearCommand,
  decodeCommands,
  type ExpireCommand,
  encodeCommands,
  type PurgeCommand,
  type RetainCommand,
  type RetainResponse,
  type SetCommand,
} from './codec.ts'
import { TopicMatcher } from './matcher.ts'
import {
  afterSubtree,
  behindBooks,
  booksStart,
  isLive,
  keyAfter,
  readSlot,
  readSlotMessage,
  readTimeKey,
  slotBytes,
  TOMBSTONE_MS,
  tenantStart,
  timeKey,
  tombstoneSlot,
} from './schema.ts'

export type RetainQuery =
  | { type: 'get'; key: Uint8Array }
  | { type: 'match'; tenant: TenantId; filter: string; from: Uint8Array; messagesMax: number; bytesMax: number }
  | { type: 'usage'; tenant: TenantId }

export type RetainAnswer =
  /** `next`: where to go on, maybe in the next range; null where nothing more can match. */
  { type: 'page'; messages: Message[]; next: Uint8Array | null } | { type: 'usage'; usage: Usage }

export type RetainCoprocessor = Coprocessor<RetainCommand, RetainResponse, RetainQuery, RetainAnswer, Usage>

/**
 * What a query may cost: a step to the next key is 1, a message in the answer 1 more, a seek is {@link SEEK_COST}. On
 * RocksDB a step takes 3 us and a seek 30 us, so that a query ends within about 3 ms, whatever the filter; in memory
 * within 1 ms (bench: `micro/retain`).
 */
const QUERY_COST_MAX = 1_000
const MESSAGE_COST = 1
const SEEK_COST = 12
const ANSWER_MESSAGES_MAX = 500
const ANSWER_BYTES_MAX = 1024 * 1024
/** Slots that one purge command looks at. */
const PURGE_SLOTS_MAX = 250

/**
 * The logic of `retain` in a range: one slot a topic, decided by the message's timestamp; the later one wins, and of
 * equal ones the later call.
 */
export const retainCoprocessor: RetainCoprocessor = {
  service: 'retain',
  version: 1,
  encode: encodeCommands,
  decode: decodeCommands,
  grows: (command) => command.type === 'set',
  mutate: (commands, reader, context) => new Entry(reader, context).run(commands),
  query,
  due,
  nextDueMs,
}

/** One entry on its way through the range. */
class Entry {
  readonly #reader: Reader
  readonly #context: MutateContext
  readonly #books: Books
  readonly #writes: Write[] = []
  /** Slots that this entry wrote: the reader does not see them yet. Null = deleted. */
  readonly #written = new Map<string, Uint8Array | null>()

  constructor(reader: Reader, context: MutateContext) {
    this.#reader = reader
    this.#context = context
    this.#books = new Books(reader, context.boundary)
  }

  run(commands: readonly RetainCommand[]): Mutation<RetainResponse, Usage> {
    const responses = commands.map((command) => this.#apply(command))
    const total = this.#books.finish(this.#writes)
    return { writes: this.#writes, responses, effects: total === null ? [] : [total] }
  }

  #apply(command: RetainCommand): RetainResponse {
    switch (command.type) {
      case 'set':
        return this.#set(command)
      case 'clear':
        return this.#clear(command)
      case 'purge':
        return this.#purge(command)
      case 'expire':
        this.#expire(command)
        return { type: 'none' }
      case 'rebuild':
        this.#books.rebuild(this.#readerNow(), this.#writes)
        return { type: 'none' }
      default:
        return unreachable(command)
    }
  }

  #set(command: SetCommand): RetainResponse {
    const { key, slot } = command
    const { timestamp, deadlineMs } = readSlot(slot)
    // It expired on its way: what it replaces is gone all the same.
    if (deadlineMs <= this.#context.nowMs) return this.#clear({ type: 'clear', key, timestamp })
    const stored = this.#get(key)
    if (stored !== undefined && readSlot(stored).timestamp > timestamp) return this.#answer(key, 'unchanged')
    if (this.#books.knows(key)) {
      const exceeded = this.#exceeded(command, stored)
      if (exceeded !== null) return this.#answer(key, exceeded)
    }
    this.#put(key, stored, slot)
    return this.#answer(key, 'stored')
  }

  #clear({ key, timestamp }: ClearCommand): RetainResponse {
    const stored = this.#get(key)
    if (stored === undefined) return this.#answer(key, 'unchanged')
    const before = readSlot(stored)
    if (before.timestamp > timestamp) return this.#answer(key, 'unchanged')
    // Where no books would ever remove a tombstone, none is left.
    const tombstone =
      this.#books.start === null ? undefined : tombstoneSlot(timestamp, this.#context.nowMs + TOMBSTONE_MS)
    this.#put(key, stored, tombstone)
    return this.#answer(key, before.message ? 'cleared' : 'unchanged')
  }

  /** A message that takes no more than what it replaces is never refused. */
  #exceeded({ key, slot, topicsMax, bytesMax }: SetCommand, stored: Uint8Array | undefined) {
    const replaced = stored !== undefined && readSlot(stored).message ? slotBytes(key, stored) : 0
    const { topics, bytes } = this.#books.usage(key)
    if (replaced === 0 && topics + 1 > topicsMax) return 'quota-topics'
    const added = slotBytes(key, slot) - replaced
    return added > 0 && bytes + added > bytesMax ? 'quota-bytes' : null
  }

  #expire({ deadlineMs, key }: ExpireCommand): void {
    const { start } = this.#books
    if (start === null) return
    const stored = this.#get(key)
    if (stored !== undefined && readSlot(stored).deadlineMs === deadlineMs && deadlineMs <= this.#context.nowMs) {
      this.#put(key, stored, undefined)
    } else if (stored === undefined || readSlot(stored).deadlineMs !== deadlineMs) {
      this.#writes.push({ type: 'delete', key: timeKey(start, deadlineMs, key) })
    }
  }

  #purge({ from, olderThanSeconds }: PurgeCommand): RetainResponse {
    const tenantEnd = afterSubtree(from.subarray(0, from.indexOf(1) + 1))
    const { boundary, nowMs } = this.#context
    const end = earlierEnd(tenantEnd, boundary.end)!
    const beforeMs = olderThanSeconds === 0 ? Infinity : nowMs - olderThanSeconds * 1000
    const keys: Uint8Array[] = []
    let next: Uint8Array | null = compareBytes(end, tenantEnd) < 0 ? end : null
    const cursor = this.#readerNow().cursor({ start: from, end })
    let slots = 0
    for (let found = cursor.seek(from); found; slots++) {
      const { key } = cursor
      if (slots === PURGE_SLOTS_MAX) {
        next = key.slice()
        break
      }
      const behind = behindBooks(key)
      if (behind === null) {
        const { message, timestamp } = readSlot(cursor.value)
        if (message && Math.floor(timestamp / 1024) <= beforeMs) keys.push(key.slice())
      }
      found = behind === null ? cursor.next() : cursor.seek(behind)
    }
    cursor.close()
    for (const key of keys) this.#put(key, this.#get(key), undefined)
    return { type: 'purge', cleared: keys.length, next }
  }

  #answer(key: Uint8Array, result: Extract<RetainResponse, { type: 'set' }>['result']): RetainResponse {
    const { topics, bytes } = this.#books.usage(key)
    return { type: 'set', result, usage: { topics, bytes } }
  }

  #get(key: Uint8Array): Uint8Array | undefined {
    if (this.#written.size === 0) return this.#reader.get(key)
    const written = this.#written.get(this.#nameOf(key))
    return written === undefined ? this.#reader.get(key) : (written ?? undefined)
  }

  #put(key: Uint8Array, from: Uint8Array | undefined, to: Uint8Array | undefined): void {
    this.#books.change(key, from, to, this.#writes)
    this.#writes.push(to === undefined ? { type: 'delete', key } : { type: 'put', key, value: to })
    this.#written.set(this.#nameOf(key), to ?? null)
  }

  /** A get and the put after it are of the same key. */
  #nameOf(key: Uint8Array): string {
    if (key === this.#named) return this.#name
    this.#named = key
    this.#name = Buffer.from(key.buffer, key.byteOffset, key.length).toString('latin1')
    return this.#name
  }
  #named: Uint8Array | null = null
  #name = ''

  /** Sees what this entry wrote so far: for commands that walk. */
  #readerNow(): Reader {
    if (this.#writes.length === 0) return this.#reader
    const overlay = new Overlay(this.#reader)
    overlay.add(0, this.#writes.slice())
    return overlay
  }
}

function query(request: RetainQuery, reader: Reader, context: QueryContext): RetainAnswer {
  switch (request.type) {
    case 'get': {
      const value = reader.get(request.key)
      const live = value !== undefined && isLive(value, context.nowMs)
      return { type: 'page', messages: live ? [readSlotMessage(request.key, value)] : [], next: null }
    }
    case 'match':
      return match(request, reader, context)
    case 'usage': {
      const usage = readUsage(reader, context.boundary, tenantStart(request.tenant))
      return { type: 'usage', usage }
    }
    default:
      return unreachable(request)
  }
}

function match(request: Extract<RetainQuery, { type: 'match' }>, reader: Reader, context: QueryContext): RetainAnswer {
  const matcher = new TopicMatcher(request.tenant, request.filter)
  const from = laterStart(laterStart(request.from, matcher.start), context.boundary.start)!
  const end = earlierEnd(matcher.end, context.boundary.end)!
  const messages: Message[] = []
  const page = (next: Uint8Array | null): RetainAnswer => ({ type: 'page', messages, next })
  const messagesMax = Math.min(request.messagesMax, ANSWER_MESSAGES_MAX)
  const bytesMax = Math.min(request.bytesMax, ANSWER_BYTES_MAX)
  let bytes = 0
  let cost = 0
  if (compareBytes(from, end) < 0) {
    const cursor = reader.cursor({ start: from, end })
    try {
      for (let found = cursor.seek(from); found; ) {
        const { key } = cursor
        if (cost >= QUERY_COST_MAX) return page(key.slice())
        const behind = behindBooks(key)
        const verdict = behind === null ? matcher.visit(key) : 'seek'
        if (verdict === 'done') return page(null)
        if (verdict === 'seek') {
          found = cursor.seek(behind ?? matcher.target)
          cost += SEEK_COST
          continue
        }
        if (verdict === 'match' && isLive(cursor.value, context.nowMs)) {
          bytes += slotBytes(key, cursor.value)
          if (messages.length > 0 && bytes > bytesMax) return page(key.slice())
          messages.push(readSlotMessage(key, cursor.value))
          cost += MESSAGE_COST
          if (messages.length >= messagesMax) return page(keyAfter(key))
        }
        found = cursor.next()
        cost++
      }
    } finally {
      cursor.close()
    }
  }
  return page(compareBytes(end, matcher.end) < 0 ? end : null)
}

function due(reader: Reader, nowMs: number, limit: number, boundary: Bounds): RetainCommand[] {
  if (needsRebuild(reader, boundary)) return [{ type: 'rebuild' }]
  const books = booksStart(boundary)
  if (books === null) return []
  const commands: RetainCommand[] = []
  const cursor = reader.cursor({ start: timeKey(books, 0), end: timeKey(books, Math.floor(nowMs) + 1) })
  while (commands.length < limit && cursor.next()) {
    const { deadlineMs, slotKey } = readTimeKey(books, cursor.key)
    commands.push({ type: 'expire', deadlineMs, key: slotKey })
  }
  cursor.close()
  return commands
}

function nextDueMs(reader: Reader, boundary: Bounds): number | null {
  if (needsRebuild(reader, boundary)) return 0
  const books = booksStart(boundary)
  if (books === null) return null
  const cursor = reader.cursor({ start: timeKey(books, 0), end: timeKey(books, Number.MAX_SAFE_INTEGER) })
  const next = cursor.next() ? readTimeKey(books, cursor.key).deadlineMs : null
  cursor.close()
  return next
}
