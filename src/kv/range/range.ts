import { assert } from '../../base/assert.ts'
import { BrokerError } from '../../base/errors.ts'
import { compareBytes, within } from '../engine/bytes.ts'
import type { Write } from '../engine/engine.ts'
import { BoundedReader, writeWithin } from './boundary.ts'
import type { Coprocessor, RangeDescriptor, Reader, Replica } from './coprocessor.ts'
import type { CommandsEntry, Entry, MergeCommitEntry, MergeEntry, Run, SplitEntry } from './entry.ts'
import { hashWrites, joinHashes } from './hash.ts'
import { applyMerge, encodeMergeState, type MergeState, NO_MERGE } from './merge.ts'
import { Overlay } from './overlay.ts'
import { type AppliedState, appliedKey, descriptorKey, encodeApplied, encodeDescriptor, mergeKey } from './schema.ts'
import { type AnswerCodec, type LOST, STREAM_LIMITS, type StreamLimits, Streams } from './streams.ts'

export interface RangeOptions<Command, Response, Query, Answer, Effect> {
  coprocessor: Coprocessor<Command, Response, Query, Answer, Effect>
  descriptor: RangeDescriptor
  applied: AppliedState
  /** The landed keys of the service's family, unbounded. */
  landed: Reader
  /** Null: answers are not written, and a repetition after a restart may have lost its answer. */
  codec: AnswerCodec | null
  limits?: Partial<StreamLimits>
  /** Its part in a merge; default none. */
  merge?: MergeState
}

/** What became of one run of an entry. */
export interface RunOutcome<Response> {
  error: BrokerError | null
  /** One for each command. */
  responses: readonly (Response | typeof LOST)[]
}

/** All effects of one entry, for the host to perform in the order of the fields. */
export interface Outcome<Response, Effect> {
  index: number
  nowMs: number
  /** As of this entry: when it is shown, others may have changed it. */
  descriptor: RangeDescriptor
  /** To the service's family and to `meta`, in one batch. */
  writes: readonly Write[]
  metaWrites: Write[]
  /** For the observer, once the writes are readable. */
  effects: readonly Effect[]
  /** One for each run, in order: answered last. */
  runs: RunOutcome<Response>[]
  /** Why an entry that carries no commands changed nothing. */
  error: BrokerError | null
  /** The child, where the entry was a split. */
  child: RangeChild | null
  /** Its part in a merge, where the entry has changed that. */
  merge: MergeState | null
  /** The right range, where the entry was a merge's commit. */
  merged: RangeDescriptor | null
}

/** The right range of a merge, on this store: all of its log up to the entry that froze it is applied, and has landed. */
export interface FrozenRange {
  readonly applied: AppliedState
  readonly streams: Streams
}

/** What is proposed, before it has a head. */
export type MergeProposal = WithoutHead<MergeEntry>
type WithoutHead<Each> = Each extends unknown ? Omit<Each, 'logic' | 'nowMs' | 'epochVersion'> : never

export interface RangeChild {
  descriptor: RangeDescriptor
  applied: AppliedState
  streams: Streams
}

/** Index of the state that a range begins with: there is no entry before the next one. */
export const FIRST_INDEX = 1

interface Shown {
  descriptor: RangeDescriptor
  children: readonly RangeDescriptor[]
}

/** Recent children that a client with an old map is told of. */
const CHILDREN_MAX = 16

/**
 * One replica of one range, as a pure state machine over its log: the same entries give the same writes, answers and
 * hash on every replica.
 *
 *     check -> propose -> (the host commits the entry) -> apply -> (the host lands the writes) -> landed
 *
 * It reads through the engine and writes nothing: an {@link Outcome} says what to write. Between `apply` and `landed`
 * the overlay shows the entry's writes to the entries after it, and, if the entry is committed, to all readers.
 *
 * An entry may be applied before it is committed where its commitment is certain once it is written, and its writes are
 * in the same batch: a sole voter's. Then nobody else sees them before they have landed.
 */
