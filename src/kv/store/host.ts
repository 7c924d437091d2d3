import { BrokerError } from '../../base/errors.ts'
import type { BatchAnswer, CommandBatch } from '../client/transport.ts'
import type { ConfigChange, ConfState, Entry as LogEntry, Persisted, Ready, SnapshotMeta } from '../raft/index.ts'
import type { RangeDescriptor, ServiceName } from '../range/coprocessor.ts'
import { decodeEntry, type Entry, encodeEntry, isMergeCommit } from '../range/entry.ts'
import { takesPart } from '../range/merge.ts'
import type { FrozenRange, MergeProposal, Outcome, Range } from '../range/range.ts'
import { configKey } from '../range/schema.ts'
import { Expected } from './audit.ts'
import type { Gathered } from './gathered.ts'
import type { Asked, Group } from './group.ts'
import type { Hosted } from './hosted.ts'
import { Landings } from './landings.ts'
import type { StoreLimits } from './limits.ts'
import { Merger, type MergingHost, rightOf } from './merge.ts'
import { PendingReads } from './pending-reads.ts'
import { type Applied, type Proposal, Proposals } from './proposals.ts'
import { decodePlaces, encodeConfig, encodePlaces, type Place } from './raft-schema.ts'
import { PendingChanges, replicasOf } from './replica-change.ts'
import type { Service } from './service.ts'
import { tellObserver } from './telling.ts'
import { TimedWork } from './timed-work.ts'
import { Traffic } from './traffic.ts'

interface Committed {
  entry: LogEntry
  /** After it, where it changes the group. */
  config: ConfState | null
}

const NO_ANSWER = () => {}
/** While a state is sent the log may be so much longer: it is all that comes meanwhile. */
const SENDING_LOG_FACTOR = 4

/** Entries of a group under way: while the disk or the network is slow, the next ones gather. */
const ENTRIES_UNDER_WAY_MAX = 4
/**
 * A sole voter's entries wait for the disk, so that they are few and large. With so many commands the next one is applied
 * meanwhile, so that disk and processor do not wait for each other.
 */
const AMPLE_COMMANDS = 256

/** One range on this store: its queue, its group, its machine, its observer. */
export class RangeHost<Command, Response, Query, Answer, Effect> implements Hosted, MergingHost {
  readonly range: Range<Command, Response, Query, Answer, Effect>
  readonly group: Group
  readonly traffic = new Traffic()
  readonly #service: Service<Command, Response, Query, Answer, Effect>
  readonly #limits: StoreLimits
  readonly #proposals: Proposals<Command, Response, Query, Answer, Effect>
  /** Proposed in this turn, not in the log yet. */
  #asking = 0
  /** In the log and not known to be committed, by index. */
  readonly #underWay = new Map<number, { term: number; proposal: Proposal<Command, Response> }>()
  /** Applied and not shown, in order. */
  #unshown: Applied<Command, Response, Effect>[] = []
  landedIndex: number
  readonly #landings: Landings
  /** Configurations of the group by the index from which they hold, from the landed one on. */
  #configs: { index: number; config: ConfState }[]
  readonly #reads = new PendingReads()
  readonly expected: Expected
  readonly #timed: TimedWork<Command>
  readonly #changes: PendingChanges
  /** The group goes on without this replica. */
  #removed = false
  #closed: BrokerError | null = null
  /** Committed, and not applied: the first one waits for the right range of a merge. */
  readonly #backlog: Committed[] = []
  readonly merger: Merger = new Merger(this)
  /** Who is to hear of each step of this replica. */
  awaitedBy: Hosted | null = null

