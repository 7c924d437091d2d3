import { assert } from '../../base/assert.ts'
import { BrokerError } from '../../base/errors.ts'
import type { HostId } from '../../base/ids.ts'
import type { Codec, IncomingCall, StreamSink } from '../contract.ts'
import { errorCodec } from './error-codec.ts'
import { type Handlers, runRequest, runStream } from './handlers.ts'
import { type BodyReader, TYPE } from './message.ts'
import type { Outlet } from './outlet.ts'

export interface AnswererContext {
  from: HostId
  outlet: Outlet
  handlers: Handlers
  nowMs: () => number
  /** True once this node drains: it takes no new requests. */
  draining: () => boolean
  /** Counts what no handler takes, and what cannot be read. */
  unknown: () => void
  unreadable: () => void
  /** Counts answers that found no room; their callers wait until the deadline. */
  unanswered: () => void
  /** Streams at the same time. */
  streamsMax: number
}

/** The requests and streams of one peer's session that this node works on. */
export class Answerer {
  readonly #context: AnswererContext
  readonly #calls = new Map<number, Call>()
  readonly #sinks = new Map<number, Sink>()
  readonly #head = { channel: 0, id: 0, extra: 0 }

  constructor(context: AnswererContext) {
    this.#context = context
  }

  get pending(): number {
    return this.#calls.size + this.#sinks.size
  }

  get streams(): number {
    return this.#sinks.size
  }

  /** A message of the peer; it comes in a frame that is delivered once. */
  received(message: BodyReader): void {
    switch (message.type) {
      case TYPE.send:
        this.#send(message.channel, message.payload)
        break
      case TYPE.request:
        this.#request(message)
        break
      case TYPE.open:
        this.#open(message)
        break
      case TYPE.grant:
        this.#sinks.get(message.id)?.granted(message.extra)
        break
      case TYPE.cancel:
        this.#cancelled(message.id)
        break
      default:
        this.#context.unknown()
    }
  }

  /** The peer acknowledged something: there may be room again. */
  drained(): void {
    if (!this.#context.outlet.roomy) return
    for (const sink of this.#sinks.values()) sink.poke()
  }

  /** The session is lost: nobody waits for anything any more. */
  close(): void {
    const all = [...this.#calls.values(), ...this.#sinks.values()]
    this.#calls.clear()
    this.#sinks.clear()
    for (const each of all) each.cancelledByPeer()
  }

  /** `type` is answer or fail. */
  settle<Value>(call: Call, type: typeof TYPE.answer | typeof TYPE.fail, codec: Codec<Value>, value: Value): void {
    if (!this.#calls.delete(call.id)) return
    this.#write(type, call.id, codec, value)
  }

  chunk(sink: Sink, codec: Codec<unknown>, value: unknown): void {
    this.#head.id = sink.id
    const result = this.#context.outlet.write(TYPE.chunk, this.#head, codec, value)
    if (result === 'accepted') return
    const why = result === 'too-large' ? 'a chunk is too large for a link' : "the link's buffer is full"
    sink.fail(new BrokerError('OVERLOADED', `The stream cannot go on: ${why}`))
  }

  endStream(sink: Sink, error: BrokerError | null): void {
    if (!this.#sinks.delete(sink.id)) return
    if (error === null) this.#context.outlet.signal(TYPE.end, sink.id, 0)
    else this.#write(TYPE.fail, sink.id, errorCodec, error)
  }

  get roomy(): boolean {
    return this.#context.outlet.roomy
  }

  #send(number: number, payload: Buffer): void {
    const entry = this.#context.handlers.get(number)
    if (entry === undefined || entry.received === null || entry.channel.type !== 'message') {
      this.#context.unknown()
      return
    }
    let message: unknown
    try {
      message = entry.channel.message.read(payload)
    } catch {
      this.#context.unreadable()
      return
    }
    entry.received.received(this.#context.from, message)
  }

  #request(message: BodyReader): void {
    const { from, handlers, nowMs, draining } = this.#context
    const entry = handlers.get(message.channel)
    if (entry === undefined || entry.request === null || entry.channel.type !== 'request') {
      this.#context.unknown()
      this.#refuse(message.id, noHandler(message.channel))
      return
    }
    if (draining()) {
      this.#refuse(message.id, closing(entry.channel.name))
      return
    }
    const { channel } = entry
    const value = this.#read(channel.request, message)
    if (value === UNREADABLE) return
    const call = new Call(this, message.id, from, nowMs() + message.extra, channel.answer)
    this.#calls.set(call.id, call)
    runRequest(entry.request, value, call)
  }

  #open(message: BodyReader): void {
    const { from, handlers, draining, streamsMax } = this.#context
    const entry = handlers.get(message.channel)
    if (entry === undefined || entry.stream === null || entry.channel.type !== 'stream') {
      this.#context.unknown()
      this.#refuse(message.id, noHandler(message.channel))
      return
    }
    const { channel } = entry
    if (draining()) this.#refuse(message.id, closing(channel.name))
    else if (this.#sinks.size >= streamsMax) {
      const text = `Cannot open "${channel.name}": ${streamsMax} streams are open already; try again later`
      this.#refuse(message.id, new BrokerError('OVERLOADED', text))
    } else {
      const value = this.#read(channel.request, message)
      if (value === UNREADABLE) return
      const sink = new Sink(this, message.id, from, message.extra, channel.chunk)
      this.#sinks.set(sink.id, sink)
      runStream(entry.stream, value, sink)
    }
  }

  #read(codec: Codec<unknown>, message: BodyReader): unknown {
    try {
      return codec.read(message.payload)
    } catch {
      this.#context.unreadable()
      this.#refuse(message.id, new BrokerError('INVALID_ARGUMENT', 'The request cannot be read'))
      return UNREADABLE
    }
  }

  #cancelled(id: number): void {
    const call = this.#calls.get(id) ?? this.#sinks.get(id)
    if (call === undefined) return
    this.#calls.delete(id)
    this.#sinks.delete(id)
    call.cancelledByPeer()
  }

  #refuse(id: number, error: BrokerError): void {
    this.#write(TYPE.fail, id, errorCodec, error)
  }

