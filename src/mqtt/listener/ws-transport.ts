import type { Socket } from 'node:net'
import type { WebSocket } from 'ws'
import type { Transport } from './contract.ts'
import { LINGER_MS } from './socket-transport.ts'

/** Answers to pings wait in memory where the client does not read: beyond this they are left out. */
const PONG_BACKLOG_BYTES_MAX = 64 * 1024

const ignoreData = (_buffer: Buffer) => {}
const ignoreClose = (_error: Error | null) => {}
const ignoreDrain = () => {}
const BINARY = { binary: true, compress: false }

/**
 * A transport over a WebSocket: each message's bytes are handed on as stream bytes, since packets may begin and end
 * anywhere in messages [MQTT-6.0.0-2]; only binary ones are allowed [MQTT-6.0.0-1].
 */
export class WsTransport implements Transport {
  onData: (buffer: Buffer) => void = ignoreData
  onClose: (error: Error | null) => void = ignoreClose
  onDrain: () => void = ignoreDrain
  readonly #ws: WebSocket
  readonly #socket: Socket
  #ended = false
  #error: Error | null = null
  #linger: NodeJS.Timeout | null = null

  /** @param socket what carries `ws` */
  constructor(ws: WebSocket, socket: Socket) {
    this.#ws = ws
    this.#socket = socket
    ws.on('message', (data: Buffer, isBinary: boolean) => this.#onMessage(data, isBinary))
    ws.on('ping', (data: Buffer) => this.#onPing(data))
    ws.on('error', (error) => {
      this.#error ??= error
      this.#awaitClose()
    })
    ws.on('close', () => this.#closed())
    socket.on('drain', () => this.onDrain())
  }

  write(buffer: Buffer): boolean {
    if (this.#ended) return false
    this.#ws.send(buffer, BINARY)
    // What was corked counts as waiting until the next turn, also where the kernel took it at once.
    return !this.#socket.writableNeedDrain || this.#ws.bufferedAmount === 0
  }

  get writableBytes(): number {
    return this.#ws.bufferedAmount
  }

  pause(): void {
    this.#ws.pause()
  }

  resume(): void {
    this.#ws.resume()
  }

  end(buffer?: Buffer): void {
    if (this.#ended) return
    if (buffer !== undefined) this.write(buffer)
    this.#close(1000)
  }

  destroy(): void {
    this.#ended = true
    this.#ws.terminate()
  }

  setNoDelay(on: boolean): void {
    this.#socket.setNoDelay(on)
  }

  #onMessage(data: Buffer, isBinary: boolean): void {
    if (this.#ended) return
    if (isBinary) return this.onData(data)
    this.#error ??= new Error('The client sent a text message [MQTT-6.0.0-1]')
    this.#close(1003)
  }

  #onPing(data: Buffer): void {
    if (!this.#ended && this.#ws.bufferedAmount < PONG_BACKLOG_BYTES_MAX) this.#ws.pong(data)
  }

  /** The status is the last thing sent; the peer's own close is awaited for a bounded time. */
  #close(status: number): void {
    this.onData = ignoreData
    this.#ws.close(status)
    this.#ws.resume()
    this.#awaitClose()
  }

  #awaitClose(): void {
    this.#ended = true
    this.#linger ??= setTimeout(() => this.#ws.terminate(), LINGER_MS).unref()
  }

  #closed(): void {
    this.#ended = true
    if (this.#linger !== null) clearTimeout(this.#linger)
    const { onClose } = this
    this.onData = ignoreData
    this.onDrain = ignoreDrain
    this.onClose = ignoreClose
    onClose(this.#error)
  }
}
