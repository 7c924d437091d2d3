import { createServer, type IncomingMessage, type Server } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { type WebSocket, WebSocketServer } from 'ws'
import type { ListenerContext, ListenerOptions } from './contract.ts'
import type { Handshake } from './handshake.ts'
import { LINGER_MS } from './socket-transport.ts'

const HEADER_BYTES_MAX = 8 * 1024
/** What a client may name, the better one first: MQTT 5.0 6.0, and what clients of MQTT 3.1 say. */
const SUBPROTOCOLS = ['mqtt', 'mqttv3.1']

type Next = (handshake: Handshake, ws: WebSocket, socket: Socket) => void

/**
 * The HTTP request that turns a socket into a WebSocket, and nothing else of HTTP: every other request is refused and
 * its connection closed. The server never listens: sockets are given to it, and the listener watches their time.
 */
export class WsStage {
  readonly #server: Server
  readonly #sockets: WebSocketServer
  readonly #handshakes = new WeakMap<Duplex, Handshake>()
  readonly #path: string
  readonly #origins: readonly string[]
  readonly #next: Next

  constructor(options: ListenerOptions, context: ListenerContext, next: Next) {
    this.#path = options.path ?? '/mqtt'
    this.#origins = options.origins ?? []
    this.#next = next
    this.#server = createServer({ maxHeaderSize: HEADER_BYTES_MAX })
    this.#server.on('request', (request, response) => {
      this.#note(request.socket)
      response.writeHead(426, { Connection: 'close', Upgrade: 'websocket' }).end()
    })
    this.#server.on('upgrade', (request, socket, head) => this.#onUpgrade(request, socket, head))
    this.#server.on('clientError', (_error, socket) => this.#refuse(socket, '400 Bad Request'))
    this.#sockets = new WebSocketServer({
      noServer: true,
      clientTracking: false,
      perMessageDeflate: false,
      maxPayload: context.messageBytesMax,
      autoPong: false,
      // Text is refused unread.
      skipUTF8Validation: true,
      handleProtocols: (offered) => SUBPROTOCOLS.find((name) => offered.has(name)) ?? false,
      ...{ closeTimeout: LINGER_MS },
    })
    this.#sockets.on('wsClientError', (_error, socket) => this.#refuse(socket, '400 Bad Request'))
  }

  start(handshake: Handshake, socket: Socket): void {
    this.#handshakes.set(socket, handshake)
    this.#server.emit('connection', socket)
    socket.resume()
  }

  #onUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const handshake = this.#handshakes.get(socket)
    if (handshake === undefined || handshake.done) {
      socket.destroy()
      return
    }
    const refusal = this.#check(request)
    if (refusal !== null) return this.#refuse(socket, refusal)
    this.#sockets.handleUpgrade(request, socket, head, (ws) => this.#next(handshake, ws, socket as Socket))
  }

  /** The status line of the refusal; null where the request is in order. */
  #check(request: IncomingMessage): string | null {
    const path = request.url?.split('?', 1)[0]
    if (path !== this.#path) return '404 Not Found'
    const { origin } = request.headers
    if (origin !== undefined && this.#origins.length > 0 && !this.#origins.includes(origin)) return '403 Forbidden'
    const offered = request.headers['sec-websocket-protocol']?.split(',').map((name) => name.trim()) ?? []
    // [MQTT-6.0.0-3]: the client must offer it.
    return offered.some((name) => SUBPROTOCOLS.includes(name)) ? null : '400 Bad Request'
  }

  #refuse(socket: Duplex, status: string): void {
    this.#note(socket)
    if (!socket.writable) {
      socket.destroy()
      return
    }
    socket.on('error', () => {})
    socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`, () => socket.destroy())
  }

  #note(socket: Duplex): void {
    const handshake = this.#handshakes.get(socket)
    if (handshake !== undefined) handshake.failure ??= 'httpRefused'
  }
}
