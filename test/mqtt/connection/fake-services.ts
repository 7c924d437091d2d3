import type { InboxId, TenantId } from '../../../src/base/ids.ts'
import type { Message } from '../../../src/base/message.ts'
import { topicMatches } from '../../../src/base/topic.ts'
import type {
  Attached,
  AttachRequest,
  DetachRequest,
  Feed,
  FeedOptions,
  FeedSink,
  GroupKey,
  Inbox,
  InboxHead,
  InboxKey,
  InboxSubscription,
  Insert,
  InsertResult,
  Owner,
} from '../../../src/inbox/index.ts'
import type { Retain, RetainPage, RetainPageRequest } from '../../../src/retain/index.ts'

interface FakeSession {
  incarnation: number
  connection: string | null
  expirySeconds: number
  subscriptions: Map<string, InboxSubscription>
}

/** Calls that wait while a gate is shut. */
export class Gate {
  #waiting: (() => void)[] | null = null

  shut(): void {
    this.#waiting ??= []
  }

  open(): void {
    const waiting = this.#waiting ?? []
    this.#waiting = null
    for (const go of waiting) go()
  }

  /** Lets the one through that has waited longest. */
  one(): void {
    this.#waiting?.shift()?.()
  }

  get waiting(): number {
    return this.#waiting?.length ?? 0
  }

  pass(): Promise<void> {
    return new Promise((resolve) => this.enter(resolve))
  }

  enter(go: () => void): void {
    if (this.#waiting === null) setImmediate(go)
    else this.#waiting.push(go)
  }
}

/** The inbox service as one map: sessions and routes, no queues. What it answers can be held back, or fail. */
export class FakeInbox implements Inbox {
  readonly sessions = new Map<string, FakeSession>()
  readonly heads = new Gate()
  readonly attaches = new Gate()
  readonly detaches = new Gate()
  readonly inserts = new Gate()
  readonly receives = new Gate()
  /** Every call in its order: `attach c1`, `detach c1`, `insert t/1`, ... */
  readonly calls: string[] = []
  readonly inserted: Insert[] = []
  /** By inbox, or by inbox and group: `c1`, `c1 g`. */
  readonly sinks = new Map<string, FeedSink>()
  readonly feedOptions = new Map<string, FeedOptions>()
  /** Entries that were acknowledged, by feed. */
  readonly acknowledged: string[] = []
  /** Feeds that were closed. */
  readonly closed: string[] = []
  filtersMax = Number.POSITIVE_INFINITY
  joinError: Error | null = null
  insertError: Error | null = null
  insertResult: InsertResult = 'ok'
  /** For each target; overrides {@link insertResult}. */
  insertResults: InsertResult[] | null = null
  attachError: Error | null = null
  leaseError: Error | null = null
  headError: Error | null = null
  readonly lease = { untilMs: Number.POSITIVE_INFINITY, look: (_nowMs: number) => {} }
  /** A session ended with its connection: its routes go. */
  ended: (key: InboxKey, incarnation: number, subscriptions: readonly InboxSubscription[]) => void = () => {}
  #incarnation = 0
  #number = 0

  async head({ tenant, inbox }: InboxKey): Promise<InboxHead | null> {
    await this.heads.pass()
    if (this.headError !== null) throw this.headError
    const session = this.sessions.get(`${tenant}/${inbox}`)
    return session === undefined ? null : ({ tenant, inbox, incarnation: session.incarnation } as InboxHead)
  }

  async attach(request: AttachRequest): Promise<Attached> {
    await this.attaches.pass()
    this.calls.push(`attach ${request.inbox}`)
    if (this.attachError !== null) throw this.attachError
    const key = `${request.tenant}/${request.inbox}`
    const before = this.sessions.get(key)
    const known = request.cleanStart ? undefined : before
    const session = known ?? {
      incarnation: ++this.#incarnation,
      connection: null,
      expirySeconds: 0,
      subscriptions: new Map(),
    }
    this.sessions.set(key, session)
    session.connection = request.connection
    session.expirySeconds = request.expirySeconds
    const { tenant, inbox, connection } = request
    return {
      owner: { tenant, inbox, incarnation: session.incarnation, connection },
      sessionPresent: known !== undefined,
      subscriptions: [...session.subscriptions.values()],
      groups: [],
      received: [],
      ended: before === undefined || before === known ? null : endedOf(before),
      previous: null,
    }
  }

  async detach({ owner }: DetachRequest): Promise<void> {
    await this.detaches.pass()
    this.calls.push(`detach ${owner.inbox}`)
    const session = this.sessions.get(`${owner.tenant}/${owner.inbox}`)
    if (session?.connection !== owner.connection) return
    session.connection = null
    if (session.expirySeconds > 0) return
    this.sessions.delete(`${owner.tenant}/${owner.inbox}`)
    this.ended(owner, session.incarnation, [...session.subscriptions.values()])
  }

