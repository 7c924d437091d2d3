import type { TenantId } from '../../src/base/ids.ts'
import { type Message, NO_BYTES, NO_EXPIRY } from '../../src/base/message.ts'
import type { RangeClient } from '../../src/kv/client/client.ts'
import { compareBytes, within } from '../../src/kv/engine/bytes.ts'
import { MemoryEngine } from '../../src/kv/engine/memory/engine.ts'
import { engineReader } from '../../src/kv/range/boundary.ts'
import type { RangeDescriptor, Reader } from '../../src/kv/range/coprocessor.ts'
import { decodeEntry, encodeEntry } from '../../src/kv/range/entry.ts'
import { Range } from '../../src/kv/range/range.ts'
import { RetainClient } from '../../src/retain/client.ts'
import { RetainObserver } from '../../src/retain/observer.ts'
import type { Usage } from '../../src/retain/store/books.ts'
import type { RetainCommand, RetainResponse } from '../../src/retain/store/codec.ts'
import { type RetainAnswer, type RetainQuery, retainCoprocessor } from '../../src/retain/store/coprocessor.ts'

export const TENANT = 'acme' as TenantId
export const NO_LIMITS = { topicsMax: Infinity, bytesMax: Infinity }
export const START_MS = 1_000_000_000_000

export function message(topic: string, payload: string | Uint8Array, changes: Partial<Message> = {}): Message {
  return {
    topic,
    payload: typeof payload === 'string' ? Buffer.from(payload) : payload,
    qos: 1,
    retain: true,
    properties: NO_BYTES,
    expirySeconds: NO_EXPIRY,
    timestamp: START_MS * 1024,
    publisher: 'client',
    ...changes,
  }
}

type AnyRange = Range<RetainCommand, RetainResponse, RetainQuery, RetainAnswer, Usage>

/**
 * Ranges without a store: each command is an entry of its own, written to bytes and read back, and landed at once. Time
 * stands still until it is told to go on.
 */
export class LocalRanges implements RangeClient<RetainCommand, RetainResponse, RetainQuery, RetainAnswer> {
  readonly engine = new MemoryEngine()
  readonly observer = new RetainObserver()
  readonly client = new RetainClient(this, this.observer)
  nowMs = START_MS
  queries = 0
  entries = 0
  #ranges: AnyRange[] = []

  constructor(splits: readonly Uint8Array[] = []) {
    this.#add({ id: 'r1', service: 'retain', epoch: { version: 1, confVersion: 1 }, replicas: [] })
    for (const key of splits) this.split(key)
  }

  get ranges(): readonly AnyRange[] {
    return this.#ranges
  }

