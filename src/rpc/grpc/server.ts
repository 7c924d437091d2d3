import {
  createSecureServer,
  createServer,
  type Http2SecureServer,
  type Http2Server,
  type Http2Session,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2'
import type { AddressInfo } from 'node:net'
import { BrokerError } from '../../base/errors.ts'
import type { AcceptWire } from '../link/transport.ts'
import { serverTls, type TlsOptions } from './credentials.ts'
import { Deframer } from './deframer.ts'
import { type Methods, ServiceCall, STATUS, sendTrailers } from './service.ts'
import { CONNECT_PATH, HTTP2_SETTINGS, PACKET_BYTES_MAX, WINDOW_BYTES, writePacket } from './transport.ts'

export interface GrpcServerOptions {
  host: string
  /** 0 takes any free one. */
  port: number
  tls: TlsOptions | null
  accept: AcceptWire
  /** What else is served. */
  methods: Methods
  /** Connections at the same time; more are closed at once. */
  connectionsMax: number
}

/** A connection without a stream is closed after so long: a link opens its stream at once. */
const IDLE_MS = 15_000
const TLS_HANDSHAKE_MS_MAX = 10_000
/** A tool's message. */
const REQUEST_BYTES_MAX = 64 * 1024
/** A link that was ended, and that the other side does not let go. */
const LINGER_MS = 1_000

/** The one port that other nodes and standard tools connect to. */
export class GrpcServer {
  readonly #server: Http2Server | Http2SecureServer
  readonly #options: GrpcServerOptions
  /** Connections, with the number of their streams. */
  readonly #sessions = new Map<ServerHttp2Session, number>()

  private constructor(options: GrpcServerOptions) {
    const settings = { ...HTTP2_SETTINGS, maxConcurrentStreams: 64 }
    const { tls } = options
    this.#options = options
    this.#server =
      tls === null
        ? createServer({ settings })
        : createSecureServer({ ...serverTls(tls), settings, handshakeTimeout: TLS_HANDSHAKE_MS_MAX })
    this.#server.maxConnections = options.connectionsMax
    this.#server.on('session', (session: ServerHttp2Session) => this.#session(session))
    this.#server.on('stream', (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) =>
      this.#stream(stream, headers),
    )
    // Bytes that are no HTTP/2, handshakes that fail: strangers' business, the connection is closed.
    this.#server.on('sessionError', () => {})
    this.#server.on('error', () => {})
  }

  static listen(options: GrpcServerOptions): Promise<GrpcServer> {
    const { host, port } = options
    let server: GrpcServer
    try {
      server = new GrpcServer(options)
    } catch (cause) {
      const text = `Cannot use the certificate for other nodes: ${String(cause)}; it takes PEM of key, certificate and authority`
      return Promise.reject(new BrokerError('CONFIG_INVALID', text, { cause }))
    }
    return new Promise((resolve, reject) => {
      server.#server.once('error', (cause) => {
        const text = `Cannot listen for other nodes on ${host}:${port}: ${cause.message}`
        reject(new BrokerError('UNAVAILABLE', text, { cause }))
      })
      server.#server.listen(port, host, () => resolve(server))
    })
  }

  /** The port in use. */
  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  get connections(): number {
    return this.#sessions.size
  }

  /** Ends every connection. */
  close(): void {
    this.#server.close()
    for (const session of this.#sessions.keys()) session.destroy()
  }

  #session(session: ServerHttp2Session): void {
    this.#sessions.set(session, 0)
    session.on('close', () => this.#sessions.delete(session))
    session.on('error', () => {})
    session.setTimeout(IDLE_MS, () => {
      if (this.#sessions.get(session) === 0) session.destroy()
    })
    session.setLocalWindowSize(WINDOW_BYTES)
  }

  #stream(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): void {
    stream.on('error', () => {})
    const { session } = stream
    this.#count(session, 1)
    stream.on('close', () => this.#count(session, -1))
    // Reset by the peer before this was called: nothing may be written to it.
    if (stream.destroyed || stream.closed) return
    const type = headers['content-type'] ?? ''
    const path = headers[':path'] ?? ''
    if (headers[':method'] !== 'POST' || !type.startsWith('application/grpc')) {
      stream.respond({ ':status': 415 }, { endStream: true })
    } else if (path === CONNECT_PATH) acceptLink(stream, this.#options.accept)
    else this.#serve(stream, path)
  }

  #count(session: Http2Session | undefined, change: number): void {
    const known = session as ServerHttp2Session
    const streams = this.#sessions.get(known)
    if (streams !== undefined) this.#sessions.set(known, streams + change)
  }

  #serve(stream: ServerHttp2Stream, path: string): void {
    const call = new ServiceCall(stream)
    const method = this.#options.methods.get(path)
    if (method === undefined) {
      call.end(STATUS.unimplemented, `${path} is not served here`)
      return
    }
    const deframer = new Deframer(REQUEST_BYTES_MAX, (message) => method.message(message, call))
    stream.on('data', (chunk: Buffer) => {
      if (!deframer.push(chunk)) {
        call.end(STATUS.resourceExhausted, 'The message is compressed or too large')
        stream.close()
      }
    })
    stream.on('end', () => method.ended(call))
    stream.on('close', () => method.closed(call))
  }
}

/** The server's side of a link. */
function acceptLink(stream: ServerHttp2Stream, accept: AcceptWire): void {
  stream.respond({ ':status': 200, 'content-type': 'application/grpc+proto' }, { waitForTrailers: true })
  sendTrailers(stream, { 'grpc-status': String(STATUS.ok) })
  let open = true
  const events = accept({
    write: (packet) => {
      if (open && !stream.destroyed && !stream.closed) writePacket(stream, packet)
    },
    close: () => {
      if (!open) return
      open = false
      stream.end()
      // The connection serves this link alone.
      setTimeout(() => stream.session?.destroy(), LINGER_MS).unref()
    },
  })
  const closed = (reason: string) => {
    if (!open) return
    open = false
    stream.close()
    events.closed(reason)
  }
  const deframer = new Deframer(PACKET_BYTES_MAX, (packet) => {
    if (open) events.packet(packet)
  })
  stream.on('data', (chunk: Buffer) => {
    if (open && !deframer.push(chunk)) closed('no gRPC')
  })
  stream.on('end', () => closed('ended by the peer'))
  stream.on('close', () => closed('the stream was closed'))
}
