import type { Clock } from '../../src/base/clock.ts'
import { seededRandom } from '../../src/base/clock.ts'
import type { InboxId, TenantId } from '../../src/base/ids.ts'
import { silentLogger } from '../../src/base/logging.ts'
import { type Message, NO_BYTES, NO_EXPIRY, type QoS } from '../../src/base/message.ts'
import type {
  Attached,
  AttachRequest,
  Dedup,
  Feed,
  FeedEntry,
  FeedOptions,
  FeedSink,
  GroupKey,
  Inbox,
  InboxKey,
  InboxLimits,
  InboxRanges,
  InboxSubscription,
  InsertResult,
  InsertTarget,
  Owner,
  Will,
  WillPublisher,
} from '../../src/inbox/index.ts'
import { createInbox, inboxStart } from '../../src/inbox/index.ts'
import { KIND_INDEX, startOf } from '../../src/inbox/store/schema.ts'
import { MemoryEngine } from '../../src/kv/engine/memory/engine.ts'
import type { RangeDescriptor } from '../../src/kv/range/coprocessor.ts'
import { Store } from '../../src/kv/store/store.ts'
import type { Peers } from '../../src/rpc/index.ts'

export const TENANT = 'acme' as TenantId
export const START_MS = 1_700_000_000_000

/** Time that stands still until it is told. */
export class TestClock implements Clock {
  nowMs = START_MS
  #timers: { atMs: number; callback: () => void }[] = []

  now(): number {
    return this.nowMs
  }

  monotonic(): number {
    return this.nowMs - START_MS
  }

  after(delayMs: number, callback: () => void): () => void {
    const timer = { atMs: this.nowMs + delayMs, callback }
    this.#timers.push(timer)
    return () => {
      this.#timers = this.#timers.filter((each) => each !== timer)
    }
  }

  /** Moves on, and calls what is due. */
  advance(ms: number): void {
    this.nowMs += ms
    for (;;) {
      const due = this.#timers.filter(({ atMs }) => atMs <= this.nowMs).sort((a, b) => a.atMs - b.atMs)
      if (due.length === 0) return
      this.#timers = this.#timers.filter((timer) => !due.includes(timer))
      for (const { callback } of due) callback()
    }
  }
}

export function message(payload: string, fields: Partial<Message> = {}): Message {
  return {
    topic: 't',
    payload: Buffer.from(payload),
    qos: 1,
    retain: false,
    properties: NO_BYTES,
    expirySeconds: NO_EXPIRY,
    timestamp: START_MS * 1024,
    publisher: 'p',
    ...fields,
  }
}

export const text = (message: Message | null): string =>
  message === null ? '-' : Buffer.from(message.payload).toString()

export const LIMITS: InboxLimits = { messagesMax: 1_000, bytesMax: 1_000_000, dropPolicy: 'oldest', filtersMax: 10 }

let lives = 0

/** What a front end sees of a feed. */
export class Client implements FeedSink {
  readonly got: FeedEntry[] = []
  /** Entries of each call. */
  readonly calls: number[] = []
  lostBy: string | null = null
  /** Acknowledges QoS 1 as it comes. */
  auto = false
  feed!: Feed

  entries(entries: readonly FeedEntry[]): void {
    this.calls.push(entries.length)
    for (const entry of entries) {
      this.got.push(entry)
      if (this.auto && entry.qos === 1) this.feed.acknowledge(entry.sequence)
    }
  }

  lost(reason: string): void {
    this.lostBy = reason
  }

  /** As `payload`, with `+` behind it where DUP is set and `!` where PUBREL is owed. */
  get seen(): string[] {
    return this.got.map((entry) => `${text(entry.message)}${entry.dup ? '+' : ''}${entry.released ? '!' : ''}`)
  }
}

/** Memory that a restart finds again. */
export function lastingEngine(): MemoryEngine {
  const engine = new MemoryEngine()
  ;(engine as { persistent: boolean }).persistent = true
  return engine
}

/** The service on a store in memory, cut into ranges, every entry read back from its bytes. */
export class World implements WillPublisher {
  readonly clock = new TestClock()
  readonly engine: MemoryEngine
  readonly store: Store
  readonly inbox: Inbox
  readonly wills: { client: string; payload: string; dedup: Dedup; message: Message }[] = []
  readonly ended: { inbox: string; incarnation: number; filters: string[]; groups: GroupKey[] }[] = []
  readonly drops: string[] = []
  leads = true
  /** Wills are refused while it is true. */
  failWills = false
  /** Wills wait for this. */
  holdWills: Promise<void> = Promise.resolve()
  readonly #life = ++lives
  #connections = 0

  /** The way to the ranges, for others. */
  ranges!: InboxRanges

