import { createServer, type Server, type Socket } from 'node:net'
import type { WebSocket } from 'ws'
import { BrokerError } from '../../base/errors.ts'
import { TokenBucket } from './admission.ts'
import { type Credentials, loadCredentials, stampOf, tenantOf } from './certificates.ts'
import type {
  ConnectionHandler,
  Listener,
  ListenerContext,
  ListenerCounters,
  ListenerOptions,
  ListenerType,
  Transport,
} from './contract.ts'
import { fail, type Handshake, plainAddress } from './handshake.ts'
import { readProxyHeader } from './proxy-stage.ts'
import { hookAccept } from './socket-accept.ts'
import { SocketTransport } from './socket-transport.ts'
import { TlsStage } from './tls-stage.ts'
import { clearUnixPath } from './unix-path.ts'
import { WsStage } from './ws-stage.ts'
import { WsTransport } from './ws-transport.ts'

const CERTIFICATE_CHECK_MS = 10_000
/** The kernel asks a silent peer whether it is still there: a client without keep-alive may have gone for ever. */
const TCP_KEEPALIVE_MS = 60_000
const ERROR_LOG_MS = 10_000
const nothing = () => {}

/**
 * One open port. Each accepted socket passes, as its type needs: limits, PROXY header, TLS, WebSocket; what comes out
 * is a transport for the handler.
 */
export class OpenListener implements Listener {
  readonly name: string
  readonly type: ListenerType
  readonly counters: ListenerCounters = emptyCounters()
  readonly #options: ListenerOptions
  readonly #context: ListenerContext
  readonly #handler: ConnectionHandler
  readonly #server: Server
  readonly #bucket: TokenBucket
  readonly #handshakes = new Set<Handshake>()
  #tls: TlsStage | null = null
  #ws: WsStage | null = null
  #certificateStamp = ''
  #cancelCertificateCheck = nothing
  #errorLoggedAtMs = Number.NEGATIVE_INFINITY
  #closed = false
  readonly #onSocketClosed = () => this.#release()

  constructor(options: ListenerOptions, handler: ConnectionHandler, context: ListenerContext) {
    this.name = options.name
    this.type = options.type
    this.#options = options
    this.#handler = handler
    this.#context = context
    this.#bucket = new TokenBucket(context.connectionRatePerSecond, context.clock.monotonic())
    this.#server = createServer({ pauseOnConnect: true, noDelay: true })
  }

