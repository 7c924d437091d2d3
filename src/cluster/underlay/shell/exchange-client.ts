import { connect, type Socket } from 'node:net'
import type { Clock } from '../../../base/clock.ts'
import type { Endpoint } from './addresses.ts'
import { FrameReader, frameOf } from './frames.ts'

export interface OutgoingExchange {
  to: Endpoint
  /** Sealed. */
  bytes: Uint8Array
  answered: boolean
  timeoutMs: number
}

export interface ExchangeClientOptions {
  clock: Clock
  frameBytesMax: number
  /** From which address; undefined: the kernel chooses. */
  localAddress: string | undefined
}

/** Connections out at the same time. */
export const EXCHANGES_MAX = 64

/** One connection for each exchange: a frame out, a frame back where one is wanted. */
export class ExchangeClient {
  readonly #options: ExchangeClientOptions
  readonly #sockets = new Set<Socket>()

  constructor(options: ExchangeClientOptions) {
    this.#options = options
  }

  /**
   * Calls back once: with the answer, with null where it failed, took too long, or was not wanted. False: there are too
   * many under way, and nothing is called.
   */
  begin(exchange: OutgoingExchange, ended: (bytes: Buffer | null | 'oversized') => void): boolean {
    if (this.#sockets.size >= EXCHANGES_MAX) return false
    const { clock, frameBytesMax, localAddress } = this.#options
    const { to, bytes, answered, timeoutMs } = exchange
    const socket = connect({ ...to, ...(localAddress !== undefined && { localAddress }), noDelay: true })
    this.#sockets.add(socket)
    const reader = new FrameReader(frameBytesMax)
    let result: Buffer | null | 'oversized' = null
    const cancel = clock.after(timeoutMs, () => socket.destroy())
    socket.on('error', () => {})
    socket.on('connect', () => {
      if (answered) socket.write(frameOf(bytes))
      else socket.end(frameOf(bytes))
    })
    socket.on('data', (chunk) => {
      if (!answered || result !== null) return
      result = reader.push(chunk)
      if (result !== null) socket.destroy()
    })
    socket.on('close', () => {
      cancel()
      this.#sockets.delete(socket)
      ended(result)
    })
    return true
  }

  close(): void {
    for (const socket of this.#sockets) socket.destroy()
  }
}