  constructor(
    service: Service<Command, Response, Query, Answer, Effect>,
    range: Range<Command, Response, Query, Answer, Effect>,
    group: Group,
    limits: StoreLimits,
  ) {
    this.#service = service
    this.range = range
    this.expected = new Expected(range)
    this.group = group
    this.#limits = limits
    this.#proposals = new Proposals(range, limits, group)
    this.#changes = new PendingChanges(range.latest.id)
    this.#landings = new Landings(
      (message) => service.send(this, message),
      (persisted, index) => this.#landed(persisted, index),
    )
    this.#timed = new TimedWork<Command>(range as never, group)
    this.landedIndex = range.applied.index
    this.#configs = [{ index: range.applied.index, config: group.config }]
    group.log.snapshotMeta = () => this.snapshot()
    if (takesPart(range.merge)) group.keepAwake(true)
  }

  get id(): string {
    return this.range.latest.id
  }

  get service(): ServiceName {
    return this.range.latest.service
  }

  /** The state that the engine shows while no batch is under way, and its place in the log. */
  snapshot(): SnapshotMeta | null {
    const term = this.group.log.term(this.landedIndex)
    return term === null ? null : { index: this.landedIndex, term, config: this.#configs[0]!.config }
  }

  get descriptor(): RangeDescriptor {
    return this.range.descriptor
  }

  get halted(): string | null {
    return this.range.halted
  }

  get dueMs(): number {
    return this.#timed.dueMs
  }

  isDue(nowMs: number): boolean {
    return this.#timed.isDue(nowMs)
  }

  get waits(): boolean {
    if (this.#closed !== null) return false
    return (this.#mayPropose && this.#proposals.queued > 0) || this.group.hasNews
  }

  get ample(): boolean {
    return this.#proposals.queuedCommands >= AMPLE_COMMANDS && this.#mayPropose
  }

  /** Commands and bytes under way. */
  get load(): { commands: number; bytes: number } {
    return this.#proposals.load
  }

  enqueue(batch: CommandBatch<Command>, answer: BatchAnswer<Response>): BrokerError | null {
    const error = this.#refusal() ?? this.#proposals.push(batch, answer)
    if (error === null) this.traffic.noteCommands(batch.run.count, batch.keys)
    else this.traffic.refused += batch.run.count
    return error
  }

  enqueueSplit(key: Uint8Array, child: string, answer: (error: Error | null) => void): void {
    this.#enqueueAct((nowMs) => this.range.proposeSplit(key, child, nowMs), answer)
  }

  proposeMerge(make: () => MergeProposal, answer: (error: Error | null) => void): void {
    this.#enqueueAct((nowMs) => this.range.proposeMerge(make(), nowMs), answer)
  }

  unsettled(): string | null {
    const { config, established } = this.group
    if (!established) return 'its leader is new'
    const changes = this.#changes.size > 0 || this.#backlog.length > 0 || config.outgoing.length > 0
    return changes ? 'its replicas are changing' : null
  }

  /** Runs `run` when this replica may answer a linearizable read; true where that is now. */
  read(run: (error: BrokerError | null) => void): boolean {
    const { group } = this
    if (group.sole && group.established) return true
    const error = this.#refusal()
    if (error !== null) run(error)
    else if (!group.leads) this.#reads.untilEstablished(run)
    else group.ask({ type: 'read' }, (asked) => this.#readAsked(asked, run))
    return false
  }

  advance(nowMs: number, gathered: Gathered, proposes: boolean): void {
    if (this.#closed !== null) return
    if (this.group.leads && proposes) {
      const due = this.#timed.take(nowMs, this.#limits.dueMax)
      if (due !== null) this.#proposals.pushOwn(due, NO_ANSWER, nowMs)
      while (this.#mayPropose && this.#propose(nowMs)) {}
    }
    this.#takeAll(nowMs, gathered, !proposes)
    if (this.group.elect()) this.#takeAll(nowMs, gathered, false)
    this.#showWhatCanBe(gathered)
    this.#reads.run(this.range.applied.index, this.group.established, this.range.halted !== null)
    this.#compact(gathered)
    if (this.awaitedBy !== null) this.#service.wake(this.awaitedBy)
  }

  /** Changes the group; `answer` is called when the change is in the log and committed, or is not. */
  change(change: ConfigChange, places: readonly Place[], answer: (error: BrokerError | null) => void): void {
    const error = this.#refusal() ?? this.merger.bound()
    if (error !== null) return answer(error)
    const next = places.reduce((most, { replica }) => Math.max(most, replica + 1), this.group.nextReplica)
    this.group.nextReplica = next
    this.group.ask({ type: 'change', change, data: encodePlaces(places) }, (asked) => {
      if (asked.type === 'refused') answer(new BrokerError(asked.code, asked.message))
      else if (asked.type === 'accepted') this.#changes.add(asked, answer)
    })
  }

  /** Hands the leadership to a voter; it succeeds, or nothing changes. */
  transfer(to: number, answer: (error: BrokerError | null) => void): void {
    const error = this.#refusal()
    if (error !== null) return answer(error)
    this.group.ask({ type: 'transfer', to }, (asked) => {
      answer(asked.type === 'refused' ? new BrokerError(asked.code, asked.message) : null)
    })
  }

  /** All that it has applied is shown: above all, no child is on its way to the disk. */
  get settled(): boolean {
    return this.#unshown.length === 0
  }

  /** It is no part of its group any more, and goes once it is settled. */
  leave(): void {
    this.#removed = true
  }

  abort(error: BrokerError): void {
    this.#closed = error
    this.#landings.close()
    this.merger.lost(error)
    this.#proposals.close(error)
    this.#failUnderWay(error)
    for (const { proposal } of this.#unshown.splice(0)) if (proposal !== null) this.#proposals.fail(proposal, error)
    this.#reads.fail(error)
  }

  get #mayPropose(): boolean {
    if (!this.group.leads) return false
    return this.#underWay.size + this.#asking < this.#underWayMax
  }

  get #underWayMax(): number {
    if (!this.group.sole) return ENTRIES_UNDER_WAY_MAX
    return this.#proposals.queuedCommands >= AMPLE_COMMANDS ? 2 : 1
  }

  /** Why nothing can be asked of this replica; null where it leads, or will at once. */
  #refusal(): BrokerError | null {
    if (this.#closed !== null) return this.#closed
    if (this.group.leads || this.group.sole) return null
    const store = this.group.leaderStore
    const { id } = this.descriptor
    const message =
      store === null ? `Range "${id}" has no leader that is known here` : `Range "${id}" is led by store "${store}"`
    return new BrokerError('NOT_LEADER', message, { hint: this.#leaderHint })
  }

  #enqueueAct(make: (nowMs: number) => Entry<Command>, answer: (error: Error | null) => void): void {
    const error = this.#refusal()
    if (error !== null) return answer(error)
    this.#proposals.pushAct(make, answer)
    this.#service.wake(this)
  }

  get #leaderHint(): { range: string; leader: string | null } {
    return { range: this.descriptor.id, leader: this.group.leaderStore }
  }

  /** False where nothing is left to propose. */
  #propose(nowMs: number): boolean {
    const proposal = this.#proposals.next(nowMs)
    if (proposal === null) return false
    const { coprocessor } = this.#service
    const data = encodeEntry(proposal.entry, (commands) => coprocessor.encode(commands))
    if (this.#service.decodeAlways) {
      proposal.entry = decodeEntry(data.slice(), (payload) => coprocessor.decode(payload))
    }
    this.#asking++
    this.group.ask({ type: 'propose', data }, (asked) => this.#proposed(proposal, asked))
    return true
  }

  #proposed(proposal: Proposal<Command, Response>, asked: Asked): void {
    this.#asking--
    if (asked.type === 'accepted') this.#underWay.set(asked.index, { term: asked.term, proposal })
    else if (asked.type === 'refused') this.#proposals.fail(proposal, new BrokerError(asked.code, asked.message))
  }

  #compact(gathered: Gathered): void {
    const { log, alone } = this.group
    const { logBytesAlone, logBytesGroup, logBytesMax } = this.#limits
    const kept = alone ? logBytesAlone : logBytesGroup
    // Not for every entry, but for many at once.
    if (log.bytes <= 2 * kept) return
    // What every replica has on disk of a frozen range stays there, until it is a part of another one.
    if (this.range.merge.frozen !== null) return
    const most = this.group.sendsState ? logBytesMax * SENDING_LOG_FACTOR : logBytesMax
    const needed = log.bytes > most ? this.landedIndex : this.group.neededFrom(this.landedIndex)
    gathered.raft.push(...log.compact(needed, kept))
  }

  #takeAll(nowMs: number, gathered: Gathered, keepsNews: boolean): void {
    for (;;) {
      const ready = this.group.take(gathered.raft, keepsNews)
      this.#take(ready, nowMs, gathered)
      if (!ready.more) break
    }
  }

  #take(ready: Ready, nowMs: number, gathered: Gathered): void {
    const before = this.range.applied.index
    if (ready.leadership !== null) this.#ledBy(nowMs)
    if (ready.entries.length > 0) this.#applyAhead(ready.entries, gathered)
    while (this.#backlog.length > 0 && this.#takeCommitted(this.#backlog[0]!, gathered)) this.#backlog.shift()
    let configs = 0
    for (const entry of ready.committed) {
      const config = entry.type === 'config' ? ready.configs[configs++]!.config : null
      const waits = this.#backlog.length > 0 || !this.#takeCommitted({ entry, config }, gathered)
      if (waits) this.#backlog.push({ entry, config })
    }
    for (const message of ready.messages) this.#service.send(this, message)
    const { persisted, afterPersist } = ready
    const applied = this.range.applied.index
    if (persisted !== null) return this.#landings.write(gathered, persisted, afterPersist, applied)
    this.#landings.promise(afterPersist)
    if (applied > before) this.#landings.effects(gathered, applied)
  }

  /** False where the entry takes over a range whose replica here has not come so far. */
  #takeCommitted({ entry, config }: Committed, gathered: Gathered): boolean {
    // What the group does without it is not its own: above all, a child has no replica here.
    if (this.#removed) return true
    const right = entry.type === 'command' && isMergeCommit(entry.data) ? rightOf(entry, this, this.#service) : null
    if (right === 'waits') return false
    this.group.committed(entry)
    if (config !== null) this.#configured(entry, config, gathered)
    else this.#committed(entry, gathered, right)
    return true
  }

  #landed(persisted: Persisted | null, applied: number): void {
    if (persisted !== null) this.group.persisted(persisted)
    if (applied > this.landedIndex) {
      this.landedIndex = applied
      this.range.landed(applied)
      while (this.#configs.length > 1 && this.#configs[1]!.index <= applied) this.#configs.shift()
    }
    this.#service.wake(this)
  }

  #ledBy(nowMs: number): void {
    if (this.group.leads) {
      this.#service.merging(this)
      return this.#timed.schedule(nowMs)
    }
    this.#timed.stop()
    const error = this.#refusal()
    // A sole voter leads again at once: what it holds is neither lost nor doubtful.
    if (error === null) return
    this.#proposals.failQueued(error)
    this.merger.lost(error)
    this.#reads.fail(error)
    const message = `Cannot tell what became of it: range "${this.descriptor.id}" has another leader`
    this.#failUnderWay(new BrokerError('UNAVAILABLE', message, { hint: error.hint }))
  }

  /**
   * What a sole voter writes is committed when it is written, so its effects go in the same batch: one write, and after a
   * crash nothing to do again.
   */
  #applyAhead(entries: readonly LogEntry[], gathered: Gathered): void {
    const { group, range } = this
    if (!group.sole || !group.leads) return
    for (const entry of entries) {
      const follows = entry.index === range.applied.index + 1
      if (!follows || entry.type === 'config' || range.halted !== null) return
      if (entry.type === 'command' && isMergeCommit(entry.data)) return
      if (!range.mayGoAhead) return
      const outcome = this.#apply(entry, true)
      if (range.applied.index < entry.index) return
      this.#keep(outcome, { committed: false, waits: true, proposal: null }, gathered)
    }
  }

  #committed(entry: LogEntry, gathered: Gathered, right: FrozenRange | null): void {
    const proposal = this.#claim(entry)
    const ahead = this.#unshown.find((each) => each.outcome.index === entry.index)
    if (ahead !== undefined) {
      ahead.committed = true
      ahead.proposal = proposal
      return
    }
    if (this.range.halted !== null) {
      const { code, message } = this.range.check(-1, [])!
      if (proposal !== null) this.#proposals.fail(proposal, new BrokerError(code, message))
      return
    }
    const outcome = this.#apply(entry, false, proposal, right)
    const halted = this.range.applied.index < entry.index
    if (halted && proposal === null) return
    const keeps = { committed: true, waits: outcome.child !== null || outcome.merged !== null, proposal }
    if (halted) this.#unshown.push({ outcome, ...keeps })
    else this.#keep(outcome, keeps, gathered)
  }

  #configured(entry: LogEntry, config: Ready['configs'][number]['config'], gathered: Gathered): void {
    const { group, range } = this
    group.learnPlaces(decodePlaces(entry.data))
    group.configured(config)
    this.#configs.push({ index: entry.index, config })
    const replicas = replicasOf(config, group, range.latest.id)
    const outcome = range.applyReplicas(replicas)
    const { service, id } = range.latest
    outcome.metaWrites.push({
      type: 'put',
      key: configKey(service, id),
      value: encodeConfig(config, group.nextReplica),
    })
    this.#keep(outcome, { committed: true, waits: false, proposal: null }, gathered)
    this.#changes.committed(entry)
    if (!replicas.some(({ replica }) => replica === group.replica)) this.#removed = true
  }

  /** The proposal of this store that became `entry`; one of another term at its place is lost. */
  #claim(entry: LogEntry): Proposal<Command, Response> | null {
    const found = this.#underWay.get(entry.index)
    if (found === undefined) return null
    this.#underWay.delete(entry.index)
    if (found.term === entry.term) return found.proposal
    const message = `Range "${this.descriptor.id}" has another entry in this one's place`
    this.#proposals.fail(found.proposal, new BrokerError('NOT_LEADER', message, { hint: this.#leaderHint }))
    return null
  }

  #apply(
    entry: LogEntry,
    ahead: boolean,
    proposal: Proposal<Command, Response> | null = this.#underWay.get(entry.index)?.proposal ?? null,
    right: FrozenRange | null = null,
  ): Outcome<Response, Effect> {
    if (entry.type === 'empty') return this.range.applyNothing(ahead)
    const { coprocessor } = this.#service
    const own = proposal?.entry ?? decodeEntry(entry.data, (payload) => coprocessor.decode(payload))
    return this.range.apply(own, ahead, right)
  }

  #keep(
    outcome: Outcome<Response, Effect>,
    how: Omit<Applied<Command, Response, Effect>, 'outcome'>,
    gathered: Gathered,
  ): void {
    for (const write of outcome.writes) gathered.data.push(write)
    for (const write of outcome.metaWrites) gathered.meta.push(write)
    // Until it has landed, clients are told of the descriptor before.
    if (how.waits || outcome.descriptor !== this.range.descriptor) gathered.urgent = true
    if (outcome.child !== null) gathered.raft.push(...this.#service.beginChild(outcome.child))
    if (outcome.merged !== null) this.#service.absorb(outcome.merged.id, this.range.latest)
    if (outcome.merge !== null) this.group.keepAwake(takesPart(outcome.merge))
    this.#unshown.push({ outcome, ...how })
    this.expected.check()
  }

  #showWhatCanBe(gathered: Gathered): void {
    let count = 0
    for (const { committed, waits, outcome } of this.#unshown) {
      if (!committed || (waits && outcome.index > this.landedIndex)) break
      count++
    }
    if (this.#removed && count === this.#unshown.length) {
      gathered.shows.push({ observe: NO_ANSWER, answer: () => this.#service.remove(this) })
    }
    if (count === 0) return
    for (const applied of this.#unshown.splice(0, count)) {
      const { outcome, proposal } = applied
      const answer = proposal === null ? NO_ANSWER : () => this.#proposals.answer(proposal, outcome)
      gathered.shows.push({ observe: () => this.#observe(outcome), answer })
    }
  }

  #observe(outcome: Outcome<Response, Effect>): void {
    tellObserver(outcome, this, this.#service)
    if (outcome.merge !== null) {
      this.merger.decided()
      this.#service.merging(this)
    }
    if (outcome.merged !== null) this.#timed.schedule(outcome.nowMs)
    else this.#timed.scheduleSoon(outcome.nowMs)
  }

  #readAsked(asked: Asked, run: (error: BrokerError | null) => void): void {
    if (asked.type === 'refused') run(new BrokerError(asked.code, asked.message))
    else if (asked.type === 'granted') this.#reads.untilApplied(asked.index, run)
  }

  #failUnderWay(error: BrokerError): void {
    const lost = [...this.#underWay.values()]
    this.#underWay.clear()
    this.#changes.fail(error)
    for (const { proposal } of lost) this.#proposals.fail(proposal, error)
  }
}
