import { BrokerError } from '../../base/errors.ts'
import type { AnswerCallback, Codec, PendingCall, StreamCall, StreamOptions, StreamReceiver } from '../contract.ts'
import type { Deadlines, Timed } from './deadlines.ts'
import { errorCodec } from './error-codec.ts'
import { type BodyReader, TYPE } from './message.ts'
import type { Outlet } from './outlet.ts'

/** What all calls of one link need. */
export interface CallerContext {
  outlet: Outlet
  deadlines: Deadlines
  nowMs: () => number
  /** Runs after what runs now: an answer never comes before the call returns. */
  defer: (work: () => void) => void
  /** The peer, for messages. */
  peer: string
  /** Calls under way, at most. */
  pendingMax: number
  /** Counts answers that cannot be read. */
  unreadable: () => void
}

type Waiting = WaitingCall | WaitingStream

/** The calls and streams that one node waits for from one peer on one kind of link, by number. */
export class Caller {
  readonly #context: CallerContext
  readonly #waiting = new Map<number, Waiting>()
  readonly #head = { channel: 0, id: 0, extra: 0 }
  #lastId = 0

  constructor(context: CallerContext) {
    this.#context = context
  }

  get pending(): number {
    return this.#waiting.size
  }

  request<Request, Answer>(
    channel: { number: number; name: string; request: Codec<Request>; answer: Codec<Answer> },
    request: Request,
    deadlineMs: number,
    callback: AnswerCallback<Answer>,
  ): PendingCall {
    const { deadlines, nowMs } = this.#context
    const call = new WaitingCall(this, this.#nextId(), channel, callback as AnswerCallback<unknown>)
    const refusal = this.#write(TYPE.request, channel, call.id, Math.max(1, Math.ceil(deadlineMs)), request)
    if (refusal !== null) {
      call.settled = true
      this.#context.defer(() => callback(refusal, null))
      return call
    }
    this.#waiting.set(call.id, call)
    deadlines.add(call, nowMs() + deadlineMs)
    return call
  }

  open<Request, Chunk>(
    channel: { number: number; name: string; request: Codec<Request>; chunk: Codec<Chunk> },
    request: Request,
    options: StreamOptions,
    receiver: StreamReceiver<Chunk>,
  ): StreamCall {
    const { deadlines, nowMs } = this.#context
    const stream = new WaitingStream(this, this.#nextId(), channel, options, receiver as StreamReceiver<unknown>)
    const refusal = this.#write(TYPE.open, channel, stream.id, Math.max(1, options.creditBytes), request)
    if (refusal !== null) {
      stream.settled = true
      this.#context.defer(() => receiver.ended(refusal))
      return stream
    }
    this.#waiting.set(stream.id, stream)
    deadlines.add(stream, nowMs() + options.idleMs)
    return stream
  }

  /** A message of the peer to a call; true where it was one. What nobody waits for is dropped. */
  received(message: BodyReader): boolean {
    const { type } = message
    if (type !== TYPE.answer && type !== TYPE.fail && type !== TYPE.chunk && type !== TYPE.end) return false
    const waiting = this.#waiting.get(message.id)
    if (waiting === undefined) return true
    if (type === TYPE.fail) {
      this.settle(waiting)
      waiting.failed(errorCodec.read(message.payload))
    } else if (waiting instanceof WaitingCall) {
      if (type === TYPE.answer) this.#answered(waiting, message.payload)
    } else if (type === TYPE.chunk) this.#chunk(waiting, message.payload)
    else if (type === TYPE.end) {
      this.settle(waiting)
      waiting.receiver.ended(null)
    }
    return true
  }

  /** The session is lost: nothing of this is ever answered. */
  fail(error: BrokerError): void {
    const all = [...this.#waiting.values()]
    for (const waiting of all) this.settle(waiting)
    for (const waiting of all) waiting.failed(error)
  }

  settle(waiting: Waiting): void {
    waiting.settled = true
    this.#waiting.delete(waiting.id)
    this.#context.deadlines.remove(waiting)
  }

  /** The deadline came, or the own side does not want it any more. */
  abandon(waiting: Waiting, error: BrokerError): void {
    this.settle(waiting)
    this.#context.outlet.signal(TYPE.cancel, waiting.id, 0)
    waiting.failed(error)
  }

  cancel(waiting: Waiting): void {
    if (waiting.settled) return
    this.settle(waiting)
    this.#context.outlet.signal(TYPE.cancel, waiting.id, 0)
    const error = new BrokerError('CANCELLED', `The call "${waiting.channel.name}" was cancelled by its caller`)
    this.#context.defer(() => waiting.failed(error))
  }

  timeoutOf(waiting: Waiting): BrokerError {
    return new BrokerError(
      'TIMEOUT',
      `No answer to "${waiting.channel.name}" from node "${this.#context.peer}" in time`,
    )
  }

  /** More credit for a stream; also shows that its receiver is alive. */
  grant(stream: WaitingStream, bytes: number): void {
    this.#context.outlet.signal(TYPE.grant, stream.id, bytes)
    this.renew(stream)
  }

  renew(stream: WaitingStream): void {
    const { deadlines, nowMs } = this.#context
    deadlines.remove(stream)
    deadlines.add(stream, nowMs() + stream.options.idleMs)
  }

  #answered(call: WaitingCall, payload: Buffer): void {
    let answer: unknown
    try {
      answer = call.channel.answer.read(payload)
    } catch (cause) {
      this.#unreadable(call, cause)
      return
    }
    this.settle(call)
    call.callback(null, answer)
  }

  #chunk(stream: WaitingStream, payload: Buffer): void {
    let chunk: unknown
    try {
      chunk = stream.channel.chunk.read(payload)
    } catch (cause) {
      this.#unreadable(stream, cause)
      return
    }
    stream.creditBytes -= payload.length
    this.renew(stream)
    stream.receiver.chunk(chunk, payload.length)
  }

  #unreadable(waiting: Waiting, cause: unknown): void {
    this.#context.unreadable()
    const message = `The answer to "${waiting.channel.name}" from node "${this.#context.peer}" cannot be read`
    this.abandon(waiting, new BrokerError('UNAVAILABLE', message, { cause }))
  }

