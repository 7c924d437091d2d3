import { assert } from '../../base/assert.ts'
import type { Random } from '../../base/clock.ts'
import { BrokerError } from '../../base/errors.ts'
import type { BatchAnswer, CommandBatch, QueryAnswer, QueryRequest, RangeTransport } from '../client/transport.ts'
import { compareBytes, within } from '../engine/bytes.ts'
import type { Engine, Write } from '../engine/engine.ts'
import type { Message, RaftLimits } from '../raft/index.ts'
import { engineReader } from '../range/boundary.ts'
import type { Coprocessor, RangeDescriptor, RangeObserver } from '../range/coprocessor.ts'
import { FIRST_INDEX, Range, type RangeChild } from '../range/range.ts'
import {
  afterPrefix,
  answersOf,
  appliedKey,
  configKey,
  decodeApplied,
  decodeDescriptor,
  decodeMark,
  descriptorKey,
  encodeApplied,
  encodeDescriptor,
  recordOf,
  servicePrefix,
  streamOf,
} from '../range/schema.ts'
import type { AnswerCodec, StreamLimits } from '../range/streams.ts'
import { Group, type Packet } from './group.ts'
import { type Hosted, RangeHost } from './host.ts'
import type { StoreLimits } from './limits.ts'
import { decodeConfig } from './raft-schema.ts'
import { configOf, RangeLog } from './range-log.ts'

/** What a service's ranges need of their store. */
export interface ServiceContext {
  engine: Engine
  storeId: string
  limits: StoreLimits
  streamLimits: Partial<StreamLimits>
  raftLimits: Partial<RaftLimits>
  codec: AnswerCodec | null
  decodeAlways: boolean
  random: Random
  now(): number
  send(store: string, packet: Packet): void
  /** This range has something queued. */
  wake(host: Hosted): void
  schedule(callback: () => void): void
  /** Why this store takes nothing any more; null while it does. */
  refusal(): BrokerError | null
}

/** Term of the state that a range begins with. */
const FIRST_TERM = 1

/** What a service begins with where nothing is stored. */
export interface Beginning {
  /** Where its key space is cut. */
  splits: readonly Uint8Array[]
  /** The voters; the same on all of them. None: its ranges come from elsewhere. */
  stores: readonly string[]
}

