import { assert } from '../../base/assert.ts'
import { BrokerError } from '../../base/errors.ts'
import type {
  DiscardObserver,
  IncomingCall,
  MessageChannel,
  MessageHandler,
  RequestChannel,
  RequestHandler,
  StreamChannel,
  StreamHandler,
  StreamSink,
} from '../contract.ts'

type AnyChannel = MessageChannel<unknown> | RequestChannel<unknown, unknown> | StreamChannel<unknown, unknown>

interface Entry {
  channel: AnyChannel
  received: MessageHandler<unknown> | null
  request: RequestHandler<unknown, unknown> | null
  stream: StreamHandler<unknown, unknown> | null
  discards: DiscardObserver<unknown> | null
}

/** Who takes what arrives, by the channel's number. */
export class Handlers {
  readonly #entries: (Entry | undefined)[] = []

  messages<Message>(channel: MessageChannel<Message>, handler: MessageHandler<Message>): void {
    const entry = this.#entry(channel as MessageChannel<unknown>)
    assert(entry.received === null, `Channel "${channel.name}" has a handler`)
    entry.received = handler as MessageHandler<unknown>
  }

  requests<Request, Answer>(channel: RequestChannel<Request, Answer>, handler: RequestHandler<Request, Answer>): void {
    const entry = this.#entry(channel as RequestChannel<unknown, unknown>)
    assert(entry.request === null, `Channel "${channel.name}" has a handler`)
    entry.request = handler as RequestHandler<unknown, unknown>
  }

  streams<Request, Chunk>(channel: StreamChannel<Request, Chunk>, handler: StreamHandler<Request, Chunk>): void {
    const entry = this.#entry(channel as StreamChannel<unknown, unknown>)
    assert(entry.stream === null, `Channel "${channel.name}" has a handler`)
    entry.stream = handler as StreamHandler<unknown, unknown>
  }

  discards<Message>(channel: MessageChannel<Message>, observer: DiscardObserver<Message>): void {
    this.#entry(channel as MessageChannel<unknown>).discards = observer as DiscardObserver<unknown>
  }

  get(number: number): Entry | undefined {
    return this.#entries[number]
  }

  #entry(channel: AnyChannel): Entry {
    const { number, name } = channel
    assert(number >= 1 && number <= 255, `Channel "${name}" has no number from 1 to 255`)
    const known = this.#entries[number]
    assert(known === undefined || known.channel === channel, `Channel number ${number} is used twice, by "${name}"`)
    if (known !== undefined) return known
    const entry = { channel, received: null, request: null, stream: null, discards: null }
    this.#entries[number] = entry
    return entry
  }
}

/** Runs a request's handler; an expected failure that it throws is its answer, everything else ends the process. */
export function runRequest(
  handler: RequestHandler<unknown, unknown>,
  request: unknown,
  call: IncomingCall<unknown>,
): void {
  try {
    handler(request, call)
  } catch (error) {
    if (!(error instanceof BrokerError)) throw error
    call.fail(error)
  }
}

/** As {@link runRequest}. */
export function runStream(handler: StreamHandler<unknown, unknown>, request: unknown, sink: StreamSink<unknown>): void {
  try {
    handler(request, sink)
  } catch (error) {
    if (!(error instanceof BrokerError)) throw error
    sink.fail(error)
  }
}
