import { assert } from '../../base/assert.ts'
import { BrokerError } from '../../base/errors.ts'
import type { BatchAnswer, CommandBatch, QueryAnswer, QueryRequest, RangeTransport } from '../client/transport.ts'
import { compareBytes, within } from '../engine/bytes.ts'
import type { Engine, Write } from '../engine/engine.ts'
import { engineReader } from '../range/boundary.ts'
import type { Coprocessor, RangeDescriptor, RangeObserver } from '../range/coprocessor.ts'
import { Range, type RangeChild } from '../range/range.ts'
import {
  afterPrefix,
  answersOf,
  appliedKey,
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
import { type Hosted, RangeHost } from './host.ts'
import type { StoreLimits } from './limits.ts'

/** What a service's ranges need of their store. */
export interface ServiceContext {
  engine: Engine
  storeId: string
  limits: StoreLimits
  streamLimits: Partial<StreamLimits>
  codec: AnswerCodec | null
  decodeAlways: boolean
  now(): number
  /** This range has something queued. */
  wake(host: Hosted): void
  schedule(callback: () => void): void
  /** Why this store takes nothing any more; null while it does. */
  refusal(): BrokerError | null
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

  /** Opens the ranges that are on disk, or creates the first ones, cut at `splits`: their records, to be written. */
  open(splits: readonly Uint8Array[]): Write[] {
    const children = this.#load()
    const writes = children.length > 0 ? [] : this.#create(splits, children)
    for (const child of children) this.openRange(child)
    for (const host of this.#hosts.values()) {
      this.observer.opened(host.descriptor, host.range.reader)
      host.scheduleDue(0)
    }
    return writes
  }

  openRange(child: { descriptor: RangeDescriptor; applied: RangeChild['applied']; streams?: RangeChild['streams'] }) {
    const { engine, codec, streamLimits, limits } = this.#context
    const { descriptor, applied } = child
    assert(!this.#hosts.has(descriptor.id), `Range "${descriptor.id}" is here once`)
    const landed = engineReader(engine, this.coprocessor.service)
    const range = new Range(
      { coprocessor: this.coprocessor, descriptor, applied, landed, codec, limits: streamLimits },
      child.streams,
    )
    if (child.streams === undefined) this.#loadStreams(range)
    const host = new RangeHost(this, range, limits)
    this.#hosts.set(descriptor.id, host)
    return host
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
    this.#context.schedule(() => {
      try {
        answer(null, this.#read(request))
      } catch (error) {
        if (error instanceof BrokerError) answer(error, null)
        else answer(new BrokerError('INVALID_ARGUMENT', 'Cannot read: the query failed', { cause: error }), null)
      }
    })
  }

  landscape(): readonly RangeDescriptor[] {
    return [...this.#hosts.values()].map((host) => host.descriptor)
  }

  schedule(flush: () => void): void {
    this.#context.schedule(flush)
  }

  #read(request: QueryRequest<Query>): Answer {
    const host = this.#hosts.get(request.range)
    const refusal = this.#context.refusal()
    if (refusal !== null) throw refusal
    if (host === undefined) throw this.#notFound(`"${request.range}"`)
    const error = host.range.checkQuery(request.epochVersion, request.key)
    // A halted range still shows what it had applied to those who ask for no more.
    if (error !== null && (error.code !== 'RANGE_HALTED' || request.linearizable)) throw error
    return host.range.query(request.query, this.#context.now())
  }

  #load(): { descriptor: RangeDescriptor; applied: RangeChild['applied'] }[] {
    const { engine } = this.#context
    const { service } = this.coprocessor
    const prefix = servicePrefix(service)
    const cursor = engine.cursor('meta', { start: prefix, end: afterPrefix(prefix) })
    const found: { descriptor: RangeDescriptor; applied: RangeChild['applied'] }[] = []
    while (cursor.next()) {
      if (recordOf(cursor.key, service).kind !== 'd') continue
      const descriptor = decodeDescriptor(cursor.value)
      const applied = engine.get('meta', appliedKey(service, descriptor.id))
      assert(applied !== undefined, `Range "${descriptor.id}" has no applied state`)
      found.push({ descriptor, applied: decodeApplied(applied) })
    }
    cursor.close()
    return found
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
    children: { descriptor: RangeDescriptor; applied: RangeChild['applied'] }[],
  ): Write[] {
    const { service } = this.coprocessor
    const writes: Write[] = []
    const keys = [...splits].sort(compareBytes)
    const applied = { index: 0, nowMs: 0, hash: 0 }
    for (let i = 0; i <= keys.length; i++) {
      const descriptor: RangeDescriptor = {
        id: `${service}-${i + 1}`,
        service,
        epoch: { version: 1, confVersion: 1 },
        start: keys[i - 1],
        end: keys[i],
        replicas: [{ store: this.#context.storeId, replica: 1, role: 'voter' }],
      }
      children.push({ descriptor, applied })
      writes.push({ type: 'put', key: descriptorKey(service, descriptor.id), value: encodeDescriptor(descriptor) })
      writes.push({ type: 'put', key: appliedKey(service, descriptor.id), value: encodeApplied(applied) })
    }
    return writes
  }

  #notFound(which: string): BrokerError {
    return new BrokerError('RANGE_NOT_FOUND', `Store "${this.#context.storeId}" has no range ${which}`)
  }
}
