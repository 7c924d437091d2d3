import type { Message } from '../base/message.ts'
import { remainingExpirySeconds } from '../base/message.ts'
import type { Feed, FeedEntry, FeedOptions, FeedSink, InsertTarget, Owner } from './contract.ts'
import { conflict } from './errors.ts'
import type { FeedHost } from './feed-host.ts'
import type { MemberGate } from './member-gate.ts'
import type { WatchingFeed } from './remote/watches.ts'
import type { Command, Response } from './store/command.ts'

export interface GroupMemberOptions {
  owner: Owner
  options: FeedOptions
  sink: FeedSink
  /** Of the owner's connection. */
  gate: MemberGate<GroupFeed>
}

/** A QoS 2 entry and the packet id that it is to have. */
interface Binding {
  entry: FeedEntry
  packetId: number
}

/**
 * Pushes a member's share of a shared group's queue. The coprocessor assigns entries under the member's credit, so all
 * that comes here may be pushed; a QoS 2 entry is bound to a packet id first, where the front end gives one.
 */
export class GroupFeed implements Feed, WatchingFeed {
  readonly member: Owner
  readonly key: Uint8Array
  readonly name: string
  remote = false
  readonly #host: FeedHost
  readonly #options: FeedOptions
  readonly #sink: FeedSink
  readonly #gate: MemberGate<GroupFeed>
  #state: 'opening' | 'open' | 'closed' = 'opening'
  #batch: FeedEntry[] = []
  /** Assigned before the answer to the opening: what is owed comes first. */
  #early: FeedEntry[] = []
  /** Entries that came and whose trim is not committed, with the packet ids that were taken for them; 0 = none. */
  readonly #known = new Map<number, number>()
  /** Pushed and not acknowledged. */
  readonly #outstanding = new Set<number>()
  #acknowledged: number[] = []
  /** Ids that may be committed or not: each is tried again before any later one, and given to no other entry. */
  #doubtful: Binding[] = []

  constructor(host: FeedHost, group: { key: Uint8Array; name: string }, member: GroupMemberOptions) {
    this.#host = host
    this.key = group.key
    this.name = group.name
    this.member = member.owner
    this.#options = member.options
    this.#sink = member.sink
    this.#gate = member.gate
  }

  get watchedAs(): string {
    return this.member.connection
  }

  open(): void {
    this.#host.listen(this)
  }

