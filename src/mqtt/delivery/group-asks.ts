import type { Random } from '../../base/clock.ts'
import { type BrokerError, ERRORS } from '../../base/errors.ts'
import type { MatchedGroup } from '../../dist/index.ts'
import { pickMember } from '../../dist/index.ts'
import type { DropReason } from '../../plugin/index.ts'
import type { GroupMessage } from '../routing/other-nodes.ts'
import { Publication } from '../routing/publication.ts'
import { type BatchTopic, BatchWriter, topicBlock } from './batch-writer.ts'
import { OUTCOME } from './receiver.ts'

export interface GroupAsksLimits {
  /** Messages under way, and their bytes; beyond, they are refused. */
  messagesMax: number
  bytesMax: number
  /** A batch, at most. */
  batchBytes: number
  /** How long a node that had no room is not asked again. */
  restMs: number
}

export const GROUP_ASKS_LIMITS: GroupAsksLimits = {
  messagesMax: 20_000,
  bytesMax: 16 * 1024 * 1024,
  batchBytes: 60 * 1024,
  restMs: 100,
}

export interface GroupAsksLink {
  /** Monotonic. */
  nowMs(): number
  /** False for a node that is out of reach. */
  reaches(node: string): boolean
  /** Asks a node; the batch is copied before it returns. Answers an {@link OUTCOME} for each message, or an error. */
  request(
    node: string,
    batch: Uint8Array,
    answered: (error: BrokerError | null, outcomes: Uint8Array | null) => void,
  ): void
  /** {@link GroupAsks.flush} is due at the end of this turn. */
  pending(): void
  /** Nobody has the message, or it is not known. */
  lost(reason: DropReason, message: GroupMessage): void
}

interface Asked {
  what: GroupMessage
  bytes: number
  /** Nodes that are not asked again. */
  tried: string[]
  /** Of those, the ones that have members, without room. */
  full: string[]
  /** The node is to take it, whether it has room or not. */
  force: boolean
}

interface Batch {
  writer: BatchWriter
  topics: Map<MatchedGroup, BatchTopic>
  asked: Asked[]
}

const MESSAGE_BYTES = 400

const scratch = new Publication()

/**
 * Messages of QoS 1 and 2 for unordered shared groups with members on other nodes: a node is asked, and chooses a member
 * that has room; where it has none, another one is asked. When nobody has room, somebody takes it all the same.
 *
 * Where the outcome is unknown (the node died, or did not answer), QoS 1 goes to another node, for it may come twice;
 * QoS 2 is given up and counted, for it may not [MQTT-4.8.2-5].
 */
export class GroupAsks {
  refused = 0
  asked = 0
  askedAgain = 0
  readonly #link: GroupAsksLink
  readonly #random: Random
  readonly #run: number
  readonly #limits: GroupAsksLimits
  /** Of this turn, by node; as many as there are nodes. */
  readonly #batches = new Map<string, Batch>()
  /** Until when the members on a node have no room, as far as is known. */
  readonly #resting = new WeakMap<MatchedGroup, Map<string, number>>()
  #messages = 0
  #bytes = 0

  constructor(run: number, random: Random, link: GroupAsksLink, limits: GroupAsksLimits = GROUP_ASKS_LIMITS) {
    this.#run = run
    this.#random = random
    this.#link = link
    this.#limits = limits
  }

  /** Messages whose member is not known yet. */
  get underWay(): number {
    return this.#messages
  }

