import type { Socket } from 'node:net'
import { type ChannelCredentials, type ChannelOptions, Client, type ClientDuplexStream } from '@grpc/grpc-js'
import type { DialEvents, DialTarget, LinkTransport, Wire } from '../link/transport.ts'
import { CHANNEL_OPTIONS, CONNECT, WINDOW_BYTES } from './connect.ts'
import { channelCredentials, type TlsOptions } from './credentials.ts'

/** Every attempt has a connection of its own, so that no kind of link shares one with another; the link tries again. */
const DIAL_OPTIONS: ChannelOptions = {
  ...CHANNEL_OPTIONS,
  'grpc.use_local_subchannel_pool': 1,
  'grpc.enable_http_proxy': 0,
  'grpc.service_config_disable_resolution': 1,
  'grpc.enable_retries': 0,
  'grpc-node.flow_control_window': WINDOW_BYTES,
  // The name is not compared, and an address is none.
  'grpc.ssl_target_name_override': 'flockmq',
}

/** Links as gRPC streams. */
export class GrpcTransport implements LinkTransport {
  readonly #tls: TlsOptions | null

  constructor(tls: TlsOptions | null) {
    this.#tls = tls
  }

  dial({ address }: DialTarget, events: DialEvents): Wire {
    try {
      return new ClientWire(address, channelCredentials(this.#tls), events)
    } catch (error) {
      // The address is what a peer says about itself: it may be none.
      setImmediate(() => events.closed(String(error)))
      return { write() {}, close() {} }
    }
  }
}

class ClientWire implements Wire {
  readonly #client: Client
  readonly #call: ClientDuplexStream<Buffer, Buffer>
  readonly #events: DialEvents
  #socket: Socket | null = null
  #open = true

  constructor(address: string, credentials: ChannelCredentials, events: DialEvents) {
    tellSocket(credentials, (socket) => {
      this.#socket = socket
      if (!this.#open) socket.destroy()
    })
    // With its scheme: a peer's address is no path of a socket.
    this.#client = new Client(`dns:///${address}`, credentials, DIAL_OPTIONS)
    this.#events = events
    this.#call = this.#client.makeBidiStreamRequest(CONNECT.path, CONNECT.requestSerialize, CONNECT.responseDeserialize)
    this.#call.on('data', (packet: Buffer) => {
      if (this.#open) events.packet(packet)
    })
    this.#call.on('error', (error) => this.#closed(error.message))
    this.#call.on('end', () => this.#closed('ended by the peer'))
    // gRPC connects by itself, keeps what is written until then, and says by an error that it cannot.
    setImmediate(() => {
      if (this.#open) events.connected()
    })
  }

  /** What waits is bounded by the credit that the peer gave. */
  write(packet: Buffer): void {
    if (this.#open) this.#call.write(packet)
  }

  close(): void {
    if (!this.#open) return
    this.#open = false
    this.#call.cancel()
    this.#client.close()
    this.#socket?.destroy()
  }

  #closed(reason: string): void {
    if (!this.#open) return
    this.close()
    this.#events.closed(reason)
  }
}

/** grpc-js itself closes a connection only when the peer agrees: those to a frozen one would pile up. */
function tellSocket(credentials: ChannelCredentials, told: (socket: Socket) => void): void {
  const create = credentials._createSecureConnector.bind(credentials)
  credentials._createSecureConnector = (...options) => {
    const connector = create(...options)
    const connect = connector.connect.bind(connector)
    connector.connect = (socket) => {
      told(socket)
      return connect(socket)
    }
    return connector
  }
}
