import { assert } from '../../base/assert.ts'
import { BrokerError } from '../../base/errors.ts'
import type { BatchAnswer, CommandBatch, QueryAnswer, QueryRequest, RangeTransport } from '../client/transport.ts'
import { overlaps, subtract, within } from '../engine/bytes.ts'
import type { Bounds, Write } from '../engine/engine.ts'
import { type Message, NO_CONFIG, type ReplicaId } from '../raft/index.ts'
import { engineReader } from '../range/boundary.ts'
import type { Coprocessor, RangeDescriptor, RangeObserver } from '../range/coprocessor.ts'
import type { MergeCommitEntry } from '../range/entry.ts'
import { type FrozenRange, Range, type RangeChild } from '../range/range.ts'
import { emptyRange, type FamilyWrite, FIRST_KEY, findMarker, LATE_KEY, type SnapshotOffer } from '../snapshot/index.ts'
import { Group } from './group.ts'
import { RangeHost } from './host.ts'
import type { Hosted } from './hosted.ts'
import { NewcomerHost, newcomerRecord } from './newcomer.ts'
import { absorbedBy, holdersOf, isNeeded } from './overlap.ts'
import { lackOfSpace } from './pressure.ts'
import { type Absorption, encodeGone, type Gone, LOSS_KEY, type NewcomerRecord } from './raft-schema.ts'
import { RangeLog } from './range-log.ts'
import type { ServiceContext } from './service-context.ts'
import type { Admission } from './snapshots.ts'
import {
  type Beginning,
  beginRanges,
  FIRST_TERM,
  hadFirst,
  hasLost,
  hasOthers,
  loadRange,
  loadRanges,
  loadStreams,
  type StoredRange,
  storedConfig,
  storedGone,
  storedMerge,
} from './stored.ts'
import { watched } from './watch.ts'
import { forgetting, receiverOf } from './whole-replica.ts'

const LOSS = 'the disk has lost writes'
const FULL: Bounds = {}
/** Of what earlier tries have left behind; a marker names that many. */
const BOUNDARIES_KEPT_MAX = 3

/**
 * The ranges of one service on this store, and the way in for clients in this process: a direct call, without
 * serialisation.
 */