interface StoredRange {
  descriptor: RangeDescriptor
  applied: RangeChild['applied']
  log: RangeLog
}

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

  host(range: string): Hosted | undefined {
    return this.#hosts.get(range)
  }

  /**
   * Opens the ranges that are on disk, or creates the first ones, cut at `splits`. What is to be written goes to `meta`
   * and `raft`.
   */
  open({ splits, stores }: Beginning, meta: Write[], raft: Write[]): void {
    const stored = this.#load(meta, raft)
    if (stored.length === 0 && stores.length > 0) this.#create(splits, stores, stored, meta, raft)
    for (const each of stored) this.#openRange(each)
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
  send(group: Group, message: Message): void {
    const store = group.storeOf(message.to)
    if (store !== undefined) this.#context.send(store, group.packet(message))
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
      this.#context.refusal() ?? (host === undefined ? this.#notFound(`"${batch.range}"`) : host.enqueue(batch, answer))
    if (error === null) this.#context.wake(host!)
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
    const refusal = this.#context.refusal() ?? (host === undefined ? this.#notFound(`"${request.range}"`) : null)
    if (refusal !== null) return answer(refusal, null)
    const run = (error: BrokerError | null) => {
      if (error !== null) answer(error, null)
      else this.#read(host!, request, answer)
    }
    if (!request.linearizable || host!.read(run)) run(null)
    else this.#context.wake(host!)
  }

  #read(
    { range }: RangeHost<Command, Response, Query, Answer, Effect>,
    request: QueryRequest<Query>,
    answer: QueryAnswer<Answer>,
  ): void {
    const error = range.checkQuery(request.epochVersion, request.key)
    // A halted range still shows what it had applied to those who ask for no more.
    if (error !== null && (error.code !== 'RANGE_HALTED' || request.linearizable)) return answer(error, null)
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
      { coprocessor: this.coprocessor, descriptor, applied, landed, codec, limits: streamLimits },
      streams,
    )
    if (streams === undefined) this.#loadStreams(range)
    const own = descriptor.replicas.find(({ store }) => store === storeId)
    assert(own !== undefined, `Store "${storeId}" is a replica of range "${id}", which is in its folder`)
    const stored = engine.get('meta', configKey(service, id))
    const config = stored === undefined ? configOf(descriptor.replicas) : decodeConfig(stored)
    const group = new Group({
      ...{ range: id, replica: own.replica, replicas: descriptor.replicas, log, config, applied: applied.index },
      ...{ random, limits: raftLimits },
    })
    const host = new RangeHost(this, range, group, limits)
    this.#hosts.set(id, host)
    return host
  }

  #load(meta: Write[], raft: Write[]): StoredRange[] {
    const { engine } = this.#context
    const { service } = this.coprocessor
    const prefix = servicePrefix(service)
    const cursor = engine.cursor('meta', { start: prefix, end: afterPrefix(prefix) })
    const found: StoredRange[] = []
    while (cursor.next()) {
      if (recordOf(cursor.key, service).kind !== 'd') continue
      const descriptor = decodeDescriptor(cursor.value)
      const applied = engine.get('meta', appliedKey(service, descriptor.id))
      assert(applied !== undefined, `Range "${descriptor.id}" has no applied state`)
      found.push(this.#withLog(descriptor, decodeApplied(applied), meta, raft))
    }
    cursor.close()
    return found
  }

  /** A folder of before there were logs has none: its log begins with what was applied. */
  #withLog(descriptor: RangeDescriptor, stored: RangeChild['applied'], meta: Write[], raft: Write[]): StoredRange {
    const { engine } = this.#context
    const { id, service } = descriptor
    const log = RangeLog.open(engine, id)
    if (log !== null) return { descriptor, applied: stored, log }
    const applied = { ...stored, index: Math.max(FIRST_INDEX, stored.index) }
    meta.push({ type: 'put', key: appliedKey(service, id), value: encodeApplied(applied) })
    const begun = RangeLog.begin(engine, id, applied.index, FIRST_TERM)
    raft.push(...begun.writes)
    return { descriptor, applied, log: begun.log }
  }

  #loadStreams(range: Range<Command, Response, Query, Answer, Effect>): void {
    const { id, service } = range.descriptor
    const end = appliedKey(service, id).slice(0, -1)
    const cursor = this.#context.engine.cursor('meta', { start: end, end: afterPrefix(end) })
    while (cursor.next()) {
      const { kind, rest } = recordOf(cursor.key, service)
      if (kind === 's') range.streams.load(streamOf(rest), decodeMark(cursor.value))
      if (kind !== 'w') continue
      const { stream, first } = answersOf(rest)
      range.streams.loadAnswers(stream, first, cursor.value)
    }
    cursor.close()
  }

  #create(
    splits: readonly Uint8Array[],
    stores: readonly string[],
    found: StoredRange[],
    meta: Write[],
    raft: Write[],
  ): void {
    const { service } = this.coprocessor
    const keys = [...splits].sort(compareBytes)
    const applied = { index: FIRST_INDEX, nowMs: 0, hash: 0 }
    for (let i = 0; i <= keys.length; i++) {
      const descriptor: RangeDescriptor = {
        id: `${service}-${i + 1}`,
        service,
        epoch: { version: 1, confVersion: 1 },
        start: keys[i - 1],
        end: keys[i],
        replicas: stores.map((store, i) => ({ store, replica: i + 1, role: 'voter' })),
      }
      meta.push({ type: 'put', key: descriptorKey(service, descriptor.id), value: encodeDescriptor(descriptor) })
      meta.push({ type: 'put', key: appliedKey(service, descriptor.id), value: encodeApplied(applied) })
      const { log, writes } = RangeLog.begin(this.#context.engine, descriptor.id, FIRST_INDEX, FIRST_TERM)
      raft.push(...writes)
      found.push({ descriptor, applied, log })
    }
  }

  #notFound(which: string): BrokerError {
    return new BrokerError('RANGE_NOT_FOUND', `Store "${this.#context.storeId}" has no range ${which}`)
  }
}
