import type { Clock, Random } from '../base/clock.ts'
import type { HostId } from '../base/ids.ts'
import type { Logger } from '../base/logging.ts'
import type { Peers } from './contract.ts'
import { openAuthenticator, secretAuthenticator } from './grpc/authenticator.ts'
import type { TlsOptions } from './grpc/credentials.ts'
import { LINK_OPTIONS } from './link/core/index.ts'
import { LinkedPeers } from './peers/peers.ts'

export interface RpcOptions {
  cluster: string
  node: HostId
  /** Of this life of the node: a later one has a higher number. */
  incarnation: number
  host: string
  /** 0 takes any free one. */
  port: number
  /** The first one proves, all are accepted. Empty: peers are known by certificate, or not at all. */
  secrets: readonly string[]
  tls: TlsOptions | null
  clock: Clock
  random: Random
  log: Logger
}

/** The rpc of one node: its port and its links. */
export interface Rpc {
  readonly peers: Peers
  readonly port: number
  /** What the health service says; false until told. */
  setServing(serving: boolean): void
  /** Refuses new calls and waits for those under way, up to `msMax`. */
  drain(msMax: number): Promise<void>
  close(): void
}

const DRAIN_STEP_MS = 10

/** gRPC is loaded only here: a lone node needs none of it. */
export async function startRpc(options: RpcOptions): Promise<Rpc> {
  const { GrpcServer, GrpcTransport, HealthService, reflectionMethods, serviceNames, serviceOf } = await import(
    './grpc/index.ts'
  )
  const { secrets, tls, clock } = options
  const peers = new LinkedPeers({
    ...options,
    authenticator: secrets.length > 0 ? secretAuthenticator(secrets) : openAuthenticator,
    transport: new GrpcTransport(tls),
    defer: setImmediate,
    links: LINK_OPTIONS,
    pendingMax: 100_000,
    streamsMax: 64,
    strangersMax: 256,
    sessionsMax: 1_024,
  })
  const { host, port } = options
  const health = new HealthService(serviceNames)
  const server = await GrpcServer.listen({
    host,
    port,
    tls,
    accept: (wire) => peers.accept(wire),
    methods: new Map([
      [serviceOf('grpc.health.v1.Health'), health.methods],
      [serviceOf('grpc.reflection.v1.ServerReflection'), reflectionMethods],
    ]),
    connectionsMax: 2_048,
  })
  return {
    peers,
    port: server.port,
    setServing: (serving) => {
      health.serving = serving
    },
    async drain(msMax) {
      health.serving = false
      const endMs = clock.monotonic() + msMax
      while (!peers.drain() && clock.monotonic() < endMs) {
        await new Promise<void>((resolve) => void clock.after(DRAIN_STEP_MS, resolve))
      }
    },
    close() {
      peers.close()
      server.close()
    },
  }
}
