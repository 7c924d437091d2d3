import { BrokerError } from '../../base/errors.ts'
import type { HostId } from '../../base/ids.ts'
import type {
  AnswerCallback,
  Codec,
  IncomingCall,
  PendingCall,
  RequestChannel,
  StreamCall,
  StreamChannel,
  StreamOptions,
  StreamReceiver,
  StreamSink,
} from '../contract.ts'
import type { Deadlines, Timed } from './deadlines.ts'
import { type Handlers, runRequest, runStream } from './handlers.ts'

export interface LocalContext {
  node: HostId
  handlers: Handlers
  deadlines: Deadlines
  nowMs: () => number
  /** Runs after what runs now. */
  defer: (work: () => void) => void
}

/**
 * Calls for this very node: the handler is called with the value itself. As over a link, an answer never comes before
 * the call returns, a deadline ends the call, and the handler hears of a cancellation.
 */
export class Local {
  calls = 0
  readonly #context: LocalContext
  /** Answers of this turn: call, then its answer. */
  #answers: (LocalCall | unknown)[] = []
  readonly #deliver = () => this.#deliverAnswers()

  constructor(context: LocalContext) {
    this.#context = context
  }

  request<Request, Answer>(
    channel: RequestChannel<Request, Answer>,
    request: Request,
    deadlineMs: number,
    callback: AnswerCallback<Answer>,
  ): PendingCall {
    const { node, deadlines, nowMs, handlers } = this.#context
    this.calls++
    const endMs = nowMs() + deadlineMs
    const call = new LocalCall(this, node, endMs, channel.name, callback as AnswerCallback<unknown>)
    const handler = handlers.get(channel.number)?.request ?? null
    if (handler === null) {
      call.fail(new BrokerError('NOT_FOUND', `Channel "${channel.name}" is not served by this node`))
      return call
    }
    runRequest(handler, request, call)
    if (!call.settled) deadlines.add(call, endMs)
    return call
  }

  open<Request, Chunk>(
    channel: StreamChannel<Request, Chunk>,
    request: Request,
    options: StreamOptions,
    receiver: StreamReceiver<Chunk>,
  ): StreamCall {
    this.calls++
    const { node, handlers } = this.#context
    const stream = new LocalStream(this, node, channel, options, receiver as StreamReceiver<unknown>)
    const handler = handlers.get(channel.number)?.stream ?? null
    if (handler === null) {
      stream.fail(new BrokerError('NOT_FOUND', `Channel "${channel.name}" is not served by this node`))
    } else {
      this.#context.defer(() => {
        if (!stream.cancelled) runStream(handler, request, stream)
      })
    }
    return stream
  }

  /** The call is settled: its answer goes out at the end of the turn. */
  settle(call: LocalCall, error: BrokerError | null, answer: unknown): void {
    this.#context.deadlines.remove(call)
    if (this.#answers.length === 0) this.#context.defer(this.#deliver)
    this.#answers.push(call, error, answer)
  }

  defer(work: () => void): void {
    this.#context.defer(work)
  }

  renew(timed: Timed, forMs: number): void {
    this.#context.deadlines.remove(timed)
    this.#context.deadlines.add(timed, this.#context.nowMs() + forMs)
  }

  remove(timed: Timed): void {
    this.#context.deadlines.remove(timed)
  }

  #deliverAnswers(): void {
    const answers = this.#answers
    this.#answers = []
    for (let i = 0; i < answers.length; i += 3) {
      const call = answers[i] as LocalCall
      call.callback(answers[i + 1] as BrokerError | null, answers[i + 2])
    }
  }
}

function timeout(name: string): BrokerError {
  return new BrokerError('TIMEOUT', `No answer to "${name}" from this node in time`)
}

function cancelledBy(name: string): BrokerError {
  return new BrokerError('CANCELLED', `The call "${name}" was cancelled by its caller`)
}

