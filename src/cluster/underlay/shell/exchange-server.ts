import type { Server, Socket } from 'node:net'
import type { Clock } from '../../../base/clock.ts'
import type { ShellCounters } from './counters.ts'
import { FrameReader, frameOf } from './frames.ts'

export interface ExchangeServerOptions {
  clock: Clock
  counters: ShellCounters
  /** The longest frame, sealed. */
  frameBytesMax: number
  /** A frame came: answer it under its number, later or at once. */
  onFrame: (request: number, bytes: Buffer, from: Socket) => void
}

export const CONNECTIONS_MAX = 64
/** Of one address, so that one machine alone does not take all. */
export const CONNECTIONS_PER_ADDRESS_MAX = 16
/** Held for frames that are not complete, over all connections. */
const HELD_BYTES_MAX = 16 * 1_048_576
/** From the connection's begin to its end. */
const CONNECTION_MS = 10_000

interface Connection {
  address: string
  /** For a frame that is not complete. */
  heldBytes: number
  cancel: () => void
}

/**
 * Takes one frame from each connection and gives one back. Bounded in connections, in bytes and in time; whatever
 * comes, nothing is thrown.
 */
export class ExchangeServer {
  readonly #options: ExchangeServerOptions
  readonly #sockets = new Map<Socket, Connection>()
  readonly #requests = new Map<number, Socket>()
  #request = 0

  constructor(server: Server, options: ExchangeServerOptions) {
    this.#options = options
    server.on('connection', (socket) => this.#accept(socket))
  }

  get connections(): number {
    return this.#sockets.size
  }

  /** Null: there is no answer. */
  answer(request: number, bytes: Uint8Array | null): void {
    const socket = this.#requests.get(request)
    if (socket === undefined) return
    this.#requests.delete(request)
    if (bytes === null) socket.end()
    else socket.end(frameOf(bytes))
  }

  close(): void {
    for (const socket of this.#sockets.keys()) socket.destroy()
  }

  #accept(socket: Socket): void {
    const { counters, clock } = this.#options
    counters.connections++
    socket.on('error', () => {})
    const address = socket.remoteAddress ?? ''
    if (this.#sockets.size >= CONNECTIONS_MAX || this.#ofAddress(address) >= CONNECTIONS_PER_ADDRESS_MAX) {
      counters.connectionsRefused++
      socket.destroy()
      return
    }
    const cancel = clock.after(CONNECTION_MS, () => {
      counters.connectionsOverdue++
      socket.destroy()
    })
    const connection = { address, heldBytes: 0, cancel }
    this.#sockets.set(socket, connection)
    this.#read(socket, connection)
    socket.on('close', () => {
      cancel()
      this.#sockets.delete(socket)
    })
  }

  #read(socket: Socket, connection: Connection): void {
    const { counters, frameBytesMax, onFrame } = this.#options
    const reader = new FrameReader(frameBytesMax)
    let request = 0
    socket.on('data', (chunk) => {
      if (request !== 0) return
      const frame = reader.push(chunk)
      if (frame === null) {
        connection.heldBytes = reader.heldBytes
        return this.#checkHeld(socket, connection)
      }
      if (frame === 'oversized') {
        counters.oversized++
        socket.destroy()
        return
      }
      request = ++this.#request
      this.#requests.set(request, socket)
      connection.heldBytes = 0
      onFrame(request, frame, socket)
    })
    socket.on('close', () => {
      if (request === 0) counters.connectionsBroken++
      else this.#requests.delete(request)
    })
  }

  #checkHeld(socket: Socket, last: Connection): void {
    let heldBytes = 0
    for (const connection of this.#sockets.values()) heldBytes += connection.heldBytes
    if (heldBytes <= HELD_BYTES_MAX) return
    last.heldBytes = 0
    this.#options.counters.connectionsRefused++
    socket.destroy()
  }

  #ofAddress(address: string): number {
    let count = 0
    for (const connection of this.#sockets.values()) if (connection.address === address) count++
    return count
  }
}