  async remove(): Promise<boolean> {
    return false
  }

  async subscribe(owner: Owner, subscriptions: readonly InboxSubscription[]) {
    const session = this.sessions.get(`${owner.tenant}/${owner.inbox}`)!
    return subscriptions.map((subscription) => {
      const known = session.subscriptions.has(subscription.filter)
      if (!known && session.subscriptions.size >= this.filtersMax) return 'quota' as const
      session.subscriptions.set(subscription.filter, { ...subscription, pending: false })
      return known ? ('replaced' as const) : ('new' as const)
    })
  }

  confirm(): void {}

  async unsubscribe(owner: Owner, filters: readonly string[]): Promise<boolean[]> {
    const session = this.sessions.get(`${owner.tenant}/${owner.inbox}`)!
    return filters.map((filter) => session.subscriptions.delete(filter))
  }

  insert(_tenant: TenantId, insert: Insert, done: (error: Error | null, results: InsertResult[] | null) => void): void {
    this.inserted.push(insert)
    this.calls.push(`insert ${insert.message.topic}`)
    this.inserts.enter(() => {
      if (this.insertError !== null) done(this.insertError, null)
      else done(null, this.insertResults ?? insert.targets.map(() => this.insertResult))
    })
  }

  open(owner: Owner, options: FeedOptions, sink: FeedSink): Feed {
    return this.#openFeed(owner.inbox, options, sink)
  }

  async receive(): Promise<{ number: number; repeated: boolean; floor: number }> {
    await this.receives.pass()
    return { number: ++this.#number, repeated: false, floor: 0 }
  }

  async release(owner: Owner): Promise<boolean> {
    this.calls.push(`release ${owner.inbox}`)
    return true
  }

  async joinGroup() {
    if (this.joinError !== null) throw this.joinError
    return { inbox: 'group' as InboxId, incarnation: 1, created: true }
  }

  async leaveGroup() {
    return { ended: null }
  }

  openGroup(group: GroupKey, member: Owner, options: FeedOptions, sink: FeedSink): Feed {
    return this.#openFeed(`${member.inbox} ${group.group}`, options, sink)
  }

  #openFeed(name: string, options: FeedOptions, sink: FeedSink): Feed {
    this.sinks.set(name, sink)
    this.feedOptions.set(name, options)
    return {
      acknowledge: (sequence) => void this.acknowledged.push(`${name} ${sequence}`),
      received: (_sequence, _id, done) => done(null),
      close: () => void this.closed.push(name),
    }
  }

  async list() {
    return { heads: [], next: null }
  }

  start(): void {}

  /** Nobody waits for a lease; where there is none, nobody gets in. */
  async ready(): Promise<void> {
    if (this.leaseError !== null) throw this.leaseError
  }

  async leave(): Promise<void> {}

  stats() {
    return {
      ...{ sessions: 0, attached: 0, queuedMessages: 0, queuedBytes: 0, inserts: 0, drops: 0, willsFired: 0 },
      ...{ watching: 0, watched: 0, pushed: 0, malformed: 0 },
      ...{ leasesHeld: 0, leaseClosed: 0, selfFenced: 0, fences: 0, fencedSessions: 0 },
    }
  }

  async close(): Promise<void> {}
}

function endedOf({ incarnation, subscriptions }: FakeSession) {
  return { incarnation, subscriptions: [...subscriptions.values()], groups: [] }
}

/** Retained messages by topic, in pages. */
export class FakeRetain implements Retain {
  readonly topics = new Map<string, Message>()
  readonly sets = new Gate()
  readonly pages = new Gate()
  setError: Error | null = null
  matchError: Error | null = null
  /** Asked for so far. */
  pagesAsked = 0

  async set(_tenant: TenantId, message: Message) {
    await this.sets.pass()
    if (this.setError !== null) throw this.setError
    this.topics.set(message.topic, message)
    return 'stored' as const
  }

  async get(): Promise<Message | null> {
    return null
  }

  async match(_tenant: TenantId, filter: string, page: RetainPageRequest): Promise<RetainPage> {
    this.pagesAsked++
    await this.pages.pass()
    if (this.matchError !== null) throw this.matchError
    const all = [...this.topics.values()].filter(({ topic }) => topicMatches(filter, topic))
    const start = page.after === null ? 0 : Number(Buffer.from(page.after).toString())
    const messages = all.slice(start, start + page.messagesMax)
    const end = start + messages.length
    return { messages, next: end < all.length ? Buffer.from(String(end)) : null }
  }

  async expire(): Promise<number> {
    return 0
  }

  stats() {
    return { topics: this.topics.size, bytes: 0 }
  }
}