  async mutate(key: Uint8Array, command: RetainCommand): Promise<RetainResponse> {
    return this.run(this.#rangeOf(key), [command])[0]!
  }

  mutateWith(): void {
    throw new Error('not used')
  }

  async query(key: Uint8Array, query: RetainQuery): Promise<RetainAnswer> {
    this.queries++
    return this.#rangeOf(key).query(query, this.nowMs)
  }

  locate(key: Uint8Array): RangeDescriptor {
    return this.#rangeOf(key).descriptor
  }

  leader(_key: Uint8Array): string {
    return ''
  }

  async close(): Promise<void> {}

  /** One entry; its commands share it. */
  run(range: AnyRange, commands: readonly RetainCommand[]): RetainResponse[] {
    const runs = [{ stream: '', previous: 0, first: 0, count: commands.length, answered: 0 }]
    this.#apply(range, range.propose(runs, commands, this.nowMs))
    return this.#last as RetainResponse[]
  }
  #last: unknown = []

  /** Cuts the range that holds `key`; false where that would leave nothing on one side. */
  split(key: Uint8Array): boolean {
    const range = this.#rangeOf(key)
    if (compareBytes(key, range.descriptor.start ?? new Uint8Array(0)) === 0) return false
    this.#apply(range, range.proposeSplit(key, `r${this.#ranges.length + 1}`, this.nowMs))
    return true
  }

  /** Does what is due until nothing is. */
  settle(limit = 100): void {
    for (const range of this.#ranges) {
      for (let i = 0; ; i++) {
        const dueMs = range.nextDueMs()
        if (dueMs === null || dueMs > this.nowMs) break
        if (i === 10_000) throw new Error('Timed work does not end')
        const commands = range.due(this.nowMs, limit)
        if (commands.length === 0) throw new Error(`Due at ${dueMs}, but nothing to do`)
        this.run(range, commands)
      }
    }
  }

  /** All keys of the family. */
  keys(): Uint8Array[] {
    const cursor = this.engine.cursor('retain', {})
    const keys: Uint8Array[] = []
    while (cursor.next()) keys.push(cursor.key.slice())
    cursor.close()
    return keys
  }

  #apply(range: AnyRange, entry: Parameters<AnyRange['apply']>[0]): void {
    this.entries++
    const bytes = encodeEntry(entry, (commands) => retainCoprocessor.encode(commands)).slice()
    const outcome = range.apply(decodeEntry(bytes, (payload) => retainCoprocessor.decode(payload)))
    if (range.halted !== null) throw new Error(range.halted)
    void this.engine.write({ writes: outcome.writes.map((write) => ({ family: 'retain', write })), sync: true })
    range.landed(outcome.index)
    const { index, nowMs, writes, effects } = outcome
    this.observer.applied(range.descriptor, { index, nowMs, writes, effects, leader: true, reader: range.reader })
    if (outcome.child !== null) this.#add(outcome.child.descriptor, range.descriptor)
    this.#last = outcome.runs[0]?.responses ?? []
  }

  #add(descriptor: RangeDescriptor, parent?: RangeDescriptor): void {
    const range: AnyRange = new Range({
      coprocessor: retainCoprocessor,
      descriptor,
      applied: { index: 0, nowMs: this.nowMs, hash: 0 },
      landed: engineReader(this.engine, 'retain'),
      codec: null,
    })
    this.#ranges.push(range)
    if (parent === undefined) this.observer.opened(descriptor, range.reader)
    else this.observer.split(parent, descriptor, range.reader)
  }

  #rangeOf(key: Uint8Array): AnyRange {
    return this.#ranges.find((range) => within(key, range.descriptor))!
  }
}

/** Every page of a filter, and how many calls that took. */
export async function matchAll(
  client: RetainClient,
  filter: string,
  { messagesMax = 1_000, bytesMax = 1_000_000, tenant = TENANT } = {},
): Promise<{ messages: Message[]; pages: number }> {
  const messages: Message[] = []
  let after: Uint8Array | null = null
  for (let pages = 1; ; pages++) {
    const page = await client.match(tenant, filter, { after, messagesMax, bytesMax })
    if (page.messages.length > messagesMax) throw new Error('A page is larger than asked for')
    if (pages > 20_000) throw new Error('The pages do not end')
    messages.push(...page.messages)
    if (page.next === null) return { messages, pages }
    after = page.next
  }
}

/** Counts what a reader's cursors do. */
export class CountingReader implements Reader {
  nexts = 0
  seeks = 0
  readonly #below: Reader

  constructor(below: Reader) {
    this.#below = below
  }

  get(key: Uint8Array): Uint8Array | undefined {
    return this.#below.get(key)
  }

  cursor(...bounds: Parameters<Reader['cursor']>): ReturnType<Reader['cursor']> {
    const below = this.#below.cursor(...bounds)
    const count = this
    return {
      get valid() {
        return below.valid
      },
      get key() {
        return below.key
      },
      get value() {
        return below.value
      },
      seek(key) {
        count.seeks++
        return below.seek(key)
      },
      seekBefore: (key) => below.seekBefore(key),
      next() {
        count.nexts++
        return below.next()
      },
      close: () => below.close(),
    }
  }
}
