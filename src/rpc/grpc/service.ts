import type { ServerHttp2Stream } from 'node:http2'
import { PREFIX_BYTES, prefixOf } from './deframer.ts'

/** Source: github.com/grpc/grpc, doc/statuscodes.md. */
export const STATUS = {
  ok: 0,
  invalidArgument: 3,
  notFound: 5,
  resourceExhausted: 8,
  unimplemented: 12,
  internal: 13,
} as const

/**
 * A method that tools call: takes messages as bytes. A unary one gets one message, and answers it with one or with a
 * status.
 */
export interface Method {
  message(bytes: Buffer, call: ServiceCall): void
  /** The caller has sent all its messages. */
  ended(call: ServiceCall): void
  /** The call is over, whoever ended it. */
  closed(call: ServiceCall): void
}

/** The methods by path: `/package.Service/Method`. */
export type Methods = ReadonlyMap<string, Method>

/** One call of a method, as it answers. */
export class ServiceCall {
  readonly #stream: ServerHttp2Stream
  #begun = false
  #ended = false

  constructor(stream: ServerHttp2Stream) {
    this.#stream = stream
  }

  write(message: Buffer): void {
    if (this.#ended || this.#stream.destroyed || this.#stream.closed) return
    this.#begin()
    this.#stream.write(Buffer.concat([prefixOf(message.length), message], PREFIX_BYTES + message.length))
  }

  /** Status and, where it is not ok, what to say. */
  end(status: number, message = ''): void {
    if (this.#ended) return
    this.#ended = true
    const trailers = { 'grpc-status': String(status), 'grpc-message': encodeURIComponent(message) }
    if (this.#stream.destroyed || this.#stream.closed) return
    if (!this.#begun) {
      this.#stream.respond({ ':status': 200, 'content-type': 'application/grpc', ...trailers }, { endStream: true })
      return
    }
    sendTrailers(this.#stream, trailers)
    this.#stream.end()
  }

  #begin(): void {
    if (this.#begun) return
    this.#begun = true
    this.#stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true })
  }
}

export interface Failure {
  status: number
  message: string
}

/** Once everything else is sent. The caller may have gone by then. */
export function sendTrailers(stream: ServerHttp2Stream, trailers: Record<string, string>): void {
  stream.once('wantTrailers', () => {
    if (!stream.destroyed && !stream.closed) stream.sendTrailers(trailers)
  })
}

/** A method with one request and one answer. */
export function unary(answer: (request: Buffer) => Buffer | Failure): Method {
  return {
    message(bytes, call) {
      const result = answer(bytes)
      if ('status' in result) call.end(result.status, result.message)
      else {
        call.write(result)
        call.end(STATUS.ok)
      }
    },
    ended: (call) => call.end(STATUS.invalidArgument, 'A request is missing'),
    closed() {},
  }
}