export class Service<Command, Response, Query, Answer, Effect>
  implements RangeTransport<Command, Response, Query, Answer>
{
  readonly coprocessor: Coprocessor<Command, Response, Query, Answer, Effect>
  readonly observer: RangeObserver<Effect>
  readonly #context: ServiceContext
  readonly #hosts = new Map<string, RangeHost<Command, Response, Query, Answer, Effect>>()
  readonly #newcomers = new Map<string, NewcomerHost>()
  /** Since the start: their records may not have landed yet, and whoever comes back under such a number may vote twice. */
  readonly #gone = new Map<string, Gone>()

  constructor(
    coprocessor: Coprocessor<Command, Response, Query, Answer, Effect>,
    observer: RangeObserver<Effect>,
    context: ServiceContext,
  ) {
    this.coprocessor = coprocessor
    this.observer = observer
    this.#context = context
  }

  get decodeAlways(): boolean {
    return this.#context.decodeAlways
  }

  get hosts(): Iterable<RangeHost<Command, Response, Query, Answer, Effect>> {
    return this.#hosts.values()
  }

  /** Newcomers too. */
  *replicas(): Iterable<Hosted> {
    yield* this.#hosts.values()
    yield* this.#newcomers.values()
  }

  replica(range: string): Hosted | undefined {
    return this.#hosts.get(range) ?? this.#newcomers.get(range)
  }

  host(range: string): RangeHost<Command, Response, Query, Answer, Effect> | undefined {
    return this.#hosts.get(range)
  }

  wake(host: Hosted): void {
    this.#context.wake(host)
  }

  /**
   * Opens the ranges that are on disk, or creates the first ones, cut at `splits`. What is to be written goes to `meta`
   * and `raft`.
   */
  open({ splits, stores }: Beginning, meta: Write[], raft: Write[]): void {
    const { engine, storeId } = this.#context
    const { service } = this.coprocessor
    const { ranges, newcomers, damaged } = loadRanges(engine, service, storeId, meta, raft)
    const isEmpty = ranges.length === 0 && newcomers.length === 0 && damaged.length === 0
    const begins = isEmpty && !hadFirst(engine, service, splits.length + 1)
    if (begins) ranges.push(...beginRanges(engine, service, { splits, stores }, meta, raft))
    const lossy = this.#context.lossy && !begins
    if (this.#context.lossy) raft.push({ type: 'put', key: LOSS_KEY, value: encodeGone(0, null) })
    const isHere = ({ descriptor }: StoredRange) => descriptor.replicas.some(({ store }) => store === storeId)
    for (const each of ranges) {
      // It applied its own removal, and ended before it was taken away: no number below the next one is its own again.
      if (!isHere(each)) {
        this.#erase(each.descriptor, each.log, {
          replica: storedConfig(engine, each.descriptor).next - 1,
          absorption: null,
        })
      } else if (lossy && hasOthers(each.descriptor, storeId)) damaged.push({ ...each, reason: LOSS })
      else this.#openRange(each)
    }
    for (const { descriptor, reason } of damaged) {
      const own = descriptor.replicas.find(({ store }) => store === storeId)
      this.#giveUp(descriptor, own?.replica ?? 0, reason)
    }
    for (const each of newcomers) {
      if (lossy) this.#giveUp(each.descriptor, each.replica, LOSS)
      else this.#openNewcomer(each)
    }
    for (const host of this.#hosts.values()) {
      this.observer.opened(host.descriptor, host.range.reader)
      this.#context.wake(host)
    }
  }

  /** A child's records in family `raft`, which go in the batch that splits off its keys. */
  beginChild({ descriptor, applied }: RangeChild): Write[] {
    return RangeLog.begin(this.#context.engine, descriptor.id, applied.index, FIRST_TERM).writes
  }

  /** Hosts a child whose records have landed. `leads`: its parent's replica here did. */
  openChild(child: RangeChild, leads: boolean): RangeHost<Command, Response, Query, Answer, Effect> {
    const { id } = child.descriptor
    const log = RangeLog.open(this.#context.engine, id)
    assert(log !== null, `The log of range "${id}" was begun with it`)
    const host = this.#openRange({ ...child, log }, child.streams)
    // The others have the same state, and will have their say: it is only the one who asks first.
    if (leads) host.group.step({ type: 'campaign' })
    this.#context.wake(host)
    return host
  }

  /** Sends a raft message to where its replica is; without a place it is lost, as any message may be. */
  send(host: RangeHost<Command, Response, Query, Answer, Effect>, message: Message): void {
    const store = host.group.storeOf(message.to)
    if (store === undefined) return
    if (message.type === 'snapshot') this.#context.requestSnapshot(host as never, message.to, store)
    else this.#context.send(store, { type: 'raft', range: host.id, message })
  }

  /**
   * Who knows a range tells of it: this store may be one of its places, and not know it yet. The number of the replica that
   * was here and is gone for ever, where the group believes it to be there still; else 0.
   */
  meet(descriptor: RangeDescriptor): ReplicaId | 0 {
    const { engine, storeId } = this.#context
    const own = descriptor.replicas.find(({ store }) => store === storeId)
    if (own === undefined) return 0
    const here = this.replica(descriptor.id)
    if (here !== undefined) {
      // A newer replica of the same range here proves that the one before was removed.
      if (here.group.replica < own.replica) this.remove(here)
      return 0
    }
    const gone = this.gone(descriptor.id)
    if (gone !== null && gone.absorption !== null) return 0
    if (gone !== null && gone.replica >= own.replica) return own.replica
    const proof = { into: descriptor.id, version: descriptor.epoch.version }
    for (const each of absorbedBy(this.#hosts.values(), descriptor, [])) this.remove(each, proof)
    if (this.#covering(descriptor).length > 0) return 0
    if (own.role === 'voter' && (this.#context.lossy || hasLost(engine))) {
      // Who votes had a state of it: it was here, and is among what was lost.
      this.#giveUp(descriptor, own.replica, LOSS)
      return own.replica
    }
    const { log } = RangeLog.begin(engine, descriptor.id, 0, 0)
    this.#addNewcomer(descriptor, own.replica, log, null, false)
    return 0
  }

  /** What is known of a replica of `range` that was here and is gone for ever. */
  gone(range: string): Gone | null {
    return this.#gone.get(range) ?? storedGone(this.#context.engine, range)
  }

  /** The first ranges of a service that has none: what its founder does, once for all stores. */
  begin(beginning: Beginning, meta: Write[], raft: Write[]): void {
    assert(this.#hosts.size === 0 && this.#newcomers.size === 0, 'A service begins where nothing is')
    for (const each of beginRanges(this.#context.engine, this.coprocessor.service, beginning, meta, raft)) {
      const host = this.#openRange(each)
      this.observer.opened(host.descriptor, host.range.reader)
      this.#context.wake(host)
    }
  }

  /** Takes this replica away for ever: it is no part of its group any more, or its range one of another one. */
  remove(host: Hosted, absorption: Absorption | null = null): void {
    const { id } = host
    if (this.replica(id) !== host) return
    if (host instanceof RangeHost && !host.settled) {
      host.leave()
      return this.wake(host)
    }
    this.#takeDown(host, absorption === null ? 'was removed from its group' : 'is a part of another one')
    this.#erase({ ...this.#boundsOf(host), id }, host.group.log, { replica: host.group.replica, absorption })
  }

  /** Another store says what became of the range of this replica. */
  wasAbsorbed(range: string, proof: Absorption): void {
    const host = this.replica(range)
    if (host === undefined || this.#arrives(proof.into)) return
    if (!isNeeded(this.#hosts.values(), this.#boundsOf(host), proof, [host])) this.remove(host, proof)
  }

  /**
   * The replica that the left range `by` takes over with `merge`: it has applied all up to the entry that froze it. If not
   * so far, `by` hears when it has. Null: there is none.
   */
  rightOf(by: Hosted, { right, index, term }: MergeCommitEntry): FrozenRange | 'waits' | null {
    const host = this.#hosts.get(right.id)
    if (host === undefined) return this.replica(right.id) === undefined && !this.#arrives(right.id) ? null : 'waits'
    const isFrozen = host.range.merge.frozen?.index === index
    if (isFrozen && host.settled && host.range.settled) return host.range
    // All of it is on this disk. Each step of it is heard of, so it is woken but once.
    host.group.learnCommitted(index, term)
    if (host.awaitedBy !== by) this.wake(host)
    host.awaitedBy = by
    return 'waits'
  }

  /** The replica's range became a part of `by` here: its keys stay. */
  absorb(range: string, by: RangeDescriptor): void {
    const host = this.#hosts.get(range)!
    this.#takeDown(host, `is a part of range "${by.id}" now`, false)
    const gone = { replica: host.group.replica, absorption: { into: by.id, version: by.epoch.version } }
    this.#gone.set(range, gone)
    const record = encodeGone(gone.replica, gone.absorption)
    this.#context.writeLast(forgetting(host.service, range, host.group.log, record))
  }

  /** Its part in a merge has changed, or it leads. */
  merging(host: RangeHost<Command, Response, Query, Answer, Effect>): void {
    this.#context.merging(host as never)
  }

  /** Forgets all replicas, as if they had never been: what was founded here is given up. */
  reset(): void {
    for (const host of [...this.replicas()]) {
      this.#takeDown(host, 'was founded in a cluster that is no more')
      this.#erase({ ...this.#boundsOf(host), id: host.id }, host.group.log, null)
    }
  }

  /** Takes a replica down for the state that is offered. */
  admit(offer: SnapshotOffer): Admission | 'needless' | { refused: string } {
    const { descriptor, snapshot, to, term } = offer
    const host = this.replica(descriptor.id)
    if (host === undefined || host.group.replica !== to) return { refused: 'there is no such replica' }
    if (!descriptor.replicas.some(({ replica, store }) => replica === to && store === this.#context.storeId)) {
      return { refused: 'the state knows nothing of this replica' }
    }
    if (!host.group.wants(snapshot, term)) {
      // Who was emptied for a later state needs one, but not this.
      return host instanceof NewcomerHost ? { refused: 'it is too old' } : 'needless'
    }
    if (host instanceof RangeHost && !host.settled) return { refused: 'what it has applied is on its way to the disk' }
    // What the state holds of others is in it: their replicas are needed no more.
    const absorbed = absorbedBy(this.#hosts.values(), descriptor, [host])
    if (this.#covering(descriptor, [host, ...absorbed]).length > 0) {
      return { refused: 'another replica holds some of its keys' }
    }
    if (!absorbed.every(({ settled }) => settled)) return { refused: 'what another one has applied is on its way' }
    this.#takeDown(host, 'is being replaced by a snapshot')
    const proof = { into: descriptor.id, version: descriptor.epoch.version }
    for (const each of absorbed) this.remove(each, proof)
    const { log } = host.group
    const boundaries = this.#emptied(host, descriptor)
    const receiver = receiverOf(offer, log, boundaries, this.#context.monotonic())
    return {
      receiver,
      ended: (outcome) => {
        if (outcome === 'emptied') this.#addNewcomer(descriptor, to, log, snapshot, true)
        else this.#reopen(descriptor.id)
      },
    }
  }

  close(): void {
    for (const host of this.#hosts.values()) this.observer.closed(host.descriptor)
  }

  split(key: Uint8Array, child: string, answer: (error: Error | null) => void): void {
    for (const host of this.#hosts.values()) {
      if (!within(key, host.descriptor)) continue
      host.enqueueSplit(key, child, answer)
      this.#context.wake(host)
      return
    }
    answer(this.#notFound('that holds the key'))
  }

  propose(_store: string, batch: CommandBatch<Command>, answer: BatchAnswer<Response>): void {
    const host = this.#hosts.get(batch.range)
    const error =
      this.#context.refusal() ??
      lackOfSpace(this.#context.pressure(), this.coprocessor, batch.commands) ??
      (host === undefined ? this.#notFound(`"${batch.range}"`, batch.keys[0]) : host.enqueue(batch, answer))
    if (error === null) this.#context.arrived(host!)
    else this.#context.schedule(() => answer(error, []))
  }

  query(_store: string, request: QueryRequest<Query>, answer: QueryAnswer<Answer>): void {
    this.#context.schedule(() => this.#query(request, answer))
  }

  landscape(): readonly RangeDescriptor[] {
    return [...this.#hosts.values()].map((host) => host.descriptor)
  }

  schedule(flush: () => void): void {
    this.#context.schedule(flush)
  }

  #query(request: QueryRequest<Query>, answer: QueryAnswer<Answer>): void {
    const host = this.#hosts.get(request.range)
    const refusal =
      this.#context.refusal() ?? (host === undefined ? this.#notFound(`"${request.range}"`, request.key) : null)
    if (refusal !== null) return answer(refusal, null)
    const run = (error: BrokerError | null) => {
      if (error !== null) answer(error, null)
      else this.#read(host!, request, answer)
    }
    if (!request.linearizable || host!.read(run)) run(null)
    else this.#context.wake(host!)
  }

  #read(
    { range, traffic }: RangeHost<Command, Response, Query, Answer, Effect>,
    request: QueryRequest<Query>,
    answer: QueryAnswer<Answer>,
  ): void {
    const error = range.checkQuery(request.epochVersion, request.key, request.linearizable)
    // A halted range still shows what it had applied to those who ask for no more.
    if (error !== null && (error.code !== 'RANGE_HALTED' || request.linearizable)) return answer(error, null)
    traffic.queries++
    let found: Answer
    try {
      found = range.query(request.query, this.#context.now())
    } catch (cause) {
      const failed = new BrokerError('INVALID_ARGUMENT', 'Cannot read: the query failed', { cause })
      return answer(cause instanceof BrokerError ? cause : failed, null)
    }
    answer(null, found)
  }

  #openRange({ descriptor, applied, log }: StoredRange, streams?: RangeChild['streams']) {
    const { engine, codec, streamLimits, limits, storeId, random, raftLimits } = this.#context
    const { id, service } = descriptor
    assert(!this.#hosts.has(id), `Range "${id}" is here once`)
    const landed = engineReader(engine, service)
    const range = new Range(
      {
        ...{ coprocessor: this.coprocessor, descriptor, applied, landed, codec, limits: streamLimits },
        merge: storedMerge(engine, descriptor),
      },
      streams,
    )
    if (streams === undefined) loadStreams(engine, range)
    const own = descriptor.replicas.find(({ store }) => store === storeId)
    assert(own !== undefined, `Store "${storeId}" is a replica of range "${id}", which is in its folder`)
    const { config, next } = storedConfig(engine, descriptor)
    const group = new Group({
      ...{ replica: own.replica, replicas: descriptor.replicas, log, config, nextReplica: next },
      ...{ applied: applied.index, random, limits: raftLimits },
    })
    const host = new RangeHost(this, range, group, limits)
    this.#hosts.set(id, host)
    group.watcher = this.#context.watch?.(watched(host, () => this.wake(host))) ?? null
    return host
  }

  #reopen(id: string): void {
    const host = this.#openRange(loadRange(this.#context.engine, this.coprocessor.service, id))
    this.observer.opened(host.descriptor, host.range.reader)
    this.#context.wake(host)
  }

  #addNewcomer(
    descriptor: RangeDescriptor,
    replica: ReplicaId,
    log: RangeLog,
    emptiedFor: { index: number; term: number } | null,
    known: boolean,
  ): void {
    const { random, raftLimits } = this.#context
    const group = new Group({
      ...{ replica, replicas: descriptor.replicas, log, config: NO_CONFIG, nextReplica: 0, emptiedFor },
      ...{ applied: 0, random, limits: raftLimits },
    })
    const send = (message: Message) => {
      const store = group.storeOf(message.to)
      if (store !== undefined) this.#context.send(store, { type: 'raft', range: descriptor.id, message })
    }
    const host = new NewcomerHost({ descriptor, group, emptiedFor, send, wake: (each) => this.wake(each) }, known)
    this.#newcomers.set(descriptor.id, host)
    this.wake(host)
  }

  /** What it promised to the others may be lost, so it must not vote: it goes, and they make another one here. */
  #giveUp(descriptor: RangeDescriptor, replica: ReplicaId, reason: string): void {
    const message = `Range "${descriptor.id}": the replica here is given up, ${reason}; it is made anew from the others`
    this.#context.log.error({ range: descriptor.id, reason }, message)
    const { log } = RangeLog.begin(this.#context.engine, descriptor.id, 0, 0)
    this.#erase(descriptor, log, { replica, absorption: null })
  }

  /** Nothing of the replica is left, but that its number is gone. */
  #erase({ id, start: from, end: to }: Bounds & { id: string }, log: RangeLog, gone: Gone | null): void {
    if (gone !== null) this.#gone.set(id, gone)
    const writes: FamilyWrite[] = []
    const bounds = { start: from, end: to }
    // Another replica may hold some of its keys by now: a child of a split, or who came after a merge.
    for (const { start = FIRST_KEY, end = LATE_KEY } of subtract(bounds, this.#covering(bounds))) {
      writes.push({ family: this.coprocessor.service, write: { type: 'deleteRange', start, end } })
    }
    const record = gone === null ? null : encodeGone(gone.replica, gone.absorption)
    this.#context.writeLast([...writes, ...forgetting(this.coprocessor.service, id, log, record)])
  }

  /** Nobody hears of this replica any more. */
  #takeDown(host: Hosted, why: string, tells = true): void {
    this.#context.cancelSnapshots(host, `the replica ${why}`)
    host.abort(new BrokerError('REPLICA_GONE', `The replica of range "${host.id}" on this store ${why}`))
    const wasOpen = this.#hosts.delete(host.id)
    if (wasOpen && tells && host instanceof RangeHost) this.observer.closed(host.descriptor)
    this.#newcomers.delete(host.id)
  }

  #arrives(range: string): boolean {
    for (const { id } of this.#context.arriving()) if (id === range) return true
    return false
  }

  /** What is to be emptied before a state comes: what the replica had, or what an earlier try has left behind. */
  #emptied(host: Hosted, descriptor: RangeDescriptor): Bounds[] {
    if (host instanceof RangeHost) return [this.#boundsOf(host)]
    const marker = findMarker(this.#context.engine, descriptor.service, descriptor.id)
    const covering = this.#covering(FULL, [host])
    return (marker?.boundaries ?? []).flatMap((each) => subtract(each, covering)).slice(0, BOUNDARIES_KEPT_MAX)
  }

  #boundsOf(host: Hosted): Bounds {
    const { start, end } = host instanceof RangeHost ? host.range.latest : (host as NewcomerHost).descriptor
    return { start, end }
  }

  /** What other replicas here hold of these keys, or are being given. */
  #covering(bounds: Bounds, but: readonly Hosted[] = []): Bounds[] {
    const covering: Bounds[] = []
    for (const host of holdersOf(this.#hosts.values(), bounds)) {
      if (but.includes(host)) continue
      covering.push(host.range.latest)
      if (host.descriptor !== host.range.latest) covering.push(host.descriptor)
    }
    for (const arriving of this.#context.arriving()) {
      if (arriving.service === this.coprocessor.service && overlaps(arriving, bounds)) covering.push(arriving)
    }
    return covering
  }

  #openNewcomer({ replica, emptiedFor, descriptor }: NewcomerRecord): void {
    const { engine } = this.#context
    const { id, service } = descriptor
    const marker = findMarker(engine, service, id)
    // An installation that was not ended: what it had begun is taken away again, and its own record kept.
    if (marker !== null) {
      const own = marker.boundaries.flatMap((each) => subtract(each, this.#covering(FULL)))
      this.#context.writeLast([...emptyRange(descriptor, marker, own), newcomerRecord(descriptor, replica, emptiedFor)])
    }
    const log = RangeLog.open(engine, id)
    assert(log !== null, `The newcomer of range "${id}" has a log`)
    this.#addNewcomer(descriptor, replica, log, emptiedFor, true)
  }

  /** `key`: it may be another range's by now. */
  #notFound(which: string, key: Uint8Array = FIRST_KEY): BrokerError {
    const descriptors = this.landscape().filter((each) => within(key, each))
    const hint = descriptors.length === 0 ? null : { descriptors }
    return new BrokerError('RANGE_NOT_FOUND', `Store "${this.#context.storeId}" has no range ${which}`, { hint })
  }
}