/** Both ends of a call. */
class LocalCall implements PendingCall, IncomingCall<unknown>, Timed {
  settled = false
  cancelled = false
  onCancel: (() => void) | null = null
  deadlineMs: number
  slot = -1
  earlier: Timed | null = null
  later: Timed | null = null
  readonly from: HostId
  readonly callback: AnswerCallback<unknown>
  readonly #local: Local
  readonly #name: string

  constructor(local: Local, from: HostId, deadlineMs: number, name: string, callback: AnswerCallback<unknown>) {
    this.#local = local
    this.from = from
    this.deadlineMs = deadlineMs
    this.#name = name
    this.callback = callback
  }

  answer(value: unknown): void {
    this.#settle(null, value)
  }

  fail(error: BrokerError): void {
    this.#settle(error, null)
  }

  cancel(): void {
    this.#abandon(cancelledBy(this.#name))
  }

  expired(): void {
    this.#abandon(timeout(this.#name))
  }

  #abandon(error: BrokerError): void {
    if (this.settled) return
    this.#settle(error, null)
    this.cancelled = true
    this.onCancel?.()
  }

  #settle(error: BrokerError | null, answer: unknown): void {
    if (this.settled) return
    this.settled = true
    this.#local.settle(this, error, answer)
  }
}

/** Both ends of a stream. Chunks are handed over at the end of the turn, under the same credit as over a link. */
class LocalStream implements StreamCall, StreamSink<unknown>, Timed {
  cancelled = false
  onCancel: (() => void) | null = null
  onReady: (() => void) | null = null
  deadlineMs = 0
  slot = -1
  earlier: Timed | null = null
  later: Timed | null = null
  readonly from: HostId
  readonly #local: Local
  readonly #channel: { name: string; chunk: Codec<unknown> }
  readonly #options: StreamOptions
  readonly #receiver: StreamReceiver<unknown>
  #credit: number
  #ended = false
  #finished = false
  #waiting = false

  constructor(
    local: Local,
    from: HostId,
    channel: { name: string; chunk: Codec<unknown> },
    options: StreamOptions,
    receiver: StreamReceiver<unknown>,
  ) {
    this.#local = local
    this.from = from
    this.#channel = channel
    this.#options = options
    this.#receiver = receiver
    this.#credit = Math.max(1, options.creditBytes)
    local.renew(this, options.idleMs)
  }

  get ready(): boolean {
    if (this.#ended || this.cancelled) return false
    this.#waiting = this.#credit <= 0
    return !this.#waiting
  }

  write(chunk: unknown): void {
    if (this.cancelled) return
    const bytes = this.#channel.chunk.bytes(chunk)
    this.#credit -= bytes
    this.#local.renew(this, this.#options.idleMs)
    this.#local.defer(() => {
      if (!this.#finished) this.#receiver.chunk(chunk, bytes)
    })
  }

  end(): void {
    this.#end(null)
  }

  fail(error: BrokerError): void {
    this.#end(error)
  }

  grant(bytes: number): void {
    if (this.#ended || this.cancelled) return
    this.#credit += bytes
    this.#local.renew(this, this.#options.idleMs)
    if (this.#waiting) {
      this.#local.defer(() => {
        if (this.#waiting && this.ready) this.onReady?.()
      })
    }
  }

  cancel(): void {
    this.#abandon(cancelledBy(this.#channel.name))
  }

  expired(): void {
    if (this.#credit <= 0) this.#local.renew(this, this.#options.idleMs)
    else this.#abandon(timeout(this.#channel.name))
  }

  #abandon(error: BrokerError): void {
    if (this.cancelled || this.#finished) return
    this.cancelled = true
    this.#local.remove(this)
    this.#finished = true
    this.#local.defer(() => this.#receiver.ended(error))
    if (!this.#ended) this.onCancel?.()
  }

  #end(error: BrokerError | null): void {
    if (this.#ended || this.cancelled) return
    this.#ended = true
    this.#local.remove(this)
    this.#local.defer(() => {
      if (this.#finished) return
      this.#finished = true
      this.#receiver.ended(error)
    })
  }
}
