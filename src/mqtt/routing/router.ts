/**
 * Sends a message to everybody it concerns: the front end's side of `dist`.
 *
 * Hot path: {@link Router.deliverTransient} serves every message for transient subscribers, here and on other nodes,
 * without an allocation; what needs `inbox`, `retain` or a group goes through {@link Router.publish} (bench: `pairs`,
 * `shared`).
 */

import { assert } from '../../base/assert.ts'
import { type Random, systemRandom } from '../../base/clock.ts'
import type { InboxId, TenantId } from '../../base/ids.ts'
import type { Logger } from '../../base/logging.ts'
import type { Message, QoS } from '../../base/message.ts'
import type { Dist, MatchedGroup, MatchedInbox, Route, SubBroker, TopicEntry } from '../../dist/index.ts'
import type { Dedup, Inbox, InsertResult, InsertTarget } from '../../inbox/index.ts'
import type { SettingsSource } from '../../plugin/index.ts'
import type { Retain } from '../../retain/index.ts'
import { checkTopicName, REASON } from '../codec/index.ts'
import { deliverLocal } from './deliver.ts'
import { Fanout } from './fanout.ts'
import { GroupDelivery } from './group-delivery.ts'
import type { LocalTable } from './local-table.ts'
import type { OtherNodes } from './other-nodes.ts'
import { Publication } from './publication.ts'
import { TopicCache, type TopicSlot } from './topic-cache.ts'

export interface RouterParts {
  dist: Dist
  inbox: Inbox
  retain: Retain
  table: LocalTable
  settings: SettingsSource
  /** Sub-brokers of plugins by name. */
  brokers: ReadonlyMap<string, SubBroker>
  node: string
  /** The other nodes; left out where this one is alone. */
  others?: OtherNodes
  /** Chooses among a group's members on several nodes. */
  random?: Random
  log: Logger
  /** An entry of a queue gave way or an insert found no room. */
  queueDropped(tenant: TenantId, inbox: InboxId, topic: string, qos: QoS): void
}

/**
 * A QoS 2 publish of a persistent session: inboxes drop repetitions by its number. `repeated`: it may have been routed
 * before, so those who cannot tell a repetition (transient subscribers) do not get it.
 */
export type Repetition = (Dedup & { repeated: boolean }) | null

/** `matched` counts receivers, 0 = nobody. */
export type Published = (error: Error | null, matched: number) => void

export class Router {
  readonly #parts: RouterParts
  readonly #topics = new TopicCache()
  readonly #stored = new Publication()
  readonly #groups: GroupDelivery

  constructor(parts: RouterParts) {
    this.#parts = parts
    const { table, node, others = null, random = systemRandom } = parts
    this.#groups = new GroupDelivery({ table, node, others, random })
  }

  /** The routes of a topic given as bytes, or the reason code that refuses the topic. */
  find(tenant: TenantId, buffer: Buffer, start: number, end: number): TopicSlot | number {
    const known = this.#topics.find(tenant, buffer, start, end)
    if (known !== null) return known
    const failure = checkTopicName(buffer, start, end)
    if (failure !== 0) return failure
    const topic = buffer.toString('utf8', start, end)
    if (!this.allowsTopic(tenant, topic, end - start)) return REASON.TOPIC_NAME_INVALID
    return this.#topics.keep(tenant, buffer, start, end, this.#parts.dist.match(tenant, topic))
  }

  /** The same, for a topic that was checked before. */
  match(tenant: TenantId, topic: string): TopicEntry {
    return this.#parts.dist.match(tenant, topic)
  }

  /** Whether QoS 1 and 2 may be matched here now: see {@link Dist.isSure}. */
  isSure(tenant: TenantId): boolean {
    return this.#parts.dist.isSure(tenant)
  }

  /** Calls back when the message may be matched here, at once where it may, or with an error. */
  whenSure(tenant: TenantId, message: Message, done: (error: Error | null) => void): void {
    if (message.qos === 0 || this.isSure(tenant)) return done(null)
    this.#parts.dist.whenSure(tenant, message.topic.length + message.payload.length + message.properties.length, done)
  }

  /** The tenant's limits on topics. */
  allowsTopic(tenant: TenantId, topic: string, bytes: number): boolean {
    const settings = this.#parts.settings.of(tenant)
    if (bytes > settings.topicBytesMax) return false
    const levels = topic.split('/')
    if (levels.length > settings.topicLevelsMax) return false
    // Where all of it is short enough, so is each level.
    if (bytes <= settings.topicLevelBytesMax) return true
    return levels.every((level) => Buffer.byteLength(level) <= settings.topicLevelBytesMax)
  }

