import {
  type ChannelOptions,
  Client,
  type ClientDuplexStream,
  type MethodDefinition,
  type ServerDuplexStream,
} from '@grpc/grpc-js'
import type { AcceptWire, DialEvents, DialTarget, LinkTransport, Wire } from '../link/transport.ts'
import { channelCredentials, type TlsOptions } from './credentials.ts'

/** A frame and its header, with room: nobody sends more at once, least of all before a handshake. */
const PACKET_BYTES_MAX = 128 * 1024
/** A stream that was ended, and that the other side does not let go. */
const LINGER_MS = 1_000

const bytes = (value: Buffer) => value

/** Packets are bytes: link/core reads and writes them by itself. */
export const CONNECT: MethodDefinition<Buffer, Buffer> = {
  path: '/flockmq.link.v1.Link/Connect',
  requestStream: true,
  responseStream: true,
  requestSerialize: bytes,
  requestDeserialize: bytes,
  responseSerialize: bytes,
  responseDeserialize: bytes,
}

/** For both sides. A window of 1 MiB keeps frames of 64 KiB flowing. */
export const STREAM_OPTIONS: ChannelOptions = {
  'grpc.max_receive_message_length': PACKET_BYTES_MAX,
  'grpc.max_send_message_length': PACKET_BYTES_MAX,
  'grpc-node.flow_control_window': 1024 * 1024,
}

/** Every attempt has a connection of its own, so that no kind of link shares one with another. */
const DIAL_OPTIONS: ChannelOptions = {
  ...STREAM_OPTIONS,
  'grpc.use_local_subchannel_pool': 1,
  'grpc.enable_http_proxy': 0,
  'grpc.service_config_disable_resolution': 1,
  'grpc.enable_retries': 0,
}

export class GrpcTransport implements LinkTransport {
  readonly #tls: TlsOptions | null

  constructor(tls: TlsOptions | null) {
    this.#tls = tls
  }

  dial(target: DialTarget, events: DialEvents): Wire {
    const client = new Client(target.address, channelCredentials(this.#tls), DIAL_OPTIONS)
    const call = client.makeBidiStreamRequest(CONNECT.path, bytes, bytes)
    const wire = new ClientWire(client, call)
    call.on('data', (packet: Buffer) => {
      if (wire.open) events.packet(packet)
    })
    const closed = (reason: string) => {
      if (!wire.open) return
      wire.close()
      events.closed(reason)
    }
    call.on('error', (error) => closed(error.message))
    call.on('end', () => closed('ended by the peer'))
    // gRPC connects by itself when there is something to send, and says so only by what comes back.
    setImmediate(() => {
      if (wire.open) events.connected()
    })
    return wire
  }
}

class ClientWire implements Wire {
  open = true
  readonly #client: Client
  readonly #call: ClientDuplexStream<Buffer, Buffer>

  constructor(client: Client, call: ClientDuplexStream<Buffer, Buffer>) {
    this.#client = client
    this.#call = call
  }

  /** What gRPC buffers is bounded by the credit that the peer gave. */
  write(packet: Buffer): void {
    if (this.open) this.#call.write(packet)
  }

  close(): void {
    if (!this.open) return
    this.open = false
    this.#call.cancel()
    this.#client.close()
  }
}

/** The server's side of {@link CONNECT}. */
export function acceptStream(call: ServerDuplexStream<Buffer, Buffer>, accept: AcceptWire): void {
  let open = true
  const events = accept({
    write: (packet) => {
      if (open) call.write(packet)
    },
    close: () => {
      if (!open) return
      open = false
      call.end()
      setTimeout(() => call.destroy(), LINGER_MS).unref()
    },
  })
  const closed = (reason: string) => {
    if (!open) return
    open = false
    call.end()
    events.closed(reason)
  }
  call.on('data', (packet: Buffer) => {
    if (open) events.packet(packet)
  })
  call.on('error', (error) => closed(error.message))
  call.on('cancelled', () => closed('cancelled by the peer'))
  call.on('end', () => closed('ended by the peer'))
}
