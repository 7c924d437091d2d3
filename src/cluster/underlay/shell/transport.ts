import { isIP, type Socket } from 'node:net'
import type { Clock } from '../../../base/clock.ts'
import { type Address, type Answer, type Datagram, type Exchange, FRAME_BYTES_MAX } from '../core/index.ts'
import { addressOf, endpointOf, isWildcard } from './addresses.ts'
import type { ShellCounters } from './counters.ts'
import { type Envelope, type EnvelopeFault, SEAL_BYTES, type Way } from './envelope.ts'
import { ExchangeClient } from './exchange-client.ts'
import { ExchangeServer } from './exchange-server.ts'
import { type RemoteInfo, type Sockets, sendDatagram } from './sockets.ts'

/** Of one datagram, sealed: it fits into every link's packets. */
export const DATAGRAM_BYTES_MAX = 1_400
const SEALED_FRAME_BYTES_MAX = FRAME_BYTES_MAX + SEAL_BYTES

/** What came, opened. `from` is whom to name where it is refused. */
export interface TransportHandlers {
  datagram(from: Address, bytes: Uint8Array): void
  request(request: number, bytes: Uint8Array, from: string): void
  /** Null: it failed. */
  exchanged(exchange: number, bytes: Uint8Array | null): void
  refused(fault: EnvelopeFault, from: string): void
}

export interface TransportOptions {
  clock: Clock
  counters: ShellCounters
  sockets: Sockets
  envelope: Envelope
  handlers: TransportHandlers
}

/** Packets in and out of one port: sealed, opened, bounded, and counted where they are refused. */
export class Transport {
  /** Replaced when the secrets change. */
  envelope: Envelope
  readonly #counters: ShellCounters
  readonly #sockets: Sockets
  readonly #handlers: TransportHandlers
  readonly #server: ExchangeServer
  readonly #client: ExchangeClient
  #closed = false

  constructor({ clock, counters, sockets, envelope, handlers }: TransportOptions) {
    this.envelope = envelope
    this.#counters = counters
    this.#sockets = sockets
    this.#handlers = handlers
    const localAddress = isWildcard(sockets.ip) ? undefined : sockets.ip
    const frameBytesMax = SEALED_FRAME_BYTES_MAX
    this.#client = new ExchangeClient({ clock, frameBytesMax, localAddress })
    const onFrame = (request: number, bytes: Buffer, from: Socket) => this.#onFrame(request, bytes, from)
    this.#server = new ExchangeServer(sockets.tcp, { clock, counters, frameBytesMax, onFrame })
    sockets.udp.on('message', (bytes, from) => this.#onDatagram(bytes, from))
  }

  send({ to, bytes }: Datagram): void {
    const endpoint = endpointOf(to)
    const failed = () => {
      this.#counters.sendFailures++
    }
    // A packet may carry what only looks like an address.
    if (isIP(endpoint.host) === 0) failed()
    else sendDatagram(this.#sockets, endpoint, this.envelope.seal(bytes, 'datagram'), failed)
  }

  exchange({ exchange, to, bytes, answered, timeoutMs }: Exchange): void {
    const ended = (answer: Buffer | null | 'oversized') => {
      if (!answered || this.#closed) return
      if (answer === 'oversized') this.#counters.oversized++
      const opened = answer === null || answer === 'oversized' ? null : this.#open(answer, 'answer', to)
      this.#handlers.exchanged(exchange, opened)
    }
    const endpoint = endpointOf(to)
    const sealed = this.envelope.seal(bytes, 'request')
    const outgoing = { to: endpoint, bytes: sealed, answered, timeoutMs }
    if (isIP(endpoint.host) !== 0 && this.#client.begin(outgoing, ended)) return
    this.#counters.exchangesRefused++
    // Later, as every other end: the caller is in the middle of its effects.
    queueMicrotask(() => ended(null))
  }

  answer({ request, bytes }: Answer): void {
    this.#server.answer(request, bytes === null ? null : this.envelope.seal(bytes, 'answer'))
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#client.close()
    this.#server.close()
    const { udp, tcp } = this.#sockets
    await Promise.all([
      new Promise<void>((resolve) => udp.close(() => resolve())),
      new Promise<void>((resolve) => tcp.close(() => resolve())),
    ])
  }

  #onDatagram(bytes: Buffer, info: RemoteInfo): void {
    // Nobody can answer to that port.
    if (this.#closed || info.port === 0) return
    if (bytes.length > DATAGRAM_BYTES_MAX) {
      this.#counters.oversized++
      return
    }
    const from = addressOf(info.address, info.port)
    const opened = this.#open(bytes, 'datagram', from)
    if (opened !== null) this.#handlers.datagram(from, opened)
  }

  #onFrame(request: number, bytes: Buffer, socket: Socket): void {
    const from = socket.remoteAddress ?? 'unknown'
    const opened = this.#open(bytes, 'request', from)
    if (opened === null) this.#server.answer(request, null)
    else this.#handlers.request(request, opened, from)
  }

  #open(bytes: Buffer, way: Way, from: string): Uint8Array | null {
    const opened = this.envelope.open(bytes, way)
    if (typeof opened !== 'string') return opened
    this.#counters[opened]++
    this.#handlers.refused(opened, from)
    return null
  }
}