  /** @param peers of a node that has others */
  constructor(engine = new MemoryEngine(), splits: readonly string[] = ['h', 'p'], peers?: Peers) {
    this.engine = engine
    const defer = (callback: () => void) => void setImmediate(callback)
    const random = seededRandom(1)
    const { clock } = this
    this.store = new Store({
      ...{ engine, clock, random, storeId: 'n1', log: silentLogger, defer, decodeAlways: true },
      // Time stands still here.
      limits: { gatherMs: 0 },
    })
    const initialSplits = splits.map((at) => inboxStart(TENANT, at as InboxId))
    this.inbox = createInbox({
      serve: (coprocessor, observer, serving) => {
        this.ranges = this.store.serve(coprocessor, observer, { initialSplits, ...serving })
        return this.ranges
      },
      others: peers && { peers, led: () => this.led },
      ...{ clock, random, defer, log: silentLogger, node: 'n1' },
      incarnations: { next: () => this.#life },
    })
  }

  /** Ranges that it says it leads. */
  get led(): readonly RangeDescriptor[] {
    return this.leads ? this.store.ranges().map(({ descriptor }) => descriptor) : []
  }

  start(): this {
    this.inbox.start(this)
    return this
  }

  publishWill(_tenant: TenantId, client: InboxId, message: Message, dedup: Dedup): Promise<void> {
    this.wills.push({ client, payload: text(message), dedup, message })
    return this.failWills ? Promise.reject(new Error('no quorum')) : this.holdWills
  }

  sessionEnded(
    key: InboxKey,
    incarnation: number,
    subscriptions: readonly InboxSubscription[],
    groups: readonly GroupKey[],
  ): void {
    const filters = subscriptions.map(({ filter }) => filter)
    this.ended.push({ inbox: key.inbox, incarnation, filters, groups: [...groups] })
  }

  async nodeGone(): Promise<void> {}

  async renewed(): Promise<void> {}

  dropped(key: InboxKey, reason: string, count: number): void {
    this.drops.push(`${key.inbox} ${reason} ${count}`)
  }

  attach(inbox: string, fields: Partial<AttachRequest> = {}): Promise<Attached> {
    return this.inbox.attach({
      tenant: TENANT,
      inbox: inbox as InboxId,
      connection: `n1/${this.#life}/${++this.#connections}`,
      node: 'n1',
      cleanStart: false,
      expirySeconds: 3_600,
      will: null,
      client: { user: 'u', address: '127.0.0.1', protocol: 5 },
      limits: LIMITS,
      ...fields,
    })
  }

  async owner(inbox: string, fields: Partial<AttachRequest> = {}): Promise<Owner> {
    return (await this.attach(inbox, fields)).owner
  }

  detach(owner: Owner, fields: { expirySeconds?: number; discardWill?: boolean; sentUpTo?: number } = {}) {
    const { expirySeconds = null, discardWill = false, sentUpTo = 0 } = fields
    return this.inbox.detach({ owner, expirySeconds, discardWill, sentUpTo })
  }

  insert(
    payload: string | Message,
    targets: readonly (Owner | InsertTarget)[],
    qos: QoS = 1,
    dedup: Dedup | null = null,
  ): Promise<InsertResult[]> {
    const what = typeof payload === 'string' ? message(payload, { qos }) : payload
    return new Promise((resolve, reject) => {
      this.inbox.insert(
        TENANT,
        { message: what, targets: targets.map((target) => toTarget(target, qos)), dedup },
        (error, results) => (error === null ? resolve(results!) : reject(error)),
      )
    })
  }

  open(owner: Owner, options: Partial<FeedOptions> = {}): Client {
    const client = new Client()
    client.feed = this.inbox.open(owner, { credit: 100, bytesMax: 1_000_000, ...options }, client)
    return client
  }

  openGroup(group: GroupKey, owner: Owner, options: Partial<FeedOptions> = {}): Client {
    const client = new Client()
    client.feed = this.inbox.openGroup(group, owner, { credit: 100, bytesMax: 1_000_000, ...options }, client)
    return client
  }

  /** A new process on what this one's disk holds. */
  async restart(): Promise<World> {
    await this.store.close()
    const next = new World(this.engine)
    next.clock.nowMs = this.clock.nowMs
    return next
  }

  /** Lets everything run that does not wait for time. */
  async settle(): Promise<void> {
    for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve))
  }

  /** Time passes; then what is due runs, however many slices it takes. */
  async advance(ms: number): Promise<void> {
    this.clock.advance(ms)
    await this.settle()
    for (let slice = 0; slice < 4; slice++) {
      this.clock.advance(0)
      await this.settle()
    }
  }

  /** Of inboxes and timers; not the heads of the three ranges' time indexes, nor what they know of nodes. */
  get keys(): number {
    const cursor = this.engine.cursor('inbox', {})
    let count = 0
    while (cursor.next()) if (!isHeadOrNode(cursor.key)) count++
    return count
  }
}

export function toTarget(target: Owner | InsertTarget, qos: QoS): InsertTarget {
  if ('qos' in target) return target
  return { inbox: target.inbox, incarnation: target.incarnation, qos, retain: false, subscriptionIds: [] }
}

export function will(payload: string, delaySeconds = 0, fields: Partial<Message> = {}): Will {
  return { message: message(payload, fields), delaySeconds }
}

export async function code(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => 'ok',
    (error: { code: string }) => error.code,
  )
}

function isHeadOrNode(key: Uint8Array): boolean {
  const own = key.subarray(startOf(key)?.length ?? 0)
  return own[0] === KIND_INDEX && (own.length === 2 || own[1] === 2)
}