  fanout(entry: TopicEntry): Fanout {
    let fanout = entry.derived as Fanout | null
    if (fanout === null) {
      fanout = new Fanout(entry, this.#parts.table, this.#parts.node, this.#parts.others)
      entry.derived = fanout
    }
    return fanout
  }

  /** QoS 0 without RETAIN where the fanout is `transientOnly`: nobody answers, so nobody waits. */
  deliverTransient(publication: Publication, fanout: Fanout): void {
    deliverLocal(publication, fanout)
    const { remotes } = fanout
    for (let i = 0; i < remotes.length; i++) remotes[i]!.send(publication)
  }

  /**
   * Routes a message to everybody. `done` is called once: when every matching inbox and, with RETAIN, the retained
   * message is committed; at once where there is nothing to wait for. It waits for nothing with QoS 0, or where the
   * tenant's `durability` says so: this node alone is the quorum, so that having received it is all that is left.
   */
  publish(tenant: TenantId, publication: Publication, entry: TopicEntry, dedup: Repetition, done: Published): void {
    const waits = publication.qos > 0 && this.#parts.settings.of(tenant).durability === 'quorum-sync'
    this.#send(tenant, publication, entry, dedup, new Waiter(waits, done))
  }

  /** As {@link publish}, of a message that was kept until now. */
  publishKept(tenant: TenantId, message: Message, dedup: Repetition, done: Published): void {
    this.#stored.fromMessage(message)
    this.publish(tenant, this.#stored, this.match(tenant, message.topic), dedup, done)
  }

  /** Publishes a message that did not come from a packet (a will, the API's): always waits for what it stores. */
  publishMessage(tenant: TenantId, message: Message, dedup: Repetition = null): Promise<number> {
    return new Promise((resolve, reject) => {
      this.whenSure(tenant, message, (refusal) => {
        if (refusal !== null) return reject(refusal)
        this.#stored.fromMessage(message)
        const done: Published = (error, matched) => (error ? reject(error) : resolve(matched))
        this.#send(tenant, this.#stored, this.match(tenant, message.topic), dedup, new Waiter(true, done))
      })
    })
  }

  #send(tenant: TenantId, publication: Publication, entry: TopicEntry, dedup: Repetition, waiter: Waiter): void {
    const fanout = this.fanout(entry)
    const again = dedup?.repeated ?? false
    if (!again) {
      deliverLocal(publication, fanout)
      this.#sendToNodes(publication, fanout, waiter)
    }
    waiter.matched += fanout.targets.length + fanout.remotes.length
    if (publication.retain) this.#retain(tenant, publication, waiter)
    if (!fanout.transientOnly) this.#deliverBeyond(tenant, publication, entry, dedup, waiter)
    waiter.close()
  }

  /** The answer to the publisher waits for room in the links' buffers, never for a node. */
  #sendToNodes(publication: Publication, fanout: Fanout, waiter: Waiter): void {
    const { remotes } = fanout
    for (let i = 0; i < remotes.length; i++) {
      const route = remotes[i]!
      if (route.send(publication) === 'full') route.wait(publication.message(), waiter.expect())
    }
  }