  credit(node: string, group: MatchedGroup): number {
    if (!this.#link.reaches(node)) return 0
    const untilMs = this.#resting.get(group)?.get(node)
    return untilMs === undefined || untilMs <= this.#link.nowMs() ? 1 : 0
  }

  /** False where too much is under way. */
  ask(what: GroupMessage): boolean {
    const { message } = what
    const bytes = MESSAGE_BYTES + message.payload.length + message.properties.length + message.topic.length
    const { messagesMax, bytesMax } = this.#limits
    if (this.#messages >= messagesMax || (this.#messages > 0 && this.#bytes + bytes > bytesMax)) {
      this.refused++
      return false
    }
    this.#messages++
    this.#bytes += bytes
    this.#next({ what, bytes, tried: [], full: [], force: false })
    return true
  }

  /** Sends what was gathered in this turn. */
  flush(): void {
    for (const node of this.#batches.keys()) this.#send(node)
  }

  #next(asked: Asked): void {
    const { what, tried } = asked
    const member = pickMember(what.group.members, {
      ...{ ordered: false, publisherKey: '', random: this.#random, localNode: '' },
      creditOf: (node) => (tried.includes(node) ? 0 : this.credit(node, what.group)),
    })
    if (member?.kind === 'node') return this.#add(member.node, asked)
    this.#done(asked)
    if (what.takeHere(what.message)) return
    const rest = this.#someoneFull(asked)
    if (rest === null) return this.#link.lost('unroutable', what)
    this.#messages++
    this.#bytes += asked.bytes
    this.#add(rest, { ...asked, force: true })
  }

  /** A node whose members had no room now or a moment ago. */
  #someoneFull({ what, tried, full }: Asked): string | null {
    for (const member of what.group.members) {
      if (member.kind !== 'node' || !this.#link.reaches(member.node)) continue
      if (full.includes(member.node) || !tried.includes(member.node)) return member.node
    }
    return null
  }

  #add(node: string, asked: Asked): void {
    const { message, group, tenant } = asked.what
    let batch = this.#batches.get(node)
    if (batch === undefined) {
      batch = { writer: new BatchWriter(this.#run, this.#limits.batchBytes), topics: new Map(), asked: [] }
      this.#batches.set(node, batch)
    }
    let topic = batch.topics.get(group)
    if (topic === undefined) {
      const name = { name: group.group, ordered: group.ordered }
      const block = topicBlock({ tenant, topic: message.topic, filters: [group.filter], group: name })
      topic = { block, batch: 0, number: 0 }
      batch.topics.set(group, topic)
    }
    scratch.fromMessage(message)
    if (!batch.writer.fits(batch.writer.sizeOf(topic, scratch))) {
      this.#send(node)
      return this.#add(node, asked)
    }
    if (batch.asked.length === 0) this.#link.pending()
    asked.tried.push(node)
    batch.writer.add(topic, scratch, asked.force)
    batch.asked.push(asked)
  }

  #send(node: string): void {
    const batch = this.#batches.get(node)!
    const { asked } = batch
    if (asked.length === 0) return
    this.asked += asked.length
    batch.asked = []
    batch.topics.clear()
    this.#link.request(node, batch.writer.take(), (error, outcomes) => this.#answered(node, asked, error, outcomes))
  }

  #answered(node: string, batch: Asked[], error: BrokerError | null, outcomes: Uint8Array | null): void {
    for (let i = 0; i < batch.length; i++) {
      const asked = batch[i]!
      const outcome = outcomes?.[i]
      if (outcome === OUTCOME.taken) this.#done(asked)
      else if (asked.force) this.#give(asked)
      else if (outcome === OUTCOME.full || outcome === OUTCOME.absent) {
        this.#rest(node, asked.what.group)
        if (outcome === OUTCOME.full) asked.full.push(node)
        this.#again(asked)
      } else if (asked.what.message.qos === 1 || (error !== null && ERRORS[error.code].retry === 'always')) {
        this.#again(asked)
      } else this.#give(asked)
    }
  }

  #again(asked: Asked): void {
    this.askedAgain++
    this.#next(asked)
  }

  #rest(node: string, group: MatchedGroup): void {
    let resting = this.#resting.get(group)
    if (resting === undefined) this.#resting.set(group, (resting = new Map()))
    resting.set(node, this.#link.nowMs() + this.#limits.restMs)
  }

  #give(asked: Asked): void {
    this.#done(asked)
    this.#link.lost('link-lost', asked.what)
  }

  #done(asked: Asked): void {
    this.#messages--
    this.#bytes -= asked.bytes
  }
}