  #write<Value>(type: typeof TYPE.answer | typeof TYPE.fail, id: number, codec: Codec<Value>, value: Value): void {
    this.#head.id = id
    const result = this.#context.outlet.write(type, this.#head, codec, value)
    if (result === 'accepted') return
    if (result === 'too-large') {
      this.#write(TYPE.fail, id, errorCodec, new BrokerError('QUOTA_EXCEEDED', 'The answer is too large for a link'))
    } else this.#context.unanswered()
  }
}

const UNREADABLE = Symbol('unreadable')

function noHandler(channel: number): BrokerError {
  return new BrokerError('NOT_FOUND', `Channel ${channel} is not served by this node`)
}

function closing(name: string): BrokerError {
  return new BrokerError('CLOSED', `Cannot take "${name}": the node is stopping; ask another one`)
}

class Call implements IncomingCall<unknown> {
  cancelled = false
  onCancel: (() => void) | null = null
  readonly id: number
  readonly from: HostId
  readonly deadlineMs: number
  readonly #answerer: Answerer
  readonly #codec: Codec<unknown>

  constructor(answerer: Answerer, id: number, from: HostId, deadlineMs: number, codec: Codec<unknown>) {
    this.#answerer = answerer
    this.id = id
    this.from = from
    this.deadlineMs = deadlineMs
    this.#codec = codec
  }

  answer(value: unknown): void {
    this.#answerer.settle(this, TYPE.answer, this.#codec, value)
  }

  fail(error: BrokerError): void {
    this.#answerer.settle(this, TYPE.fail, errorCodec, error)
  }

  cancelledByPeer(): void {
    this.cancelled = true
    this.onCancel?.()
  }
}

class Sink implements StreamSink<unknown> {
  cancelled = false
  onCancel: (() => void) | null = null
  onReady: (() => void) | null = null
  readonly id: number
  readonly from: HostId
  readonly #answerer: Answerer
  readonly #codec: Codec<unknown>
  #credit: number
  #ended = false
  /** Said that it is not ready, so that it is told when it is. */
  #waiting = false

  constructor(answerer: Answerer, id: number, from: HostId, credit: number, codec: Codec<unknown>) {
    this.#answerer = answerer
    this.id = id
    this.from = from
    this.#credit = credit
    this.#codec = codec
  }

  get ready(): boolean {
    if (this.#ended || this.cancelled) return false
    const ready = this.#credit > 0 && this.#answerer.roomy
    this.#waiting = !ready
    return ready
  }

  write(chunk: unknown): void {
    if (this.cancelled) return
    assert(!this.#ended, 'A stream that has ended takes no chunk')
    this.#credit -= this.#codec.bytes(chunk)
    this.#answerer.chunk(this, this.#codec, chunk)
  }

  end(): void {
    this.#end(null)
  }

  fail(error: BrokerError): void {
    this.#end(error)
  }

  granted(bytes: number): void {
    this.#credit += bytes
    this.poke()
  }

  poke(): void {
    if (!this.#waiting || !this.ready) return
    this.onReady?.()
  }

  cancelledByPeer(): void {
    this.cancelled = true
    this.onCancel?.()
  }

  #end(error: BrokerError | null): void {
    if (this.#ended || this.cancelled) return
    this.#ended = true
    this.#answerer.endStream(this, error)
  }
}