  /** Null when it is on its way. */
  #write<Request>(
    type: typeof TYPE.request | typeof TYPE.open,
    channel: { number: number; name: string; request: Codec<Request> },
    id: number,
    extra: number,
    request: Request,
  ): BrokerError | null {
    const failed = `Cannot send "${channel.name}" to node "${this.#context.peer}"`
    if (this.#waiting.size >= this.#context.pendingMax) {
      return new BrokerError('OVERLOADED', `${failed}: ${this.#waiting.size} calls are under way; slow down`)
    }
    const head = this.#head
    head.channel = channel.number
    head.id = id
    head.extra = Math.min(extra, 0xffff_ffff)
    const result = this.#context.outlet.write(type, head, channel.request, request)
    if (result === 'accepted') return null
    if (result === 'too-large') return new BrokerError('INVALID_ARGUMENT', `${failed}: it is too large`)
    return new BrokerError('OVERLOADED', `${failed}: the link's buffer is full; slow down`)
  }

  #nextId(): number {
    do this.#lastId = (this.#lastId % 0xffff_ffff) + 1
    while (this.#waiting.has(this.#lastId))
    return this.#lastId
  }
}

class WaitingCall implements PendingCall, Timed {
  settled = false
  deadlineMs = 0
  slot = -1
  earlier: Timed | null = null
  later: Timed | null = null
  readonly id: number
  readonly channel: { name: string; answer: Codec<unknown> }
  readonly callback: AnswerCallback<unknown>
  readonly #caller: Caller

  constructor(
    caller: Caller,
    id: number,
    channel: { name: string; answer: Codec<unknown> },
    callback: AnswerCallback<unknown>,
  ) {
    this.#caller = caller
    this.id = id
    this.channel = channel
    this.callback = callback
  }

  cancel(): void {
    this.#caller.cancel(this)
  }

  expired(): void {
    this.#caller.abandon(this, this.#caller.timeoutOf(this))
  }

  failed(error: BrokerError): void {
    this.callback(error, null)
  }
}

class WaitingStream implements StreamCall, Timed {
  settled = false
  deadlineMs = 0
  slot = -1
  earlier: Timed | null = null
  later: Timed | null = null
  creditBytes: number
  readonly id: number
  readonly channel: { name: string; chunk: Codec<unknown> }
  readonly options: StreamOptions
  readonly receiver: StreamReceiver<unknown>
  readonly #caller: Caller

  constructor(
    caller: Caller,
    id: number,
    channel: { name: string; chunk: Codec<unknown> },
    options: StreamOptions,
    receiver: StreamReceiver<unknown>,
  ) {
    this.#caller = caller
    this.id = id
    this.channel = channel
    this.options = options
    this.receiver = receiver
    this.creditBytes = options.creditBytes
  }

  grant(bytes: number): void {
    if (this.settled) return
    this.creditBytes += bytes
    this.#caller.grant(this, bytes)
  }

  cancel(): void {
    this.#caller.cancel(this)
  }

  expired(): void {
    // While the sender has no credit, it is not the sender that everybody waits for.
    if (this.creditBytes <= 0) this.#caller.renew(this)
    else this.#caller.abandon(this, this.#caller.timeoutOf(this))
  }

  failed(error: BrokerError): void {
    this.receiver.ended(error)
  }
}
