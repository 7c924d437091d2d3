import type { Socket } from 'node:net'
import { createServer, type Server, type TLSSocket } from 'node:tls'
import type { Credentials } from './certificates.ts'
import { describeCertificate } from './certificates.ts'
import type { ListenerContext, ListenerOptions } from './contract.ts'
import { fail, type Handshake } from './handshake.ts'

/**
 * Handshakes begun in one turn of the event loop. Each costs about a millisecond of this thread, so that a reconnect
 * of everybody at once does not stop the traffic of those who are there.
 */
const STARTS_PER_TURN = 4

type Next = (handshake: Handshake, socket: TLSSocket) => void

/**
 * TLS over accepted sockets, a bounded number of handshakes at a time; the others wait, unread, in order of arrival.
 * The server never listens: sockets are given to it, which is the documented use of its 'connection' event.
 */
export class TlsStage {
  readonly #server: Server
  readonly #handshakesMax: number
  readonly #requireClientCert: boolean
  readonly #next: Next
  /** Under way, by both ends' addresses: all that the server tells of whose handshake is complete. */
  readonly #running = new Map<string, Handshake>()
  #waiting: Handshake[] = []
  #startedInTurn = 0
  #turnEnds = false

  constructor(options: ListenerOptions, context: ListenerContext, credentials: Credentials, next: Next) {
    this.#handshakesMax = context.handshakesMax
    this.#requireClientCert = options.tls.requireClientCert
    this.#next = next
    this.#server = createServer({
      ...secureOptions(credentials),
      ALPNProtocols: [options.type === 'wss' ? 'http/1.1' : 'mqtt'],
      // Verified all the same, and judged in #onSecure: the server would drop such a client without a word to us.
      requestCert: credentials.ca !== null,
      rejectUnauthorized: false,
      handshakeTimeout: context.handshakeTimeoutMs,
      pauseOnConnect: true,
    })
    this.#server.on('secureConnection', (socket) => this.#onSecure(socket))
    this.#server.on('tlsClientError', (error, socket) => this.#onError(error, socket))
  }

  start(handshake: Handshake): void {
    this.#waiting.push(handshake)
    this.#pump()
  }

  /** For handshakes from now on; what is open goes on as it is. */
  use(credentials: Credentials): void {
    this.#server.setSecureContext(secureOptions(credentials))
  }

  #pump(): void {
    while (this.#waiting.length > 0 && this.#running.size < this.#handshakesMax) {
      if (this.#startedInTurn === STARTS_PER_TURN) return
      const handshake = this.#waiting.shift()!
      if (handshake.socket.destroyed) continue
      this.#startedInTurn++
      this.#awaitTurn()
      this.#begin(handshake)
    }
  }

  #awaitTurn(): void {
    if (this.#turnEnds) return
    this.#turnEnds = true
    setImmediate(() => {
      this.#turnEnds = false
      this.#startedInTurn = 0
      this.#pump()
    })
  }

  #begin(handshake: Handshake): void {
    const { socket } = handshake
    const key = keyOf(socket)
    this.#running.set(key, handshake)
    socket.once('close', () => this.#release(key, handshake))
    this.#server.emit('connection', socket)
  }

  #release(key: string, handshake: Handshake): void {
    if (this.#running.get(key) !== handshake) return
    this.#running.delete(key)
    this.#pump()
  }

  #onSecure(socket: TLSSocket): void {
    const key = keyOf(socket)
    const handshake = this.#running.get(key)
    if (handshake === undefined || handshake.socket.destroyed) {
      socket.destroy()
      return
    }
    socket.on('error', () => {})
    this.#release(key, handshake)
    // A certificate that cannot be verified counts as none.
    if (socket.authorized) handshake.certificate = describeCertificate(socket.getPeerCertificate())
    else if (this.#requireClientCert) return fail(handshake, 'tlsFailed')
    this.#next(handshake, socket)
  }

  #onError(error: NodeJS.ErrnoException, socket: TLSSocket): void {
    const handshake = this.#running.get(keyOf(socket))
    if (handshake !== undefined) fail(handshake, error.code === 'ECONNRESET' ? 'handshakeAborted' : 'tlsFailed')
    socket.destroy()
  }
}

/** The two ends of a connection: unique while it is open. */
function keyOf(socket: Socket): string {
  return `${socket.localAddress} ${socket.localPort} ${socket.remoteAddress} ${socket.remotePort}`
}

function secureOptions({ cert, key, ca }: Credentials) {
  return { cert, key, ...(ca === null ? {} : { ca }), minVersion: 'TLSv1.2' as const }
}