  /** Rejects with CONFIG_INVALID where the listener cannot be opened as it is written. */
  async open(): Promise<void> {
    const { type, tls, path, name } = this.#options
    if (type === 'tls' || type === 'wss') {
      const credentials = await loadCredentials(name, tls)
      this.#certificateStamp = credentials.stamp
      this.#tls = new TlsStage(this.#options, this.#context, credentials, (handshake, socket) =>
        this.#afterTls(handshake, socket),
      )
      this.#watchCertificates()
    }
    if (type === 'ws' || type === 'wss') {
      this.#ws = new WsStage(this.#options, this.#context, (handshake, ws, socket) =>
        this.#afterWs(handshake, ws, socket),
      )
    }
    if (type === 'unix') {
      if (path === null) throw this.#refuse('path: is needed with type unix: the file of the socket')
      await clearUnixPath(name, path)
    }
    await this.#listen()
  }

  get port(): number {
    const address = this.#server.address()
    return address !== null && typeof address === 'object' ? address.port : 0
  }

  get address(): string {
    const { type, host, path } = this.#options
    if (type === 'unix') return path!
    return host.includes(':') ? `[${host}]:${this.port}` : `${host}:${this.port}`
  }

  async reloadCertificates(): Promise<void> {
    if (this.#tls === null) return
    let credentials: Credentials
    try {
      credentials = await loadCredentials(this.name, this.#options.tls)
      this.#tls.use(credentials)
    } catch (error) {
      this.counters.certificateReloadsFailed++
      throw error
    }
    this.#certificateStamp = credentials.stamp
    this.counters.certificateReloads++
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.#cancelCertificateCheck()
    // The port is free at once. Node's own callback would wait for every open connection.
    this.#server.close()
    for (const handshake of this.#handshakes) fail(handshake, 'handshakeAborted')
    await new Promise<void>((resolve) => setImmediate(resolve))
  }

  // The way of a connection, in order.

  #listen(): Promise<void> {
    const { type, host, port, path, backlog } = this.#options
    const server = this.#server
    server.on('connection', (socket) => this.#onConnection(socket))
    return new Promise((resolve, reject) => {
      server.once('error', (error: NodeJS.ErrnoException) => reject(this.#explain(error)))
      server.listen(type === 'unix' ? { path: path!, backlog } : { host, port, backlog }, () => {
        server.removeAllListeners('error')
        server.on('error', (error) => this.#onAcceptError(error))
        if (this.#readsDirectly && this.#context.staticReadBuffer !== false) {
          hookAccept(server, {
            admit: () => this.#admit(),
            accepted: (socket, transport) => this.#accepted(socket, transport),
          })
        }
        resolve()
      })
    })
  }

  /** True where the accepted socket itself carries MQTT. */
  get #readsDirectly(): boolean {
    return this.type === 'tcp' || this.type === 'unix'
  }

  #onConnection(socket: Socket): void {
    if (!this.#admit()) {
      socket.destroy()
      return
    }
    this.#accepted(socket, this.#readsDirectly ? new SocketTransport() : null)
  }

  #admit(): boolean {
    const { admission, clock } = this.#context
    const { connectionsMax } = this.#options
    if (admission.open >= admission.connectionsMax || this.counters.open >= (connectionsMax ?? Infinity)) {
      this.counters.refusedConnections++
      return false
    }
    if (this.#closed || !this.#bucket.take(clock.monotonic())) {
      this.counters.refusedRate++
      return false
    }
    return true
  }

  #accepted(socket: Socket, transport: SocketTransport | null): void {
    this.counters.accepted++
    this.counters.open++
    this.#context.admission.open++
    socket.on('error', nothing)
    socket.once('close', this.#onSocketClosed)
    if (this.type !== 'unix') {
      socket.setNoDelay(true)
      socket.setKeepAlive(true, TCP_KEEPALIVE_MS)
    }
    const direct = transport !== null && this.#options.proxyProtocol === 'off'
    const handshake = direct ? this.#describe(socket, transport) : this.#begin(socket, transport)
    transport?.attach(socket)
    if (direct) {
      this.#hand(handshake, transport)
      transport.start()
    } else if (this.#options.proxyProtocol === 'required') readProxyHeader(handshake, (it) => this.#afterProxy(it))
    else this.#afterProxy(handshake)
  }

  #afterProxy(handshake: Handshake): void {
    if (this.#tls !== null) this.#tls.start(handshake)
    else if (this.#ws !== null) this.#ws.start(handshake, handshake.socket)
    else this.#complete(handshake, handshake.transport!)
  }

  #afterTls(handshake: Handshake, socket: Socket): void {
    if (this.#ws !== null) return this.#ws.start(handshake, socket)
    const transport = new SocketTransport()
    transport.attach(socket)
    this.#complete(handshake, transport)
    transport.start()
  }

  #afterWs(handshake: Handshake, ws: WebSocket, socket: Socket): void {
    this.#complete(handshake, new WsTransport(ws, socket))
  }

  #complete(handshake: Handshake, transport: Transport): void {
    this.#finish(handshake)
    this.#hand(handshake, transport)
  }

  #hand(handshake: Handshake, transport: Transport): void {
    const { certificate } = handshake
    this.#handler(transport, {
      listener: this.name,
      type: this.type,
      remoteAddress: handshake.remoteAddress,
      remotePort: handshake.remotePort,
      secure: this.#tls !== null,
      certificate,
      certificateTenant: tenantOf(certificate, this.#options.tls.tenantFromCert),
      acceptedAtMs: handshake.acceptedAtMs,
    })
  }

  #release(): void {
    this.counters.open--
    this.#context.admission.open--
  }

  // Unfinished handshakes.

  #describe(socket: Socket, transport: SocketTransport | null): Handshake {
    return {
      socket,
      transport,
      acceptedAtMs: this.#context.clock.monotonic(),
      remoteAddress: plainAddress(socket.remoteAddress),
      remotePort: socket.remotePort ?? 0,
      certificate: null,
      failure: null,
      done: false,
      cancelTimeout: nothing,
    }
  }

  #begin(socket: Socket, transport: SocketTransport | null): Handshake {
    const handshake = this.#describe(socket, transport)
    const { clock, handshakeTimeoutMs } = this.#context
    handshake.cancelTimeout = clock.after(handshakeTimeoutMs, () => fail(handshake, 'handshakeTimeouts'))
    this.#handshakes.add(handshake)
    this.counters.handshaking++
    socket.once('close', () => {
      if (handshake.done) return
      const failure = handshake.failure ?? 'handshakeAborted'
      this.counters[failure]++
      this.#finish(handshake)
      const { remoteAddress } = handshake
      this.#context.logger.debug({ listener: this.name, remoteAddress, failure }, 'A handshake failed')
    })
    return handshake
  }

  #finish(handshake: Handshake): void {
    handshake.done = true
    handshake.cancelTimeout()
    if (this.#handshakes.delete(handshake)) this.counters.handshaking--
  }

  // Errors and certificates.

  #onAcceptError(error: Error): void {
    this.counters.acceptErrors++
    const now = this.#context.clock.monotonic()
    if (now - this.#errorLoggedAtMs < ERROR_LOG_MS) return
    this.#errorLoggedAtMs = now
    this.#context.logger.warn({ listener: this.name, error: error.message }, 'Cannot accept connections')
  }

  #explain(error: NodeJS.ErrnoException): BrokerError {
    const { type, host, port, path } = this.#options
    const place = type === 'unix' ? `"${path}"` : `${host}:${port}`
    const option = type === 'unix' ? 'path' : 'port'
    switch (error.code) {
      case 'EADDRINUSE':
        return this.#refuse(`${option}: ${place} is in use; stop what listens there, or choose another`, error)
      case 'EACCES':
      case 'EPERM':
        return this.#refuse(`${option}: no permission to listen on ${place}; choose another`, error)
      case 'EADDRNOTAVAIL':
        return this.#refuse(`host: "${host}" is not an address of this machine`, error)
      case 'ENOTFOUND':
      case 'EAI_AGAIN':
        return this.#refuse(`host: "${host}" is not known`, error)
      default:
        return this.#refuse(`${option}: cannot listen on ${place}: ${error.code ?? error.message}`, error)
    }
  }

  #refuse(problem: string, cause?: Error): BrokerError {
    return new BrokerError('CONFIG_INVALID', `mqtt.listeners.${this.name}.${problem}`, { cause })
  }

  #watchCertificates(): void {
    const everyMs = this.#context.certificateCheckMs ?? CERTIFICATE_CHECK_MS
    this.#cancelCertificateCheck = this.#context.clock.after(everyMs, () => {
      this.#checkCertificates()
        .catch((error: Error) => {
          this.#context.logger.warn(
            { listener: this.name, error: error.message },
            'Cannot use the changed certificates: the old ones stay',
          )
        })
        .finally(() => {
          if (!this.#closed) this.#watchCertificates()
        })
    })
  }

  async #checkCertificates(): Promise<void> {
    const stamp = await stampOf(this.#options.tls)
    if (stamp === this.#certificateStamp) return
    // Remembered even where the files are of no use yet: they are tried once for each change.
    this.#certificateStamp = stamp
    await this.reloadCertificates()
    this.#context.logger.info({ listener: this.name }, 'New certificates are in use')
  }
}

function emptyCounters(): ListenerCounters {
  return {
    accepted: 0,
    open: 0,
    handshaking: 0,
    refusedRate: 0,
    refusedConnections: 0,
    acceptErrors: 0,
    proxyMalformed: 0,
    tlsFailed: 0,
    httpRefused: 0,
    handshakeTimeouts: 0,
    handshakeAborted: 0,
    certificateReloads: 0,
    certificateReloadsFailed: 0,
  }
}