  /** Also where effects may have been missed: asks for what it is owed. */
  heard(): void {
    if (this.#state === 'closed') return
    const { incarnation, attachment = 0 } = this.member
    const command: Command = {
      ...{ type: 'member-open', ...this.#names(), incarnation, attachment },
      ...{ node: this.#host.node, nodeIncarnation: this.#host.nodeIncarnation, credit: this.#options.credit },
    }
    this.#host.ranges.mutateWith(this.key, command, (error, response) => {
      if (this.#state === 'closed') return
      if (error !== null) return this.#host.retry(this, () => this.heard(), error)
      if (typeof response === 'object' && response?.type === 'opened') this.#opened(response.owed)
      else if (response === 'conflict') this.lost('taken-over')
      else this.#host.refused(this, 'the session is not a member of the group')
    })
  }

  assigned(entry: FeedEntry): void {
    if (this.#state === 'opening') this.#early.push(entry)
    else if (this.#state === 'open' && !this.#known.has(entry.sequence)) this.#take(entry)
  }

  /** A QoS 0 message that is kept nowhere. */
  pass(message: Message, { retain, subscriptionIds }: InsertTarget): void {
    const entry = { sequence: 0, packetId: 0, dup: false, released: false, message, retain, subscriptionIds } as const
    this.#batch.push({ ...entry, qos: 0 })
    this.#host.wake(this)
  }

  acknowledge(sequence: number): void {
    if (!this.#outstanding.delete(sequence)) return
    this.#noteDone(sequence)
  }

  received(sequence: number, packetId: number, done: (error: Error | null) => void): void {
    const command = { type: 'member-bind', ...this.#names(), sequence, packetId, released: true } as const
    this.#host.ranges.mutateWith(this.key, command, (error, response) =>
      done(error === null && response === 'conflict' ? conflict(this.member) : error),
    )
  }

  run(): void {
    if (this.#state !== 'open' || this.#batch.length === 0) return
    const batch = this.#batch
    this.#batch = []
    this.#sink.entries(batch)
  }

  tick(): void {
    if (this.#acknowledged.length > 0 && this.#state !== 'closed') this.#trim()
  }

  close(): void {
    if (this.#state === 'closed') return
    this.#end()
    if (this.#acknowledged.length > 0) this.#trim()
    this.#host.ranges.mutateWith(this.key, { type: 'member-close', ...this.#names() }, () => {})
  }

  lost(reason: Parameters<FeedSink['lost']>[0]): void {
    if (this.#state === 'closed') return
    this.#end()
    this.#sink.lost(reason)
  }

  #names() {
    return { key: this.key, member: this.member.inbox, connection: this.member.connection }
  }

  #opened(owed: readonly FeedEntry[]): void {
    this.#state = 'open'
    for (const entry of owed) if (entry.packetId > 0 && !this.#known.has(entry.sequence)) this.#push(entry)
    // Ids that are owed are known to the front end before any is taken.
    this.run()
    this.#gate.opened(this)
    for (const entry of owed) this.assigned(entry)
    for (const entry of this.#early) this.assigned(entry)
    this.#early = []
    this.run()
  }

  #take(entry: FeedEntry): void {
    const { message } = entry
    this.#known.set(entry.sequence, 0)
    if (message !== null && message.expirySeconds >= 0 && remainingExpirySeconds(message, this.#host.nowMs()) === 0) {
      this.#host.expired(this.member, 1)
      this.#noteDone(entry.sequence)
    } else if (entry.qos === 2 && this.#options.packetIds !== undefined) {
      const { packetIds } = this.#options
      this.#gate.whenOpen(() => this.#bind(entry, packetIds))
    } else this.#push(entry)
  }

  #bind(entry: FeedEntry, packetIds: NonNullable<FeedOptions['packetIds']>): void {
    if (this.#state !== 'open') return
    const binding = { entry, packetId: packetIds.take() }
    if (this.#doubtful.length > 0) this.#doubtful.push(binding)
    else this.#commit(binding)
  }

  /** Commits the packet id before the entry is sent with it. */
  #commit(binding: Binding): void {
    const { entry, packetId } = binding
    const { sequence } = entry
    const command = { type: 'member-bind', ...this.#names(), sequence, packetId, released: false } as const
    this.#host.ranges.mutateWith(this.key, command, (error, response) => {
      if (error === null && response !== 'done') this.#options.packetIds?.free(packetId)
      // Whoever opens the feed next is owed the entry with its id.
      if (this.#state !== 'open') return
      if (error !== null) return this.#doubt(binding, error)
      if (response === 'done') {
        entry.packetId = packetId
        this.#push(entry)
      }
      if (this.#doubtful[0] !== binding) return
      this.#doubtful.shift()
      this.#commitNext()
    })
  }

  #doubt(binding: Binding, error: Error): void {
    if (this.#doubtful[0] !== binding) this.#doubtful.push(binding)
    if (this.#doubtful[0] === binding) this.#host.retry(this, () => this.#commitNext(), error)
  }

  /** One after the other, so that none overtakes. */
  #commitNext(): void {
    const [next] = this.#doubtful
    if (next !== undefined) this.#commit(next)
  }

  #push(entry: FeedEntry): void {
    this.#known.set(entry.sequence, entry.packetId)
    this.#batch.push(entry)
    this.#host.wake(this)
    if (entry.qos === 0) this.#noteDone(entry.sequence)
    else this.#outstanding.add(entry.sequence)
  }

  /** Credit comes back with the trim, so it leaves early where there is little. */
  #noteDone(sequence: number): void {
    this.#acknowledged.push(sequence)
    if (this.#acknowledged.length >= this.#options.credit / 4) this.#trim()
    else this.#host.tickLater(this)
  }

  #trim(): void {
    const sequences = this.#acknowledged
    this.#acknowledged = []
    const command = { type: 'member-trim', ...this.#names(), sequences } as const
    this.#host.ranges.mutateWith(this.key, command, (error, response) => this.#trimmed(sequences, error, response))
  }

  #trimmed(sequences: readonly number[], error: Error | null, response: Response | null): void {
    if (this.#state === 'closed') return
    if (error !== null) {
      for (const sequence of sequences) this.#acknowledged.push(sequence)
      this.#host.tickLater(this)
    } else if (response === 'conflict') this.lost('taken-over')
    else for (const sequence of sequences) this.#free(sequence)
  }

  #free(sequence: number): void {
    const packetId = this.#known.get(sequence) ?? 0
    this.#known.delete(sequence)
    if (packetId > 0) this.#options.packetIds?.free(packetId)
  }

  #end(): void {
    this.#state = 'closed'
    this.#batch = []
    this.#doubtful = []
    this.#gate.remove(this)
    this.#host.closed(this)
  }
}
