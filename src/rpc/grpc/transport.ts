import { type ClientHttp2Session, type ClientHttp2Stream, connect, type Http2Stream, type Settings } from 'node:http2'
import type { DialEvents, DialTarget, LinkTransport, Wire } from '../link/transport.ts'
import { clientTls, type TlsOptions } from './credentials.ts'
import { Deframer, prefixOf } from './deframer.ts'

/** A frame and its header, with room: nobody sends more at once, least of all before a handshake. */
export const PACKET_BYTES_MAX = 128 * 1024
/** HTTP/2 never holds a link back: its own credit does. Strangers are read as fast as they send, and buffer nothing. */
export const WINDOW_BYTES = 8 * 1024 * 1024

/** For both sides. Large HTTP/2 frames: one for each packet. */
export const HTTP2_SETTINGS: Settings = {
  enablePush: false,
  initialWindowSize: WINDOW_BYTES,
  maxFrameSize: 1024 * 1024,
}

export const CONNECT_PATH = '/flockmq.link.v1.Link/Connect'

/**
 * Links as gRPC streams, right on HTTP/2: @grpc/grpc-js costs five times the CPU for a small frame (see README.md).
 * Every attempt has a connection of its own, so that no kind of link shares one with another.
 */
export class GrpcTransport implements LinkTransport {
  readonly #tls: TlsOptions | null

  constructor(tls: TlsOptions | null) {
    this.#tls = tls
  }

  dial(target: DialTarget, events: DialEvents): Wire {
    try {
      return new ClientWire(this.#connect(target.address), events)
    } catch (error) {
      // The address is what a peer says about itself: it may be none.
      setImmediate(() => events.closed(String(error)))
      return { write() {}, close() {} }
    }
  }

  #connect(address: string): ClientHttp2Session {
    const scheme = this.#tls === null ? 'http' : 'https'
    return connect(`${scheme}://${address}`, {
      ...(this.#tls === null ? {} : clientTls(this.#tls)),
      settings: HTTP2_SETTINGS,
    })
  }
}

class ClientWire implements Wire {
  readonly #session: ClientHttp2Session
  readonly #events: DialEvents
  #stream: ClientHttp2Stream | null = null
  #open = true

  constructor(session: ClientHttp2Session, events: DialEvents) {
    this.#session = session
    this.#events = events
    session.on('error', (error) => this.#closed(error.message))
    session.on('close', () => this.#closed('the connection was closed'))
    session.once('connect', () => this.#connected())
  }

  write(packet: Buffer): void {
    if (this.#open && this.#stream !== null && !this.#stream.closed) writePacket(this.#stream, packet)
  }

  close(): void {
    this.#open = false
    this.#session.destroy()
  }

  #connected(): void {
    // A peer that ends the connection at once has done so before this is called.
    if (!this.#open || this.#session.destroyed || this.#session.closed) return
    this.#session.setLocalWindowSize(WINDOW_BYTES)
    const stream = this.#session.request(
      { ':method': 'POST', ':path': CONNECT_PATH, 'content-type': 'application/grpc+proto', te: 'trailers' },
      { endStream: false },
    )
    this.#stream = stream
    const deframer = new Deframer(PACKET_BYTES_MAX, (packet) => {
      if (this.#open) this.#events.packet(packet)
    })
    stream.on('data', (chunk: Buffer) => {
      if (this.#open && !deframer.push(chunk)) this.#closed('the peer does not speak gRPC')
    })
    stream.on('error', (error) => this.#closed(error.message))
    stream.on('end', () => this.#closed('ended by the peer'))
    stream.on('close', () => this.#closed('ended by the peer'))
    this.#events.connected()
  }

  #closed(reason: string): void {
    if (!this.#open) return
    this.close()
    this.#events.closed(reason)
  }
}

/** Prefix and packet leave together. What waits is bounded by the credit that the peer gave. */
export function writePacket(stream: Http2Stream, packet: Buffer): void {
  stream.cork()
  stream.write(prefixOf(packet.length))
  stream.write(packet)
  stream.uncork()
}
