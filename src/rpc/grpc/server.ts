import { type ChannelOptions, Server, type ServerDuplexStream } from '@grpc/grpc-js'
import { BrokerError } from '../../base/errors.ts'
import type { AcceptWire } from '../link/transport.ts'
import { serverCredentials, type TlsOptions } from './credentials.ts'
import { acceptStream, CONNECT, STREAM_OPTIONS } from './link-stream.ts'

export interface GrpcServerOptions {
  host: string
  /** 0 takes any free one. */
  port: number
  tls: TlsOptions | null
  accept: AcceptWire
}

const SERVER_OPTIONS: ChannelOptions = {
  ...STREAM_OPTIONS,
  'grpc.max_concurrent_streams': 64,
  // Of connections without a stream: a link always has one.
  'grpc.max_connection_idle_ms': 60_000,
}

/** The one port that other nodes and standard tools connect to. */
export class GrpcServer {
  readonly #server: Server
  /** The port in use. */
  readonly port: number

  private constructor(server: Server, port: number) {
    this.#server = server
    this.port = port
  }

  static async listen(options: GrpcServerOptions): Promise<GrpcServer> {
    const server = new Server(SERVER_OPTIONS)
    server.addService(
      { Connect: CONNECT },
      { Connect: (call: ServerDuplexStream<Buffer, Buffer>) => acceptStream(call, options.accept) },
    )
    const address = `${options.host.includes(':') ? `[${options.host}]` : options.host}:${options.port}`
    const port = await new Promise<number>((resolve, reject) => {
      server.bindAsync(address, serverCredentials(options.tls), (cause, bound) => {
        if (cause === null) resolve(bound)
        else
          reject(
            new BrokerError('UNAVAILABLE', `Cannot listen for other nodes on ${address}: ${cause.message}`, { cause }),
          )
      })
    })
    return new GrpcServer(server, port)
  }

  /** Ends every connection. */
  close(): void {
    this.#server.forceShutdown()
  }
}
