import type { Clock } from '../base/clock.ts'
import { BrokerError } from '../base/errors.ts'
import type { HostId, InboxId, TenantId } from '../base/ids.ts'
import type { Logger } from '../base/logging.ts'
import type { Message } from '../base/message.ts'
import type { SubscriptionOptions } from '../dist/index.ts'
import type { RangeDescriptor } from '../kv/range/coprocessor.ts'
import type { Peers } from '../rpc/index.ts'
import { Attaching } from './attaching.ts'
import type {
  Attached,
  AttachRequest,
  DetachRequest,
  Feed,
  FeedOptions,
  FeedSink,
  GroupJoined,
  GroupKey,
  GroupLeft,
  Inbox,
  InboxHead,
  InboxKey,
  InboxLimits,
  InboxStats,
  InboxSubscription,
  Insert,
  InsertResult,
  InsertTarget,
  Owner,
  PublishNumber,
  SubscribeOutcome,
  Will,
  WillPublisher,
} from './contract.ts'
import { conflict } from './errors.ts'
import { QueueFeed } from './feed.ts'
import { FeedHost, type InboxRanges, type RunningFeed } from './feed-host.ts'
import { GroupFeed } from './group-feed.ts'
import { type InsertDone, insertAll, toCommand } from './insert.ts'
import type { LeaseWatch } from './leases/contract.ts'
import type { NodeLeases } from './leases/node-leases.ts'
import { MemberGate } from './member-gate.ts'
import { groupsOf, type InboxObserver } from './observer.ts'
import { Qos0Gate } from './qos0-gate.ts'
import type { News, PassLetter } from './remote/letters.ts'
import { Passing } from './remote/passing.ts'
import { FeedSource } from './remote/source.ts'
import { FeedWatches } from './remote/watches.ts'
import type { Command, Fenced, InsertCommand, Response } from './store/command.ts'
import { GROUP_MARK, groupInbox, inboxStart, nameOf, parseStart, tenantEnd, tenantStart } from './store/schema.ts'

export interface InboxClientOptions {
  ranges: InboxRanges
  observer: InboxObserver
  clock: Clock
  defer: (callback: () => void) => void
  log: Logger
  /** Host id of this node. */
  node: string
  others?: OtherInboxes | undefined
  /** Default: nobody else ever has a session, and nothing was before. */
  leases?: NodeLeases
}

/** The other nodes, as feeds and QoS 0 need them. */
export interface OtherInboxes {
  peers: Peers
  /** Ranges of `inbox` that this node's store leads. */
  led: () => readonly RangeDescriptor[]
}

/** Nodes that a QoS 0 message is sent on to at most, as its session moves. */
const HOPS_MAX = 2

const NO_LEASES: LeaseWatch = { untilMs: Number.POSITIVE_INFINITY, look: () => {} }

/** Of a group whose first member did not attach here. */
const GROUP_LIMITS: InboxLimits = {
  messagesMax: 10_000,
  bytesMax: 64 * 1024 * 1024,
  dropPolicy: 'oldest',
  filtersMax: 0,
}

/** The inbox service as this node's front end sees it. */
export class InboxClient implements Inbox {
  readonly lease: LeaseWatch
  readonly #ranges: InboxRanges
  readonly #observer: InboxObserver
  readonly #log: Logger
  readonly #host: FeedHost
  readonly #qos0: Qos0Gate
  readonly #source: FeedSource | null = null
  readonly #passing: Passing | null = null
  /** The next of several nodes. */
  #turn = 0
  /** The same feeds as the observer's, found without making a key. */
  readonly #feeds = new Map<TenantId, Map<InboxId, QueueFeed>>()
  readonly #limits = new WeakMap<Owner, InboxLimits>()
  #publisher: WillPublisher | null = null
  readonly #leases: NodeLeases | null
  readonly #attaching: Attaching