export class Range<Command, Response, Query, Answer, Effect> {
  readonly streams: Streams
  readonly #coprocessor: Coprocessor<Command, Response, Query, Answer, Effect>
  readonly #options: RangeOptions<Command, Response, Query, Answer, Effect>
  readonly #overlay: Overlay
  readonly #appliedKey: Uint8Array
  #descriptor: RangeDescriptor
  #applied: AppliedState
  #halted: string | null = null
  #merge: MergeState
  #children: readonly RangeDescriptor[] = []
  /** The descriptors as landed: a child is served from then on, so nobody hears of it before. */
  #shown: Shown
  /** What is to be shown when the entry at `index` has landed, oldest first. */
  #unshown: { index: number; shown: Shown }[] = []
  /** The boundary's keys with the writes of all entries applied. */
  #reader: Reader
  /** The keys within the landed boundary: with the writes that have not landed, and without. */
  #shownReaders: { over: Reader; landed: Reader }
  #landedIndex: number
  /** Entries up to this index were applied before they were committed. */
  #aheadIndex: number
  readonly #visible: Reader = {
    get: (key) => this.#visibleReader().get(key),
    cursor: (bounds) => this.#visibleReader().cursor(bounds),
  }

  constructor(options: RangeOptions<Command, Response, Query, Answer, Effect>, streams?: Streams) {
    this.#options = options
    this.#coprocessor = options.coprocessor
    this.#overlay = new Overlay(options.landed)
    this.#descriptor = options.descriptor
    this.#merge = options.merge ?? NO_MERGE
    this.#shown = { descriptor: options.descriptor, children: [] }
    this.#reader = new BoundedReader(this.#overlay, options.descriptor)
    this.#shownReaders = this.#readersWithin(options.descriptor)
    this.#applied = options.applied
    this.#landedIndex = options.applied.index
    this.#aheadIndex = options.applied.index
    this.#appliedKey = appliedKey(options.descriptor.service, options.descriptor.id)
    this.streams = streams ?? this.#newStreams(options.descriptor.id)
  }

  /** Whether an entry may be applied before it is committed: what is seen is never hidden again. */
  get mayGoAhead(): boolean {
    return this.settled || this.#aheadIndex === this.#applied.index
  }

  /** As landed. */
  get descriptor(): RangeDescriptor {
    return this.#shown.descriptor
  }

  /** As applied: who the replicas are. */
  get latest(): RangeDescriptor {
    return this.#descriptor
  }

  get applied(): AppliedState {
    return this.#applied
  }

  /** Why this range applies nothing any more; null while it does. */
  get halted(): string | null {
    return this.#halted
  }

  /** Its part in a merge, as applied. */
  get merge(): MergeState {
    return this.#merge
  }

  /** Nothing is applied or answered any more. */
  halt(reason: string): void {
    this.#halted ??= reason
  }

  /** The keys of the boundary as of what is committed; stays the same object, and follows the boundary. */
  get reader(): Reader {
    return this.#visible
  }

  /** {@link reader} for what was applied when the boundary was that of `descriptor`. */
  readerAs(descriptor: RangeDescriptor): Reader {
    if (descriptor.epoch.version === this.#shown.descriptor.epoch.version) return this.#visible
    const { over, landed } = this.#readersWithin(descriptor)
    return this.#aheadIndex > this.#landedIndex ? landed : over
  }

  /** All that was applied has landed. */
  get settled(): boolean {
    return this.#landedIndex >= this.#applied.index
  }

  /** Why commands for `keys` that were routed by `epochVersion` may not be proposed; null where they may. */
  check(epochVersion: number, keys: readonly Uint8Array[]): BrokerError | null {
    if (this.#halted !== null) return this.#haltedError()
    if (epochVersion !== this.#descriptor.epoch.version) return this.#epochError()
    if (this.#merge.frozen !== null) return this.#frozenError()
    const { start, end } = this.#descriptor
    if (start === undefined && end === undefined) return null
    for (const key of keys) if (!within(key, this.#descriptor)) return this.#epochError()
    return null
  }

  /** The entry that carries `commands`. */
  propose(runs: readonly Run[], commands: readonly Command[], nowMs: number): CommandsEntry<Command> {
    return { type: 'commands', ...this.#head(nowMs), runs, commands }
  }

  /** The entry that ends this range at `key`; throws where that leaves nothing on one side. */
  proposeSplit(key: Uint8Array, child: string, nowMs: number): SplitEntry {
    const { start, end, id } = this.#descriptor
    const objection = this.#splitObjection()
    if (objection !== null) throw objection
    if (!within(key, this.#descriptor) || compareBytes(key, start ?? new Uint8Array(0)) === 0) {
      throw new BrokerError('INVALID_ARGUMENT', `Cannot split range "${id}": the key is not inside of its boundary`)
    }
    assert(end === undefined || compareBytes(key, end) < 0, 'A split key lies before the end')
    return { type: 'split', ...this.#head(nowMs), key, child }
  }

  proposeMerge(step: MergeProposal, nowMs: number): MergeEntry {
    return { ...step, ...this.#head(nowMs) }
  }

  /** Whether the entry makes `entry.right` a part of this range: then it is applied with {@link FrozenRange}. */
  takes(entry: MergeCommitEntry): boolean {
    if (this.#halted !== null || entry.logic > this.#coprocessor.version || this.#merge.frozen !== null) return false
    if (entry.epochVersion !== this.#descriptor.epoch.version) return false
    return typeof applyMerge(this.#descriptor, this.#merge, entry, this.#applied.index + 1) !== 'string'
  }

  /**
   * Applies an entry. Entries come in log order, each once. `ahead`: before it is committed, see
   * {@link mayGoAhead}. `right`: of a merge's commit that {@link takes} effect.
   */
  apply(entry: Entry<Command>, ahead = false, right: FrozenRange | null = null): Outcome<Response, Effect> {
    if (ahead) this.#goAhead()
    const runs = entry.type === 'commands' ? entry.runs : []
    if (this.#halted === null && entry.logic > this.#coprocessor.version) {
      this.#halted = `its log needs version ${entry.logic} of the ${this.#coprocessor.service} logic, this node has ${this.#coprocessor.version}: upgrade it`
    }
    if (this.#halted !== null) return this.#refused(runs, this.#haltedError())
    const isOld = entry.epochVersion !== this.#descriptor.epoch.version
    if (this.#merge.frozen !== null && (isOld || entry.type !== 'thaw')) {
      // Not even time goes on: replicas that have come further must not differ.
      return this.#advance(this.#refused(runs, this.#frozenError()), this.#applied.nowMs)
    }
    const nowMs = Math.max(entry.nowMs, this.#applied.nowMs)
    if (isOld) return this.#advance(this.#refused(runs, this.#epochError()), nowMs)
    if (entry.type === 'split') return this.#split(entry, nowMs)
    try {
      return entry.type === 'commands' ? this.#mutate(entry, nowMs) : this.#takePart(entry, nowMs, right)
    } catch (error) {
      this.#halted = `entry ${this.#applied.index + 1} cannot be applied: ${error instanceof Error ? error.message : error}`
      return this.#refused(runs, this.#haltedError(error))
    }
  }

  /** Applies an entry that carries nothing: each leader begins with one. */
  applyNothing(ahead = false): Outcome<Response, Effect> {
    if (ahead) this.#goAhead()
    return this.#advance(this.#refused([], null), this.#applied.nowMs)
  }

  /** Applies a change of the replicas. */
  applyReplicas(replicas: readonly Replica[]): Outcome<Response, Effect> {
    const { epoch } = this.#descriptor
    const outcome = this.#refused([], null)
    this.#descriptor = { ...this.#descriptor, epoch: { ...epoch, confVersion: epoch.confVersion + 1 }, replicas }
    this.#showOnceLanded()
    const { taking } = this.#merge
    // No leader lets it come to this; but the same stores must hold both.
    if (taking !== null) this.#setMerge({ ...this.#merge, taking: { ...taking, cancelled: true } }, outcome)
    const { service, id } = this.#descriptor
    const value = encodeDescriptor(this.#descriptor)
    outcome.metaWrites.push({ type: 'put', key: descriptorKey(service, id), value })
    return this.#advance(outcome, this.#applied.nowMs)
  }

  /** The writes up to this index are in the engine. */
  landed(index: number): void {
    this.#overlay.landed(index)
    this.#landedIndex = Math.max(this.#landedIndex, index)
    while (this.#unshown.length > 0 && this.#unshown[0]!.index <= index) {
      this.#shown = this.#unshown.shift()!.shown
      this.#shownReaders = this.#readersWithin(this.#shown.descriptor)
    }
  }

  /** Why a read of `key` that was routed by `epochVersion` may not be answered; null where it may. */
  checkQuery(epochVersion: number, key: Uint8Array, linearizable = true): BrokerError | null {
    const { descriptor } = this.#shown
    if (epochVersion !== descriptor.epoch.version || !within(key, descriptor)) return this.#epochError()
    // Somebody else may have more by now.
    if (linearizable && this.#merge.frozen !== null) return this.#frozenError()
    return this.#halted === null ? null : this.#haltedError()
  }

  /** Reads what is committed. */
  query(query: Query, nowMs: number): Answer {
    return this.#coprocessor.query(query, this.#visibleReader(), { nowMs, boundary: this.#shown.descriptor })
  }

  due(nowMs: number, limit: number): Command[] {
    if (this.#halted !== null || this.#merge.frozen !== null) return []
    return this.#coprocessor.due(this.#reader, Math.max(nowMs, this.#applied.nowMs), limit, this.#descriptor)
  }

  nextDueMs(): number | null {
    if (this.#halted !== null || this.#merge.frozen !== null) return null
    return this.#coprocessor.nextDueMs(this.#reader, this.#descriptor)
  }

  #mutate(entry: CommandsEntry<Command>, nowMs: number): Outcome<Response, Effect> {
    const metaWrites: Write[] = []
    const outcome: Outcome<Response, Effect> = { ...this.#refused([], null), metaWrites }
    const admissions = entry.runs.map((run) =>
      run.stream === '' ? { repeated: 0, error: null } : this.streams.admit(run, nowMs, metaWrites),
    )
    const commands = freshCommands(entry, admissions)
    const index = this.#applied.index + 1
    let responses: readonly Response[] = []
    if (commands.length > 0) {
      const context = { nowMs, index, boundary: this.#descriptor, logic: entry.logic }
      const mutation = this.#coprocessor.mutate(commands, this.#reader, context)
      responses = mutation.responses
      assert(responses.length === commands.length, `${commands.length} commands gave ${responses.length} responses`)
      for (const write of mutation.writes) assert(writeWithin(write, this.#descriptor), 'a write leaves the boundary')
      outcome.writes = mutation.writes
      outcome.effects = mutation.effects
    }
    let at = 0
    entry.runs.forEach((run, i) => {
      const { repeated, error } = admissions[i]!
      if (error !== null) {
        outcome.runs.push({ error, responses: [] })
        return
      }
      const fresh = run.count - repeated
      const own = fresh === responses.length ? responses : responses.slice(at, at + fresh)
      at += fresh
      if (run.stream !== '' && fresh > 0) this.streams.record(run, repeated, own, metaWrites)
      const known = repeated === 0 ? own : [...(this.streams.recall(run, repeated) as Response[]), ...own]
      outcome.runs.push({ error: null, responses: known })
    })
    return this.#advance(outcome, nowMs)
  }

  #split(entry: SplitEntry, nowMs: number): Outcome<Response, Effect> {
    const objection = this.#splitObjection()
    if (objection !== null) return this.#advance(this.#refused([], objection), nowMs)
    const { epoch, end, ...rest } = this.#descriptor
    const next = { ...epoch, version: epoch.version + 1 }
    const child: RangeDescriptor = { ...rest, id: entry.child, epoch: next, start: entry.key, end }
    this.#descriptor = { ...rest, epoch: next, end: entry.key }
    this.#children = [...this.#children.slice(1 - CHILDREN_MAX), child]
    this.#reader = new BoundedReader(this.#overlay, this.#descriptor)
    this.#showOnceLanded()
    const streams = this.#newStreams(child.id)
    const applied = { index: FIRST_INDEX, nowMs, hash: 0 }
    const { service } = child
    const metaWrites: Write[] = [
      { type: 'put', key: descriptorKey(service, this.#descriptor.id), value: encodeDescriptor(this.#descriptor) },
      { type: 'put', key: descriptorKey(service, child.id), value: encodeDescriptor(child) },
      { type: 'put', key: appliedKey(service, child.id), value: encodeApplied(applied) },
    ]
    this.streams.copyTo(streams, metaWrites)
    const outcome = { ...this.#refused([], null), metaWrites, child: { descriptor: child, applied, streams } }
    return this.#advance(outcome, nowMs)
  }

  /** Takes its part in a merge. */
  #takePart(entry: MergeEntry, nowMs: number, right: FrozenRange | null): Outcome<Response, Effect> {
    const before = this.#descriptor
    const next = applyMerge(before, this.#merge, entry, this.#applied.index + 1)
    if (typeof next === 'string') {
      const message = `Cannot merge range "${before.id}" with another one: ${next}`
      return this.#advance(this.#refused([], new BrokerError('CONFLICT', message)), nowMs)
    }
    const metaWrites: Write[] = []
    const outcome: Outcome<Response, Effect> = { ...this.#refused([], null), metaWrites }
    if (entry.type === 'merge-commit') {
      const reader = new BoundedReader(this.#overlay, next.descriptor)
      outcome.writes = this.#coprocessor.merge?.(reader, next.descriptor, entry.right) ?? []
      for (const write of outcome.writes) assert(writeWithin(write, next.descriptor), 'a write leaves the boundary')
    }
    this.#setMerge(next.state, outcome)
    if (next.descriptor === before) return this.#advance(outcome, nowMs)
    this.#descriptor = next.descriptor
    this.#reader = new BoundedReader(this.#overlay, next.descriptor)
    this.#showOnceLanded()
    const value = encodeDescriptor(next.descriptor)
    metaWrites.push({ type: 'put', key: descriptorKey(before.service, before.id), value })
    if (entry.type !== 'merge-commit') return this.#advance(outcome, nowMs)
    assert(right !== null, 'The right range of a merge is at hand')
    this.streams.absorb(right.streams, metaWrites)
    outcome.merged = entry.right
    this.#applied = { ...this.#applied, hash: joinHashes(this.#applied.hash, right.applied.hash) }
    return this.#advance(outcome, Math.max(nowMs, right.applied.nowMs))
  }

  #setMerge(state: MergeState, outcome: Outcome<Response, Effect>): void {
    this.#merge = state
    outcome.merge = state
    const key = mergeKey(this.#descriptor.service, this.#descriptor.id)
    const none = state.taking === null && state.frozen === null
    outcome.metaWrites.push(none ? { type: 'delete', key } : { type: 'put', key, value: encodeMergeState(state) })
  }

  #splitObjection(): BrokerError | null {
    const { taking } = this.#merge
    if (taking === null || taking.cancelled) return null
    const { id } = this.#descriptor
    return new BrokerError('CONFLICT', `Cannot split range "${id}": it is about to take over range "${taking.right}"`)
  }

  #showOnceLanded(): void {
    const shown = { descriptor: this.#descriptor, children: this.#children }
    this.#unshown.push({ index: this.#applied.index + 1, shown })
  }

  #goAhead(): void {
    assert(this.mayGoAhead, 'What is committed must not be hidden again')
    this.#aheadIndex = this.#applied.index + 1
  }

  #visibleReader(): Reader {
    return this.#aheadIndex > this.#landedIndex ? this.#shownReaders.landed : this.#shownReaders.over
  }

  #readersWithin(bounds: RangeDescriptor): { over: Reader; landed: Reader } {
    return { over: new BoundedReader(this.#overlay, bounds), landed: new BoundedReader(this.#options.landed, bounds) }
  }

  /** Counts the entry as applied. */
  #advance(outcome: Outcome<Response, Effect>, nowMs: number): Outcome<Response, Effect> {
    const index = this.#applied.index + 1
    this.#applied = { index, nowMs, hash: hashWrites(this.#applied.hash, outcome.writes) }
    this.#overlay.add(index, outcome.writes)
    outcome.index = index
    outcome.nowMs = nowMs
    outcome.descriptor = this.#descriptor
    outcome.metaWrites.push({ type: 'put', key: this.#appliedKey, value: encodeApplied(this.#applied) })
    return outcome
  }

  /** An outcome that changes nothing. */
  #refused(runs: readonly Run[], error: BrokerError | null): Outcome<Response, Effect> {
    const { index, nowMs } = this.#applied
    const answers = runs.map(() => ({ error, responses: [] }))
    const none = { writes: [], metaWrites: [], effects: [], child: null, merge: null, merged: null }
    return { index, nowMs, descriptor: this.#descriptor, ...none, runs: answers, error }
  }

  #head(nowMs: number) {
    return {
      logic: this.#coprocessor.version,
      nowMs: Math.max(Math.floor(nowMs), this.#applied.nowMs),
      epochVersion: this.#descriptor.epoch.version,
    }
  }

  #newStreams(range: string): Streams {
    const limits = { ...STREAM_LIMITS, ...this.#options.limits }
    return new Streams({ service: this.#coprocessor.service, range }, this.#options.codec, limits)
  }

  #haltedError(cause?: unknown): BrokerError {
    const message = `Range "${this.#descriptor.id}" is halted: ${this.#halted}`
    return new BrokerError('RANGE_HALTED', message, { cause })
  }

  #frozenError(): BrokerError {
    const { id } = this.#descriptor
    const message = `Cannot serve range "${id}" now: it is about to become a part of range "${this.#merge.frozen?.left}"`
    return new BrokerError('EPOCH_MISMATCH', message, { hint: { descriptors: [this.#shown.descriptor] } })
  }

  #epochError(): BrokerError {
    const { descriptor, children } = this.#shown
    const message = `Cannot serve keys by an old map: range "${descriptor.id}" is at version ${descriptor.epoch.version}`
    return new BrokerError('EPOCH_MISMATCH', message, { hint: { descriptors: [descriptor, ...children] } })
  }
}

/** The entry's own array where nothing is repeated or refused, which is nearly always. */
function freshCommands<Command>(
  entry: CommandsEntry<Command>,
  admissions: readonly { repeated: number; error: BrokerError | null }[],
): readonly Command[] {
  if (admissions.every(({ repeated, error }) => repeated === 0 && error === null)) return entry.commands
  const commands: Command[] = []
  let at = 0
  entry.runs.forEach((run, i) => {
    const { repeated, error } = admissions[i]!
    if (error === null) for (let j = at + repeated; j < at + run.count; j++) commands.push(entry.commands[j]!)
    at += run.count
  })
  return commands
}
