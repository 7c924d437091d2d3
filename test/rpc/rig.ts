import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { systemClock, systemRandom } from '../../src/base/clock.ts'
import type { HostId } from '../../src/base/ids.ts'
import { type Logger, silentLogger } from '../../src/base/logging.ts'
import type { LinkKind, MessageChannel, RequestChannel, StreamChannel } from '../../src/rpc/contract.ts'
import { openAuthenticator, secretAuthenticator } from '../../src/rpc/grpc/authenticator.ts'
import type { TlsOptions } from '../../src/rpc/grpc/credentials.ts'
import { GrpcServer } from '../../src/rpc/grpc/server.ts'
import { GrpcTransport } from '../../src/rpc/grpc/transport.ts'
import { LINK_OPTIONS, type LinkOptions } from '../../src/rpc/link/core/index.ts'
import { bytesCodec } from '../../src/rpc/peers/codec.ts'
import { LinkedPeers } from '../../src/rpc/peers/peers.ts'

export const messages = (kind: LinkKind = 'deliveries', number = 100): MessageChannel<Uint8Array> => ({
  type: 'message',
  number,
  name: `test.messages.${kind}`,
  kind,
  message: bytesCodec,
})

export const requests = (kind: LinkKind = 'deliveries', number = 101): RequestChannel<Uint8Array, Uint8Array> => ({
  type: 'request',
  number,
  name: `test.requests.${kind}`,
  kind,
  request: bytesCodec,
  answer: bytesCodec,
})

export const streams = (number = 102): StreamChannel<Uint8Array, Uint8Array> => ({
  type: 'stream',
  number,
  name: 'test.streams',
  kind: 'bulk',
  request: bytesCodec,
  chunk: bytesCodec,
})

export interface TestNodeOptions {
  incarnation?: number
  cluster?: string
  secrets?: readonly string[]
  tls?: TlsOptions
  port?: number
  host?: string
  links?: Partial<LinkOptions>
  log?: Logger
  pendingMax?: number
  streamsMax?: number
  strangersMax?: number
  defer?: (callback: () => void) => void
}

export interface TestNode {
  id: HostId
  peers: LinkedPeers
  port: number
  address: string
  /** As a process that ends: no word to anybody. */
  kill(): void
}

const running = new Set<TestNode>()

export async function startNode(name: string, options: TestNodeOptions = {}): Promise<TestNode> {
  const id = name as HostId
  const { secrets = [] } = options
  const link = { ...LINK_OPTIONS.deliveries, ...options.links }
  const peers = new LinkedPeers({
    cluster: options.cluster ?? 'test',
    node: id,
    incarnation: options.incarnation ?? 1,
    authenticator: secrets.length > 0 ? secretAuthenticator(secrets) : openAuthenticator,
    transport: new GrpcTransport(options.tls ?? null),
    clock: systemClock,
    random: systemRandom,
    log: options.log ?? silentLogger,
    defer: options.defer ?? setImmediate,
    links: { raft: { ...LINK_OPTIONS.raft, ...options.links }, deliveries: link, bulk: link },
    pendingMax: options.pendingMax ?? 10_000,
    streamsMax: options.streamsMax ?? 64,
    strangersMax: options.strangersMax ?? 64,
    sessionsMax: 256,
  })
  const server = await GrpcServer.listen({
    host: options.host ?? '127.0.0.1',
    port: options.port ?? 0,
    tls: options.tls ?? null,
    accept: (wire) => peers.accept(wire),
    methods: new Map(),
    connectionsMax: 256,
  })
  const { port } = server
  const node: TestNode = {
    id,
    peers,
    port,
    address: `127.0.0.1:${port}`,
    kill() {
      running.delete(node)
      server.close()
      peers.close()
    },
  }
  running.add(node)
  return node
}

export function stopAll(): void {
  for (const node of [...running]) node.kill()
}

/** Both ways. */
export function introduce(...nodes: TestNode[]): void {
  for (const a of nodes) for (const b of nodes) a.peers.join({ node: b.id, address: b.address })
}

/** Waits for a condition that callbacks make true. */
export async function until(condition: () => boolean, what: string, msMax = 8_000): Promise<void> {
  const endMs = performance.now() + msMax
  while (!condition()) {
    if (performance.now() > endMs) throw new Error(`It does not come true within ${msMax} ms: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
}

/** A TCP forwarder that can be cut: at any byte, as it goes. */
export class Forwarder {
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  readonly #target: number
  /** Bytes still let through before everything is cut; null: no cut. */
  budget: number | null = null
  cuts = 0

  private constructor(target: number) {
    this.#target = target
    this.#server = createServer((client) => this.#forward(client))
  }

  static async start(target: number): Promise<Forwarder> {
    const forwarder = new Forwarder(target)
    forwarder.#server.listen(0, '127.0.0.1')
    await once(forwarder.#server, 'listening')
    return forwarder
  }

  get address(): string {
    const { port } = this.#server.address() as { port: number }
    return `127.0.0.1:${port}`
  }

  get connections(): number {
    return this.#sockets.size / 2
  }

  cut(): void {
    this.cuts++
    this.budget = null
    for (const socket of this.#sockets) socket.resetAndDestroy()
    this.#sockets.clear()
  }

  close(): void {
    this.cut()
    this.#server.close()
  }

  #forward(client: Socket): void {
    const upstream = connect(this.#target, '127.0.0.1')
    this.#pipe(client, upstream)
    this.#pipe(upstream, client)
  }

  #pipe(from: Socket, to: Socket): void {
    this.#sockets.add(from)
    from.on('data', (data) => {
      const passed = this.budget === null ? data.length : Math.min(this.budget, data.length)
      to.write(data.subarray(0, passed))
      if (this.budget === null) return
      this.budget -= passed
      if (this.budget === 0) this.cut()
    })
    from.on('error', () => {})
    from.on('close', () => {
      this.#sockets.delete(from)
      to.destroy()
    })
  }
}
