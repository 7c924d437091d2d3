import { BrokerError } from '../../base/errors.ts'
import type { HostId } from '../../base/ids.ts'
import { CHANNEL, type IncomingCall, type Peers, type RequestChannel } from '../../rpc/index.ts'
import type { BatchAnswer, CommandBatch, QueryAnswer, QueryRequest, RangeTransport } from '../client/transport.ts'
import { FrameCursor } from '../raft/frame-bytes.ts'
import type { RangeDescriptor, ServiceName } from '../range/coprocessor.ts'
import type { AnswerCodec } from '../range/streams.ts'
import { BYTES } from './bytes-codec.ts'
import {
  type CallCodec,
  decodeAnswers,
  decodeBatch,
  decodeRequest,
  encodeAnswers,
  encodeBatch,
  encodeRequest,
  serviceOf,
} from './call-codec.ts'

const PROPOSE: RequestChannel<Uint8Array, Uint8Array> = {
  ...{ type: 'request', number: CHANNEL.propose, name: 'propose', kind: 'deliveries' },
  ...{ request: BYTES, answer: BYTES },
}

const QUERY: RequestChannel<Uint8Array, Uint8Array> = {
  ...{ type: 'request', number: CHANNEL.query, name: 'query', kind: 'deliveries' },
  ...{ request: BYTES, answer: BYTES },
}

/** Clients ask again after a second of silence; an answer that comes later is of no use. */
const CALL_MS_MAX = 10_000

type AnyTransport = RangeTransport<unknown, unknown, unknown, unknown>

interface Served {
  transport: AnyTransport
  codec: CallCodec<unknown>
}

/** The services' ranges on other stores, and those of this one for others. A store is named by its host. */
export class RangeCalls {
  readonly #peers: Peers
  readonly #defer: (callback: () => void) => void
  readonly #served = new Map<ServiceName, Served>()
  /** Calls without an answer, by store. */
  readonly #waiting = new Map<string, Set<() => void>>()

  /** @param defer runs a callback after what runs now: `setImmediate` */
  constructor(peers: Peers, defer: (callback: () => void) => void) {
    this.#peers = peers
    this.#defer = defer
    peers.watchLinks((node, kind, state) => {
      if (kind === PROPOSE.kind && state === 'waiting') this.#broke(node)
    })
    peers.handleRequests(PROPOSE, (frame, call) => this.#answer(call, () => this.#propose(frame, call)))
    peers.handleRequests(QUERY, (frame, call) => this.#answer(call, () => this.#query(frame, call)))
  }

  /**
   * The way to all replicas of a service: those of this store without serialisation, the others by a link. `landscape`: all
   * ranges as known here, a hint.
   */
  join<Command, Response, Query, Answer>(
    service: ServiceName,
    local: RangeTransport<Command, Response, Query, Answer>,
    codec: CallCodec<Command>,
    landscape: () => readonly RangeDescriptor[],
  ): RangeTransport<Command, Response, Query, Answer> {
    this.#served.set(service, { transport: local as AnyTransport, codec: codec as CallCodec<unknown> })
    const isHere = (store: string) => store === this.#peers.node || store === ''
    return {
      propose: (store, batch, answer) => {
        if (isHere(store)) local.propose(store, batch, answer)
        else this.#sendBatch(service, store, batch, codec, answer)
      },
      query: (store, request, answer) => {
        if (isHere(store)) local.query(store, request, answer)
        else this.#sendQuery(service, store, request, codec.values, answer)
      },
      landscape: () => [...landscape(), ...local.landscape()],
      schedule: (flush) => local.schedule(flush),
    }
  }

  #sendBatch<Command, Response>(
    service: ServiceName,
    store: string,
    batch: CommandBatch<Command>,
    codec: CallCodec<Command>,
    answer: BatchAnswer<Response>,
  ): void {
    const frame = encodeBatch(service, batch, codec)
    const decode = (bytes: Uint8Array) => decodeAnswers<Response>(bytes, codec.values)
    this.#call(store, PROPOSE, frame, decode, (error, responses) => answer(error, responses ?? []))
  }

  #sendQuery<Query, Answer>(
    service: ServiceName,
    store: string,
    request: QueryRequest<Query>,
    values: AnswerCodec,
    answer: QueryAnswer<Answer>,
  ): void {
    const frame = encodeRequest(service, request, values)
    this.#call(store, QUERY, frame, (bytes) => values.decode(bytes)[0] as Answer, answer)
  }

  #call<Value>(
    store: string,
    channel: RequestChannel<Uint8Array, Uint8Array>,
    frame: Uint8Array,
    decode: (bytes: Uint8Array) => Value,
    answer: (error: BrokerError | null, value: Value | null) => void,
  ): void {
    // Who asks can tell what was applied from what was not, and finds another leader sooner than a link heals.
    if (this.#peers.linkState(store as HostId, channel.kind) === 'waiting') {
      this.#defer(() => answer(broken(store), null))
      return
    }
    const waiting = this.#waitingFor(store)
    const options = { deadlineMs: CALL_MS_MAX }
    const pending = this.#peers.request(store as HostId, channel, frame, options, (error, bytes) => {
      if (!waiting.delete(breaks)) return
      if (error !== null || bytes === null) return answer(error ?? unreadable(), null)
      let value: Value
      try {
        value = decode(bytes)
      } catch (cause) {
        return answer(unreadable(cause), null)
      }
      answer(null, value)
    })
    const breaks = () => {
      pending.cancel()
      answer(broken(store), null)
    }
    waiting.add(breaks)
  }

  #waitingFor(store: string): Set<() => void> {
    let waiting = this.#waiting.get(store)
    if (waiting === undefined) {
      waiting = new Set()
      this.#waiting.set(store, waiting)
    }
    return waiting
  }

  #broke(store: string): void {
    const waiting = this.#waiting.get(store)
    if (waiting === undefined) return
    const all = [...waiting]
    waiting.clear()
    for (const breaks of all) breaks()
  }

  #propose(frame: Uint8Array, call: IncomingCall<Uint8Array>): void {
    const cursor = new FrameCursor(frame, 'a batch of commands')
    const { transport, codec } = this.#of(serviceOf(cursor))
    transport.propose(this.#peers.node, decodeBatch(cursor, codec), (error, responses) => {
      if (error !== null) call.fail(error)
      else call.answer(encodeAnswers(responses, codec.values))
    })
  }

  #query(frame: Uint8Array, call: IncomingCall<Uint8Array>): void {
    const cursor = new FrameCursor(frame, 'a question to a range')
    const { transport, codec } = this.#of(serviceOf(cursor))
    transport.query(this.#peers.node, decodeRequest(cursor, codec.values), (error, answer) => {
      if (error !== null) call.fail(error)
      else call.answer(codec.values.encode([answer]))
    })
  }

  #of(service: ServiceName): Served {
    const served = this.#served.get(service)
    if (served !== undefined) return served
    throw new BrokerError('RANGE_NOT_FOUND', `This node does not serve "${service}"`)
  }

  /** Nothing from the wire gets past its call. */
  #answer(call: IncomingCall<Uint8Array>, work: () => void): void {
    try {
      work()
    } catch (error) {
      const failed = new BrokerError('INVALID_ARGUMENT', 'Cannot read the call', { cause: error })
      call.fail(error instanceof BrokerError ? error : failed)
    }
  }
}

function broken(store: string): BrokerError {
  return new BrokerError('UNAVAILABLE', `The connection to store "${store}" is broken`)
}

function unreadable(cause?: unknown): BrokerError {
  return new BrokerError('UNAVAILABLE', 'Cannot read what the store has answered', { cause })
}