  #deliverBeyond(
    tenant: TenantId,
    publication: Publication,
    entry: TopicEntry,
    dedup: Repetition,
    waiter: Waiter,
  ): void {
    const again = dedup?.repeated ?? false
    const { inserts } = this.fanout(entry)
    let targets: readonly InsertTarget[]
    if (inserts === null) {
      const own = insertTargets(publication, entry)
      for (const group of entry.groups) {
        const outcome = this.#groups.deliver(tenant, publication, group, again, () => waiter.expect())
        if (outcome === 'taken') waiter.matched++
        else if (outcome === 'inbox') own.push(groupTarget(group, publication))
      }
      targets = own
    } else targets = inserts[publication.qos + (publication.retain ? 3 : 0)] ??= insertTargets(publication, entry)
    waiter.matched += targets.length
    if (targets.length > 0) this.#insert(tenant, publication, targets, dedup, entry, waiter)
    for (const plugin of again ? [] : entry.plugins) {
      const broker = this.#parts.brokers.get(plugin.broker)
      if (!broker) continue
      waiter.matched++
      const settle = waiter.expect()
      broker.deliver([{ tenant, message: publication.message(), receivers: [plugin.receiver] }]).then(
        () => settle(null),
        (error: unknown) => settle(error instanceof Error ? error : new Error(String(error))),
      )
    }
  }

  #insert(
    tenant: TenantId,
    publication: Publication,
    targets: readonly InsertTarget[],
    dedup: Repetition,
    entry: TopicEntry,
    waiter: Waiter,
  ): void {
    const settle = waiter.expect()
    const message = publication.message()
    this.#parts.inbox.insert(tenant, { message, targets, dedup }, (error, results) => {
      if (results !== null) this.#checkResults(tenant, message, targets, results, entry)
      settle(error)
    })
  }

  #checkResults(
    tenant: TenantId,
    message: Message,
    targets: readonly InsertTarget[],
    results: readonly InsertResult[],
    entry: TopicEntry,
  ): void {
    for (let i = 0; i < results.length; i++) {
      const { inbox, qos } = targets[i]!
      if (results[i] === 'dropped') this.#parts.queueDropped(tenant, inbox, message.topic, qos)
      else if (results[i] === 'absent') this.#removeStale(tenant, targets[i]!, entry)
    }
  }

  /** The session is gone or newer: its route goes by incarnation, so that a newer one stays. */
  #removeStale(tenant: TenantId, target: InsertTarget, entry: TopicEntry): void {
    const { inbox, incarnation } = target
    const matched = entry.inboxes.find((candidate) => candidate.inbox === inbox)
    for (const { filter, ...options } of matched?.subscriptions ?? []) {
      this.#removeRoute({ tenant, filter, receiver: { kind: 'inbox', inbox, options }, incarnation })
    }
    for (const { group, filter, ordered, members } of entry.groups) {
      const member = members.find((candidate) => candidate.kind === 'inbox' && candidate.inbox === inbox)
      if (member === undefined) continue
      this.#removeRoute({ tenant, filter, receiver: { kind: 'group', group, ordered, member }, incarnation })
    }
  }

  #removeRoute(route: Route): void {
    const { tenant, filter } = route
    this.#parts.dist.changeWith({ op: 'remove', ...route }, (error) => {
      if (error) this.#parts.log.warn({ err: error, tenant, filter }, 'Could not remove a stale route')
    })
  }

  #retain(tenant: TenantId, publication: Publication, waiter: Waiter): void {
    const settings = this.#parts.settings.of(tenant)
    const settle = waiter.expect()
    const limits = { topicsMax: settings.retainTopicsMax, bytesMax: settings.retainBytesMax }
    this.#parts.retain.set(tenant, publication.message(), limits).then(
      () => settle(null),
      (error: unknown) => settle(error instanceof Error ? error : new Error(String(error))),
    )
  }
}

/** Counts what a publish waits for; the first error wins. */
class Waiter {
  matched = 0
  #open = 1
  #error: Error | null = null
  readonly #waits: boolean
  readonly #done: Published

  constructor(waits: boolean, done: Published) {
    this.#waits = waits
    this.#done = done
  }

  expect(): (error: Error | null) => void {
    if (!this.#waits) return ignore
    this.#open++
    return (error) => {
      this.#error ??= error
      this.close()
    }
  }

  close(): void {
    if (--this.#open === 0) this.#done(this.#error, this.matched)
  }
}

function ignore(): void {}

const NO_IDS: readonly number[] = []

function insertTargets(publication: Publication, entry: TopicEntry): InsertTarget[] {
  const targets: InsertTarget[] = []
  for (const inbox of entry.inboxes) {
    const target = toInsertTarget(inbox, publication)
    if (target !== null) targets.push(target)
  }
  return targets
}

function toInsertTarget(matched: MatchedInbox, publication: Publication): InsertTarget | null {
  let qos = matched.qos
  let ids = matched.subscriptionIds
  let retainAsPublished = matched.retainAsPublished
  if (matched.noLocal && matched.inbox === (publication.publisher as InboxId)) {
    const left = matched.subscriptions.filter((subscription) => !subscription.noLocal)
    if (left.length === 0) return null
    qos = Math.max(...left.map((subscription) => subscription.qos)) as typeof qos
    ids = left.map((subscription) => subscription.subscriptionId).filter((id) => id !== 0)
    retainAsPublished = left.some((subscription) => subscription.retainAsPublished)
  }
  return {
    inbox: matched.inbox,
    incarnation: matched.incarnation,
    qos: publication.qos < qos ? publication.qos : qos,
    retain: publication.retain && retainAsPublished,
    subscriptionIds: ids,
  }
}

function groupTarget(group: MatchedGroup, publication: Publication): InsertTarget {
  const member = group.members.find((candidate) => candidate.kind === 'inbox')
  assert(member?.kind === 'inbox', 'A group whose inbox is to take a message has one')
  const { inbox, incarnation } = member
  return { inbox, incarnation, qos: publication.qos, retain: publication.retain, subscriptionIds: NO_IDS }
}
