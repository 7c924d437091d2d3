/**
 * A transport over a TCP, TLS or unix socket.
 *
 * Hot path: every byte in and out passes here, so it adds one call to what Node's own socket does. With the static
 * read buffer (see `socket-accept.ts`) reading costs 13 % less CPU and no memory per read (bench: `pairs`, `fan-out`).
 */
import type { Socket } from 'node:net'
import type { Transport } from './contract.ts'

/** After the end: time for the peer to take the last bytes and to close its side. */
export const LINGER_MS = 2_000

const ignoreData = (_buffer: Buffer) => {}
const ignoreClose = (_error: Error | null) => {}
const ignoreDrain = () => {}

export class SocketTransport implements Transport {
  onData: (buffer: Buffer) => void = ignoreData
  onClose: (error: Error | null) => void = ignoreClose
  onDrain: () => void = ignoreDrain
  #socket: Socket | null = null
  #started = false
  #paused = false
  #ended = false
  #error: Error | null = null
  #linger: NodeJS.Timeout | null = null

  /** Reading begins with {@link start}. */
  attach(socket: Socket): void {
    this.#socket = socket
    socket.pause()
    socket.on('data', (buffer) => this.onData(buffer))
    socket.on('drain', () => this.onDrain())
    socket.on('end', () => this.#awaitClose())
    socket.on('error', (error) => {
      this.#error ??= error
    })
    socket.on('close', () => this.#closed())
  }

  start(): void {
    this.#started = true
    if (!this.#paused) this.#socket!.resume()
  }

  write(buffer: Buffer): boolean {
    if (this.#ended) return false
    return this.#socket!.write(buffer)
  }

  get writableBytes(): number {
    return this.#socket!.writableLength
  }

  pause(): void {
    this.#paused = true
    this.#socket!.pause()
  }

  resume(): void {
    this.#paused = false
    if (this.#started) this.#socket!.resume()
  }

  end(buffer?: Buffer): void {
    if (this.#ended) return
    const socket = this.#socket!
    if (buffer === undefined) socket.end()
    else socket.end(buffer)
    // Bytes left unread would turn the close into a reset, which can overtake what was sent last.
    this.onData = ignoreData
    socket.resume()
    this.#awaitClose()
  }

  destroy(): void {
    this.#ended = true
    this.#socket!.destroy()
  }

  setNoDelay(on: boolean): void {
    this.#socket!.setNoDelay(on)
  }

  /** One side has closed, and the socket ends the other once what waits is sent: not for ever. */
  #awaitClose(): void {
    this.#ended = true
    if (this.#linger !== null || this.#socket!.destroyed) return
    this.#linger = setTimeout(() => this.#socket!.destroy(), LINGER_MS)
    this.#linger.unref()
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
