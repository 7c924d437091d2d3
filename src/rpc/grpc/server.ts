import type { Http2Server, ServerHttp2Session, ServerHttp2Stream, Settings } from 'node:http2'
import { type AddressInfo, createServer, type Server as Listener, type Socket } from 'node:net'
import { createServer as createTlsServer } from 'node:tls'
import {
  type ChannelOptions,
  logVerbosity,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type ServiceDefinition,
  setLogVerbosity,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js'
import { assert } from '../../base/assert.ts'
import { BrokerError } from '../../base/errors.ts'
import type { AcceptWire } from '../link/transport.ts'
import { CHANNEL_OPTIONS, CONNECT, WINDOW_BYTES } from './connect.ts'
import { listenerTls, type TlsOptions } from './credentials.ts'

export interface GrpcServerOptions {
  host: string
  /** 0 takes any free one. */
  port: number
  tls: TlsOptions | null
  accept: AcceptWire
  /** What else is served. */
  methods: ReadonlyMap<ServiceDefinition, UntypedServiceImplementation>
  /** Connections at the same time; more are closed at once. */
  connectionsMax: number
}

const STREAMS_MAX = 64
const SERVER_OPTIONS: ChannelOptions = {
  ...CHANNEL_OPTIONS,
  'grpc.max_concurrent_streams': STREAMS_MAX,
  // Of tools; links look for silence by themselves.
  'grpc.keepalive_time_ms': 20_000,
  'grpc.keepalive_timeout_ms': 10_000,
}
/** Large frames of HTTP/2: one for each packet. */
const SETTINGS: Settings = {
  maxConcurrentStreams: STREAMS_MAX,
  initialWindowSize: WINDOW_BYTES,
  maxFrameSize: 1024 * 1024,
}
/** A connection without a stream is closed after so long: a link opens its stream at once. */
const IDLE_MS = 15_000
/** A link that was ended, and that the other side does not let go. */
const LINGER_MS = 1_000

/**
 * The one port that other nodes and standard tools connect to.
 *
 * It listens by itself, and hands the connections to grpc-js: that has no limit for connections nor for TLS handshakes.
 */
export class GrpcServer {
  readonly #listener: Listener
  readonly #server = new Server(SERVER_OPTIONS)
  readonly #sockets = new Set<Socket>()
  /** Connections by peer, as a call says it. */
  readonly #sessions = new Map<string, ServerHttp2Session>()

  private constructor({ tls, accept, methods, connectionsMax }: GrpcServerOptions, listener: Listener) {
    this.#listener = listener
    // It prints what strangers send.
    setLogVerbosity(logVerbosity.NONE)
    this.#server.addService(
      { Connect: CONNECT },
      { Connect: (call: ServerDuplexStream<Buffer, Buffer>) => this.#acceptLink(call, accept) },
    )
    for (const [service, implementation] of methods) this.#server.addService(service, implementation)
    const injector = this.#server.createConnectionInjector(ServerCredentials.createInsecure())
    this.#tune(http2ServerOf(this.#server))
    listener.maxConnections = connectionsMax
    listener.on('connection', (socket: Socket) => {
      this.#sockets.add(socket)
      socket.on('close', () => this.#sockets.delete(socket))
      socket.on('error', () => {})
    })
    listener.on(tls === null ? 'connection' : 'secureConnection', (socket: Socket) => injector.injectConnection(socket))
    listener.on('error', () => {})
  }

  static listen(options: GrpcServerOptions): Promise<GrpcServer> {
    const { host, port, tls } = options
    let listener: Listener
    try {
      listener = tls === null ? createServer() : createTlsServer(listenerTls(tls))
    } catch (cause) {
      const text = `Cannot use the certificate for other nodes: ${String(cause)}; it takes PEM of key, certificate and authority`
      return Promise.reject(new BrokerError('CONFIG_INVALID', text, { cause }))
    }
    const server = new GrpcServer(options, listener)
    return new Promise((resolve, reject) => {
      listener.once('error', (cause) => {
        const text = `Cannot listen for other nodes on ${host}:${port}: ${cause.message}`
        reject(new BrokerError('UNAVAILABLE', text, { cause }))
      })
      listener.listen(port, host, () => resolve(server))
    })
  }

  /** The port in use. */
  get port(): number {
    return (this.#listener.address() as AddressInfo).port
  }

  /** Ends every connection. */
  close(): void {
    this.#listener.close()
    this.#server.forceShutdown()
    for (const socket of this.#sockets) socket.destroy()
  }

  /** What grpc-js has no option for. */
  #tune(http2: Http2Server): void {
    http2.updateSettings(SETTINGS)
    const streams = new WeakMap<ServerHttp2Session, number>()
    const count = (session: ServerHttp2Session, change: number) =>
      void streams.set(session, (streams.get(session) ?? 0) + change)
    http2.on('session', (session) => {
      const peer = peerOf(session.socket)
      this.#sessions.set(peer, session)
      session.on('close', () => this.#sessions.delete(peer))
      // Bytes that are no HTTP/2: strangers' business, the connection is closed.
      session.on('error', () => {})
      session.setTimeout(IDLE_MS, () => {
        if ((streams.get(session) ?? 0) === 0) session.destroy()
      })
      session.setLocalWindowSize(WINDOW_BYTES)
    })
    const handlers = http2.listeners('stream')
    http2.removeAllListeners('stream')
    http2.on('stream', (stream: ServerHttp2Stream, ...more: unknown[]) => {
      const { session } = stream
      stream.on('error', () => {})
      // Reset by the peer before this was called: grpc-js would answer it, which throws.
      if (session === undefined || stream.destroyed || stream.closed) return
      count(session as ServerHttp2Session, 1)
      stream.on('close', () => count(session as ServerHttp2Session, -1))
      for (const handler of handlers) handler.call(http2, stream, ...more)
    })
  }

  #acceptLink(call: ServerDuplexStream<Buffer, Buffer>, accept: AcceptWire): void {
    let open = true
    const session = this.#sessions.get(call.getPeer())
    const end = () => {
      open = false
      call.end()
      // The connection serves this link alone.
      setTimeout(() => session?.destroy(), LINGER_MS).unref()
    }
    const events = accept({
      // What waits is bounded by the credit that the peer gave.
      write: (packet) => {
        if (open) call.write(packet)
      },
      close: () => {
        if (open) end()
      },
    })
    const closed = (reason: string) => {
      if (!open) return
      end()
      events.closed(reason)
    }
    call.on('data', (packet: Buffer) => {
      if (open) events.packet(packet)
    })
    call.on('error', (error) => closed(error.message))
    call.on('end', () => closed('ended by the peer'))
    call.on('close', () => closed('the stream was closed'))
  }
}

function peerOf(socket: Pick<Socket, 'remoteAddress' | 'remotePort'>): string {
  return `${socket.remoteAddress}:${socket.remotePort}`
}

/** grpc-js keeps it to itself: there is one, made by the injector. */
function http2ServerOf(server: Server): Http2Server {
  const { http2Servers } = server as unknown as { http2Servers?: Map<Http2Server, unknown> }
  const http2 = http2Servers?.keys().next().value
  assert(http2 !== undefined, 'The version of @grpc/grpc-js is one that was tried')
  return http2
}