  constructor({ ranges, observer, clock, defer, log, node, others, leases }: InboxClientOptions) {
    this.#leases = leases ?? null
    this.lease = leases?.front ?? NO_LEASES
    this.#attaching = new Attaching({ ranges, clock, leases: leases?.front ?? null })
    this.#ranges = ranges
    this.#observer = observer
    this.#log = log
    const done = () => this.#host.runWoken()
    const happened = (news: News) => observer.happened(news)
    const watches = others === undefined ? null : new FeedWatches({ ...others, ranges, clock, happened, done })
    this.#host = new FeedHost({
      ...{ ranges, clock, defer, log, node, watches, lease: this.lease },
      nodeIncarnation: () => leases?.front.incarnation ?? 1,
      covers: (key) => observer.covers(key),
      expired: (key, count) => this.#lose(key, 'expired', count),
      closed: (feed) => this.#forget(feed),
    })
    this.#qos0 = new Qos0Gate(ranges, clock)
    if (others !== undefined) {
      this.#source = new FeedSource({ ...others, clock, passed: (letter) => this.#passed(letter) })
      this.#passing = new Passing(others.peers, (letters) => {
        for (const { name } of letters) this.#lose(parseStart(Buffer.from(name, 'latin1')), 'full-newest')
      })
    }
    const confirm = (key: Uint8Array, number: number) => {
      ranges.mutateWith(key, { type: 'fired', key, number }, () => {})
    }
    observer.connect(this.#host, confirm, this.#source)
    observer.freed = (name) => this.#attaching.freed(name)
    if (leases !== undefined) observer.nodeChanged = (range, effect) => leases.leaders.applied(range, effect)
  }

  async head(key: InboxKey, msMax?: number): Promise<InboxHead | null> {
    const start = startOf(key)
    const options = msMax === undefined ? {} : { deadlineMs: msMax }
    return (await this.#ranges.query(start, { type: 'head', key: start }, options)) as InboxHead | null
  }

  async attach(request: AttachRequest): Promise<Attached> {
    const { tenant, inbox, client, connection, node, cleanStart, expirySeconds, limits, lost } = request
    if (inbox === '' || inbox.startsWith(GROUP_MARK)) {
      throw new BrokerError('INVALID_ARGUMENT', `Cannot attach session "${inbox}": this name is kept for shared groups`)
    }
    const key = startOf(request)
    const will = request.will === null ? null : copyWill(request.will)
    const response = await this.#attaching.attach(
      { type: 'attach', key, connection, node, cleanStart, expirySeconds, will, ...client, limits },
      lost ?? (() => {}),
    )
    const { incarnation, attachment, sessionPresent, subscriptions, received, ended, previous } = response
    const owner: Owner = { tenant, inbox, incarnation, connection, attachment }
    this.#limits.set(owner, limits)
    return {
      ...{ owner, sessionPresent, subscriptions, received, previous },
      groups: groupsOf(request, subscriptions),
      ended: ended === null ? null : { ...ended, groups: groupsOf(request, ended.subscriptions) },
    }
  }

  async detach({ owner, expirySeconds, discardWill, sentUpTo }: DetachRequest): Promise<void> {
    const fence = fenceOf(owner)
    const name = nameOf(fence.key)
    const feed = this.#observer.feeds.get(name)
    // Acknowledgements that wait go first, by the same key.
    if (feed?.owner.connection === owner.connection) feed.close()
    const members = this.#observer.members.get(name)
    if (members?.connection === owner.connection) for (const group of [...members.feeds]) group.close()
    const outcome = await this.#attaching.detach({ type: 'detach', ...fence, expirySeconds, discardWill, sentUpTo })
    if (outcome === 'conflict') throw conflict(owner)
  }

  async ready(key: InboxKey, msMax: number): Promise<void> {
    await this.#leases?.front.ready(startOf(key), msMax)
  }

  async remove(key: InboxKey, incarnation?: number): Promise<boolean> {
    const start = startOf(key)
    const command = { type: 'remove', key: start, incarnation: incarnation ?? null } as const
    return (await this.#ranges.mutate(start, command)) === 'done'
  }

  async subscribe(owner: Owner, subscriptions: readonly InboxSubscription[]): Promise<SubscribeOutcome[]> {
    const response = await this.#fenced(owner, { type: 'subscribe', ...fenceOf(owner), subscriptions })
    return (response as Extract<Response, { type: 'subscribed' }>).outcomes
  }

  confirm(owner: Owner, filters: readonly string[]): void {
    const fence = fenceOf(owner)
    this.#ranges.mutateWith(fence.key, { type: 'confirm', ...fence, filters }, (error) => {
      // It stays marked pending: its route is made again at the next attach.
      if (error !== null) this.#log.warn({ err: error, inbox: owner.inbox }, 'Could not mark filters as routed')
    })
  }

  async unsubscribe(owner: Owner, filters: readonly string[]): Promise<boolean[]> {
    const response = await this.#fenced(owner, { type: 'unsubscribe', ...fenceOf(owner), filters })
    return (response as Extract<Response, { type: 'unsubscribed' }>).existed
  }

  insert(tenant: TenantId, insert: Insert, done: InsertDone): void {
    insertAll(this.#ranges, tenant, insert, (target, later) => this.#passOn(tenant, insert, target, later), done)
  }

  open(owner: Owner, options: FeedOptions, sink: FeedSink): Feed {
    const key = startOf(owner)
    const name = nameOf(key)
    this.#observer.feeds.get(name)?.close()
    const feed = new QueueFeed(this.#host, key, name, owner, options, sink)
    this.#observer.feeds.set(name, feed)
    let feeds = this.#feeds.get(owner.tenant)
    if (feeds === undefined) this.#feeds.set(owner.tenant, (feeds = new Map()))
    feeds.set(owner.inbox, feed)
    feed.open()
    return feed
  }

  async receive(owner: Owner, packetId: number): Promise<PublishNumber> {
    const response = await this.#fenced(owner, { type: 'receive', ...fenceOf(owner), packetId })
    const { number, repeated, floor } = response as Extract<Response, { type: 'number' }>
    return { number, repeated, floor }
  }

  async release(owner: Owner, packetId: number): Promise<boolean> {
    return (await this.#fenced(owner, { type: 'release', ...fenceOf(owner), packetId })) === 'done'
  }

  async joinGroup(group: GroupKey, member: Owner, options: SubscriptionOptions): Promise<GroupJoined> {
    const inbox = groupInbox(group)
    const key = inboxStart(group.tenant, inbox)
    const limits = this.#limits.get(member) ?? GROUP_LIMITS
    const { inbox: name, incarnation: memberIncarnation } = member
    const command = { type: 'join', key, member: name, incarnation: memberIncarnation, options, limits } as const
    const response = await this.#ranges.mutate(key, command)
    const { incarnation, created } = response as Extract<Response, { type: 'joined' }>
    return { inbox, incarnation, created }
  }

  async leaveGroup(group: GroupKey, member: InboxKey, incarnation?: number): Promise<GroupLeft> {
    const inbox = groupInbox(group)
    const key = inboxStart(group.tenant, inbox)
    const command = { type: 'leave', key, member: member.inbox, incarnation: incarnation ?? null } as const
    const { endedIncarnation } = (await this.#ranges.mutate(key, command)) as Extract<Response, { type: 'left' }>
    return { ended: endedIncarnation === null ? null : { inbox, incarnation: endedIncarnation } }
  }

  openGroup(group: GroupKey, member: Owner, options: FeedOptions, sink: FeedSink): Feed {
    const key = inboxStart(group.tenant, groupInbox(group))
    const name = nameOf(key)
    const gate = this.#gateOf(member)
    const feed = new GroupFeed(this.#host, { key, name }, { owner: member, options, sink, gate })
    gate.add(feed)
    const feeds = this.#observer.groups.get(name)
    if (feeds === undefined) this.#observer.groups.set(name, [feed])
    else feeds.push(feed)
    feed.open()
    return feed
  }

  async list(
    tenant: TenantId,
    page: { after?: InboxId; limit: number },
  ): Promise<{ heads: InboxHead[]; next: InboxId | null }> {
    const to = tenantEnd(tenant)
    const heads: InboxHead[] = []
    let from: Uint8Array | null =
      page.after === undefined ? tenantStart(tenant) : Buffer.from(`${tenant}\0${page.after}\x01`)
    while (from !== null && heads.length < page.limit) {
      const limit = page.limit - heads.length
      const answer = await this.#ranges.query(from, { type: 'list', from, to, limit })
      if (answer === null || typeof answer === 'string' || !('type' in answer) || answer.type !== 'list') break
      heads.push(...answer.heads)
      from = answer.next
    }
    return { heads, next: from === null ? null : (heads.at(-1)?.inbox ?? null) }
  }

  /** See {@link WillPublisher.nodeGone}. */
  async nodeGone(node: string, incarnation: number): Promise<void> {
    await this.#publisher?.nodeGone(node, incarnation)
  }

  async renewed(incarnation: number): Promise<void> {
    await this.#publisher?.renewed(incarnation)
  }

  start(publisher: WillPublisher): void {
    this.#publisher = publisher
    this.#observer.start(publisher)
    this.#leases?.start(this.#ranges)
  }

  async leave(): Promise<void> {
    await this.#leases?.leave()
  }

  stats(): InboxStats {
    const { front, leaders } = this.#leases ?? { front: null, leaders: null }
    return {
      ...{ ...this.#observer.stats(), watching: this.#host.watching },
      ...{ leasesHeld: front?.held ?? 0, leaseClosed: front?.closed ?? 0, selfFenced: front?.fenced ?? 0 },
      ...{ fences: leaders?.fences ?? 0, fencedSessions: leaders?.sessions ?? 0 },
    }
  }

  async close(): Promise<void> {
    this.#host.stop()
    this.#source?.stop()
    for (const feed of [...this.#observer.feeds.values()]) feed.lost('closed')
    for (const feeds of [...this.#observer.groups.values()]) for (const feed of [...feeds]) feed.lost('closed')
  }

  async #fenced(owner: Owner, command: Extract<Command, Fenced>): Promise<Response> {
    const response = await this.#ranges.mutate(command.key, command)
    if (response === 'conflict') throw conflict(owner)
    return response
  }

  /** QoS 0: past the log, to the feed that is open here, or to the node where it is. */
  #passOn(
    tenant: TenantId,
    insert: Insert,
    target: InsertTarget,
    later: (error: Error | null, result: InsertResult | null) => void,
    hops = 0,
  ): InsertResult | null {
    if (this.#passHere(tenant, insert.message, target)) return 'ok'
    const command = toCommand(tenant, insert, target)
    this.#qos0.decide(command.key, target.incarnation, (error, answer) => {
      if (error !== null || answer === null) return later(null, 'dropped')
      if (typeof answer === 'object' && this.#passAway(command, answer.nodes, hops)) return later(null, 'ok')
      const queue = typeof answer === 'object' ? answer.queue : answer === 'queue'
      if (!queue) return later(null, answer === 'absent' ? 'absent' : 'dropped')
      this.#ranges.mutateWith(command.key, command, (failure, response) => later(failure, response as InsertResult))
    })
    return null
  }

  #passHere(tenant: TenantId, message: Message, target: InsertTarget): boolean {
    if (target.inbox.startsWith(GROUP_MARK)) return this.#passToMember(tenant, message, target)
    const feed = this.#feeds.get(tenant)?.get(target.inbox)
    if (!feed?.passes || feed.owner.incarnation !== target.incarnation) return false
    feed.pass(message, target)
    return true
  }

  #passToMember(tenant: TenantId, message: Message, target: InsertTarget): boolean {
    const feeds = this.#observer.groups.get(nameOf(inboxStart(tenant, target.inbox)))
    const feed = feeds?.shift()
    if (feeds === undefined || feed === undefined) return false
    feeds.push(feed)
    feed.pass(message, target)
    return true
  }

  /** To the node that has the session, or one of those with members of the group. */
  #passAway(command: InsertCommand, nodes: readonly string[], hops: number): boolean {
    const node = nodes[this.#turn++ % nodes.length]
    if (this.#passing === null || node === undefined || node === this.#host.node || hops >= HOPS_MAX) return false
    const { key, incarnation, message, retain, subscriptionIds } = command
    const letter = { type: 'pass', name: nameOf(key), incarnation, hops, message, retain, subscriptionIds } as const
    this.#passing.send(node as HostId, letter)
    return true
  }

  /** Another node thinks that the session is here. */
  #passed({ name, incarnation, hops, message, retain, subscriptionIds }: PassLetter): void {
    const key = parseStart(Buffer.from(name, 'latin1'))
    const target: InsertTarget = { inbox: key.inbox, incarnation, qos: 0, retain, subscriptionIds }
    const settle = (error: Error | null, result: InsertResult | null) => {
      if (error !== null || result !== 'ok') this.#lose(key, 'full-newest')
    }
    const insert: Insert = { message, targets: [target], dedup: null }
    this.#passOn(key.tenant, insert, target, settle, hops + 1)
  }

  #gateOf(member: Owner): MemberGate<GroupFeed> {
    const session = nameOf(startOf(member))
    const known = this.#observer.members.get(session)
    if (known?.connection === member.connection) return known
    known?.lost('taken-over')
    const gate = new MemberGate<GroupFeed>(member.connection)
    this.#observer.members.set(session, gate)
    return gate
  }

  #forget(feed: RunningFeed): void {
    if (feed instanceof GroupFeed) {
      const feeds = this.#observer.groups.get(feed.name)?.filter((each) => each !== feed) ?? []
      if (feeds.length === 0) this.#observer.groups.delete(feed.name)
      else this.#observer.groups.set(feed.name, feeds)
      const session = nameOf(startOf(feed.member))
      if (this.#observer.members.get(session)?.feeds.size === 0) this.#observer.members.delete(session)
    } else if (feed instanceof QueueFeed && this.#observer.feeds.get(feed.name) === feed) {
      this.#observer.feeds.delete(feed.name)
      const feeds = this.#feeds.get(feed.owner.tenant)
      feeds?.delete(feed.owner.inbox)
      if (feeds?.size === 0) this.#feeds.delete(feed.owner.tenant)
    }
  }

  #lose({ tenant, inbox }: InboxKey, reason: 'expired' | 'full-newest', count = 1): void {
    this.#observer.countDrops(count)
    this.#publisher?.dropped({ tenant, inbox }, reason, count)
  }
}

function startOf({ tenant, inbox }: InboxKey): Buffer {
  return inboxStart(tenant, inbox)
}

function fenceOf(owner: Owner): Fenced {
  return { key: startOf(owner), incarnation: owner.incarnation, connection: owner.connection }
}

/** The bytes of a will are views into the CONNECT packet. */
function copyWill({ message, delaySeconds }: Will): Will {
  const { payload, properties } = message
  return {
    message: { ...message, payload: Uint8Array.from(payload), properties: Uint8Array.from(properties) },
    delaySeconds,
  }
}
